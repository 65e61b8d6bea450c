//! [`RocksMetastore`]: every method of the trait, each handing on to the file that does it. Owns
//! the one way off the async runtime: whatever may wait for a lock or the disk goes through
//! [`RocksMetastore::blocking`].

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use chunkproto::{ChunkId, NodeId};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::keys;
use super::open::{self, OpenError};
use super::options::RocksOptions;
use super::read::{Cached, Store};
use super::tables::{BODIES, BUCKETS, CHUNKS, CURRENT, PART_SETS, PARTS, Table, UPLOADS};
use crate::{
    BodyId, Bucket, BucketId, BucketName, BucketPage, ChunkOwner, CommitObject, CompleteUpload,
    Completed, DeleteOutcome, GcEntry, InlineBody, ListPage, ListQuery, ListedObject, MetaError,
    MetaResult, Metastore, NodeRow, ObjectKey, ObjectVersion, Part, PartNumber, PartPage, PartSet,
    RepairRow, Timestamp, Upload, UploadId, UploadPage, UploadQuery, WriteCondition,
};

/// The metadata in an embedded RocksDB. One process has the directory open at a time.
///
/// Needs a tokio runtime around its methods. Dropping it closes the database once the operations
/// under way have ended.
pub struct RocksMetastore {
    store: Arc<Store>,
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
        Ok(Self {
            store: Arc::new(open::open(path, options)?),
        })
    }

    /// Does `work` on a thread that may wait. It runs to its end even if the caller goes away.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> MetaResult<T> + Send + 'static,
    ) -> MetaResult<T> {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(MetaError::Unavailable(
                    "the runtime is shutting down".into(),
                )),
            },
        }
    }

    /// The row under `key`: at once if memory holds it, else from a thread that may wait.
    async fn get<R: DeserializeOwned + Send + 'static>(
        &self,
        table: Table<R>,
        key: Vec<u8>,
    ) -> MetaResult<Option<R>> {
        match self.store.get_cached(table, &key)? {
            Cached::Known(row) => Ok(row),
            Cached::OnDisk => self.blocking(move |store| store.get(table, &key)).await,
        }
    }
}

#[async_trait]
impl Metastore for RocksMetastore {
    async fn create_bucket(&self, bucket: Bucket) -> MetaResult<()> {
        self.blocking(move |store| store.create_bucket(&bucket))
            .await
    }

    async fn bucket(&self, name: &BucketName) -> MetaResult<Bucket> {
        self.get(BUCKETS, keys::bucket_name(name))
            .await?
            .ok_or(MetaError::NoSuchBucket)
    }

    async fn delete_bucket(&self, name: &BucketName, now: Timestamp) -> MetaResult<()> {
        let name = name.clone();
        self.blocking(move |store| store.delete_bucket(&name, now))
            .await
    }

    async fn list_buckets(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> MetaResult<BucketPage> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.blocking(move |store| store.list_buckets(&prefix, after.as_deref(), limit))
            .await
    }

    async fn object(&self, bucket: BucketId, key: &ObjectKey) -> MetaResult<ObjectVersion> {
        let found = self
            .get(CURRENT, keys::object(bucket, key.as_str().as_bytes()))
            .await?;
        found.ok_or_else(|| MetaError::NoSuchKey(key.clone()))
    }

    async fn inline_body(&self, body: BodyId) -> MetaResult<InlineBody> {
        self.get(BODIES, keys::id(body.0))
            .await?
            .ok_or(MetaError::NoSuchBody(body))
    }

    async fn commit_object(&self, commit: CommitObject) -> MetaResult<()> {
        self.blocking(move |store| store.commit_object(&commit))
            .await
    }

    async fn delete_object(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        condition: WriteCondition,
        now: Timestamp,
    ) -> MetaResult<DeleteOutcome> {
        let key = key.clone();
        self.blocking(move |store| store.delete_object(bucket, &key, &condition, now))
            .await
    }

    async fn list_objects(&self, query: ListQuery) -> MetaResult<ListPage<ListedObject>> {
        self.blocking(move |store| store.list_objects(&query)).await
    }

    async fn create_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: Upload,
    ) -> MetaResult<()> {
        let key = key.clone();
        self.blocking(move |store| store.create_upload(bucket, &key, &upload))
            .await
    }

    async fn upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> MetaResult<Upload> {
        let found = self
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
        let key = key.clone();
        self.blocking(move |store| store.put_part(bucket, &key, upload, &part, replicas_wanted))
            .await
    }

    async fn list_parts(
        &self,
        upload: UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> MetaResult<PartPage> {
        self.blocking(move |store| store.list_parts(upload, after, limit))
            .await
    }

    async fn part(&self, upload: UploadId, number: PartNumber) -> MetaResult<Part> {
        let found = self.get(PARTS, keys::part(upload, number)).await?;
        found.ok_or(MetaError::InvalidPart(number))
    }

    async fn complete_upload(&self, complete: CompleteUpload) -> MetaResult<Completed> {
        self.blocking(move |store| store.complete_upload(&complete))
            .await
    }

    async fn part_set(&self, upload: UploadId) -> MetaResult<PartSet> {
        let found = self.get(PART_SETS, keys::id(upload.0)).await?;
        found.ok_or(MetaError::NoSuchUpload(upload))
    }

    async fn abort_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        now: Timestamp,
    ) -> MetaResult<()> {
        let key = key.clone();
        self.blocking(move |store| store.abort_upload(bucket, &key, upload, now))
            .await
    }

    async fn list_uploads(&self, query: UploadQuery) -> MetaResult<UploadPage> {
        self.blocking(move |store| store.list_uploads(&query)).await
    }

    async fn put_node(&self, node: NodeRow) -> MetaResult<()> {
        self.blocking(move |store| store.put_node(&node)).await
    }

    async fn nodes(&self) -> MetaResult<Vec<NodeRow>> {
        self.blocking(Store::nodes).await
    }

    async fn chunk_owner(&self, chunk: ChunkId) -> MetaResult<Option<ChunkOwner>> {
        self.get(CHUNKS, keys::chunk(chunk)).await
    }

    async fn chunks_on_node(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<ChunkId>> {
        self.blocking(move |store| store.chunks_on_node(node, after, limit))
            .await
    }

    async fn repair_queue(
        &self,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<RepairRow>> {
        self.blocking(move |store| store.repair_queue(after, limit))
            .await
    }

    async fn gc_due(
        &self,
        before: Timestamp,
        after: Option<(Timestamp, Uuid)>,
        limit: usize,
    ) -> MetaResult<Vec<GcEntry>> {
        self.blocking(move |store| store.gc_due(before, after, limit))
            .await
    }

    async fn gc_expand(&self, entry: &GcEntry, limit: usize) -> MetaResult<()> {
        let entry = entry.clone();
        self.blocking(move |store| store.gc_expand(&entry, limit))
            .await
    }

    async fn gc_done(&self, entry: &GcEntry) -> MetaResult<()> {
        let entry = entry.clone();
        self.blocking(move |store| store.gc_done(&entry)).await
    }
}
