//! What a new policy is refused for though it could be read: members that are given twice, and
//! statements that can never match. Who wrote them believes in what they say. Policies that are kept
//! already are read without these checks.

use super::named_actions::{ActionTarget, targets_of};
use super::statement::{Named, Principal, Statement};

/// Why a statement is refused, in AWS's words.
const INVALID_ACTION: &str = "Policy has invalid action";
const INVALID_PRINCIPAL: &str = "Invalid principal in policy";
const IDLE_ACTION: &str = "Action does not apply to any resource(s) in statement";

/// Checks that a statement can match.
///
/// # Errors
/// What is wrong, in AWS's words.
pub fn check_statement(statement: &Statement) -> Result<(), String> {
    let refused = |words: &str| Err(words.to_owned());
    let (Named::Only(principals) | Named::AllBut(principals)) = &statement.principals;
    if principals.is_empty() || !principals.iter().all(may_exist) {
        return refused(INVALID_PRINCIPAL);
    }
    let (Named::Only(actions) | Named::AllBut(actions)) = &statement.actions;
    if actions.iter().any(|action| targets_of(action).is_empty()) {
        return refused(INVALID_ACTION);
    }
    let (Named::Only(actions), Named::Only(resources)) = (&statement.actions, &statement.resources)
    else {
        return Ok(());
    };
    let applies = |action: &String| {
        let targets = targets_of(action);
        targets.iter().any(|target| match target {
            ActionTarget::Service => false,
            ActionTarget::Bucket => resources.iter().any(|resource| !resource.contains('/')),
            // s3-tests puts them on buckets too, where they never match.
            ActionTarget::Object => true,
        })
    };
    match actions.iter().all(applies) {
        true => Ok(()),
        false => refused(IDLE_ACTION),
    }
}

/// Whether a user could have the principal's name. There are no roles here.
fn may_exist(principal: &Principal) -> bool {
    match principal {
        Principal::Everybody | Principal::Elsewhere => true,
        Principal::User(name) => match name.strip_prefix("arn:") {
            None => !name.is_empty(),
            Some(_) => {
                let named = name.strip_prefix("arn:aws:iam::");
                named
                    .and_then(|arn| arn.split_once(':'))
                    .is_some_and(|(account, of_account)| match of_account {
                        "root" => !account.is_empty(),
                        user => user.len() > "user/".len() && user.starts_with("user/"),
                    })
            }
        },
    }
}

/// Refuses valid JSON that names a member twice: readers differ in which of the two they take.
///
/// # Errors
/// What is wrong, in words for the client.
pub fn refuse_repeated_members(text: &str) -> Result<(), String> {
    let members: Result<unique::Members, _> = serde_json::from_str(text);
    let refused = |_| "Policies must not have the same member twice".to_owned();
    members.map(|_| ()).map_err(refused)
}

mod unique {
    use std::collections::HashSet;
    use std::fmt;

    use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

    /// JSON of any shape, in which no object has a member twice.
    pub struct Members;

    impl<'de> Deserialize<'de> for Members {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Self)
        }
    }

    impl<'de> Visitor<'de> for Members {
        type Value = Self;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("JSON")
        }

        fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_unit<E: Error>(self) -> Result<Self, E> {
            Ok(self)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self, A::Error> {
            while values.next_element::<Self>()?.is_some() {}
            Ok(self)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
            let mut names = HashSet::new();
            while let Some(name) = members.next_key::<String>()? {
                if !names.insert(name) {
                    return Err(A::Error::custom("a member is given twice"));
                }
                members.next_value::<Self>()?;
            }
            Ok(self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::Policy;
    use super::*;

    fn outcome(principal: &str, action: &str, resource: &str) -> Result<(), String> {
        let text = format!(
            r#"{{"Statement":{{"Effect":"Deny","Principal":{principal},"Action":{action},"Resource":{resource}}}}}"#
        );
        Policy::parse_new(&text, "b").map(|_| ())
    }

    #[test]
    fn statements_that_can_never_match_are_refused() {
        const ALL: &str = r#""*""#;
        const BUCKET: &str = r#""arn:aws:s3:::b""#;
        const KEYS: &str = r#""arn:aws:s3:::b/*""#;
        let get = r#""s3:GetObject""#;
        for (principal, action, resource, expected) in [
            (ALL, get, KEYS, None),
            (ALL, get, BUCKET, None),
            (ALL, r#""s3:ListBucket""#, KEYS, Some(IDLE_ACTION)),
            (
                ALL,
                r#"["s3:GetObject","s3:ListBucket"]"#,
                KEYS,
                Some(IDLE_ACTION),
            ),
            (ALL, r#""s3:*""#, KEYS, None),
            (ALL, r#""s3:Get*""#, BUCKET, None),
            (ALL, r#""S3:getobject""#, r#""arn:aws:s3:::*""#, None),
            (ALL, r#""s3:ListAllMyBuckets""#, BUCKET, Some(IDLE_ACTION)),
            (ALL, r#""s3:GetObjekt""#, KEYS, Some(INVALID_ACTION)),
            (ALL, r#""s3:Steal*""#, KEYS, Some(INVALID_ACTION)),
            (r#"{"AWS":[]}"#, get, KEYS, Some(INVALID_PRINCIPAL)),
            ("{}", get, KEYS, Some(INVALID_PRINCIPAL)),
            (r#"{"AWS":""}"#, get, KEYS, Some(INVALID_PRINCIPAL)),
            (
                r#"{"AWS":"arn:aws:iam::1:role/r"}"#,
                get,
                KEYS,
                Some(INVALID_PRINCIPAL),
            ),
            (
                r#"{"AWS":"arn:aws:iam::1:user/"}"#,
                get,
                KEYS,
                Some(INVALID_PRINCIPAL),
            ),
            (
                r#"{"AWS":["arn:aws:iam:::user/bob","arn:aws:iam::1:root"]}"#,
                get,
                KEYS,
                None,
            ),
            (r#"{"Service":"logging.s3.amazonaws.com"}"#, get, KEYS, None),
            (r#"{"CanonicalUser":"bob"}"#, get, KEYS, None),
        ] {
            let refused = outcome(principal, action, resource).err();
            assert_eq!(
                refused.as_deref(),
                expected,
                "{principal} {action} {resource}"
            );
        }
    }

    #[test]
    fn a_member_that_is_given_twice_is_refused_wherever_it_stands() {
        let statement = |more: &str| {
            format!(
                r#"{{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"{more}}}"#
            )
        };
        let once = statement("");
        for (text, is_good) in [
            (format!(r#"{{"Statement":[{once}]}}"#), true),
            (
                format!(r#"{{"Statement":{once},"Statement":{once}}}"#),
                false,
            ),
            (
                format!(
                    r#"{{"Statement":[{}]}}"#,
                    statement(r#","Eff\u0065ct":"Allow""#)
                ),
                false,
            ),
            (
                format!(
                    r#"{{"Statement":[{}]}}"#,
                    statement(
                        r#","Condition":{"Bool":{"aws:SecureTransport":"true","aws:SecureTransport":"false"}}"#
                    )
                ),
                false,
            ),
        ] {
            assert_eq!(Policy::parse_new(&text, "b").is_ok(), is_good, "{text}");
            assert!(Policy::parse(&text, "b").is_ok(), "it may be kept already");
        }
    }
}
