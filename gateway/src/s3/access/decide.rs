//! The decision: may this caller do this? Pure: everything it rests on is handed in. The order is
//! AWS's: a policy that denies, then a policy that allows, then ownership, then access control
//! lists, each as far as the bucket's public access block and ownership setting let them count.

use metastore::{Acl, BucketSettings, Grantee, Ownership, Permission};

use super::account::account_of;
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
    if is_on_policy(action) {
        if owns_bucket {
            return true;
        }
        // Nothing gives a bucket's policy out of its owner's account.
        if !facts.is_of_owners_account() {
            return false;
        }
    }
    if let Some(policy) = facts.policy {
        match policy.verdict(facts.caller, action, resource, context) {
            Verdict::Deny => return false,
            Verdict::Allow if owns_bucket || !facts.restricts(policy) => return true,
            Verdict::Allow | Verdict::NoMatch => {}
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

/// Whether a policy allows what no policy can: to reach the policy from another account.
pub fn is_cross_account_policy_access(
    facts: &Facts<'_>,
    action: &str,
    resource: &str,
    context: &RequestContext<'_>,
) -> bool {
    let verdict = |policy: &Policy| policy.verdict(facts.caller, action, resource, context);
    is_on_policy(action)
        && !facts.is_of_owners_account()
        && facts.policy.map(verdict) == Some(Verdict::Allow)
}

/// Whether a policy or the bucket's list may let the caller delete something in the bucket. What is
/// to be deleted is not known yet.
pub fn may_delete_something(facts: &Facts<'_>) -> bool {
    let actions = ["s3:DeleteObject", "s3:DeleteObjectVersion"];
    let may_allow = |policy: &Policy| policy.may_allow(facts.caller, &actions);
    *facts.caller == Caller::Root
        || facts.caller.is(facts.bucket_owner)
        || facts.policy.is_some_and(may_allow)
        || (!facts.lists_are_off() && facts.is_granted(acl_need(actions[0]), None))
}

impl Facts<'_> {
    /// Whether the caller is the bucket's owner or of the same account.
    fn is_of_owners_account(&self) -> bool {
        let account = account_of(self.bucket_owner);
        let is_of = |id: &str| !account.is_empty() && account_of(id) == account;
        self.caller.is(self.bucket_owner) || self.caller.id().is_some_and(is_of)
    }

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

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Uri};
    use metastore::{Grant, PublicAccessBlock};

    use super::super::context::Read;
    use super::*;

    const GET: &str = "s3:GetObject";
    const PUT: &str = "s3:PutObject";
    const LIST: &str = "s3:ListBucket";
    const OPEN: &str = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*",
        "Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]}}"#;
    const SHUT: &str = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*",
        "Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]}}"#;
    const FOR_BOB: &str = r#"{"Statement":{"Effect":"Allow","Principal":
        {"AWS":"arn:aws:iam::1:user/bob"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}}"#;

    struct Case {
        settings: BucketSettings,
        policy: Option<&'static str>,
        object_acl: Option<Acl>,
    }

    fn case() -> Case {
        Case {
            settings: BucketSettings::default(),
            policy: None,
            object_acl: None,
        }
    }

    fn everyone(permission: Permission) -> Option<Acl> {
        let grantee = Grantee::AllUsers;
        Some(Acl {
            grants: vec![Grant {
                grantee,
                permission,
            }],
        })
    }

    fn context<'a>(caller: &'a Caller, headers: &'a HeaderMap, uri: &'a Uri) -> RequestContext<'a> {
        RequestContext {
            method: &http::Method::PUT,
            headers,
            uri,
            caller,
            source_ip: None,
            tls: None,
            bucket_owner: "owner",
            signature: None,
            existing_tags: &[],
            now_ms: 0,
            prefix: None,
            read: Read::default(),
        }
    }

    /// Whether root, the bucket's owner, the object's owner, bob and nobody may do it.
    fn allowed(case: &Case, action: &str) -> [bool; 5] {
        let user = |id: &str| Caller::User(id.into());
        let callers = [
            Caller::Root,
            user("owner"),
            user("writer"),
            user("bob"),
            Caller::Anonymous,
        ];
        let policy = case.policy.map(|text| Policy::parse(text, "b").unwrap());
        let (headers, uri) = (HeaderMap::new(), Uri::from_static("/b/k"));
        callers.map(|caller| {
            let facts = Facts {
                caller: &caller,
                bucket_owner: "owner",
                settings: &case.settings,
                policy: policy.as_ref(),
                object: is_on_object(action).then_some(ObjectFacts {
                    owner: "writer",
                    acl: case.object_acl.as_ref(),
                }),
            };
            let context = context(&caller, &headers, &uri);
            let is_on_bucket = action == LIST || is_on_policy(action);
            let resource = if is_on_bucket { "b" } else { "b/k" };
            decide(&facts, action, resource, &context)
        })
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn who_may_do_what() {
        const YES: bool = true;
        const NO: bool = false;
        let with = |change: fn(&mut Case)| {
            let mut case = case();
            change(&mut case);
            case
        };
        let block = |case: &mut Case| {
            case.settings.public_access_block = Some(PublicAccessBlock {
                ignore_public_acls: true,
                restrict_public_buckets: true,
                ..PublicAccessBlock::default()
            });
        };
        let mut blocked_list = with(|case| case.object_acl = everyone(Permission::Read));
        block(&mut blocked_list);
        let mut blocked_policy = with(|case| case.policy = Some(OPEN));
        block(&mut blocked_policy);
        let enforced = with(|case| {
            case.settings.ownership = Some(Ownership::BucketOwnerEnforced);
            case.object_acl = everyone(Permission::FullControl);
        });
        let writable = || with(|case| case.settings.acl = everyone(Permission::Write));
        let rows: [(&str, Case, &str, [bool; 5]); 21] = [
            (
                "a bucket that all may write to takes new objects",
                writable(),
                PUT,
                [YES; 5],
            ),
            (
                "and gives the current ones up",
                writable(),
                "s3:DeleteObject",
                [YES; 5],
            ),
            (
                "but its versions are its owner's",
                writable(),
                "s3:DeleteObjectVersion",
                [YES, YES, NO, NO, NO],
            ),
            (
                "and so are others' uploads",
                writable(),
                "s3:AbortMultipartUpload",
                [YES, YES, NO, NO, NO],
            ),
            (
                "and what stands in them",
                writable(),
                "s3:ListMultipartUploadParts",
                [YES, YES, NO, NO, NO],
            ),
            (
                "and locks",
                writable(),
                "s3:PutObjectRetention",
                [YES, YES, NO, NO, NO],
            ),
            (
                "who may read an object may not ask for its attributes",
                with(|case| case.object_acl = everyone(Permission::Read)),
                "s3:GetObjectAttributes",
                [YES, NO, YES, NO, NO],
            ),
            (
                "a policy opens attributes by their own name",
                with(|case| case.policy = Some(OPEN)),
                "s3:GetObjectAttributes",
                [YES; 5],
            ),
            (
                "an object is its writer's",
                case(),
                GET,
                [YES, NO, YES, NO, NO],
            ),
            (
                "a bucket is its owner's",
                case(),
                PUT,
                [YES, YES, NO, NO, NO],
            ),
            (
                "a public object is everybody's but not the owner's alone",
                with(|case| case.object_acl = everyone(Permission::Read)),
                GET,
                [YES; 5],
            ),
            (
                "write does not read",
                with(|case| case.settings.acl = everyone(Permission::Write)),
                LIST,
                [YES, YES, NO, NO, NO],
            ),
            (
                "lists are ignored when blocked",
                blocked_list,
                GET,
                [YES, NO, YES, NO, NO],
            ),
            (
                "enforced ownership has no lists",
                enforced,
                GET,
                [YES, YES, NO, NO, NO],
            ),
            (
                "a policy opens",
                with(|case| case.policy = Some(OPEN)),
                PUT,
                [YES; 5],
            ),
            (
                "a denial outweighs all but root",
                with(|case| {
                    case.policy = Some(SHUT);
                    case.object_acl = everyone(Permission::Read);
                }),
                GET,
                [YES, NO, NO, NO, NO],
            ),
            (
                "no policy lets others change it",
                with(|case| case.policy = Some(OPEN)),
                "s3:PutBucketPolicy",
                [YES, YES, NO, NO, NO],
            ),
            (
                "nor read it",
                with(|case| case.policy = Some(OPEN)),
                "s3:GetBucketPolicy",
                [YES, YES, NO, NO, NO],
            ),
            (
                "nor remove it",
                with(|case| case.policy = Some(OPEN)),
                "s3:DeleteBucketPolicy",
                [YES, YES, NO, NO, NO],
            ),
            (
                "a policy names one",
                with(|case| case.policy = Some(FOR_BOB)),
                GET,
                [YES, NO, YES, YES, NO],
            ),
            (
                "a public policy is restricted when blocked",
                blocked_policy,
                PUT,
                [YES, YES, NO, NO, NO],
            ),
        ];
        for (what, case, action, expected) in rows {
            assert_eq!(allowed(&case, action), expected, "{what}");
        }
    }

    #[test]
    fn a_list_of_keys_is_read_only_from_those_who_might_delete_something() {
        let may = |case: &Case, caller: &Caller| {
            let policy = case.policy.map(|text| Policy::parse(text, "b").unwrap());
            may_delete_something(&Facts {
                caller,
                bucket_owner: "owner",
                settings: &case.settings,
                policy: policy.as_ref(),
                object: None,
            })
        };
        let nobody = Caller::Anonymous;
        let mut writable = case();
        writable.settings.acl = everyone(Permission::Write);
        let mut enforced = case();
        enforced.settings.acl = everyone(Permission::Write);
        enforced.settings.ownership = Some(Ownership::BucketOwnerEnforced);
        let with = |policy| Case {
            policy: Some(policy),
            ..case()
        };
        assert!(!may(&case(), &nobody));
        assert!(!may(&enforced, &nobody));
        assert!(!may(&with(FOR_BOB), &nobody), "it lets bob read");
        assert!(!may(&with(SHUT), &nobody));
        assert!(may(&writable, &nobody));
        assert!(may(&with(OPEN), &nobody));
        assert!(may(&case(), &Caller::User("owner".into())));
    }

    #[test]
    fn a_policy_may_give_itself_to_users_of_the_owners_account() {
        let policy = Policy::parse(OPEN, "b").unwrap();
        let settings = BucketSettings::default();
        let (headers, uri) = (HeaderMap::new(), Uri::from_static("/b"));
        for (caller, owner, in_account) in [
            ("1$bob", "1$owner", true),
            ("2$bob", "1$owner", false),
            ("bob", "1$owner", false),
            ("bob", "owner", false),
            ("$bob", "$owner", false),
        ] {
            let caller = Caller::User(caller.into());
            let facts = Facts {
                caller: &caller,
                bucket_owner: owner,
                settings: &settings,
                policy: Some(&policy),
                object: None,
            };
            let context = context(&caller, &headers, &uri);
            let action = "s3:PutBucketPolicy";
            assert_eq!(decide(&facts, action, "b", &context), in_account);
            let in_vain = is_cross_account_policy_access(&facts, action, "b", &context);
            assert_eq!(in_vain, !in_account, "{caller:?}");
        }
    }

    #[test]
    fn the_owner_is_never_locked_out_of_the_policy() {
        let shut = Case {
            policy: Some(SHUT),
            ..case()
        };
        assert!(allowed(&shut, "s3:DeleteBucketPolicy")[1]);
        assert!(!allowed(&shut, "s3:PutBucketPolicy")[3]);
    }
}
