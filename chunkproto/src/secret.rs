//! The cluster secret that guards every internal call. Compared in constant time, never printed.

use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq as _;

/// Shortest secret that is accepted.
const SECRET_MIN_BYTES: usize = 16;
/// Longest secret that is accepted, so that it fits in a header.
const SECRET_MAX_BYTES: usize = 1024;

/// The secret shared by all gateways and chunk servers of one cluster.
///
/// Invariant: 16 to 1024 visible ASCII characters.
#[derive(Clone)]
pub struct ClusterSecret(String);

/// A text that cannot be a cluster secret.
#[derive(Debug, thiserror::Error)]
#[error(
    "the cluster secret must have 16 to 1024 visible ASCII characters; `openssl rand -hex 32` makes one"
)]
pub struct InvalidSecret;

impl ClusterSecret {
    /// Takes a secret as given by the operator; surrounding white space is dropped.
    ///
    /// # Errors
    /// A secret that is too short, too long, or not visible ASCII.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let text = text.trim();
        let fits = (SECRET_MIN_BYTES..=SECRET_MAX_BYTES).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSecret)
        }
    }

    /// The value of the `Authorization` header of an internal call.
    #[must_use]
    pub fn to_authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether the call with these headers knows the secret. Takes the same time for every wrong
    /// value of the right length.
    #[must_use]
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let expected = self.to_authorization();
        headers
            .get(AUTHORIZATION)
            .is_some_and(|given| given.as_bytes().ct_eq(expected.as_bytes()).into())
    }

    /// The secret itself, for the one file that keeps it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_is_admitted() {
        let secret = ClusterSecret::parse("0123456789abcdef\n").unwrap();
        let mut headers = HeaderMap::new();
        assert!(!secret.admits(&headers));
        headers.insert(AUTHORIZATION, "Bearer 0123456789abcdeF".parse().unwrap());
        assert!(!secret.admits(&headers));
        headers.insert(AUTHORIZATION, secret.to_authorization().parse().unwrap());
        assert!(secret.admits(&headers));
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = ClusterSecret::parse("0123456789abcdef").unwrap();
        assert!(!format!("{secret:?}").contains("0123"));
    }

    #[test]
    fn short_secrets_are_refused() {
        assert!(ClusterSecret::parse("hunter2").is_err());
    }
}
