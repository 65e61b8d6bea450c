//! Renames: a row under another key, with the bytes that it names. Decided the same way in every
//! implementation.

use serde::{Deserialize, Serialize};

use crate::{
    BucketId, MetaError, MetaResult, ObjectKey, Sequence, Timestamp, VersionId, WriteCondition,
};

/// How long a rename is remembered by its client's token, at least. A client that repeats a request
/// because it heard no answer does so within minutes.
pub const RENAME_TOKEN_KEPT_MS: u64 = 60 * 60 * 1000;
/// Tokens older than that which one more rename with a token forgets. More than the one it adds, so
/// that they become fewer.
pub(crate) const RENAME_TOKENS_FORGOTTEN: usize = 2;

/// Moves a key's current version to another key of the bucket.
#[derive(Debug, Clone)]
pub struct RenameObject {
    /// The bucket.
    pub bucket: BucketId,
    /// The key that it has.
    pub source: ObjectKey,
    /// The revision that the caller saw under it.
    pub seen: Sequence,
    /// The key that it is to have; another one.
    pub destination: ObjectKey,
    /// The row's revision under that.
    pub sequence: Sequence,
    /// What must hold of the destination's current version.
    pub condition: WriteCondition,
    /// What the client calls the request, if it has a name for it.
    pub token: Option<ClientToken>,
    /// The present moment.
    pub now: Timestamp,
}

/// A client's name for one request, so that the request is carried out once however often it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientToken {
    /// The name.
    pub name: String,
    /// A digest of all that the request asks for.
    pub asked: [u8; 32],
}

/// What a rename did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    /// It was done now; the destination's version has this name.
    Now(VersionId),
    /// The same request was carried out before; nothing was changed.
    Before,
}

/// A rename that was carried out, by its client's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RenameRow {
    /// When.
    pub(crate) at: Timestamp,
    /// As in [`ClientToken`].
    pub(crate) asked: [u8; 32],
}

impl RenameRow {
    /// # Errors
    /// `TokenReused` where the token stood for another request.
    pub(crate) fn expect(&self, token: &ClientToken) -> MetaResult<()> {
        match self.asked == token.asked {
            true => Ok(()),
            false => Err(MetaError::TokenReused),
        }
    }
}

/// The moment before which tokens may be forgotten.
pub(crate) fn tokens_end(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_sub(RENAME_TOKEN_KEPT_MS))
}
