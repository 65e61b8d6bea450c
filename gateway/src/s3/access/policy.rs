//! Bucket policies: read from JSON, and held against a request. Deny comes first. Source: IAM user
//! guide, "Policy evaluation logic".

use serde_json::Value;

use super::caller::Caller;
use super::context::{RequestContext, is_existing_tag};
use super::new_policy::{check_statement, refuse_repeated_members};
use super::statement::{Effect, Statement};

/// Longest policy that is kept.
pub const POLICY_MAX_BYTES: usize = 20 * 1024;

const VERSIONS: [&str; 2] = ["2012-10-17", "2008-10-17"];

/// A bucket policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its statements.
    pub statements: Vec<Statement>,
}

/// What a policy says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A statement denies it.
    Deny,
    /// A statement allows it and none denies it.
    Allow,
    /// Nothing.
    NoMatch,
}

impl Policy {
    /// Reads a policy that a client gives to `bucket`, and checks that each statement can match.
    ///
    /// # Errors
    /// What is wrong, in words for the client.
    pub fn parse_new(text: &str, bucket: &str) -> Result<Self, String> {
        let policy = Self::parse(text, bucket)?;
        refuse_repeated_members(text)?;
        policy.statements.iter().try_for_each(check_statement)?;
        Ok(policy)
    }

    /// Reads the policy of `bucket`.
    ///
    /// # Errors
    /// What is wrong, in words for the client.
    pub fn parse(text: &str, bucket: &str) -> Result<Self, String> {
        if text.len() > POLICY_MAX_BYTES {
            return Err("the policy is too large".into());
        }
        let policy: Value =
            serde_json::from_str(text).map_err(|_| "Policies must be valid JSON".to_owned())?;
        let fields = policy.as_object().ok_or("a policy must be an object")?;
        if let Some(unknown) = fields
            .keys()
            .find(|key| !["Version", "Id", "Statement"].contains(&key.as_str()))
        {
            return Err(format!("unknown field {unknown}"));
        }
        if let Some(version) = fields.get("Version")
            && !version
                .as_str()
                .is_some_and(|text| VERSIONS.contains(&text))
        {
            return Err("the policy must contain a valid version string".into());
        }
        let statements: Vec<_> = match fields.get("Statement") {
            Some(Value::Array(statements)) => statements.iter().collect(),
            Some(statement @ Value::Object(_)) => vec![statement],
            _ => return Err("a policy needs a statement".into()),
        };
        // In older policies such a text stands for itself.
        let has_variables = fields.get("Version").and_then(Value::as_str) == Some(VERSIONS[0])
            && statements
                .iter()
                .any(|statement| Statement::has_variables(statement));
        if has_variables {
            return Err("policy variables are not implemented".into());
        }
        let statements = statements
            .into_iter()
            .map(|statement| Statement::parse(statement, bucket))
            .collect::<Result<Vec<_>, _>>()?;
        match statements.is_empty() {
            true => Err("a policy needs a statement".into()),
            false => Ok(Self { statements }),
        }
    }

    /// Whether a condition looks at the tags of what is there.
    pub fn looks_at_tags(&self) -> bool {
        let statements = self.statements.iter();
        let mut conditions = statements.flat_map(|statement| &statement.conditions);
        conditions.any(|condition| is_existing_tag(&condition.key))
    }

    /// Whether a statement may allow one of `actions` to the caller on something.
    pub fn may_allow(&self, caller: &Caller, actions: &[&str]) -> bool {
        self.statements.iter().any(|statement| {
            let concerns = |action: &&str| statement.concerns(caller, action);
            statement.effect == Effect::Allow && actions.iter().any(concerns)
        })
    }

    /// What the policy says of a request. `resource` is `bucket` or `bucket/key`.
    pub fn verdict(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        context: &RequestContext<'_>,
    ) -> Verdict {
        let mut verdict = Verdict::NoMatch;
        for statement in &self.statements {
            if statement.applies(caller, action, resource, context) {
                match statement.effect {
                    Effect::Deny => return Verdict::Deny,
                    Effect::Allow => verdict = Verdict::Allow,
                }
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_looked_at_however_their_key_is_written() {
        for (key, expected) in [
            ("s3:ExistingObjectTag/a", true),
            ("S3:existingobjecttag/a", true),
            ("s3:Existing\\u004fbjectTag/a", true),
            ("s3:RequestObjectTag/ExistingObjectTag", false),
        ] {
            let text = format!(
                r#"{{"Statement":{{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*",
                "Condition":{{"StringEquals":{{"{key}":"b"}}}}}}}}"#
            );
            let policy = Policy::parse(&text, "bucket").unwrap();
            assert_eq!(policy.looks_at_tags(), expected, "{key}");
        }
    }
}
