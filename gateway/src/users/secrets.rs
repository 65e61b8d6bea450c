//! How the secret keys of users are kept: sealed under the master key, each bound to its access
//! key, so that who reads the metadata cannot sign. A signature is checked with the secret itself,
//! so a hash would not do.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use metastore::AccessKey;

use crate::sealing::{KeyRing, KeyRingError, Resealed};

/// Before the sealed secret of a key that may sign.
const ACTIVE: &str = "sealed-1:";
/// Before the sealed secret of a key that may not.
const DISABLED: &str = "disabled-1:";

/// A secret key as it was found in the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptSecret {
    /// The key may sign with it.
    Active(String),
    /// An operator took the right to sign away.
    Disabled(String),
}

/// Seals and opens secret keys. Cheap to clone.
#[derive(Clone)]
pub struct Secrets(Arc<KeyRing>);

impl Secrets {
    /// Secrets under the master key of `ring`.
    #[must_use]
    pub fn new(ring: Arc<KeyRing>) -> Self {
        Self(ring)
    }

    /// An access key as the metadata keeps it.
    #[must_use]
    pub fn keep(&self, access_key: &str, secret: &KeptSecret) -> AccessKey {
        let (state, secret) = match secret {
            KeptSecret::Active(secret) => (ACTIVE, secret),
            KeptSecret::Disabled(secret) => (DISABLED, secret),
        };
        // The state is sealed with the secret: a disabled key is not enabled by an edit of its row.
        let purpose = [state, access_key].concat();
        let sealed = self.0.seal_secret(secret.as_bytes(), purpose.as_bytes());
        AccessKey {
            access_key: access_key.to_owned(),
            secret_key: format!("{state}{}", STANDARD_NO_PAD.encode(sealed)),
        }
    }

    /// The access key with its secret sealed under the present master key. What earlier builds kept
    /// as it is gets sealed.
    #[must_use]
    pub fn renew(&self, key: &AccessKey) -> Resealed<AccessKey> {
        let state = [ACTIVE, DISABLED]
            .into_iter()
            .find(|state| key.secret_key.starts_with(state));
        let (Some(state), Ok(kept)) = (state, self.open(key)) else {
            return match self.open(key) {
                Ok(kept) => Resealed::Anew(self.keep(&key.access_key, &kept)),
                Err(_) => Resealed::Unopened,
            };
        };
        let sealed = STANDARD_NO_PAD.decode(&key.secret_key[state.len()..]);
        let purpose = [state, &key.access_key].concat();
        match sealed.map(|sealed| self.0.reseal_secret(&sealed, purpose.as_bytes())) {
            Ok(Resealed::AsItIs) => Resealed::AsItIs,
            _ => Resealed::Anew(self.keep(&key.access_key, &kept)),
        }
    }

    /// The secret of an access key; what earlier builds kept as it is counts as active.
    ///
    /// # Errors
    /// `WrongKey` where it was sealed under another master key.
    pub fn open(&self, key: &AccessKey) -> Result<KeptSecret, KeyRingError> {
        let kept = key.secret_key.as_str();
        let (state, sealed) = match (kept.strip_prefix(ACTIVE), kept.strip_prefix(DISABLED)) {
            (Some(sealed), _) => (ACTIVE, sealed),
            (_, Some(sealed)) => (DISABLED, sealed),
            _ => return Ok(KeptSecret::Active(kept.to_owned())),
        };
        let sealed = STANDARD_NO_PAD
            .decode(sealed)
            .map_err(|_| KeyRingError::WrongKey)?;
        let purpose = [state, &key.access_key].concat();
        let secret = self.0.open_secret(&sealed, purpose.as_bytes())?;
        let secret = String::from_utf8(secret).map_err(|_| KeyRingError::WrongKey)?;
        Ok(match state {
            ACTIVE => KeptSecret::Active(secret),
            _ => KeptSecret::Disabled(secret),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn secrets(master: u8) -> Secrets {
        Secrets::new(Arc::new(KeyRing::new([master; 32], BTreeMap::new())))
    }

    #[test]
    fn a_secret_is_kept_sealed_and_opens_for_its_own_access_key_alone() {
        for kept in [
            KeptSecret::Active("hunter2hunter2".into()),
            KeptSecret::Disabled("hunter2hunter2".into()),
        ] {
            let key = secrets(1).keep("AK1", &kept);
            assert!(!key.secret_key.contains("hunter2"));
            assert_eq!(secrets(1).open(&key).unwrap(), kept);
            assert!(secrets(2).open(&key).is_err(), "another master key");
            let moved = AccessKey {
                access_key: "AK2".into(),
                ..key
            };
            assert!(secrets(1).open(&moved).is_err(), "another access key");
        }
    }

    #[test]
    fn a_disabled_key_is_not_enabled_by_an_edit_of_its_row() {
        let kept = KeptSecret::Disabled("hunter2hunter2".into());
        let mut key = secrets(1).keep("AK1", &kept);
        key.secret_key = key.secret_key.replace(DISABLED, ACTIVE);
        assert!(secrets(1).open(&key).is_err());
    }

    #[test]
    fn a_secret_of_an_earlier_build_still_signs() {
        let key = AccessKey {
            access_key: "AK1".into(),
            secret_key: "plain-secret".into(),
        };
        let kept = KeptSecret::Active("plain-secret".into());
        assert_eq!(secrets(1).open(&key).unwrap(), kept);
    }
}
