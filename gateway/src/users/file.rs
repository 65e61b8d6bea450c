//! The file of users that an operator hands over at start: each is written to the metadata, over
//! what stands under its id.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use metastore::{AccessKey, MetaError, Metastore, User};
use serde::Deserialize;
use tracing::warn;

use super::secrets::{KeptSecret, Secrets};

/// Why a file of users is not taken.
#[derive(Debug, thiserror::Error)]
pub enum UsersFileError {
    /// It cannot be read.
    #[error("the users file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It does not hold users.
    #[error("the users file {} cannot be used: {detail}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The metadata refuses a user.
    #[error("the user {id} cannot be written: {source}")]
    Refused {
        /// Canonical id of the user.
        id: String,
        /// Why.
        source: MetaError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersFile {
    #[serde(default)]
    user: Vec<UserEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    id: String,
    display_name: String,
    email: Option<String>,
    access_key: String,
    secret_key: String,
}

/// Writes the users of the file at `path` to the metadata. Doing it again changes nothing.
///
/// # Errors
/// See [`UsersFileError`].
pub async fn load(
    path: &Path,
    metastore: &dyn Metastore,
    secrets: &Secrets,
) -> Result<usize, UsersFileError> {
    let io = |source| UsersFileError::Io {
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(io)?;
    let mode = std::fs::metadata(path).map_err(io)?.permissions().mode();
    if mode & 0o077 != 0 {
        let path = path.display();
        warn!(
            "the file of users holds secret keys and is readable by other users; run: chmod 600 {path}"
        );
    }
    let users = parse(&text).map_err(|detail| UsersFileError::Malformed {
        path: path.to_owned(),
        detail,
    })?;
    let count = users.len();
    for mut user in users {
        for key in &mut user.keys {
            let secret = KeptSecret::Active(std::mem::take(&mut key.secret_key));
            *key = secrets.keep(&key.access_key, &secret);
        }
        let id = user.id.clone();
        let written = metastore.put_user(user).await;
        written.map_err(|source| UsersFileError::Refused { id, source })?;
    }
    Ok(count)
}

pub(crate) fn parse(text: &str) -> Result<Vec<User>, String> {
    let file: UsersFile = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    file.user
        .into_iter()
        .map(|entry| {
            if entry.id.is_empty() || entry.access_key.len() < 3 || entry.secret_key.len() < 8 {
                return Err(format!(
                    "the user '{}' needs an id, an access key of 3 and a secret key of 8 characters",
                    entry.display_name
                ));
            }
            Ok(User {
                id: entry.id,
                display_name: entry.display_name,
                email: entry.email,
                keys: vec![AccessKey {
                    access_key: entry.access_key,
                    secret_key: entry.secret_key,
                }],
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use metastore::{MemoryMetastore, UserName};

    use crate::sealing::KeyRing;

    use super::*;

    const ALICE: &str = "[[user]]\nid = \"1\"\ndisplay_name = \"Alice\"\nemail = \"a@x\"\n\
        access_key = \"AKALICE\"\nsecret_key = \"secretsecret\"\n";

    #[tokio::test]
    async fn users_of_a_file_are_in_the_metadata_after_each_start() {
        let store = MemoryMetastore::new();
        let ring = KeyRing::new([7; 32], BTreeMap::new());
        let secrets = Secrets::new(Arc::new(ring));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), ALICE).unwrap();
        for _ in 0..2 {
            assert_eq!(load(file.path(), &store, &secrets).await.unwrap(), 1);
        }
        let alice = store.user(UserName::AccessKey("AKALICE")).await.unwrap();
        assert_eq!(alice.email.as_deref(), Some("a@x"));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(
            parse("[[user]]\nname = \"x\"\n")
                .unwrap_err()
                .contains("name")
        );
        let short = ALICE.replace("secretsecret", "short");
        assert!(parse(&short).unwrap_err().contains("Alice"));
    }
}
