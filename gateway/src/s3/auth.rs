//! Who calls: looks up secret keys for the signature check, and names the caller.

use std::fmt;

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::Owner;
use s3s::{S3Request, S3Result, s3_error};
use subtle::ConstantTimeEq as _;

/// Canonical id of the root user, who owns everything while there are no other users.
const ROOT_CANONICAL_ID: &str = "0000000000000000000000000000000000000000000000000000000000000001";
/// Name under which owner fields show the root user.
const ROOT_DISPLAY_NAME: &str = "root";

/// The root user's access key and secret key.
#[derive(Clone)]
pub struct RootKeys {
    /// Names the user in signatures.
    pub access_key: String,
    /// Signs requests; never printed but by the one command that shows it to its owner.
    pub secret_key: String,
}

impl fmt::Debug for RootKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootKeys")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl S3Auth for RootKeys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key
            .as_bytes()
            .ct_eq(self.access_key.as_bytes())
            .into()
        {
            Ok(SecretKey::from(self.secret_key.clone()))
        } else {
            Err(s3_error!(InvalidAccessKeyId))
        }
    }
}

/// Lets every signed request pass and no other. Runs before a body is read.
pub struct SignedOnly;

#[async_trait::async_trait]
impl S3Access for SignedOnly {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        match context.credentials() {
            Some(_) => Ok(()),
            None => Err(s3_error!(AccessDenied)),
        }
    }
}

/// The user behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The id that owner fields carry.
    pub canonical_id: String,
}

impl Identity {
    /// The caller of a request that passed the access check.
    pub fn of<T>(_request: &S3Request<T>) -> Self {
        Self {
            canonical_id: ROOT_CANONICAL_ID.to_owned(),
        }
    }
}

/// An owner as S3's documents show it.
pub fn owner(canonical_id: &str) -> Owner {
    Owner {
        id: Some(canonical_id.to_owned()),
        display_name: (canonical_id == ROOT_CANONICAL_ID).then(|| ROOT_DISPLAY_NAME.to_owned()),
    }
}
