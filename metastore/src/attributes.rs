//! What can be set on an object version beside its bytes and headers: grants, tags, lock, and how
//! it is encrypted. Rows keep these types, so the order of fields and variants is a disk format.

use serde::{Deserialize, Serialize};

use crate::{Acl, Timestamp};

/// The attributes of an object version. The default is what a row of an older version has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectAttributes {
    /// Grants; none means the owner alone.
    pub acl: Option<Acl>,
    /// Tags in the order in which they were given; keys differ.
    pub tags: Vec<(String, String)>,
    /// Until when the version may not be deleted.
    pub retention: Option<Retention>,
    /// Legal hold, where it was ever set: whether it is on.
    pub legal_hold: Option<bool>,
    /// How the bytes are encrypted, if they are.
    pub encryption: Option<Encryption>,
}

/// Until when a version may not be deleted or overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Who may shorten it.
    pub mode: LockMode,
    /// Its end.
    pub until: Timestamp,
}

/// Who may lift a retention before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockMode {
    /// Those who are allowed to bypass governance.
    Governance,
    /// Nobody.
    Compliance,
}

/// How a version's bytes are encrypted: under a data key of its own, which is kept wrapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// Whose key wraps the data key.
    pub kind: EncryptionKind,
    /// Name of the wrapping key, where it has one.
    pub key_id: Option<String>,
    /// The encryption context that the client gave, as it gave it.
    pub context: Option<String>,
    /// Whether the client asked for a bucket key; kept and shown.
    pub bucket_key: bool,
    /// The data key, sealed under the wrapping key. Of a client's key nothing else is kept.
    pub wrapped_key: Vec<u8>,
}

/// Whose key wraps an object's data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EncryptionKind {
    /// The client's, sent with each request (SSE-C).
    Customer,
    /// This store's (SSE-S3).
    S3,
    /// A named key of the key ring (SSE-KMS).
    Kms,
}
