//! What can be set on a bucket after it was made. Stands in the bucket's row, which every request
//! reads anyway. Rows keep these types, so the order of fields and variants is a disk format.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Acl, EncryptionKind, LockMode, Sequence};

/// A bucket's settings. The default is what a row of an older version has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSettings {
    /// Which revision of the settings; compare-and-set compares it.
    pub revision: Sequence,
    /// What an overwrite and a delete do to the version before.
    pub versioning: Versioning,
    /// Object lock, where it is enabled; it cannot be taken away.
    pub lock: Option<LockSettings>,
    /// Grants; none means the owner alone.
    pub acl: Option<Acl>,
    /// Who owns new objects, and whether access control lists count; `None` if it was never set
    /// or was deleted.
    pub ownership: Option<Ownership>,
    /// What public access is blocked.
    pub public_access_block: Option<PublicAccessBlock>,
    /// The bucket policy, as the client wrote it.
    pub policy: Option<String>,
    /// How objects are encrypted whose writer does not say.
    pub encryption: Option<DefaultEncryption>,
    /// Further configurations, each as its XML document.
    pub documents: BTreeMap<BucketDocument, String>,
}

impl Default for BucketSettings {
    fn default() -> Self {
        Self {
            revision: Sequence(Uuid::nil()),
            versioning: Versioning::Off,
            lock: None,
            acl: None,
            ownership: None,
            public_access_block: None,
            policy: None,
            encryption: None,
            documents: BTreeMap::new(),
        }
    }
}

/// A bucket's versioning state. It never returns to `Off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    /// Never enabled: each key has one version, `null`.
    Off,
    /// Each write makes a version; a delete places a marker.
    Enabled,
    /// Writes and deletes replace the `null` version; other versions stay.
    Suspended,
}

/// Object lock of a bucket that has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockSettings {
    /// Retention of new objects whose writer does not say.
    pub default_retention: Option<(LockMode, RetentionPeriod)>,
}

/// How long the default retention lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionPeriod {
    /// So many days.
    Days(u32),
    /// So many years of 365 days.
    Years(u32),
}

/// Who owns the objects of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// Whoever writes them.
    ObjectWriter,
    /// The bucket's owner, where the writer granted it full control.
    BucketOwnerPreferred,
    /// The bucket's owner always; access control lists do not count.
    BucketOwnerEnforced,
}

/// What public access is blocked. Source: S3 user guide, "Blocking public access".
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent settings of S3"
)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAccessBlock {
    /// New public access control lists are refused.
    pub block_public_acls: bool,
    /// Public grants do not count.
    pub ignore_public_acls: bool,
    /// New public policies are refused.
    pub block_public_policy: bool,
    /// A public policy counts for the bucket's owner alone.
    pub restrict_public_buckets: bool,
}

/// How objects are encrypted whose writer does not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultEncryption {
    /// With S3's key or a named one.
    pub kind: EncryptionKind,
    /// The named key.
    pub key_id: Option<String>,
    /// Whether the client asked for a bucket key; kept and shown.
    pub bucket_key: bool,
}

/// The configurations that are kept as documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BucketDocument {
    /// Cross-origin rules.
    Cors,
    /// Lifecycle rules.
    Lifecycle,
    /// Tags.
    Tagging,
    /// Static website.
    Website,
    /// Access logging.
    Logging,
    /// Event notifications.
    Notification,
    /// Who pays for requests.
    RequestPayment,
    /// The least size of what lifecycle rules transition, by its name; kept and shown.
    TransitionMinimum,
}
