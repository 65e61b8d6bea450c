//! Pages of buckets, objects, uploads and parts: what is asked and what is answered.

use crate::{
    Bucket, BucketId, ChecksumAlgorithm, ChecksumKind, ObjectKey, ObjectVersion, Part, Timestamp,
    Upload, UploadId,
};

/// A page of buckets in order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPage {
    /// The buckets.
    pub buckets: Vec<Bucket>,
    /// Whether more follow the last one.
    pub truncated: bool,
}

/// Which objects to list.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys that begin so; empty means all.
    pub prefix: String,
    /// Keys alike up to the first delimiter behind the prefix fold into one common prefix.
    pub delimiter: Option<String>,
    /// Only keys and common prefixes that sort after this one. A common prefix shows only if it
    /// sorts after the cursor itself; so a cursor inside a common prefix skips all of it.
    pub after: Option<String>,
    /// Most entries in the page; keys and common prefixes count alike. 0 gives an empty page that
    /// is not truncated.
    pub limit: usize,
}

/// A page of a listing, in byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage<T> {
    /// Keys and common prefixes, each at its place in the order.
    pub entries: Vec<ListEntry<T>>,
    /// Whether a further entry follows. The cursor for it is the last entry's key or prefix.
    pub truncated: bool,
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEntry<T> {
    /// A key with what is listed of it.
    Item(T),
    /// All keys that begin so, folded; ends with the delimiter.
    CommonPrefix(String),
}

/// What a listing shows of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: ObjectKey,
    /// Its length.
    pub size_bytes: u64,
    /// Its ETag without quotes.
    pub etag: String,
    /// When it was committed.
    pub modified_at: Timestamp,
    /// Canonical id of its owner.
    pub owner: String,
    /// Algorithm and kind of its checksum.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// Its storage class, where it is not STANDARD.
    pub storage_class: Option<String>,
}

impl ListedObject {
    /// What is listed of this version of `key`.
    pub(crate) fn of(key: ObjectKey, object: ObjectVersion) -> Self {
        Self {
            key,
            size_bytes: object.size_bytes,
            etag: object.etag,
            modified_at: object.modified_at,
            owner: object.owner,
            checksum: object
                .checksum
                .map(|checksum| (checksum.algorithm, checksum.kind)),
            storage_class: object.headers.storage_class,
        }
    }
}

/// Which uploads to list.
#[derive(Debug, Clone)]
pub struct UploadQuery {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys that begin so; empty means all.
    pub prefix: String,
    /// As in [`ListQuery`].
    pub delimiter: Option<String>,
    /// Only keys after this one; with an upload id, also later uploads of this key.
    pub after: Option<(String, Option<UploadId>)>,
    /// As in [`ListQuery`].
    pub limit: usize,
}

/// A page of uploads, in order of key and then of upload id.
pub type UploadPage = ListPage<ListedUpload>;

/// One entry of a page of uploads.
pub type UploadEntry = ListEntry<ListedUpload>;

/// What a listing shows of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUpload {
    /// Key of the object to come.
    pub key: ObjectKey,
    /// The upload.
    pub upload: Upload,
}

/// A page of an upload's parts in order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPage {
    /// The parts.
    pub parts: Vec<Part>,
    /// Whether more follow the last one.
    pub truncated: bool,
}
