//! [`MemoryMetastore`]: every method of the trait, each handing on to the state under its mutex.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chunkproto::{ChunkId, NodeId};
use uuid::Uuid;

use super::state::State;
use crate::{
    AppendObject, BodyId, Bucket, BucketId, BucketName, BucketPage, BucketUsage, ChunkOwner,
    ChunkRef, ClientToken, CommitObject, CompleteUpload, Completed, DeleteOutcome, DeletedVersion,
    GcEntry, InlineBody, ListPage, ListQuery, ListedObject, MetaError, MetaResult, Metastore,
    NodeRow, ObjectKey, ObjectVersion, Part, PartNumber, PartPage, PartSet, Quota, RenameObject,
    Renamed, Sequence, StoredVersion, Timestamp, Upload, UploadId, UploadPage, UploadQuery, User,
    UserName, VersionId, VersionPage, VersionQuery, WriteCondition,
};

/// The metadata in memory, for tests and simulation. Gone when dropped.
#[derive(Default)]
pub struct MemoryMetastore {
    state: Mutex<State>,
}

impl MemoryMetastore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes it impossible to read which row names a chunk, as a damaged disk does.
    pub fn damage(&self, chunk: ChunkId) {
        self.state().damaged.insert(chunk);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the mutex fails its test; the others' tests go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Metastore for MemoryMetastore {
    async fn create_bucket(&self, bucket: Bucket) -> MetaResult<()> {
        self.state().create_bucket(bucket)
    }

    async fn amend_bucket(&self, bucket: Bucket, seen: Sequence) -> MetaResult<()> {
        self.state().amend_bucket(bucket, seen)
    }

    async fn bucket(&self, name: &BucketName) -> MetaResult<Bucket> {
        self.state().bucket(name)
    }

    async fn delete_bucket(&self, name: &BucketName, now: Timestamp) -> MetaResult<()> {
        self.state().delete_bucket(name, now)
    }

    async fn list_buckets(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> MetaResult<BucketPage> {
        Ok(self.state().list_buckets(prefix, after, limit))
    }

    async fn bucket_usage(&self, bucket: BucketId) -> MetaResult<Option<BucketUsage>> {
        Ok(self.state().bucket_usage(bucket).ok())
    }

    async fn count_bucket(&self, bucket: BucketId) -> MetaResult<BucketUsage> {
        self.state().bucket_usage(bucket)
    }

    async fn set_quota(&self, bucket: BucketId, quota: Quota) -> MetaResult<()> {
        self.state().set_quota(bucket, quota)
    }

    async fn object(&self, bucket: BucketId, key: &ObjectKey) -> MetaResult<ObjectVersion> {
        self.state().object(bucket, key)
    }

    async fn inline_body(&self, body: BodyId) -> MetaResult<InlineBody> {
        let found = self.state().bodies.get(&body).cloned();
        found.ok_or(MetaError::NoSuchBody(body))
    }

    async fn commit_object(&self, commit: CommitObject) -> MetaResult<VersionId> {
        let bucket = commit.bucket;
        self.state()
            .within_quota(bucket, |state| state.commit_object(commit))
    }

    async fn delete_object(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        condition: WriteCondition,
        now: Timestamp,
    ) -> MetaResult<DeleteOutcome> {
        self.state().delete_object(bucket, key, &condition, now)
    }

    async fn object_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
    ) -> MetaResult<StoredVersion> {
        self.state().object_version(bucket, key, version)
    }

    async fn newest_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
    ) -> MetaResult<Option<StoredVersion>> {
        Ok(self.state().newest_version(bucket, key))
    }

    async fn delete_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
        condition: WriteCondition,
        now: Timestamp,
    ) -> MetaResult<DeletedVersion> {
        self.state()
            .delete_version(bucket, key, version, &condition, now)
    }

    async fn amend_object(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        object: ObjectVersion,
        seen: Sequence,
    ) -> MetaResult<()> {
        self.state().amend_object(bucket, key, object, seen)
    }

    async fn rename_object(&self, rename: RenameObject) -> MetaResult<Renamed> {
        self.state().rename_object(rename)
    }

    async fn append_object(&self, append: AppendObject) -> MetaResult<()> {
        let bucket = append.bucket;
        self.state()
            .within_quota(bucket, |state| state.append_object(&append))
    }

    async fn was_renamed(&self, bucket: BucketId, token: &ClientToken) -> MetaResult<bool> {
        self.state().was_renamed(bucket, token)
    }

    async fn list_versions(&self, query: VersionQuery) -> MetaResult<VersionPage> {
        Ok(self.state().list_versions(&query))
    }

    async fn list_objects(&self, query: ListQuery) -> MetaResult<ListPage<ListedObject>> {
        Ok(self.state().list_objects(&query))
    }

    async fn create_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: Upload,
    ) -> MetaResult<()> {
        self.state().create_upload(bucket, key, upload)
    }

    async fn upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> MetaResult<Upload> {
        self.state().upload(bucket, key, upload)
    }

    async fn put_part(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        part: Part,
        replicas_wanted: u8,
    ) -> MetaResult<()> {
        self.state()
            .put_part(bucket, key, upload, part, replicas_wanted)
    }

    async fn list_parts(
        &self,
        upload: UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> MetaResult<PartPage> {
        Ok(self.state().list_parts(upload, after, limit))
    }

    async fn part(&self, upload: UploadId, number: PartNumber) -> MetaResult<Part> {
        self.state().part(upload, number)
    }

    async fn complete_upload(&self, complete: CompleteUpload) -> MetaResult<Completed> {
        let bucket = complete.bucket;
        self.state()
            .within_quota(bucket, |state| state.complete_upload(complete))
    }

    async fn part_set(&self, upload: UploadId) -> MetaResult<PartSet> {
        self.state().part_set(upload)
    }

    async fn abort_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        now: Timestamp,
    ) -> MetaResult<()> {
        self.state().abort_upload(bucket, key, upload, now)
    }

    async fn list_uploads(&self, query: UploadQuery) -> MetaResult<UploadPage> {
        Ok(self.state().list_uploads(&query))
    }

    async fn put_user(&self, user: User) -> MetaResult<()> {
        self.state().put_user(user)
    }

    async fn delete_user(&self, id: &str) -> MetaResult<()> {
        self.state().delete_user(id)
    }

    async fn user(&self, name: UserName<'_>) -> MetaResult<User> {
        self.state().user(name)
    }

    async fn list_users(&self, after: Option<&str>, limit: usize) -> MetaResult<Vec<User>> {
        Ok(self.state().list_users(after, limit))
    }

    async fn put_node(&self, node: NodeRow) -> MetaResult<()> {
        self.state().nodes.insert(node.id, node);
        Ok(())
    }

    async fn nodes(&self) -> MetaResult<Vec<NodeRow>> {
        Ok(self.state().nodes.values().cloned().collect())
    }

    async fn chunk_owner(&self, chunk: ChunkId) -> MetaResult<Option<ChunkOwner>> {
        Ok(self.state().chunks.get(&chunk).cloned())
    }

    async fn chunks_on_node(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<ChunkId>> {
        Ok(self.state().chunks_on_node(node, after, limit))
    }

    async fn gc_due(
        &self,
        before: Timestamp,
        after: Option<(Timestamp, Uuid)>,
        limit: usize,
    ) -> MetaResult<Vec<GcEntry>> {
        Ok(self.state().gc_due(before, after, limit))
    }

    async fn gc_expand(&self, entry: &GcEntry, limit: usize) -> MetaResult<()> {
        self.state().gc_expand(entry, limit);
        Ok(())
    }

    async fn queue_garbage(&self, chunks: Vec<ChunkRef>, now: Timestamp) -> MetaResult<()> {
        self.state().queue_garbage(chunks, now)
    }
}
