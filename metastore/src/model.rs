//! The rows: buckets, object versions, uploads, parts, and where their bytes are. Rows are kept in
//! postcard's encoding behind a version byte (`docs/adr/0002-row-encoding.md`), so the order of
//! fields and variants here is a disk format.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chunkproto::{ChunkId, Crc64, NodeId};
use serde::{Deserialize, Serialize};

use crate::{
    BodyId, BucketId, BucketName, BucketSettings, ObjectAttributes, ObjectKey, PartNumber,
    Sequence, UploadId, VersionId, VersionOrder,
};

/// Longest object. Source: S3 user guide, "Amazon S3 multipart upload limits", as for the next.
pub const OBJECT_MAX_BYTES: u64 = 5 * 1024 * 1024 * 1024 * 1024;
/// Shortest part but the last of a completed upload.
pub const PART_MIN_BYTES: u64 = 5 * 1024 * 1024;

/// A moment, in milliseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The present moment by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(millis(since_1970))
    }

    /// The moment that is `time` earlier, 1970 at the earliest.
    #[must_use]
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(millis(time)))
    }

    /// The moment that is `time` later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(millis(time)))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Identity; new with each creation.
    pub id: BucketId,
    /// Name, unique in the store.
    pub name: BucketName,
    /// When it was created.
    pub created_at: Timestamp,
    /// Canonical id of the user who created it.
    pub owner: String,
    /// The location constraint given at creation; empty means the default region.
    pub region: String,
    /// What can be set on it. Last, because rows of version 1 end before it.
    pub settings: BucketSettings,
}

/// One version of an object: all that S3 says of it, and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectVersion {
    /// Which version of the key.
    pub version: VersionId,
    /// Which revision of the row; compare-and-set compares it.
    pub sequence: Sequence,
    /// When the version was committed.
    pub modified_at: Timestamp,
    /// Length of the object.
    pub size_bytes: u64,
    /// ETag without quotes: MD5 in hex, or `md5-N` for a multipart object.
    pub etag: String,
    /// The checksum that clients may ask for.
    pub checksum: Option<ObjectChecksum>,
    /// Content-Type and its like.
    pub headers: SystemHeaders,
    /// `x-amz-meta-*`, names without the prefix, in lower case.
    pub user_metadata: Vec<(String, String)>,
    /// Canonical id of the user who wrote it.
    pub owner: String,
    /// Where the bytes are.
    pub data: ObjectData,
    /// Its place among the versions of the key. Rows of version 1 end before it.
    pub order: VersionOrder,
    /// Grants, tags, lock, encryption. Rows of version 1 end before them.
    pub attributes: ObjectAttributes,
}

/// Where the bytes of an object are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectData {
    /// One body, split into chunks that stand in this row.
    Chunks(ChunkLayout),
    /// A completed multipart upload; its [`PartSet`] and [`Part`] rows stand under this id.
    Parts(UploadId),
    /// One short body, kept in the metadata as an [`InlineBody`] of this id.
    Inline(BodyId),
}

/// The bytes of a short object. They stand beside the rows, not in them, so that a listing does not
/// read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InlineBody(#[serde(with = "serde_bytes")] pub Vec<u8>);

/// How a body was made redundant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// Each chunk is whole on each of its nodes.
    Replicated,
}

/// A body's chunks in order. An empty body has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkLayout {
    /// How to read the chunks.
    pub scheme: Scheme,
    /// The chunks, in the order of their bytes.
    pub chunks: Vec<ChunkRef>,
}

impl ChunkLayout {
    /// Length of the body.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.length_bytes).sum()
    }

    /// Checksum of the body, from those of its chunks.
    #[must_use]
    pub fn crc64(&self) -> Crc64 {
        let chunks = self.chunks.iter();
        chunks.fold(Crc64::of(b""), |crc, chunk| {
            crc.then(chunk.crc64, chunk.length_bytes)
        })
    }
}

/// A chunk and the nodes that were seen to hold it durably (I2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// The chunk.
    pub id: ChunkId,
    /// Its length, more than 0.
    pub length_bytes: u64,
    /// Checksum of its bytes.
    pub crc64: Crc64,
    /// Nodes with a verified replica, distinct, at least one.
    pub replicas: Vec<NodeId>,
}

/// The checksum algorithms of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC).
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// CRC-64/NVME.
    Crc64Nvme,
}

/// What a checksum covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// All the bytes of the object.
    FullObject,
    /// The checksums of the parts, followed by `-N`.
    Composite,
}

/// An object's or a part's checksum as S3 shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectChecksum {
    /// How it is computed.
    pub algorithm: ChecksumAlgorithm,
    /// What it covers.
    pub kind: ChecksumKind,
    /// Base64, with `-N` behind it when composite.
    pub value: String,
}

/// The headers that S3 keeps with an object and returns as they were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemHeaders {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding` without `aws-chunked`.
    pub content_encoding: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Expires`, as the client wrote it.
    pub expires: Option<String>,
    /// `x-amz-website-redirect-location`.
    pub website_redirect: Option<String>,
    /// `x-amz-storage-class`, where it is not STANDARD.
    pub storage_class: Option<String>,
}

/// A multipart upload that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Identity; also orders the uploads of one key.
    pub id: UploadId,
    /// When it was begun.
    pub initiated_at: Timestamp,
    /// Canonical id of the owner of the object to come.
    pub owner: String,
    /// Headers for the object to come.
    pub headers: SystemHeaders,
    /// User metadata for the object to come.
    pub user_metadata: Vec<(String, String)>,
    /// Checksum that the parts must carry and the object will have.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// Attributes of the object to come. Rows of version 1 end before them.
    pub attributes: ObjectAttributes,
    /// Canonical id of the user who began it, where that is another than the owner; empty for
    /// nobody and in rows of version 2, which end before it.
    pub initiator: String,
}

impl Upload {
    /// Canonical id of the user who began it.
    #[must_use]
    pub fn initiator(&self) -> &str {
        match self.initiator.as_str() {
            "" => &self.owner,
            initiator => initiator,
        }
    }
}

/// A part of an upload, before and after completion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its number.
    pub number: PartNumber,
    /// Which revision of the part; a part may be uploaded again until completion.
    pub sequence: Sequence,
    /// When it was committed.
    pub modified_at: Timestamp,
    /// Its length.
    pub size_bytes: u64,
    /// MD5 of its bytes in hex.
    pub etag: String,
    /// Its own checksum.
    pub checksum: Option<ObjectChecksum>,
    /// Where its bytes are.
    pub layout: ChunkLayout,
}

/// The parts that make up a completed multipart object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSet {
    /// Bucket of the object.
    pub bucket: BucketId,
    /// Key of the object.
    pub key: ObjectKey,
    /// The revision that completing the upload committed.
    pub sequence: Sequence,
    /// ETag of the object, for a completion that is asked for again.
    pub etag: String,
    /// The chosen parts in order of their numbers.
    pub parts: Vec<PartEntry>,
}

/// One part in a [`PartSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartEntry {
    /// Its number.
    pub number: PartNumber,
    /// Its length.
    pub size_bytes: u64,
}

/// The row that names a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkOwner {
    /// The chunk stands in an object's row.
    Object {
        /// Bucket of the object.
        bucket: BucketId,
        /// Key of the object.
        key: ObjectKey,
        /// Version of the object.
        version: VersionId,
    },
    /// The chunk stands in a part's row.
    Part {
        /// The upload, under way or completed.
        upload: UploadId,
        /// The part.
        number: PartNumber,
    },
}
