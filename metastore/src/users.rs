//! Users: who may sign requests, and the names under which grants and owner fields know them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A user. Kept whole in one row; access keys and the email each name at most one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Canonical id: what owner fields and grants carry. Never changes.
    pub id: String,
    /// The name that owner fields show.
    pub display_name: String,
    /// Grants may name the user by it.
    pub email: Option<String>,
    /// The keys that the user signs with.
    pub keys: Vec<AccessKey>,
}

/// An access key and the secret that signs for it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// Names the user in signatures.
    pub access_key: String,
    /// Signs requests. Kept as the caller hands it over, who seals it; a signature cannot be checked
    /// against a hash.
    pub secret_key: String,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// By what a user is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserName<'a> {
    /// Canonical id.
    Id(&'a str),
    /// One of the access keys.
    AccessKey(&'a str),
    /// Email.
    Email(&'a str),
}
