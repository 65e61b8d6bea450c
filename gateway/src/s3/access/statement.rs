//! Statements of bucket policies: whom they are for, what they allow or deny, and on what.

use serde_json::Value;

use super::account::account_of;
use super::caller::Caller;
use super::condition::{Condition, texts};
use super::context::RequestContext;
use super::glob::{PATTERN_MAX_BYTES, fits};

/// What every resource begins with.
pub const RESOURCE_PREFIX: &str = "arn:aws:s3:::";

/// Whether a statement allows or denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies, whatever else allows.
    Deny,
}

/// A list that names what it is for, or what it is not for.
#[derive(Debug, Clone)]
pub enum Named<T> {
    /// `Principal`, `Action`, `Resource`.
    Only(Vec<T>),
    /// `NotPrincipal`, `NotAction`, `NotResource`.
    AllBut(Vec<T>),
}

/// Whom a statement is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Everybody, without a signature too.
    Everybody,
    /// One user, by canonical id or ARN.
    User(String),
    /// A service or a federation: nobody here signs as one.
    Elsewhere,
}

/// One statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Allows or denies.
    pub effect: Effect,
    /// Whom it is for.
    pub principals: Named<Principal>,
    /// Patterns of actions.
    pub actions: Named<String>,
    /// Patterns of `bucket` and `bucket/key`.
    pub resources: Named<String>,
    /// All must hold.
    pub conditions: Vec<Condition>,
}

const KEYS: [&str; 9] = [
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
];

impl Statement {
    /// Reads one statement of the policy of `bucket`.
    ///
    /// # Errors
    /// What is wrong, in words for the client.
    pub fn parse(statement: &Value, bucket: &str) -> Result<Self, String> {
        let fields = statement
            .as_object()
            .ok_or("a statement must be an object")?;
        if let Some(unknown) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("unknown field {unknown}"));
        }
        let effect = match fields.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err("Effect must be Allow or Deny".into()),
        };
        let field = |name: &str| fields.get(name);
        let principals = named(
            "Principal",
            field("Principal"),
            field("NotPrincipal"),
            principals,
        )?;
        // AWS refuses it too: it would allow everybody but the one.
        if effect == Effect::Allow && matches!(principals, Named::AllBut(_)) {
            return Err("NotPrincipal cannot be used with Allow".into());
        }
        let actions = named("Action", field("Action"), field("NotAction"), actions)?;
        let resources = named(
            "Resource",
            field("Resource"),
            field("NotResource"),
            |value| resources(value, bucket),
        )?;
        let mut conditions = Vec::new();
        if let Some(operators) = fields.get("Condition") {
            let operators = operators.as_object().ok_or("Condition must be an object")?;
            for (operator, keys) in operators {
                conditions.extend(Condition::parse(operator, keys)?);
            }
        }
        Ok(Self {
            effect,
            principals,
            actions,
            resources,
            conditions,
        })
    }

    /// Whether the statement has policy variables (`${…}`) where they count.
    pub fn has_variables(statement: &Value) -> bool {
        ["Resource", "NotResource", "Condition"]
            .into_iter()
            .filter_map(|field| statement.get(field))
            .any(|field| field.to_string().contains("${"))
    }

    /// Whether the statement is for this caller and about this action, on whatever.
    pub fn concerns(&self, caller: &Caller, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        self.principals.names(|principal| principal.is(caller))
            && self
                .actions
                .names(|pattern| fits(&pattern.to_ascii_lowercase(), &action))
    }

    /// Whether the statement is about this request. `resource` has no ARN prefix.
    pub fn applies(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        context: &RequestContext<'_>,
    ) -> bool {
        self.concerns(caller, action)
            && self.resources.names(|pattern| fits(pattern, resource))
            && self
                .conditions
                .iter()
                .all(|condition| condition.holds(context))
    }
}

impl<T> Named<T> {
    fn names(&self, is: impl Fn(&T) -> bool) -> bool {
        match self {
            Self::Only(list) => list.iter().any(is),
            Self::AllBut(list) => !list.iter().any(is),
        }
    }
}

impl Principal {
    fn is(&self, caller: &Caller) -> bool {
        match self {
            Self::Everybody => true,
            Self::Elsewhere => false,
            Self::User(name) => caller.id().is_some_and(|id| names_user(name, id)),
        }
    }
}

/// Whether a principal's name is that of the user with this canonical id: the id itself, an ARN that
/// ends in it (`arn:aws:iam::…:user/ID`, `arn:aws:iam::ID:root`), or one with the user's account
/// (`arn:aws:iam::ACCOUNT:user/NAME`, `arn:aws:iam::ACCOUNT:root` for all users of the account).
fn names_user(name: &str, id: &str) -> bool {
    let Some(arn) = name.strip_prefix("arn:aws:iam::") else {
        return name == id;
    };
    match arn.split_once(':') {
        Some((account, "root")) => {
            account == id || (!account.is_empty() && account == account_of(id))
        }
        Some((account, user)) => user
            .strip_prefix("user/")
            .is_some_and(|name| name == id || id.split_once('$') == Some((account, name))),
        None => false,
    }
}

fn named<T>(
    name: &str,
    only: Option<&Value>,
    all_but: Option<&Value>,
    read: impl Fn(&Value) -> Result<Vec<T>, String>,
) -> Result<Named<T>, String> {
    match (only, all_but) {
        (Some(value), None) => read(value).map(Named::Only),
        (None, Some(value)) => read(value).map(Named::AllBut),
        _ => Err(format!("a statement needs {name} or Not{name}")),
    }
}

fn principals(value: &Value) -> Result<Vec<Principal>, String> {
    let principal = |name: String| match name.as_str() {
        "*" => Principal::Everybody,
        _ => Principal::User(name),
    };
    match value {
        Value::String(text) if text == "*" => Ok(vec![Principal::Everybody]),
        Value::Object(kinds) => {
            let mut all = Vec::new();
            for (kind, names) in kinds {
                match kind.as_str() {
                    "AWS" | "CanonicalUser" => {
                        all.extend(texts(names)?.into_iter().map(principal));
                    }
                    "Service" | "Federated" => {
                        all.extend(texts(names)?.into_iter().map(|_| Principal::Elsewhere));
                    }
                    _ => return Err(format!("unknown kind of principal {kind}")),
                }
            }
            Ok(all)
        }
        _ => Err("invalid principal".into()),
    }
}

fn actions(value: &Value) -> Result<Vec<String>, String> {
    let actions = texts(value)?;
    let is_known = |action: &String| {
        let is_bounded = action.len() <= PATTERN_MAX_BYTES;
        let action = action.to_ascii_lowercase();
        is_bounded && (action == "*" || action.starts_with("s3:"))
    };
    match actions.iter().find(|action| !is_known(action)) {
        Some(action) => Err(format!("invalid action {action}")),
        None if actions.is_empty() => Err("a statement needs an action".into()),
        None => Ok(actions),
    }
}

fn resources(value: &Value, bucket: &str) -> Result<Vec<String>, String> {
    let mut patterns = Vec::new();
    for resource in texts(value)? {
        let pattern = match resource.as_str() {
            "*" => "*",
            arn => arn
                .strip_prefix(RESOURCE_PREFIX)
                .ok_or_else(|| format!("invalid resource {resource}"))?,
        };
        let named = pattern.split('/').next().unwrap_or_default();
        if pattern.len() > PATTERN_MAX_BYTES {
            return Err("a resource is too long".into());
        }
        if !fits(named, bucket) {
            return Err(format!("the resource {resource} is not of this bucket"));
        }
        patterns.push(pattern.to_owned());
    }
    match patterns.is_empty() {
        true => Err("a statement needs a resource".into()),
        false => Ok(patterns),
    }
}
