//! The two primitives that everything here is made of: AES-256-GCM under a key that is used for one
//! purpose, and HKDF-SHA256 that derives such keys. Both come from `ring`.

use bytes::BytesMut;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;

/// Length of every key.
pub const KEY_BYTES: usize = 32;
/// What sealing adds to a run of bytes.
pub const TAG_BYTES: usize = 16;

/// Sealed bytes that were changed, or are under another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forged;

/// A key with which AES-256-GCM seals; each nonce once.
pub struct Cipher(LessSafeKey);

impl Cipher {
    /// The cipher of a key.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the cipher's length");
        Self(LessSafeKey::new(key))
    }

    /// Seals `bytes` in place and puts the tag behind them.
    pub fn seal(&self, number: u64, bound: &[u8], bytes: &mut BytesMut) {
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(number), Aad::from(bound), bytes)
            .expect("runs of bytes are far shorter than the cipher's bound of 64 GiB");
        bytes.extend_from_slice(tag.as_ref());
    }

    /// Opens `bytes` in place and takes the tag off.
    ///
    /// # Errors
    /// [`Forged`] where key, nonce, binding or bytes are not those of the sealing.
    pub fn open(&self, number: u64, bound: &[u8], bytes: &mut BytesMut) -> Result<(), Forged> {
        let opened = self
            .0
            .open_in_place(nonce(number), Aad::from(bound), bytes)
            .map_err(|_| Forged)?
            .len();
        bytes.truncate(opened);
        Ok(())
    }
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// A key for `purpose` out of `secret`; another salt or purpose gives an unrelated key.
pub fn derive(secret: &[u8], salt: &[u8], purpose: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(purpose, hkdf::HKDF_SHA256)
        .and_then(|output| output.fill(&mut key))
        .expect("one block is far below HKDF's bound");
    key
}

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("a running kernel's random source does not fail");
    bytes
}
