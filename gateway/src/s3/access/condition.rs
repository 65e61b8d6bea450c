//! Conditions of policy statements. Source: IAM user guide, "IAM JSON policy elements: Condition
//! operators".

use std::net::IpAddr;

use base64::Engine as _;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::context::{RequestContext, is_known};
use super::glob::{PATTERN_MAX_BYTES, fits};

/// One operator on one key.
#[derive(Debug, Clone)]
pub struct Condition {
    operator: Operator,
    negated: bool,
    if_exists: bool,
    set: Set,
    /// The condition key as it was written.
    pub key: String,
    /// The values it may have.
    pub values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    /// The key has one value.
    One,
    /// `ForAllValues:`.
    All,
    /// `ForAnyValue:`.
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equals,
    EqualsIgnoreCase,
    Like,
    Number(Comparison),
    Date(Comparison),
    Bool,
    Binary,
    IpAddress,
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equals,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// Reads the conditions under one operator.
    ///
    /// # Errors
    /// What is wrong, in words for the client.
    pub fn parse(operator: &str, keys: &Value) -> Result<Vec<Self>, String> {
        let (set, name) = match operator.split_once(':') {
            None => (Set::One, operator),
            Some(("ForAllValues", name)) => (Set::All, name),
            Some(("ForAnyValue", name)) => (Set::Any, name),
            Some(_) => return Err(format!("unknown condition operator {operator}")),
        };
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (operator, negated) =
            operator_of(name).ok_or_else(|| format!("unknown condition operator {operator}"))?;
        let keys = keys.as_object().ok_or("conditions must be an object")?;
        keys.iter()
            .map(|(key, values)| {
                let condition = Self {
                    operator,
                    negated,
                    if_exists,
                    set,
                    key: key.clone(),
                    values: texts(values)?,
                };
                condition.check().map(|()| condition)
            })
            .collect()
    }

    /// A key that nobody here knows would never match, and a statement that denies by it would deny
    /// nothing.
    fn check(&self) -> Result<(), String> {
        if !is_known(&self.key) {
            return Err(format!("the condition key {} is not known here", self.key));
        }
        let is_good = |value: &String| value.len() <= PATTERN_MAX_BYTES && self.is_readable(value);
        match self.values.iter().all(is_good) {
            true => Ok(()),
            false => Err(format!("invalid value for the condition key {}", self.key)),
        }
    }

    /// Whether the key must have one of certain values, or an address in certain networks that are
    /// not too wide. Source: S3 user guide, "The meaning of 'public'".
    pub fn is_fixed(&self) -> bool {
        let is_fixed = |value: &String| match self.operator {
            Operator::Equals | Operator::EqualsIgnoreCase | Operator::Like => {
                !value.contains(['*', '?'])
            }
            Operator::IpAddress => network(value).is_some_and(|network| !network.is_wide()),
            _ => false,
        };
        let must_hold = !self.negated && !self.if_exists && self.set != Set::All;
        must_hold && self.values.iter().all(is_fixed)
    }

    /// Whether the request meets the condition.
    pub fn holds(&self, context: &RequestContext<'_>) -> bool {
        let given = context.values(&self.key);
        if self.operator == Operator::Null {
            return self
                .values
                .iter()
                .any(|value| value.eq_ignore_ascii_case("true") == given.is_empty());
        }
        if given.is_empty() {
            return match self.set {
                // A negated operator holds for a key that is not there.
                Set::One => self.if_exists || self.negated,
                Set::All => true,
                Set::Any => self.if_exists,
            };
        }
        let holds_for = |value: &String| self.matches_any(value) != self.negated;
        match self.set {
            Set::All => given.iter().all(holds_for),
            Set::One | Set::Any => given.iter().any(holds_for),
        }
    }

    fn matches_any(&self, given: &str) -> bool {
        self.values.iter().any(|wanted| self.matches(wanted, given))
    }

    fn matches(&self, wanted: &str, given: &str) -> bool {
        match self.operator {
            Operator::Equals | Operator::Binary => wanted == given,
            Operator::EqualsIgnoreCase | Operator::Bool => wanted.eq_ignore_ascii_case(given),
            Operator::Like => fits(wanted, given),
            Operator::Number(comparison) => compare(comparison, number(given), number(wanted)),
            Operator::Date(comparison) => compare(comparison, moment(given), moment(wanted)),
            Operator::IpAddress => match (given.parse(), network(wanted)) {
                (Ok(given), Some(network)) => network.contains(given),
                _ => false,
            },
            Operator::Null => false,
        }
    }

    fn is_readable(&self, value: &str) -> bool {
        match self.operator {
            Operator::Equals | Operator::EqualsIgnoreCase | Operator::Like => true,
            Operator::Number(_) => number(value).is_some(),
            Operator::Date(_) => moment(value).is_some(),
            Operator::Bool | Operator::Null => {
                value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
            }
            Operator::Binary => base64::engine::general_purpose::STANDARD
                .decode(value)
                .is_ok(),
            Operator::IpAddress => network(value).is_some(),
        }
    }
}

/// The texts of a value that may stand alone or in a list.
pub fn texts(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Bool(flag) => Ok(vec![flag.to_string()]),
        Value::Number(number) => Ok(vec![number.to_string()]),
        Value::Array(values) => {
            let lists: Result<Vec<_>, _> = values
                .iter()
                .map(|value| match value {
                    Value::Array(_) => Err("lists may not be nested".to_owned()),
                    value => texts(value),
                })
                .collect();
            Ok(lists?.into_iter().flatten().collect())
        }
        Value::Null | Value::Object(_) => Err("expected a string or a list of strings".into()),
    }
}

fn operator_of(name: &str) -> Option<(Operator, bool)> {
    use Comparison::{Equals, Greater, GreaterOrEqual, Less, LessOrEqual};
    Some(match name {
        "StringEquals" => (Operator::Equals, false),
        "StringNotEquals" => (Operator::Equals, true),
        "StringEqualsIgnoreCase" => (Operator::EqualsIgnoreCase, false),
        "StringNotEqualsIgnoreCase" => (Operator::EqualsIgnoreCase, true),
        "StringLike" | "ArnLike" | "ArnEquals" => (Operator::Like, false),
        "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => (Operator::Like, true),
        "NumericEquals" => (Operator::Number(Equals), false),
        "NumericNotEquals" => (Operator::Number(Equals), true),
        "NumericLessThan" => (Operator::Number(Less), false),
        "NumericLessThanEquals" => (Operator::Number(LessOrEqual), false),
        "NumericGreaterThan" => (Operator::Number(Greater), false),
        "NumericGreaterThanEquals" => (Operator::Number(GreaterOrEqual), false),
        "DateEquals" => (Operator::Date(Equals), false),
        "DateNotEquals" => (Operator::Date(Equals), true),
        "DateLessThan" => (Operator::Date(Less), false),
        "DateLessThanEquals" => (Operator::Date(LessOrEqual), false),
        "DateGreaterThan" => (Operator::Date(Greater), false),
        "DateGreaterThanEquals" => (Operator::Date(GreaterOrEqual), false),
        "Bool" => (Operator::Bool, false),
        "BinaryEquals" => (Operator::Binary, false),
        "IpAddress" => (Operator::IpAddress, false),
        "NotIpAddress" => (Operator::IpAddress, true),
        "Null" => (Operator::Null, false),
        _ => return None,
    })
}

fn compare<T: PartialOrd>(comparison: Comparison, given: Option<T>, wanted: Option<T>) -> bool {
    let (Some(given), Some(wanted)) = (given, wanted) else {
        return false;
    };
    match comparison {
        Comparison::Equals => given == wanted,
        Comparison::Less => given < wanted,
        Comparison::LessOrEqual => given <= wanted,
        Comparison::Greater => given > wanted,
        Comparison::GreaterOrEqual => given >= wanted,
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

/// A moment in seconds since 1970, written so or as RFC 3339 does.
fn moment(text: &str) -> Option<i64> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339).ok();
    parsed
        .map(OffsetDateTime::unix_timestamp)
        .or_else(|| text.parse().ok())
}

/// Addresses that share their first bits.
struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

impl Network {
    /// Whether the network is too large to count as a restriction (see `is_public`).
    fn is_wide(&self) -> bool {
        let narrow_bits = if self.address.is_ipv4() { 8 } else { 32 };
        self.prefix_bits < narrow_bits
    }

    fn contains(&self, address: IpAddr) -> bool {
        let (bits, given, own) = match (address, self.address) {
            (IpAddr::V4(given), IpAddr::V4(own)) => {
                (32, u128::from(u32::from(given)), u128::from(u32::from(own)))
            }
            (IpAddr::V6(given), IpAddr::V6(own)) => (128, u128::from(given), u128::from(own)),
            _ => return false,
        };
        let ignored = bits - self.prefix_bits;
        ignored >= 128 || given >> ignored == own >> ignored
    }
}

fn network(text: &str) -> Option<Network> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let all = if address.is_ipv4() { 32 } else { 128 };
    let prefix_bits = match prefix {
        Some(prefix) => prefix.parse().ok().filter(|bits| *bits <= all)?,
        None => all,
    };
    Some(Network {
        address,
        prefix_bits,
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Uri};

    use super::super::Caller;
    use super::super::context::Read;
    use super::*;
    use crate::s3::edge::signature::Signature;

    /// Headers of a request.
    type Given = &'static [(&'static str, &'static str)];

    /// Whether a condition holds for a request of bob's with these headers.
    fn holds(condition: &str, headers: Given) -> bool {
        let operators: Value = serde_json::from_str(condition).unwrap();
        let (operator, keys) = operators.as_object().unwrap().iter().next().unwrap();
        let conditions = Condition::parse(operator, keys).unwrap();
        let named = |(name, value): &(&'static str, &'static str)| {
            let name = http::HeaderName::from_static(name);
            (name, http::HeaderValue::from_static(value))
        };
        let headers: HeaderMap = headers.iter().map(named).collect();
        let uri = Uri::from_static("/b/k?X-Amz-Signature=0&X-Amz-Date=20200101T000000Z");
        let caller = Caller::User("bob".into());
        let context = RequestContext {
            method: &http::Method::PUT,
            headers: &headers,
            uri: &uri,
            caller: &caller,
            source_ip: None,
            tls: None,
            bucket_owner: "acme$ann",
            signature: Signature::of(&http::Method::GET, &headers, uri.query()),
            existing_tags: &[],
            // Ten minutes later.
            now_ms: 1_577_836_800_000 + 600_000,
            prefix: None,
            read: Read::default(),
        };
        conditions.iter().all(|condition| condition.holds(&context))
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn conditions_hold_as_iam_says() {
        let acl: Given = &[("x-amz-acl", "private")];
        let empty: Given = &[("x-amz-acl", "")];
        let rows: [(&str, Given, bool); 27] = [
            (
                r#"{"StringEquals": {"s3:x-amz-acl": "private"}}"#,
                acl,
                true,
            ),
            (
                r#"{"StringEquals": {"s3:x-amz-acl": "private"}}"#,
                &[],
                false,
            ),
            (
                r#"{"StringNotEquals": {"s3:x-amz-acl": "private"}}"#,
                &[],
                true,
            ),
            (
                r#"{"StringNotEquals": {"s3:x-amz-acl": "private"}}"#,
                empty,
                true,
            ),
            (
                r#"{"ForAnyValue:StringNotEquals": {"s3:x-amz-acl": "x"}}"#,
                &[],
                false,
            ),
            (
                r#"{"ForAnyValue:StringNotEquals": {"s3:x-amz-acl": "x"}}"#,
                acl,
                true,
            ),
            (
                r#"{"ForAnyValue:StringEqualsIfExists": {"s3:x-amz-acl": "x"}}"#,
                &[],
                true,
            ),
            (
                r#"{"ForAllValues:StringEquals": {"s3:x-amz-acl": "x"}}"#,
                &[],
                true,
            ),
            (
                r#"{"StringEqualsIfExists": {"s3:x-amz-acl": "x"}}"#,
                acl,
                false,
            ),
            (r#"{"Null": {"s3:x-amz-acl": "True"}}"#, &[], true),
            (r#"{"Null": {"s3:x-amz-acl": "True"}}"#, empty, true),
            (r#"{"Null": {"s3:x-amz-acl": "True"}}"#, acl, false),
            (r#"{"Null": {"s3:x-amz-acl": "FALSE"}}"#, acl, true),
            (
                r#"{"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}"#,
                &[],
                true,
            ),
            (
                r#"{"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}"#,
                &[],
                true,
            ),
            (
                r#"{"NumericGreaterThan": {"s3:signatureAge": "599999"}}"#,
                &[],
                true,
            ),
            (
                r#"{"NumericGreaterThan": {"s3:signatureAge": "600000"}}"#,
                &[],
                false,
            ),
            (
                r#"{"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/bob"}}"#,
                &[],
                true,
            ),
            (r#"{"Bool": {"aws:ViaAWSService": "false"}}"#, &[], true),
            (
                r#"{"StringEquals": {"s3:ResourceAccount": "acme"}}"#,
                &[],
                true,
            ),
            (
                r#"{"StringNotEquals": {"aws:ResourceAccount": "acme"}}"#,
                &[],
                false,
            ),
            (
                r#"{"StringEquals": {"aws:PrincipalType": "User"}}"#,
                &[],
                true,
            ),
            (
                r#"{"Bool": {"s3:ObjectCreationOperation": "true"}}"#,
                &[],
                true,
            ),
            (
                r#"{"NumericLessThan": {"s3:TlsVersion": "1.3"}}"#,
                &[],
                false,
            ),
            (r#"{"Null": {"s3:TlsVersion": "true"}}"#, &[], true),
            (r#"{"Null": {"aws:SourceIdentity": "true"}}"#, &[], true),
            (
                r#"{"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}"#,
                &[],
                true,
            ),
        ];
        for (condition, headers, expected) in rows {
            assert_eq!(
                holds(condition, headers),
                expected,
                "{condition} {headers:?}"
            );
        }
    }

    #[test]
    fn keys_and_values_that_could_never_match_are_refused() {
        let refused = |operator: &str, keys: Value| Condition::parse(operator, &keys).unwrap_err();
        for key in [
            "aws:NoSuchKey",
            "s3:nothing",
            "ec2:Region",
            "SourceIp",
            "s3:BucketTag/team",
        ] {
            let error = refused("StringEquals", serde_json::json!({ key: "x" }));
            assert!(error.contains("not known"), "{error}");
        }
        let long = "x".repeat(PATTERN_MAX_BYTES + 1);
        refused("StringEquals", serde_json::json!({ "aws:Referer": long }));
    }
}
