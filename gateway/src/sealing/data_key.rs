//! An object's own key, and the keys that follow from it: one for each body, so that a part that is
//! uploaded again is never sealed under nonces that were used before.

use ring::hmac;
use uuid::Uuid;

use super::cipher::{self, Cipher, KEY_BYTES};

const BODY: &[u8] = b"sextant body 1";
const PART: &[u8] = b"sextant part 1";
const ETAG: &[u8] = b"sextant etag 1";

/// The key of one object or upload. Never printed and never stored but wrapped.
#[derive(Clone)]
pub struct DataKey([u8; KEY_BYTES]);

/// The key of one body: what a PUT or the upload of one part wrote.
pub struct BodyKey(Cipher);

impl DataKey {
    /// A fresh key.
    #[must_use]
    pub fn generate() -> Self {
        Self(cipher::random())
    }

    pub(super) fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The key of the body of an object that is one body.
    #[must_use]
    pub fn of_body(&self) -> BodyKey {
        BodyKey::new(&cipher::derive(&self.0, &[], &[BODY]))
    }

    /// The key of the body that was uploaded as `revision` of part `number`.
    #[must_use]
    pub fn of_part(&self, number: u16, revision: Uuid) -> BodyKey {
        let purpose = [PART, &number.to_be_bytes(), revision.as_bytes()];
        BodyKey::new(&cipher::derive(&self.0, &[], &purpose))
    }

    /// An ETag that tells bodies apart and says nothing about their bytes to whoever lacks the key.
    #[must_use]
    pub fn etag(&self, md5: [u8; 16]) -> [u8; 16] {
        let key = cipher::derive(&self.0, &[], &[ETAG]);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &md5);
        let mut etag = [0; 16];
        etag.copy_from_slice(&tag.as_ref()[..16]);
        etag
    }
}

impl BodyKey {
    fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(Cipher::new(key))
    }

    pub(super) fn cipher(&self) -> &Cipher {
        &self.0
    }
}
