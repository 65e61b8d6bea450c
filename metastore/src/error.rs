//! Why a metadata operation failed, grouped by what the caller can do about it.

use chunkproto::{ChunkId, Fence};

use crate::{BodyId, BucketName, ObjectKey, PartNumber, UploadId, VersionId};

/// The result of a metadata operation.
pub type MetaResult<T> = Result<T, MetaError>;

/// Why a metadata operation failed. Except for [`OutcomeUnknown`](Self::OutcomeUnknown), a failed
/// operation changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// No bucket of that name, or it was deleted meanwhile. The client's business.
    #[error("there is no such bucket")]
    NoSuchBucket,
    /// The bucket's name is taken. The client's business.
    #[error("bucket '{name}' already exists and belongs to '{owner}'")]
    BucketExists {
        /// The name.
        name: BucketName,
        /// Canonical id of its owner.
        owner: String,
    },
    /// The bucket has objects or uploads under way. The client's business.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// No current version of that key. The client's business.
    #[error("there is no object '{0}'")]
    NoSuchKey(ObjectKey),
    /// No such version of that key. The client's business.
    #[error("there is no version {1} of '{0}'")]
    NoSuchVersion(ObjectKey, VersionId),
    /// No such user. The client's business.
    #[error("there is no such user")]
    NoSuchUser,
    /// An access key or an email belongs to another user. The operator's business.
    #[error("'{0}' belongs to another user")]
    NameTaken(String),
    /// No such upload, or it was completed or aborted. The client's business.
    #[error("there is no multipart upload {0}")]
    NoSuchUpload(UploadId),
    /// No such inline body: its object was replaced since the caller looked. Look again.
    #[error("the body {0} was replaced meanwhile")]
    NoSuchBody(BodyId),
    /// A part is missing or was replaced since the caller looked. The client's business.
    #[error("part {} is missing or was uploaded again meanwhile", .0.get())]
    InvalidPart(PartNumber),
    /// The object has as many parts as an object may have. The client's business.
    #[error("the object has as many parts as an object may have")]
    TooManyParts,
    /// No row names the chunk: its object was replaced or deleted. Leave it alone.
    #[error("no row names the chunk {0}")]
    NoSuchChunk(ChunkId),
    /// The condition of a write does not hold. The client's business.
    #[error("the precondition does not hold")]
    PreconditionFailed,
    /// The bucket would hold more than it may. The client's business.
    #[error("the bucket's quota is {max} {unit}, and it would hold {wanted}")]
    QuotaExceeded {
        /// Of what.
        unit: &'static str,
        /// What it would hold.
        wanted: u64,
        /// What it may hold.
        max: u64,
    },
    /// A client's token was used for another request. The client's business.
    #[error("the token was used for another request")]
    TokenReused,
    /// The row changed between the caller's look and its write. Look again and retry.
    #[error("the row was changed meanwhile")]
    Conflict,
    /// The job's lease was granted to another, or released. Stop the job.
    #[error("the lease {0} was taken over")]
    Fenced(Fence),
    /// The store cannot serve now. Retry later.
    #[error("the metadata store is unavailable: {0}")]
    Unavailable(String),
    /// The write may or may not have happened. Read back; destroy nothing (I10).
    #[error("the outcome of the commit is unknown: {0}")]
    OutcomeUnknown(String),
    /// A row cannot be decoded: damage, or a newer format.
    #[error("a row of '{table}' cannot be read: {detail}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}
