//! Who may do what. One place decides, [`decide`]; everything else here brings it the facts.
//!
//! | file | what it owns |
//! |---|---|
//! | `decide` | the decision: a pure function with a table of cases |
//! | `policy`, `statement`, `condition`, `pattern`, `public` | bucket policies |
//! | `account` | accounts of users, and their names before those of buckets |
//! | `acl` | access control lists, canned and granted |
//! | `actions` | which permission an operation needs, and on what |
//! | `caller` | who signed the request |
//! | `context` | what a policy's conditions may look at |
//! | `gate` | runs before each operation: looks the facts up and asks |

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
mod pattern;
mod policy;
mod public;
mod statement;

pub use account::{BucketAddress, BucketAddresses};
pub use acl::{AclRequest, grants_public, to_dto_grants};
pub use caller::{Caller, Directory, ROOT_CANONICAL_ID};
pub use gate::{Asked, Gate, Verified};
pub use policy::{POLICY_MAX_BYTES, Policy};

/// Whether the operation is known to need a permission.
#[cfg(test)]
pub fn is_decided(operation: &str) -> bool {
    actions::need(operation, false).is_some()
}
