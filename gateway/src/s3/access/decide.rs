//! The decision: may this caller do this? Pure: everything it rests on is handed in. The order is
//! AWS's: a policy that denies, then a policy that allows, then ownership, then access control
//! lists, each as far as the bucket's public access block and ownership setting let them count.

use metastore::{Acl, BucketSettings, Grantee, Ownership, Permission};

use super::actions::{Target, acl_need, is_on_object, is_on_policy};
use super::caller::Caller;
use super::context::RequestContext;
use super::policy::{Policy, Verdict};

/// What a decision rests on.
pub struct Facts<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// Canonical id of the bucket's owner.
    pub bucket_owner: &'a str,
    /// The bucket's settings.
    pub settings: &'a BucketSettings,
    /// The bucket's policy.
    pub policy: Option<&'a Policy>,
    /// The object, where there is one and the action is about it.
    pub object: Option<ObjectFacts<'a>>,
}

/// An object, as far as a decision rests on it.
#[derive(Clone, Copy)]
pub struct ObjectFacts<'a> {
    /// Canonical id of its owner.
    pub owner: &'a str,
    /// Its grants.
    pub acl: Option<&'a Acl>,
}

/// Whether the caller may do `action` to `resource`, which is `bucket` or `bucket/key`.
pub fn decide(
    facts: &Facts<'_>,
    action: &str,
    resource: &str,
    context: &RequestContext<'_>,
) -> bool {
    if *facts.caller == Caller::Root {
        return true;
    }
    let owns_bucket = facts.caller.is(facts.bucket_owner);
    if owns_bucket && is_on_policy(action) {
        return true;
    }
    if let Some(policy) = facts.policy {
        match policy.verdict(facts.caller, action, resource, context) {
            Verdict::Deny => return false,
            Verdict::Allow if owns_bucket || !facts.restricts(policy) => return true,
            Verdict::Allow | Verdict::Silent => {}
        }
    }
    if facts.lists_are_off() {
        return owns_bucket;
    }
    match facts.object {
        // Whoever wrote an object says who may read it, in a bucket of this ownership.
        Some(object) if is_on_object(action) => {
            facts.caller.is(object.owner) || facts.is_granted(acl_need(action), Some(object))
        }
        _ => owns_bucket || facts.is_granted(acl_need(action), facts.object),
    }
}

impl Facts<'_> {
    /// Whether the public access block takes an allowing policy back from all but the owner.
    fn restricts(&self, policy: &Policy) -> bool {
        let block = self.settings.public_access_block.unwrap_or_default();
        block.restrict_public_buckets && policy.is_public()
    }

    fn lists_are_off(&self) -> bool {
        self.settings.ownership == Some(Ownership::BucketOwnerEnforced)
    }

    fn is_granted(
        &self,
        need: Option<(Target, Permission)>,
        object: Option<ObjectFacts<'_>>,
    ) -> bool {
        let Some((target, wanted)) = need else {
            return false;
        };
        let acl = match target {
            Target::Object => object.and_then(|object| object.acl),
            Target::Bucket | Target::Service => self.settings.acl.as_ref(),
        };
        let grants = acl.map(|acl| acl.grants.as_slice()).unwrap_or_default();
        grants.iter().any(|grant| {
            let permits = grant.permission == wanted || grant.permission == Permission::FullControl;
            permits && self.counts_for_caller(&grant.grantee)
        })
    }

    fn counts_for_caller(&self, grantee: &Grantee) -> bool {
        let block = self.settings.public_access_block.unwrap_or_default();
        match grantee {
            Grantee::User(id) => self.caller.is(id),
            Grantee::AllUsers => !block.ignore_public_acls,
            Grantee::AuthenticatedUsers => {
                !block.ignore_public_acls && *self.caller != Caller::Anonymous
            }
            Grantee::LogDelivery => false,
        }
    }
}
