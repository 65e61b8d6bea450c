//! Who may do what. One place decides, [`decide`]; everything else here brings it the facts.
//!
//! | file | what it owns |
//! |---|---|
//! | `decide` | the decision: a pure function with a table of cases |
//! | `policy`, `statement`, `condition`, `glob`, `public` | bucket policies |
//! | `new_policy`, `named_actions` | what a policy is refused for when it is put |
//! | `account` | accounts of users, and their names before those of buckets |
//! | `acl` | access control lists, canned and granted |
//! | `ownership` | who owns what is written, and which lists a bucket takes |
//! | `actions` | which permission an operation needs, and on what |
//! | `caller` | who signed the request |
//! | `context` | what a policy's conditions may look at |
//! | `gate` | looks the facts up and asks |
//! | `s3s_hook` | lets s3s ask the gate before each operation |

mod account;
mod acl;
mod actions;
mod caller;
mod condition;
mod context;
mod decide;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gate;
mod glob;
mod named_actions;
mod new_policy;
mod ownership;
mod policy;
mod public;
mod s3s_hook;
mod statement;

pub use account::{BucketAddress, BucketAddresses};
pub use acl::{AclRequest, grants_public, to_dto_grants};
pub use actions::PUT_TAGS;
pub use caller::{Caller, Directory, ROOT_CANONICAL_ID};
pub use gate::{Gate, RequestFacts, Verified};
pub use ownership::{
    acls_disabled_error, ownership_name, parse_ownership, refuse_acls, refuse_blocked_acl,
    shared_acl_error,
};
pub use policy::{POLICY_MAX_BYTES, Policy};

/// Whether the operation is known to need a permission, which policies can name.
#[cfg(test)]
pub fn is_decided(operation: &str) -> bool {
    let can_be_named = |required: actions::RequiredPermission| {
        !named_actions::targets_of(required.action).is_empty()
    };
    [false, true].into_iter().all(|versioned| {
        let required = actions::required_permission(operation, versioned);
        required.is_some_and(can_be_named)
    })
}
