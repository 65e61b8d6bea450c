//! Conditions of policy statements. Source: IAM user guide, "IAM JSON policy elements: Condition
//! operators".

use std::net::IpAddr;

use base64::Engine as _;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::context::RequestContext;
use super::pattern::fits;

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
                match condition
                    .values
                    .iter()
                    .all(|value| condition.is_readable(value))
                {
                    true => Ok(condition),
                    false => Err(format!("invalid value for the condition key {key}")),
                }
            })
            .collect()
    }

    /// Whether the request meets the condition.
    pub fn holds(&self, context: &RequestContext<'_>) -> bool {
        let given = context.values(&self.key);
        if self.operator == Operator::Null {
            return self
                .values
                .iter()
                .any(|value| (value == "true") == given.is_empty());
        }
        if given.is_empty() {
            // A negated operator holds for a key that is not there.
            return self.if_exists || self.negated || self.set == Set::All;
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
