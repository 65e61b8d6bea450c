//! Keys that are given by the operator or made at first start and kept in files that only the owner
//! may read.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use chunkproto::ClusterSecret;
use serde::{Deserialize, Serialize};

const ROOT_KEYS_FILE: &str = "root-keys.toml";
const CLUSTER_SECRET_FILE: &str = "cluster-secret";
const MASTER_KEY_FILE: &str = "master-key";
const OWNER_ONLY: u32 = 0o600;

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

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not hold what it should.
    #[error("{} is damaged ({detail}); restore it, or give the keys as settings", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The file can be read by others.
    #[error("{} is readable by other users; run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
struct RootKeysFile {
    access_key: String,
    secret_key: String,
}

/// The root keys: those given, else those kept in `dir`, else new ones, kept from now on.
pub fn root_keys(dir: &Path, given: Option<RootKeys>) -> Result<RootKeys, KeyError> {
    if let Some(given) = given {
        return Ok(given);
    }
    let path = dir.join(ROOT_KEYS_FILE);
    if let Some(text) = read(&path)? {
        return parse_root_keys(&text).map_err(|detail| KeyError::Damaged { path, detail });
    }
    let file = RootKeysFile {
        access_key: format!("SX{}", hex::encode_upper(random::<9>(&path)?)),
        secret_key: hex::encode(random::<20>(&path)?),
    };
    let text = toml::to_string(&file).map_err(|error| KeyError::Damaged {
        path: path.clone(),
        detail: error.to_string(),
    })?;
    write(&path, &text)?;
    Ok(RootKeys {
        access_key: file.access_key,
        secret_key: file.secret_key,
    })
}

/// The root keys in a file that [`root_keys`] wrote.
pub(crate) fn parse_root_keys(text: &str) -> Result<RootKeys, String> {
    let file: RootKeysFile = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    Ok(RootKeys {
        access_key: file.access_key,
        secret_key: file.secret_key,
    })
}

/// The cluster secret: the one given, else the one kept in `dir`, else a new one, kept from now on.
pub fn cluster_secret(dir: &Path, given: Option<ClusterSecret>) -> Result<ClusterSecret, KeyError> {
    if let Some(given) = given {
        return Ok(given);
    }
    let path = dir.join(CLUSTER_SECRET_FILE);
    let text = match read(&path)? {
        Some(text) => text,
        None => {
            let text = hex::encode(random::<32>(&path)?);
            write(&path, &text)?;
            text
        }
    };
    ClusterSecret::parse(&text).map_err(|error| KeyError::Damaged {
        path,
        detail: error.to_string(),
    })
}

/// The keys under which data keys and secrets are kept, the present one first: those given, else
/// those kept in `dir`, else a new one, kept from now on.
pub fn master_keys(dir: &Path, given: &[SecretBytes]) -> Result<Vec<SecretBytes>, KeyError> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    if let Some(kept) = kept_master_keys(dir)? {
        return Ok(kept);
    }
    let path = dir.join(MASTER_KEY_FILE);
    let new = random::<32>(&path)?;
    write(&path, &hex::encode(new))?;
    Ok(vec![SecretBytes(new)])
}

/// The master keys that are kept in `dir`, the present one first; `None` if there is no file of them.
pub fn kept_master_keys(dir: &Path) -> Result<Option<Vec<SecretBytes>>, KeyError> {
    let path = dir.join(MASTER_KEY_FILE);
    let text = read(&path)?;
    text.map(|text| parse_master_keys(&path, &text)).transpose()
}

/// Puts a new master key before those that are kept in `dir`, which seals from the next start on.
/// Returns the file, and how many keys are in it.
///
/// # Errors
/// A file that is missing or damaged, and stays as it was.
pub fn add_master_key(dir: &Path) -> Result<(PathBuf, usize), KeyError> {
    let path = dir.join(MASTER_KEY_FILE);
    let missing = || KeyError::Damaged {
        path: path.clone(),
        detail: "there is no such file".into(),
    };
    let text = read(&path)?.ok_or_else(missing)?;
    let kept = parse_master_keys(&path, &text)?;
    let new = hex::encode(random::<32>(&path)?);
    write(&path, &format!("{new}\n{}\n", text.trim()))?;
    Ok((path, kept.len() + 1))
}

/// One key in a line.
fn parse_master_keys(path: &Path, text: &str) -> Result<Vec<SecretBytes>, KeyError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Result<Vec<_>, _> = lines.map(SecretBytes::parse).collect();
    let keys = keys.and_then(|keys| match keys.is_empty() {
        true => Err("it is empty".to_owned()),
        false => Ok(keys),
    });
    keys.map_err(|detail| KeyError::Damaged {
        path: path.to_owned(),
        detail,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KmsKeysFile {
    key: Vec<KmsKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KmsKey {
    id: String,
    secret: String,
}

/// The named keys in the operator's file; none without a file.
pub fn kms_keys(path: Option<&Path>) -> Result<BTreeMap<String, [u8; 32]>, KeyError> {
    let Some(path) = path else {
        return Ok(BTreeMap::new());
    };
    let damaged = |detail: String| KeyError::Damaged {
        path: path.to_owned(),
        detail,
    };
    let text = read(path)?.ok_or_else(|| damaged("there is no such file".into()))?;
    parse_kms_keys(&text).map_err(damaged)
}

/// The named keys in the operator's file, or what is wrong with it.
pub(crate) fn parse_kms_keys(text: &str) -> Result<BTreeMap<String, [u8; 32]>, String> {
    let file: KmsKeysFile = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let mut keys = BTreeMap::new();
    for key in file.key {
        let secret = SecretBytes::parse(&key.secret)
            .map_err(|detail| format!("the key '{}': {detail}", key.id))?;
        if key.id.is_empty() || keys.insert(key.id.clone(), secret.0).is_some() {
            return Err(format!("the key id '{}' is empty or there twice", key.id));
        }
    }
    Ok(keys)
}

/// 32 secret bytes, written as 64 hexadecimal digits. Never printed.
#[derive(Clone)]
pub struct SecretBytes(pub [u8; 32]);

impl SecretBytes {
    /// Reads them.
    ///
    /// # Errors
    /// What is wrong, without the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| "expected 64 hexadecimal digits".to_owned())?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

fn read(path: &Path) -> Result<Option<String>, KeyError> {
    let io = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mode = std::fs::metadata(path).map_err(io)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed {
            path: path.to_owned(),
        });
    }
    Ok(Some(text))
}

/// Writes the file durably and readable by its owner only; it replaces an earlier one in one step.
fn write(path: &Path, text: &str) -> Result<(), KeyError> {
    let attempt = || -> io::Result<()> {
        let temporary = path.with_extension("new");
        let _ = std::fs::remove_file(&temporary);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(OWNER_ONLY)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    attempt().map_err(|source| KeyError::Io {
        path: path.to_owned(),
        source,
    })
}

fn random<const N: usize>(path: &Path) -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| KeyError::Io {
        path: path.to_owned(),
        source: io::Error::other(error.to_string()),
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_keys_are_kept_and_only_for_the_owner() {
        let dir = tempfile::tempdir().unwrap();
        let first = root_keys(dir.path(), None).unwrap();
        let second = root_keys(dir.path(), None).unwrap();
        assert_eq!(first.secret_key, second.secret_key);
        let mode = std::fs::metadata(dir.path().join(ROOT_KEYS_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
    }

    #[test]
    fn keys_that_others_can_read_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        cluster_secret(dir.path(), None).unwrap();
        let path = dir.path().join(CLUSTER_SECRET_FILE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            cluster_secret(dir.path(), None),
            Err(KeyError::Exposed { .. })
        ));
    }

    #[test]
    fn a_master_key_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = master_keys(dir.path(), &[]).unwrap();
        assert_eq!(first[0].0, master_keys(dir.path(), &[]).unwrap()[0].0);
        let given = [SecretBytes([1; 32])];
        assert_eq!(master_keys(dir.path(), &given).unwrap()[0].0, [1; 32]);
    }

    #[test]
    fn a_new_master_key_stands_before_the_earlier_ones() {
        let dir = tempfile::tempdir().unwrap();
        assert!(add_master_key(dir.path()).is_err(), "there is none yet");
        let first = master_keys(dir.path(), &[]).unwrap();
        assert_eq!(add_master_key(dir.path()).unwrap().1, 2);
        let both = master_keys(dir.path(), &[]).unwrap();
        assert_eq!((both.len(), both[1].0), (2, first[0].0));
        assert_ne!(both[0].0, first[0].0);
        let mode = std::fs::metadata(dir.path().join(MASTER_KEY_FILE));
        assert_eq!(mode.unwrap().permissions().mode() & 0o777, OWNER_ONLY);
    }

    #[test]
    fn a_damaged_file_of_master_keys_is_refused_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(MASTER_KEY_FILE);
        for damaged in ["", "abc", &format!("{}\nabc\n", "ab".repeat(32))] {
            std::fs::write(&path, damaged).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert!(master_keys(dir.path(), &[]).is_err());
            assert!(add_master_key(dir.path()).is_err());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn mistakes_in_a_file_of_named_keys_are_told_without_the_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let secret = "ab".repeat(32);
        let entry =
            |id: &str, secret: &str| format!("[[key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n");
        std::fs::write(file.path(), entry("one", &secret)).unwrap();
        assert_eq!(kms_keys(Some(file.path())).unwrap()["one"], [0xab; 32]);
        for wrong in [
            entry("one", &secret[1..]),
            entry("one", &secret) + &entry("one", &secret),
            "[[key]]\nid = \"one\"\n".to_owned(),
        ] {
            std::fs::write(file.path(), wrong).unwrap();
            let message = kms_keys(Some(file.path())).unwrap_err().to_string();
            assert!(!message.contains("abab"), "{message}");
        }
        assert!(kms_keys(None).unwrap().is_empty());
    }

    #[test]
    fn given_keys_leave_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let given = RootKeys {
            access_key: "a".into(),
            secret_key: "s".into(),
        };
        assert_eq!(root_keys(dir.path(), Some(given)).unwrap().access_key, "a");
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }
}
