//! [`RocksMetastore`]: every method of the trait, each handing on to the file that does it.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use chunkproto::{ChunkId, NodeId};
use uuid::Uuid;

use super::engine::Engine;
use super::keys;
use super::open::{self, OpenError};
use super::options::RocksOptions;
use super::read::Store;
use super::tables::{BODIES, CHUNKS, CURRENT, PART_SETS, PARTS, UPLOADS};
use crate::{
    AppendObject, BodyId, Bucket, BucketId, BucketName, BucketPage, BucketUsage, ChunkOwner,
    ChunkRef, ClientToken, CommitObject, CompleteUpload, Completed, DeleteOutcome, DeletedVersion,
    GcEntry, InlineBody, ListPage, ListQuery, ListedObject, MetaError, MetaResult, Metastore,
    NodeRow, ObjectKey, ObjectVersion, Part, PartNumber, PartPage, PartSet, Quota, RenameObject,
    Renamed, Sequence, StoredVersion, Timestamp, Upload, UploadId, UploadPage, UploadQuery, User,
    UserName, VersionId, VersionPage, VersionQuery, WriteCondition,
};

/// The metadata in an embedded RocksDB. One process has the directory open at a time.
///
/// Durability: a write is answered once its rows are synced to the log; writes that meet share
/// the sync. After a sync that failed, writes are refused until the store is opened anew, and
/// reads go on.
///
/// A write whose future is dropped either was handed to the thread that writes, and happens whole,
/// or changes nothing; whichever it is, no other write comes between its check and its commit.
/// A write's future should be polled to its end or dropped: one that is kept without being polled
/// may hold locks that others wait for.
///
/// Needs a tokio runtime around its methods. Dropping it waits until what was handed to the thread
/// that writes is durable, and closes the database once the reads under way have ended.
pub struct RocksMetastore {
    pub(super) engine: Engine,
    pub(super) dir: PathBuf,
}

impl RocksMetastore {
    /// Opens the store in the directory `path`, or makes one where there is nothing. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`]; a directory that is refused is left as it was.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, &RocksOptions::default())
    }

    /// As [`open`](Self::open), with settings.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: &Path, options: &RocksOptions) -> Result<Self, OpenError> {
        let store = open::open(path, options)?;
        store.end_leases(path)?;
        let engine = Engine::start(store).map_err(|source| OpenError::Io {
            path: path.into(),
            source,
        })?;
        let dir = path.to_owned();
        Ok(Self { engine, dir })
    }
}

#[async_trait]
impl Metastore for RocksMetastore {
    async fn create_bucket(&self, bucket: Bucket) -> MetaResult<()> {
        self.engine.create_bucket(&bucket).await
    }

    async fn amend_bucket(&self, bucket: Bucket, seen: Sequence) -> MetaResult<()> {
        self.engine.amend_bucket(bucket, seen).await
    }

    async fn bucket(&self, name: &BucketName) -> MetaResult<Bucket> {
        let name = name.clone();
        let found = self.engine.look(move |reader| reader.bucket_named(&name));
        let bucket = found.await?.ok_or(MetaError::NoSuchBucket)?;
        Ok(Bucket::clone(&bucket))
    }

    async fn delete_bucket(&self, name: &BucketName, now: Timestamp) -> MetaResult<()> {
        self.engine.delete_bucket(name, now).await
    }

    async fn list_buckets(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> MetaResult<BucketPage> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.engine
            .page(move |store| store.list_buckets(&prefix, after.as_deref(), limit))
            .await
    }

    async fn bucket_usage(&self, bucket: BucketId) -> MetaResult<Option<BucketUsage>> {
        self.engine.bucket_usage(bucket).await
    }

    async fn count_bucket(&self, bucket: BucketId) -> MetaResult<BucketUsage> {
        self.engine.count_bucket(bucket).await
    }

    async fn set_quota(&self, bucket: BucketId, quota: Quota) -> MetaResult<()> {
        self.engine.set_quota(bucket, quota).await
    }

    async fn object(&self, bucket: BucketId, key: &ObjectKey) -> MetaResult<ObjectVersion> {
        let found = self
            .engine
            .get(CURRENT, keys::object(bucket, key.as_str().as_bytes()))
            .await?;
        found.ok_or_else(|| MetaError::NoSuchKey(key.clone()))
    }

    async fn inline_body(&self, body: BodyId) -> MetaResult<InlineBody> {
        self.engine
            .get(BODIES, keys::id(body.0))
            .await?
            .ok_or(MetaError::NoSuchBody(body))
    }

    async fn commit_object(&self, commit: CommitObject) -> MetaResult<VersionId> {
        self.engine.commit_object(commit).await
    }

    async fn delete_object(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        condition: WriteCondition,
        now: Timestamp,
    ) -> MetaResult<DeleteOutcome> {
        self.engine.delete_object(bucket, key, condition, now).await
    }

    async fn object_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
    ) -> MetaResult<StoredVersion> {
        self.engine.object_version(bucket, key, version).await
    }

    async fn newest_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
    ) -> MetaResult<Option<StoredVersion>> {
        self.engine.newest_version(bucket, key).await
    }

    async fn delete_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
        condition: WriteCondition,
        now: Timestamp,
    ) -> MetaResult<DeletedVersion> {
        self.engine
            .delete_version(bucket, key, version, condition, now)
            .await
    }

    async fn amend_object(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        object: ObjectVersion,
        seen: Sequence,
    ) -> MetaResult<()> {
        self.engine.amend_object(bucket, key, object, seen).await
    }

    async fn rename_object(&self, rename: RenameObject) -> MetaResult<Renamed> {
        self.engine.rename_object(rename).await
    }

    async fn append_object(&self, append: AppendObject) -> MetaResult<()> {
        self.engine.append_object(append).await
    }

    async fn was_renamed(&self, bucket: BucketId, token: &ClientToken) -> MetaResult<bool> {
        self.engine.was_renamed(bucket, token).await
    }

    async fn list_versions(&self, query: VersionQuery) -> MetaResult<VersionPage> {
        self.engine
            .page(move |store| store.list_versions(&query))
            .await
    }

    async fn list_objects(&self, query: ListQuery) -> MetaResult<ListPage<ListedObject>> {
        self.engine
            .page(move |store| store.list_objects(&query))
            .await
    }

    async fn create_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: Upload,
    ) -> MetaResult<()> {
        self.engine.create_upload(bucket, key, &upload).await
    }

    async fn upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> MetaResult<Upload> {
        let found = self
            .engine
            .get(UPLOADS, keys::upload(bucket, key.as_str(), upload))
            .await?;
        found.ok_or(MetaError::NoSuchUpload(upload))
    }

    async fn put_part(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        part: Part,
        replicas_wanted: u8,
    ) -> MetaResult<()> {
        self.engine
            .put_part(bucket, key, upload, part, replicas_wanted)
            .await
    }

    async fn list_parts(
        &self,
        upload: UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> MetaResult<PartPage> {
        self.engine
            .page(move |store| store.list_parts(upload, after, limit))
            .await
    }

    async fn part(&self, upload: UploadId, number: PartNumber) -> MetaResult<Part> {
        let found = self.engine.get(PARTS, keys::part(upload, number)).await?;
        found.ok_or(MetaError::InvalidPart(number))
    }

    async fn complete_upload(&self, complete: CompleteUpload) -> MetaResult<Completed> {
        self.engine.complete_upload(complete).await
    }

    async fn part_set(&self, upload: UploadId) -> MetaResult<PartSet> {
        let found = self.engine.get(PART_SETS, keys::id(upload.0)).await?;
        found.ok_or(MetaError::NoSuchUpload(upload))
    }

    async fn abort_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        now: Timestamp,
    ) -> MetaResult<()> {
        self.engine.abort_upload(bucket, key, upload, now).await
    }

    async fn list_uploads(&self, query: UploadQuery) -> MetaResult<UploadPage> {
        self.engine
            .page(move |store| store.list_uploads(&query))
            .await
    }

    async fn put_user(&self, user: User) -> MetaResult<()> {
        self.engine.put_user(user).await
    }

    async fn delete_user(&self, id: &str) -> MetaResult<()> {
        self.engine.delete_user(id).await
    }

    async fn user(&self, name: UserName<'_>) -> MetaResult<User> {
        self.engine.user(name).await
    }

    async fn list_users(&self, after: Option<&str>, limit: usize) -> MetaResult<Vec<User>> {
        let after = after.map(str::to_owned);
        self.engine
            .blocking(move |store| store.list_users(after.as_deref(), limit))
            .await
    }

    async fn put_node(&self, node: NodeRow) -> MetaResult<()> {
        self.engine.put_node(&node).await
    }

    async fn nodes(&self) -> MetaResult<Vec<NodeRow>> {
        self.engine.blocking(Store::nodes).await
    }

    async fn chunk_owner(&self, chunk: ChunkId) -> MetaResult<Option<ChunkOwner>> {
        self.engine.get(CHUNKS, keys::chunk(chunk)).await
    }

    async fn chunks_on_node(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<ChunkId>> {
        self.engine
            .blocking(move |store| store.chunks_on_node(node, after, limit))
            .await
    }

    async fn gc_due(
        &self,
        before: Timestamp,
        after: Option<(Timestamp, Uuid)>,
        limit: usize,
    ) -> MetaResult<Vec<GcEntry>> {
        self.engine
            .blocking(move |store| store.gc_due(before, after, limit))
            .await
    }

    async fn gc_expand(&self, entry: &GcEntry, limit: usize) -> MetaResult<()> {
        self.engine.gc_expand(entry, limit).await
    }

    async fn queue_garbage(&self, chunks: Vec<ChunkRef>, now: Timestamp) -> MetaResult<()> {
        self.engine.queue_garbage(chunks, now).await
    }
}
