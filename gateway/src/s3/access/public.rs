//! Whether a policy opens a bucket to everybody. Source: S3 user guide, "The meaning of 'public'".

use super::condition::Condition;
use super::policy::Policy;
use super::statement::{Effect, Named, Principal};

/// Condition keys that tie a statement to somebody, if they must have fixed values.
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
    TYING_KEYS.contains(&key.as_str()) && condition.is_fixed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_public(principal: &str, condition: &str) -> bool {
        let policy = format!(
            r#"{{"Statement": {{"Effect": "Allow", "Principal": {principal}, "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::b/*", "Condition": {condition}}}}}"#
        );
        Policy::parse(&policy, "b").unwrap().is_public()
    }

    #[test]
    fn only_what_is_tied_to_fixed_values_is_not_public() {
        for (condition, public) in [
            ("{}", true),
            (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, false),
            (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/7"}}"#, true),
            (
                r#"{"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/1"]}}"#,
                true,
            ),
            (r#"{"IpAddress": {"aws:SourceIp": "2001:db8::/32"}}"#, false),
            (r#"{"IpAddress": {"aws:SourceIp": "2001::/16"}}"#, true),
            (r#"{"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, true),
            (
                r#"{"IpAddressIfExists": {"aws:SourceIp": "10.0.0.0/8"}}"#,
                true,
            ),
            (r#"{"StringEquals": {"aws:username": "bob"}}"#, false),
            (r#"{"StringLike": {"aws:username": "bob"}}"#, false),
            (r#"{"StringLike": {"aws:username": "b*"}}"#, true),
            (r#"{"StringNotEquals": {"aws:username": "bob"}}"#, true),
            (
                r#"{"ForAllValues:StringEquals": {"aws:username": "bob"}}"#,
                true,
            ),
            (
                r#"{"ForAnyValue:StringEquals": {"aws:username": "bob"}}"#,
                false,
            ),
            (r#"{"Null": {"aws:username": "false"}}"#, true),
            (r#"{"StringEquals": {"aws:Referer": "https://a"}}"#, true),
        ] {
            assert_eq!(is_public("\"*\"", condition), public, "{condition}");
        }
        assert!(!is_public(r#"{"AWS": "arn:aws:iam:::user/bob"}"#, "{}"));
    }
}
