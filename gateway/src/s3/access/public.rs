//! Whether a policy opens a bucket to everybody. Source: S3 user guide, "The meaning of 'public'".

use super::condition::Condition;
use super::policy::Policy;
use super::statement::{Effect, Named, Principal};

/// Condition keys that tie a statement to somebody, if their values are fixed.
const TYING_KEYS: [&str; 12] = [
    "aws:sourcearn",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:sourceowner",
    "aws:sourceaccount",
    "aws:sourceip",
    "aws:userid",
    "aws:username",
    "aws:principalorgid",
    "aws:principalarn",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:dataaccesspointarn",
];

impl Policy {
    /// Whether a statement allows something to everybody without tying it to anybody.
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(|statement| {
            let is_for_everybody = match &statement.principals {
                Named::Only(principals) => principals.contains(&Principal::Everybody),
                Named::AllBut(_) => true,
            };
            statement.effect == Effect::Allow
                && is_for_everybody
                && !statement.conditions.iter().any(ties)
        })
    }
}

fn ties(condition: &Condition) -> bool {
    let key = condition.key.to_ascii_lowercase();
    let is_fixed = |value: &String| {
        let everything = ["0.0.0.0/0", "::/0"].contains(&value.as_str());
        !everything && !value.contains(['*', '?'])
    };
    TYING_KEYS.contains(&key.as_str()) && condition.values.iter().all(is_fixed)
}
