//! What operators order of users: create, list, show, disable, enable, delete, rotate. A secret key is
//! told once, in the answer that made it.

use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use metastore::{AccessKey, MetaError, MetaResult, Metastore, User, UserName};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tracing::info;

use super::answers::{Answer, body, json, not_found, refuse, unavailable};
use crate::users::{KeptSecret, Secrets};

/// Users read at a time.
const PAGE: usize = 1000;
/// Longest name, email and id.
const NAME_MAX_BYTES: usize = 256;

/// A user that is to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The name that owner fields show.
    pub display_name: String,
    /// Grants may name the user by it.
    pub email: Option<String>,
}

/// A user without secrets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShownUser {
    /// Canonical id.
    pub id: String,
    /// The name that owner fields show.
    pub display_name: String,
    /// Grants may name the user by it.
    pub email: Option<String>,
    /// Its access keys.
    pub access_keys: Vec<String>,
    /// Whether no key of its may sign.
    pub disabled: bool,
}

/// A user with the key that was made just now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MadeKey {
    /// Canonical id of the user.
    pub id: String,
    /// The new access key.
    pub access_key: String,
    /// Its secret, which is not told again.
    pub secret_key: String,
}

/// Carries orders about users out. Cheap to clone.
#[derive(Clone)]
pub struct UserAdmin {
    metastore: Arc<dyn Metastore>,
    secrets: Secrets,
    /// Held while a user is read and written.
    changes: Arc<Mutex<()>>,
}

enum Change {
    Disable,
    Enable,
}

impl UserAdmin {
    pub fn new(metastore: Arc<dyn Metastore>, secrets: Secrets) -> Self {
        Self {
            metastore,
            secrets,
            changes: Arc::default(),
        }
    }

    /// What is held while a user is changed.
    pub fn changes(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.changes)
    }

    /// Answers a request below `users`; `words` is the rest of its path.
    pub async fn handle(&self, words: &[&str], request: Request<Incoming>) -> Answer {
        let method = request.method().clone();
        let done = match (&method, words) {
            (&Method::POST, []) => {
                let new = match body::<NewUser>(request).await {
                    Ok(new) => new,
                    Err(refusal) => return refusal,
                };
                if let Some(refusal) = refuse_names(&new) {
                    return refusal;
                }
                self.create(new)
                    .await
                    .map(|made| json(StatusCode::OK, &made))
            }
            (&Method::GET, []) => self.list().await.map(|users| json(StatusCode::OK, &users)),
            (method, [id, rest @ ..]) => {
                let id = percent_decode_str(id).decode_utf8_lossy();
                match (method, rest) {
                    (&Method::GET, []) => {
                        self.show(&id).await.map(|user| json(StatusCode::OK, &user))
                    }
                    (&Method::POST, ["disable"]) => self.change(&id, &Change::Disable).await,
                    (&Method::POST, ["enable"]) => self.change(&id, &Change::Enable).await,
                    (&Method::POST, ["delete"]) => self.delete(&id).await,
                    (&Method::POST, ["rotate"]) => self
                        .rotate(&id)
                        .await
                        .map(|made| json(StatusCode::OK, &made)),
                    _ => return not_found(),
                }
            }
            _ => return not_found(),
        };
        done.unwrap_or_else(|error| refusal_of(&error))
    }

    async fn create(&self, new: NewUser) -> MetaResult<MadeKey> {
        let made = made_key(random_hex::<32>());
        let user = User {
            id: made.id.clone(),
            display_name: new.display_name,
            email: new.email.filter(|email| !email.is_empty()),
            keys: vec![self.kept(&made)],
        };
        self.metastore.put_user(user).await?;
        info!(id = made.id, "a user was created");
        Ok(made)
    }

    async fn list(&self) -> MetaResult<Vec<ShownUser>> {
        let mut shown = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.metastore.list_users(after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(shown);
            };
            after = Some(last.id.clone());
            shown.extend(page.into_iter().map(|user| self.shown(user)));
        }
    }

    async fn show(&self, id: &str) -> MetaResult<ShownUser> {
        let user = self.metastore.user(UserName::Id(id)).await?;
        Ok(self.shown(user))
    }

    async fn change(&self, id: &str, change: &Change) -> MetaResult<Answer> {
        let _alone = self.changes.lock().await;
        let mut user = self.metastore.user(UserName::Id(id)).await?;
        for key in &mut user.keys {
            let (KeptSecret::Active(secret) | KeptSecret::Disabled(secret)) =
                self.secrets.open(key).map_err(unreadable)?;
            let kept = match change {
                Change::Disable => KeptSecret::Disabled(secret),
                Change::Enable => KeptSecret::Active(secret),
            };
            *key = self.secrets.keep(&key.access_key, &kept);
        }
        self.metastore.put_user(user).await?;
        info!(id, "a user's keys were disabled or enabled");
        Ok(json(StatusCode::OK, &serde_json::json!({})))
    }

    async fn delete(&self, id: &str) -> MetaResult<Answer> {
        let _alone = self.changes.lock().await;
        self.metastore.delete_user(id).await?;
        info!(id, "a user was deleted");
        Ok(json(StatusCode::OK, &serde_json::json!({})))
    }

    /// A new key in place of all others.
    async fn rotate(&self, id: &str) -> MetaResult<MadeKey> {
        let _alone = self.changes.lock().await;
        let mut user = self.metastore.user(UserName::Id(id)).await?;
        let made = made_key(user.id.clone());
        user.keys = vec![self.kept(&made)];
        self.metastore.put_user(user).await?;
        info!(id, "a user got a new key");
        Ok(made)
    }

    fn kept(&self, made: &MadeKey) -> AccessKey {
        let secret = KeptSecret::Active(made.secret_key.clone());
        self.secrets.keep(&made.access_key, &secret)
    }

    fn shown(&self, user: User) -> ShownUser {
        let may_sign = |key| matches!(self.secrets.open(key), Ok(KeptSecret::Active(_)));
        ShownUser {
            disabled: !user.keys.iter().any(may_sign),
            access_keys: user.keys.into_iter().map(|key| key.access_key).collect(),
            id: user.id,
            display_name: user.display_name,
            email: user.email,
        }
    }
}

fn made_key(id: String) -> MadeKey {
    MadeKey {
        id,
        access_key: format!("SX{}", random_hex::<9>().to_uppercase()),
        secret_key: random_hex::<20>(),
    }
}

fn random_hex<const N: usize>() -> String {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("a running kernel's random source does not fail");
    hex::encode(bytes)
}

fn unreadable(_: crate::sealing::KeyRingError) -> MetaError {
    MetaError::Corrupt {
        table: "users",
        detail: "a secret key was sealed under another master key".into(),
    }
}

fn refuse_names(new: &NewUser) -> Option<Answer> {
    let fits = |name: &str| name.len() <= NAME_MAX_BYTES && !name.chars().any(char::is_control);
    let is_good = !new.display_name.is_empty()
        && fits(&new.display_name)
        && new.email.as_deref().is_none_or(fits);
    (!is_good).then(|| {
        refuse(
            StatusCode::BAD_REQUEST,
            "invalid",
            "a display name of 1 to 256 bytes is needed, and an email of at most as many",
        )
    })
}

fn refusal_of(error: &MetaError) -> Answer {
    match error {
        MetaError::NoSuchUser => refuse(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is no such user; `gateway admin user list` shows all",
        ),
        MetaError::NameTaken(name) => refuse(
            StatusCode::CONFLICT,
            "conflict",
            &format!("'{name}' is already used by another user"),
        ),
        error => unavailable(&error.to_string()),
    }
}
