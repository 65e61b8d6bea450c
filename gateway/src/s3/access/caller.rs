//! Who calls: looks up secret keys for the signature check, and names the caller.

use std::collections::HashMap;
use std::sync::Arc;

use http::Extensions;
use metastore::{MetaError, Metastore, User, UserName};
use s3s::auth::{Credentials, S3Auth, SecretKey};
use s3s::dto::Owner;
use s3s::{S3Error, S3Request, S3Result, s3_error};
use subtle::ConstantTimeEq as _;
use tracing::error;

use crate::keys::RootKeys;
use crate::s3::errors;
use crate::users::{KeptSecret, Secrets};

/// Canonical id of the root user.
pub const ROOT_CANONICAL_ID: &str =
    "0000000000000000000000000000000000000000000000000000000000000001";
/// Name under which owner fields show the root user.
const ROOT_DISPLAY_NAME: &str = "root";

/// The caller of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody signed.
    Anonymous,
    /// The operator, who may do everything.
    Root,
    /// A user, by canonical id.
    User(String),
}

impl Caller {
    /// The caller of a request that passed the gate.
    pub fn of<T>(request: &S3Request<T>) -> Self {
        Self::in_extensions(&request.extensions)
    }

    /// The caller that the gate noted.
    pub fn in_extensions(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or(Self::Anonymous)
    }

    /// Canonical id; none for nobody.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::Root => Some(ROOT_CANONICAL_ID),
            Self::User(id) => Some(id),
        }
    }

    /// Whether the caller is this user.
    pub fn is(&self, id: &str) -> bool {
        self.id() == Some(id)
    }
}

/// All who may sign: the root user, whose keys are given at start, and the users in the metadata.
#[derive(Clone)]
pub struct Directory {
    metastore: Arc<dyn Metastore>,
    root: RootKeys,
    secrets: Secrets,
}

impl Directory {
    /// The users in `metastore`, and the root user.
    pub fn new(metastore: Arc<dyn Metastore>, root: RootKeys, secrets: Secrets) -> Self {
        Self {
            metastore,
            root,
            secrets,
        }
    }

    /// The caller who signed with these credentials, which were verified.
    pub async fn caller(&self, credentials: Option<&Credentials>) -> S3Result<Caller> {
        match credentials {
            None => Ok(Caller::Anonymous),
            Some(credentials) if self.is_root(&credentials.access_key) => Ok(Caller::Root),
            Some(credentials) => {
                let user = self.user_of_key(&credentials.access_key).await?;
                Ok(Caller::User(user.id))
            }
        }
    }

    /// An owner as S3's documents show it.
    pub async fn owner(&self, id: &str) -> S3Result<Owner> {
        let display_name = match self.user(UserName::Id(id)).await? {
            _ if id == ROOT_CANONICAL_ID => Some(ROOT_DISPLAY_NAME.to_owned()),
            user => user.map(|user| user.display_name),
        };
        Ok(Owner {
            id: Some(id.to_owned()),
            display_name,
        })
    }

    /// The owners of a page of rows, each looked up once.
    pub async fn owners<'a>(
        &self,
        ids: impl Iterator<Item = &'a str>,
    ) -> S3Result<HashMap<String, Owner>> {
        let mut owners = HashMap::new();
        for id in ids {
            if !owners.contains_key(id) {
                owners.insert(id.to_owned(), self.owner(id).await?);
            }
        }
        Ok(owners)
    }

    /// A user whom a grant names; none where there is no such user.
    pub async fn user(&self, name: UserName<'_>) -> S3Result<Option<User>> {
        match self.metastore.user(name).await {
            Ok(user) => Ok(Some(user)),
            Err(MetaError::NoSuchUser) => Ok(None),
            Err(error) => Err(errors::from_metadata(error)),
        }
    }

    /// Whether a canonical id is somebody's.
    pub async fn knows(&self, id: &str) -> S3Result<bool> {
        Ok(id == ROOT_CANONICAL_ID || self.user(UserName::Id(id)).await?.is_some())
    }

    fn is_root(&self, access_key: &str) -> bool {
        access_key
            .as_bytes()
            .ct_eq(self.root.access_key.as_bytes())
            .into()
    }

    async fn user_of_key(&self, access_key: &str) -> S3Result<User> {
        let user = self.user(UserName::AccessKey(access_key)).await?;
        user.ok_or_else(unknown_key)
    }
}

fn unknown_key() -> S3Error {
    s3_error!(
        InvalidAccessKeyId,
        "The AWS Access Key Id you provided does not exist in our records."
    )
}

#[async_trait::async_trait]
impl S3Auth for Directory {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if self.is_root(access_key) {
            return Ok(SecretKey::from(self.root.secret_key.clone()));
        }
        let user = self.user_of_key(access_key).await?;
        let key = user
            .keys
            .into_iter()
            .find(|key| key.access_key == access_key);
        let key = key.ok_or_else(unknown_key)?;
        match self.secrets.open(&key) {
            Ok(KeptSecret::Active(secret)) => Ok(SecretKey::from(secret)),
            Ok(KeptSecret::Disabled(_)) => Err(unknown_key()),
            Err(failure) => {
                error!(access_key, %failure, "cannot decrypt a user's secret key: was the master key changed?");
                Err(s3_error!(InternalError))
            }
        }
    }
}
