//! Sextant's metadata: the [`Metastore`] trait as a contract, the model it speaks, and its
//! implementations: [`RocksMetastore`] on disk and [`MemoryMetastore`] for tests and simulation.

mod acl;
mod append;
mod attributes;
mod bucket_settings;
mod completion;
mod condition;
mod error;
mod fold;
mod lease;
mod lifecycle;
mod listing;
mod memory;
mod metastore;
mod model;
mod names;
mod placement;
mod rename;
mod rocks;
mod succession;
mod upkeep;
mod usage;
mod users;
mod version_succession;
mod versions;

pub use acl::{Acl, Grant, Grantee, Permission};
pub use append::{AppendObject, next_number};
pub use attributes::{Encryption, EncryptionKind, LockMode, ObjectAttributes, Retention};
pub use bucket_settings::{
    BucketDocument, BucketSettings, DefaultEncryption, LockSettings, Ownership, PublicAccessBlock,
    RetentionPeriod, Versioning,
};
pub use error::{MetaError, MetaResult};
pub use lifecycle::{JudgedStanding, JudgedVersion, LifecycleAction, LifecycleChange};
pub use listing::{
    BucketPage, ListEntry, ListPage, ListQuery, ListedObject, ListedUpload, PartPage, UploadEntry,
    UploadPage, UploadQuery,
};
pub use memory::MemoryMetastore;
pub(crate) use metastore::RepairRow;
pub use metastore::{
    CommitObject, CompleteUpload, Completed, DeleteOutcome, Expected, GcEntry, GcItem, Metastore,
    NodeRow, WriteCondition,
};
pub use model::{
    Bucket, ChecksumAlgorithm, ChecksumKind, ChunkLayout, ChunkOwner, ChunkRef, InlineBody,
    OBJECT_MAX_BYTES, ObjectChecksum, ObjectData, ObjectVersion, PART_MIN_BYTES, Part, PartEntry,
    PartSet, Scheme, SystemHeaders, Timestamp, Upload,
};
pub use names::{
    BodyId, BucketId, BucketName, InvalidName, ObjectKey, PartNumber, Sequence, UploadId, VersionId,
};
pub use rename::{ClientToken, RENAME_TOKEN_KEPT_MS, RenameObject, Renamed};
#[cfg(any(test, fuzzing))]
pub use rocks::fuzzing;
pub use rocks::{
    Checkpoint, CheckpointFile, LogPiece, LogRead, OpenError, RestoredFiles, RestoredStore,
    RocksBackup, RocksMetastore, RocksOptions,
};
pub use upkeep::{
    JobControl, LeaseAnswer, LeaseRequest, NodeChunk, NodePhase, Orphan, OrphanFate, Placement,
    RepairCounts, RepairEntry, RepairNeed, ReplicaChange, Upkeep,
};
pub use usage::{BucketUsage, Quota, Usage};
pub use users::{AccessKey, User, UserName};
pub use versions::{
    DeleteMarker, DeletedVersion, ListedVersion, StoredVersion, VersionOrder, VersionPage,
    VersionQuery,
};
