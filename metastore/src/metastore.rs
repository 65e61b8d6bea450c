//! The [`Metastore`] trait: the contract between the gateway and every metadata database.
//!
//! Every method is atomic: it happens whole or not at all, and a success is durable before it is
//! returned (a synced commit). Reads see every commit acknowledged before they began (I6). A
//! caller that drops the future of a write cannot know its outcome; the store stays consistent.
//! `tests/conformance` runs the same suite against every implementation.

use async_trait::async_trait;
use chunkproto::{ChunkId, NodeId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    AppendObject, BodyId, Bucket, BucketId, BucketName, BucketPage, BucketUsage, ChunkOwner,
    ChunkRef, ClientToken, DeletedVersion, InlineBody, ListPage, ListQuery, ListedObject,
    MetaResult, ObjectKey, ObjectVersion, Part, PartNumber, PartPage, PartSet, Quota, RenameObject,
    Renamed, Sequence, StoredVersion, Timestamp, Upkeep, Upload, UploadId, UploadPage, UploadQuery,
    User, UserName, VersionId, VersionPage, VersionQuery,
};

/// What must be true of a key's current version for a write to happen. Checked in the commit (I5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteCondition {
    /// Nothing.
    Always,
    /// `If-None-Match: *`: there is none.
    Absent,
    /// `If-Match: *`: there is one.
    Present,
    /// `If-Match: "etag"`: there is one with this ETag. A missing key is `NoSuchKey`.
    Etag(String),
    /// `If-Match` with several ETags: there is one with one of these. A missing key is `NoSuchKey`.
    OneOf(Vec<String>),
    /// `If-None-Match: "etag"`: there is none with this ETag.
    Unlike(String),
    /// `If-Match` and `If-None-Match` together.
    Both(Box<(WriteCondition, WriteCondition)>),
    /// There is one, and it is as expected. A missing key is `NoSuchKey`.
    Matching(Expected),
    /// There is one, and it is this very revision; otherwise `Conflict`. For read-modify-write.
    Revision(Sequence),
}

/// What a delete expects of the version it deletes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its ETag.
    pub etag: Option<String>,
    /// Its length.
    pub size_bytes: Option<u64>,
    /// When it was committed, to the second.
    pub modified_at: Option<Timestamp>,
}

/// A new current version of a key.
#[derive(Debug, Clone)]
pub struct CommitObject {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// The row; `version` and `order` are given out in the commit, by the bucket's versioning state
    /// at that moment. Where its `data` equals the replaced row's, the bytes stay (a change of metadata:
    /// guard it by [`WriteCondition::Revision`], or it may bring back bytes that a write in between
    /// has queued for garbage collection).
    /// Data of `Parts` must equal the replaced row's; completing an upload makes new ones.
    pub object: ObjectVersion,
    /// The bytes, where `data` is a new `Inline`; committed with the row.
    pub inline_body: Option<InlineBody>,
    /// What must hold.
    pub condition: WriteCondition,
    /// Replicas that each chunk should have; chunks with fewer get a repair row in this commit.
    pub replicas_wanted: u8,
}

/// The end of a multipart upload.
#[derive(Debug, Clone)]
pub struct CompleteUpload {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// The upload.
    pub upload: UploadId,
    /// The object's row; its data is `Parts(upload)`.
    pub object: ObjectVersion,
    /// The chosen parts in order, each with the revision that the caller saw.
    pub parts: Vec<(PartNumber, Sequence)>,
    /// What must hold.
    pub condition: WriteCondition,
}

/// What completing an upload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completed {
    /// The object was committed now, as this version.
    Now(VersionId),
    /// The same upload had been completed before, to this part set; nothing was changed.
    Before(PartSet),
}

/// What a delete found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// The object is gone and its chunks are queued for garbage collection.
    Deleted,
    /// The bucket keeps versions: a delete marker of this version hides the key.
    MarkerPlaced(VersionId),
    /// There was none; nothing was changed.
    Absent,
}

/// What the cluster remembers of a chunk server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Identity.
    pub id: NodeId,
    /// Latest run of the process that registered.
    pub incarnation: Uuid,
    /// Base URL of its chunk API.
    pub address: String,
    /// Failure zone.
    pub zone: String,
    /// Size of its disk.
    pub capacity_bytes: u64,
    /// When it first registered.
    pub first_seen_at: Timestamp,
}

/// A chunk with fewer replicas than it should have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RepairRow {
    /// The chunk.
    pub chunk: ChunkId,
    /// Replicas it should have.
    pub wanted: u8,
    /// Replicas it had when the row was written.
    pub have: u8,
    /// Since when.
    pub since: Timestamp,
}

/// Something that no row names any longer and that garbage collection may delete after its grace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GcItem {
    /// Chunks of a replaced or deleted body.
    Chunks(Vec<ChunkRef>),
    /// All parts of an aborted upload or of a deleted multipart object.
    Parts(UploadId),
    /// Copies of a chunk on nodes that its row no longer names. The chunk may live on elsewhere.
    Copies(ChunkRef),
}

/// A row of the garbage collection queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcEntry {
    /// When the item was unlinked; the queue is ordered by it.
    pub unlinked_at: Timestamp,
    /// Distinguishes items of one moment.
    pub id: Uuid,
    /// What may be deleted.
    pub item: GcItem,
}

/// The metadata of one cluster. See the module's header for what holds of every method.
#[async_trait]
pub trait Metastore: Upkeep {
    /// Creates a bucket.
    ///
    /// # Errors
    /// `BucketExists` with its owner, whoever that is.
    async fn create_bucket(&self, bucket: Bucket) -> MetaResult<()>;

    /// Writes `bucket` over its row, whose settings' revision must be `seen`. Commits see all of
    /// the new settings or none.
    ///
    /// # Errors
    /// `NoSuchBucket`; `Conflict` where the revision is another; `OutcomeUnknown`.
    async fn amend_bucket(&self, bucket: Bucket, seen: Sequence) -> MetaResult<()>;

    /// The bucket of that name.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    async fn bucket(&self, name: &BucketName) -> MetaResult<Bucket>;

    /// Deletes a bucket without objects, without versions and delete markers too. Uploads under way
    /// are aborted, as at `now`, each in a commit of its own before the bucket's. No object can
    /// slip in between the check and the delete.
    ///
    /// # Errors
    /// `NoSuchBucket`; `BucketNotEmpty` while it has an object, and then nothing was changed.
    async fn delete_bucket(&self, name: &BucketName, now: Timestamp) -> MetaResult<()>;

    /// Buckets whose names begin with `prefix` and sort after `after`.
    async fn list_buckets(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> MetaResult<BucketPage>;

    /// What a bucket holds and may hold, by all commits that were acknowledged; `None` if it was never
    /// counted (a store of an earlier version), or there is no such bucket.
    async fn bucket_usage(&self, bucket: BucketId) -> MetaResult<Option<BucketUsage>>;

    /// As [`bucket_usage`](Self::bucket_usage), and counts the bucket where that was never done. It may
    /// be written to meanwhile.
    ///
    /// # Errors
    /// `NoSuchBucket`; `OutcomeUnknown`.
    async fn count_bucket(&self, bucket: BucketId) -> MetaResult<BucketUsage>;

    /// Limits what a bucket may hold; it may hold more already. From then on a commit that would make
    /// the bucket grow beyond it is `QuotaExceeded`, whatever else is committed at the same time.
    ///
    /// # Errors
    /// As [`count_bucket`](Self::count_bucket).
    async fn set_quota(&self, bucket: BucketId, quota: Quota) -> MetaResult<()>;

    /// The current version of a key.
    ///
    /// # Errors
    /// `NoSuchKey`, also where the bucket has gone.
    async fn object(&self, bucket: BucketId, key: &ObjectKey) -> MetaResult<ObjectVersion>;

    /// The bytes of an object whose data is `Inline`.
    ///
    /// # Errors
    /// `NoSuchBody` once the object was replaced or deleted.
    async fn inline_body(&self, body: BodyId) -> MetaResult<InlineBody>;

    /// Makes a version current: checks the condition, writes the row with its chunk and node rows,
    /// and queues short chunks for repair. In a bucket without versioning, or where a `null` version
    /// is replaced, its bytes are queued for garbage collection; otherwise the version before stays
    /// as a noncurrent one. Returns the name of the new version.
    ///
    /// # Errors
    /// `NoSuchBucket`; `PreconditionFailed`; `NoSuchKey` for `Etag` and `Present` on a missing key;
    /// `QuotaExceeded`; `Conflict` for `Revision`, and for data of `Parts` that is not current;
    /// `OutcomeUnknown`.
    async fn commit_object(&self, commit: CommitObject) -> MetaResult<VersionId>;

    /// Deletes a key's current version and queues its bytes for garbage collection; in a bucket
    /// that keeps versions, hides the key behind a delete marker of the bucket's owner instead.
    ///
    /// # Errors
    /// `NoSuchBucket`; as `commit_object` for the condition; `OutcomeUnknown`.
    async fn delete_object(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        condition: WriteCondition,
        now: Timestamp,
    ) -> MetaResult<DeleteOutcome>;

    /// One version of a key, current or not.
    ///
    /// # Errors
    /// `NoSuchVersion`.
    async fn object_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
    ) -> MetaResult<StoredVersion>;

    /// The latest version of a key, which may be a delete marker; `None` if it has no version.
    async fn newest_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
    ) -> MetaResult<Option<StoredVersion>>;

    /// Deletes one version for good and queues its bytes for garbage collection. Where it was the
    /// latest, the one behind it becomes current again, unless that is a delete marker.
    ///
    /// # Errors
    /// `NoSuchBucket`; as `commit_object` for the condition, held against this version;
    /// `OutcomeUnknown`.
    async fn delete_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
        condition: WriteCondition,
        now: Timestamp,
    ) -> MetaResult<DeletedVersion>;

    /// Writes `object` over the row of the version that it names, whose revision must be `seen`.
    /// Its bytes and its place stay as they are.
    ///
    /// # Errors
    /// `NoSuchBucket`; `NoSuchVersion`; `Conflict` where the revision, the data or the place is
    /// another; `OutcomeUnknown`.
    async fn amend_object(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        object: ObjectVersion,
        seen: Sequence,
    ) -> MetaResult<()>;

    /// Gives a key's current version, bytes and all, another key: to clients, at no moment are both
    /// there or neither. The destination's version before goes or stays as in `commit_object`. In a
    /// bucket that keeps versions a delete marker takes the place at the source, in front of its
    /// older versions. The row keeps all that it says but for revision, name and place.
    ///
    /// # Errors
    /// `NoSuchBucket`; `NoSuchKey` for a source without current version; `Conflict` where that is
    /// not the revision seen; as `commit_object` for the condition; `TokenReused`; `OutcomeUnknown`.
    async fn rename_object(&self, rename: RenameObject) -> MetaResult<Renamed>;

    /// Puts bytes behind those of a key's current version, which becomes a list of parts with the first
    /// append: what was there is its first part, and nothing is copied. A read of the row before
    /// goes on undisturbed.
    ///
    /// # Errors
    /// `NoSuchBucket`; `NoSuchKey`; `Conflict` where the current version is not the revision seen, the
    /// parts do not follow on its own, or the bucket keeps versions; `TooManyParts`;
    /// `QuotaExceeded`; `OutcomeUnknown`.
    async fn append_object(&self, append: AppendObject) -> MetaResult<()>;

    /// Whether the rename of this token was carried out. It may be forgotten after
    /// [`RENAME_TOKEN_KEPT_MS`](crate::RENAME_TOKEN_KEPT_MS).
    ///
    /// # Errors
    /// `TokenReused`.
    async fn was_renamed(&self, bucket: BucketId, token: &ClientToken) -> MetaResult<bool>;

    /// A page of versions and delete markers. Costs what the page costs, as `list_objects`.
    async fn list_versions(&self, query: VersionQuery) -> MetaResult<VersionPage>;

    /// A page of current versions in byte order of their keys. Costs what the page costs, however
    /// many keys lie beside it or inside its common prefixes.
    async fn list_objects(&self, query: ListQuery) -> MetaResult<ListPage<ListedObject>>;

    /// Begins a multipart upload.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    async fn create_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: Upload,
    ) -> MetaResult<()>;

    /// The upload under way.
    ///
    /// # Errors
    /// `NoSuchUpload`, also for another key's upload and for one that ended.
    async fn upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> MetaResult<Upload>;

    /// Writes a part with its chunk and node rows; an earlier part of that number is replaced and
    /// its chunks are queued for garbage collection, short chunks for repair.
    ///
    /// # Errors
    /// `NoSuchUpload`; `OutcomeUnknown`.
    async fn put_part(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        part: Part,
        replicas_wanted: u8,
    ) -> MetaResult<()>;

    /// Parts of an upload, under way or completed, with numbers above `after`.
    async fn list_parts(
        &self,
        upload: UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> MetaResult<PartPage>;

    /// One part of an upload, under way or completed.
    ///
    /// # Errors
    /// `InvalidPart`.
    async fn part(&self, upload: UploadId, number: PartNumber) -> MetaResult<Part>;

    /// Ends an upload: checks the condition and the parts' revisions, makes the object current,
    /// writes its part set in one row, queues parts that were not chosen and the replaced
    /// version's bytes for garbage collection, and removes the upload. Copies no part rows.
    ///
    /// # Errors
    /// `NoSuchUpload`; `InvalidPart`; `QuotaExceeded`; as `commit_object` for the condition;
    /// `OutcomeUnknown`.
    async fn complete_upload(&self, complete: CompleteUpload) -> MetaResult<Completed>;

    /// The part set of a completed upload.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    async fn part_set(&self, upload: UploadId) -> MetaResult<PartSet>;

    /// Ends an upload without an object and queues its parts for garbage collection.
    ///
    /// # Errors
    /// `NoSuchUpload`; `OutcomeUnknown`.
    async fn abort_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        now: Timestamp,
    ) -> MetaResult<()>;

    /// A page of uploads under way.
    async fn list_uploads(&self, query: UploadQuery) -> MetaResult<UploadPage>;

    /// Writes a user over what stands under its id.
    ///
    /// # Errors
    /// `NameTaken` where an access key or the email is another user's; `OutcomeUnknown`.
    async fn put_user(&self, user: User) -> MetaResult<()>;

    /// Deletes a user. What it owns stays.
    ///
    /// # Errors
    /// `NoSuchUser`; `OutcomeUnknown`.
    async fn delete_user(&self, id: &str) -> MetaResult<()>;

    /// The user of that name.
    ///
    /// # Errors
    /// `NoSuchUser`.
    async fn user(&self, name: UserName<'_>) -> MetaResult<User>;

    /// Users in order of their ids, after `after`.
    async fn list_users(&self, after: Option<&str>, limit: usize) -> MetaResult<Vec<User>>;

    /// Writes what is known of a node.
    async fn put_node(&self, node: NodeRow) -> MetaResult<()>;

    /// All nodes ever registered, in order of their ids.
    async fn nodes(&self) -> MetaResult<Vec<NodeRow>>;

    /// The row that names a chunk, if any does.
    async fn chunk_owner(&self, chunk: ChunkId) -> MetaResult<Option<ChunkOwner>>;

    /// Chunks that rows place on a node, in id order, after `after`.
    async fn chunks_on_node(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<ChunkId>>;

    /// The oldest entries of the garbage collection queue that were unlinked before `before` and
    /// stand behind `after` (moment and id of an entry).
    async fn gc_due(
        &self,
        before: Timestamp,
        after: Option<(Timestamp, Uuid)>,
        limit: usize,
    ) -> MetaResult<Vec<GcEntry>>;

    /// Turns up to `limit` part rows of a `Parts` entry into `Chunks` entries of the same moment
    /// and removes those rows; removes the entry itself when no part is left. An entry that was
    /// removed before is left alone.
    ///
    /// # Panics
    /// For an entry of anything else.
    async fn gc_expand(&self, entry: &GcEntry, limit: usize) -> MetaResult<()>;

    /// Queues for garbage collection what was written for a row that was refused for certain. Never
    /// for one whose outcome is unknown (I10).
    ///
    /// # Errors
    /// `Conflict`, and nothing is queued, where a row names one of the chunks.
    async fn queue_garbage(&self, chunks: Vec<ChunkRef>, now: Timestamp) -> MetaResult<()>;
}
