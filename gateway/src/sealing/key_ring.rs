//! Whose key wraps a data key: this store's master key, a named key of the operator's, or a key
//! that the client sends along each time. A wrapped key is one version byte, a salt of 32 bytes,
//! and the data key sealed under a key derived from wrapping key and salt.

use std::collections::BTreeMap;

use bytes::BytesMut;
use subtle::ConstantTimeEq as _;

use super::cipher::{self, Cipher, KEY_BYTES, TAG_BYTES};
use super::data_key::DataKey;

const WRAPPED_VERSION: u8 = 1;
const SALT_BYTES: usize = 32;
const WRAPPED_BYTES: usize = 1 + SALT_BYTES + KEY_BYTES + TAG_BYTES;

const STORE: &[u8] = b"sextant store 1";
const NAMED: &[u8] = b"sextant named 1";
const GIVEN: &[u8] = b"sextant given 1";
const SECRET: &[u8] = b"sextant secret 1";

/// The keys of one store. Never printed.
pub struct KeyRing {
    /// The present master key first; the others only open what they sealed.
    masters: Vec<[u8; KEY_BYTES]>,
    named: BTreeMap<String, [u8; KEY_BYTES]>,
}

/// The key that wraps.
#[derive(Clone, Copy)]
pub enum WrappingKey<'a> {
    /// The store's own.
    Store,
    /// The operator's of this name.
    Named(&'a str),
    /// The client's.
    Given(&'a [u8; KEY_BYTES]),
}

/// Outcome of re-encrypting under the current master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resealed<T> {
    /// It is sealed under it already.
    AsItIs,
    /// This is to take its place.
    Anew(T),
    /// No master key opens it.
    Unopened,
}

/// Why a key cannot be wrapped or unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// There is no key of that name.
    #[error("the key ring has no key of that name")]
    UnknownKey,
    /// It was wrapped under another key or for something else.
    #[error("the key is not the one that it was sealed with")]
    WrongKey,
}

impl KeyRing {
    /// A ring of the store's `master` key and the operator's `named` ones.
    #[must_use]
    pub fn new(master: [u8; KEY_BYTES], named: BTreeMap<String, [u8; KEY_BYTES]>) -> Self {
        let masters = vec![master];
        Self { masters, named }
    }

    /// The same with master keys of earlier times, which open what they sealed and seal nothing more.
    #[must_use]
    pub fn with_earlier(mut self, masters: impl IntoIterator<Item = [u8; KEY_BYTES]>) -> Self {
        self.masters.extend(masters);
        self
    }

    /// Whether this is the present master key.
    #[must_use]
    pub fn seals_with(&self, master: &[u8; KEY_BYTES]) -> bool {
        self.master().ct_eq(master).into()
    }

    /// Whether there is a key of that name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// Wraps a data key for `purpose`, which must be said again to unwrap it.
    ///
    /// # Errors
    /// `UnknownKey`.
    pub fn wrap(
        &self,
        key: &DataKey,
        with: WrappingKey<'_>,
        purpose: &[u8],
    ) -> Result<Vec<u8>, KeyRingError> {
        let salt = cipher::random::<SALT_BYTES>();
        let mut sealed = BytesMut::from(&key.as_bytes()[..]);
        // The salt makes the derived key new, so that the nonce is used once.
        self.cipher(with, &salt)?.seal(0, purpose, &mut sealed);
        Ok([&[WRAPPED_VERSION], &salt[..], &sealed].concat())
    }

    /// The data key that [`wrap`](Self::wrap) wrapped.
    ///
    /// # Errors
    /// `UnknownKey`; `WrongKey` where the key, the purpose or the bytes are others.
    pub fn unwrap(
        &self,
        wrapped: &[u8],
        with: WrappingKey<'_>,
        purpose: &[u8],
    ) -> Result<DataKey, KeyRingError> {
        if wrapped.len() != WRAPPED_BYTES || wrapped[0] != WRAPPED_VERSION {
            return Err(KeyRingError::WrongKey);
        }
        let (salt, sealed) = wrapped[1..].split_at(SALT_BYTES);
        let key = match with {
            WrappingKey::Store => self.open_stored(STORE, salt, sealed, purpose)?.0,
            with => opened(&self.cipher(with, salt)?, sealed, purpose)?,
        };
        let key = key[..].try_into().map_err(|_| KeyRingError::WrongKey)?;
        Ok(DataKey::from_bytes(key))
    }

    /// Wraps anew under the present master key what [`wrap`](Self::wrap) wrapped for the store.
    #[must_use]
    pub fn rewrap(&self, wrapped: &[u8], purpose: &[u8]) -> Resealed<Vec<u8>> {
        let Ok(key) = self.unwrap(wrapped, WrappingKey::Store, purpose) else {
            return Resealed::Unopened;
        };
        let (salt, sealed) = wrapped[1..].split_at(SALT_BYTES);
        match self.open_stored(STORE, salt, sealed, purpose) {
            Ok((_, 0)) => Resealed::AsItIs,
            _ => match self.wrap(&key, WrappingKey::Store, purpose) {
                Ok(anew) => Resealed::Anew(anew),
                Err(_) => Resealed::Unopened,
            },
        }
    }

    /// Seals a short secret of the store's own for `purpose`.
    #[must_use]
    pub fn seal_secret(&self, secret: &[u8], purpose: &[u8]) -> Vec<u8> {
        let salt = cipher::random::<SALT_BYTES>();
        let mut sealed = BytesMut::from(secret);
        let key = cipher::derive(self.master(), &salt, &[SECRET]);
        Cipher::new(&key).seal(0, purpose, &mut sealed);
        [&[WRAPPED_VERSION], &salt[..], &sealed].concat()
    }

    /// The secret that [`seal_secret`](Self::seal_secret) sealed.
    ///
    /// # Errors
    /// `WrongKey` where the master key, the purpose or the bytes are others.
    pub fn open_secret(&self, sealed: &[u8], purpose: &[u8]) -> Result<Vec<u8>, KeyRingError> {
        Ok(self.opened_secret(sealed, purpose)?.0)
    }

    /// Seals anew under the present master key what [`seal_secret`](Self::seal_secret) sealed.
    #[must_use]
    pub fn reseal_secret(&self, sealed: &[u8], purpose: &[u8]) -> Resealed<Vec<u8>> {
        match self.opened_secret(sealed, purpose) {
            Ok((_, 0)) => Resealed::AsItIs,
            Ok((secret, _)) => Resealed::Anew(self.seal_secret(&secret, purpose)),
            Err(_) => Resealed::Unopened,
        }
    }

    fn opened_secret(
        &self,
        sealed: &[u8],
        purpose: &[u8],
    ) -> Result<(Vec<u8>, usize), KeyRingError> {
        let rest = match sealed.split_first() {
            Some((&WRAPPED_VERSION, rest)) if rest.len() >= SALT_BYTES + TAG_BYTES => rest,
            _ => return Err(KeyRingError::WrongKey),
        };
        let (salt, sealed) = rest.split_at(SALT_BYTES);
        self.open_stored(SECRET, salt, sealed, purpose)
    }

    /// What one of the master keys sealed, and which; 0 is the present one.
    fn open_stored(
        &self,
        label: &[u8],
        salt: &[u8],
        sealed: &[u8],
        purpose: &[u8],
    ) -> Result<(Vec<u8>, usize), KeyRingError> {
        for (number, master) in self.masters.iter().enumerate() {
            let cipher = Cipher::new(&cipher::derive(master, salt, &[label]));
            if let Ok(plain) = opened(&cipher, sealed, purpose) {
                return Ok((plain, number));
            }
        }
        Err(KeyRingError::WrongKey)
    }

    fn master(&self) -> &[u8; KEY_BYTES] {
        self.masters.first().expect("a ring has a master key")
    }

    fn cipher(&self, with: WrappingKey<'_>, salt: &[u8]) -> Result<Cipher, KeyRingError> {
        let key = match with {
            WrappingKey::Store => cipher::derive(self.master(), salt, &[STORE]),
            WrappingKey::Named(name) => {
                let key = self.named.get(name).ok_or(KeyRingError::UnknownKey)?;
                cipher::derive(key, salt, &[NAMED, name.as_bytes()])
            }
            WrappingKey::Given(key) => cipher::derive(key, salt, &[GIVEN]),
        };
        Ok(Cipher::new(&key))
    }
}

fn opened(cipher: &Cipher, sealed: &[u8], purpose: &[u8]) -> Result<Vec<u8>, KeyRingError> {
    let mut plain = BytesMut::from(sealed);
    let opened = cipher.open(0, purpose, &mut plain);
    opened.map_err(|_| KeyRingError::WrongKey)?;
    Ok(plain.to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(master: u8) -> KeyRing {
        let named = [("a", 1), ("b", 2)].map(|(name, byte)| (name.to_owned(), [byte; KEY_BYTES]));
        KeyRing::new([master; KEY_BYTES], BTreeMap::from(named))
    }

    #[test]
    fn a_wrapped_key_opens_with_its_own_key_and_purpose_alone() {
        let (given, other) = ([7; KEY_BYTES], [8; KEY_BYTES]);
        let all = [
            WrappingKey::Store,
            WrappingKey::Named("a"),
            WrappingKey::Named("b"),
            WrappingKey::Given(&given),
            WrappingKey::Given(&other),
        ];
        let key = DataKey::generate();
        for (at, with) in all.into_iter().enumerate() {
            let wrapped = ring(9).wrap(&key, with, b"purpose").unwrap();
            for (tried, wrong) in all.into_iter().enumerate() {
                let opened = ring(9).unwrap(&wrapped, wrong, b"purpose");
                assert_eq!(opened.is_ok(), tried == at, "{tried} of {at}");
            }
            assert!(ring(9).unwrap(&wrapped, with, b"another").is_err());
            let opened = ring(9).unwrap(&wrapped, with, b"purpose").ok().unwrap();
            assert_eq!(opened.as_bytes(), key.as_bytes());
        }
    }

    #[test]
    fn another_master_key_opens_nothing() {
        let wrapped = ring(1).wrap(&DataKey::generate(), WrappingKey::Store, b"");
        let opened = ring(2).unwrap(&wrapped.unwrap(), WrappingKey::Store, b"");
        assert_eq!(opened.err(), Some(KeyRingError::WrongKey));
        let sealed = ring(1).seal_secret(b"hunter2", b"user");
        assert_eq!(ring(1).open_secret(&sealed, b"user").unwrap(), b"hunter2");
        assert!(ring(2).open_secret(&sealed, b"user").is_err());
        assert!(ring(1).open_secret(&sealed, b"other").is_err());
    }

    #[test]
    fn earlier_master_keys_open_and_what_is_sealed_anew_needs_them_no_longer() {
        let key = DataKey::generate();
        let wrapped = ring(1).wrap(&key, WrappingKey::Store, b"p").unwrap();
        let sealed = ring(1).seal_secret(b"hunter2", b"user");
        let rotated = ring(2).with_earlier([[3; KEY_BYTES], [1; KEY_BYTES]]);
        let opened = rotated.unwrap(&wrapped, WrappingKey::Store, b"p").ok();
        assert_eq!(opened.unwrap().as_bytes(), key.as_bytes());
        assert_eq!(rotated.open_secret(&sealed, b"user").unwrap(), b"hunter2");

        let Resealed::Anew(wrapped) = rotated.rewrap(&wrapped, b"p") else {
            panic!("it was wrapped under an earlier key")
        };
        let Resealed::Anew(sealed) = rotated.reseal_secret(&sealed, b"user") else {
            panic!("it was sealed under an earlier key")
        };
        assert_eq!(rotated.rewrap(&wrapped, b"p"), Resealed::AsItIs);
        assert_eq!(rotated.reseal_secret(&sealed, b"user"), Resealed::AsItIs);
        let opened = ring(2).unwrap(&wrapped, WrappingKey::Store, b"p").ok();
        assert_eq!(opened.unwrap().as_bytes(), key.as_bytes());
        assert_eq!(ring(2).open_secret(&sealed, b"user").unwrap(), b"hunter2");
        assert_eq!(ring(3).rewrap(&wrapped, b"p"), Resealed::Unopened);
        assert_eq!(ring(3).reseal_secret(&sealed, b"user"), Resealed::Unopened);
    }

    proptest! {
        #[test]
        fn no_bytes_open_that_were_not_wrapped_here(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(ring(1).unwrap(&bytes, WrappingKey::Store, b"").is_err());
            prop_assert!(ring(1).open_secret(&bytes, b"").is_err());
        }
    }

    #[test]
    fn names_that_the_ring_lacks_are_told_apart() {
        let wrapped = ring(1).wrap(&DataKey::generate(), WrappingKey::Named("c"), b"");
        assert_eq!(wrapped.err(), Some(KeyRingError::UnknownKey));
    }

    #[test]
    fn bytes_that_are_no_wrapped_key_are_refused() {
        for bytes in [&[][..], &[1; 10], &[2; WRAPPED_BYTES], &[1; WRAPPED_BYTES]] {
            assert!(ring(1).unwrap(bytes, WrappingKey::Store, b"").is_err());
            assert!(ring(1).open_secret(bytes, b"").is_err());
        }
    }
}
