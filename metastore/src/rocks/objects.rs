//! Current versions: committed, replaced, deleted.

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::read::{Looked, Reader};
use super::tables::{BODIES, CURRENT, PART_SETS};
use crate::succession::Unlinked;
use crate::{
    BucketId, ChunkOwner, CommitObject, DeleteOutcome, GcItem, MetaError, MetaResult, ObjectData,
    ObjectKey, ObjectVersion, Timestamp, WriteCondition,
};

impl Engine {
    pub(super) async fn commit_object(&self, commit: CommitObject) -> MetaResult<()> {
        let held = vec![
            self.locks.bucket_stays(commit.bucket).await,
            self.locks.key(commit.bucket, &commit.key).await,
        ];
        let batch = self.look(move |reader| reader.version(&commit)).await?;
        self.commit(batch, held).await
    }

    pub(super) async fn delete_object(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        condition: WriteCondition,
        now: Timestamp,
    ) -> MetaResult<DeleteOutcome> {
        let held = vec![
            self.locks.bucket_stays(bucket).await,
            self.locks.key(bucket, key).await,
        ];
        let key = key.clone();
        let deletion = self.look(move |reader| reader.deletion(bucket, &key, &condition, now));
        match deletion.await? {
            Some(batch) => {
                self.commit(batch, held).await?;
                Ok(DeleteOutcome::Deleted)
            }
            None => Ok(DeleteOutcome::Absent),
        }
    }
}

impl Reader<'_> {
    /// The commit of a new current version.
    fn version(&self, commit: &CommitObject) -> Looked<Batch> {
        let CommitObject {
            bucket,
            key,
            object,
            ..
        } = commit;
        self.expect_bucket(*bucket)?;
        let current = self.current(*bucket, key)?;
        commit.condition.check(key, current.as_ref())?;
        let mut object = object.clone();
        if let Some(current) = &current {
            object.keep_places(current);
        }
        let same_bytes = current.as_ref().is_some_and(|row| row.data == object.data);
        if !same_bytes && !commit.brings_its_bytes() {
            // A change of metadata that lost against a write: its bytes are garbage already.
            return Err(MetaError::Conflict.into());
        }

        let mut batch = Batch::default();
        if !same_bytes {
            let owner = ChunkOwner::Object {
                bucket: *bucket,
                key: key.clone(),
                version: object.version,
            };
            let since = object.modified_at;
            batch.link(object.chunks(), &owner, commit.replicas_wanted, since);
            if let (ObjectData::Inline(id), Some(body)) = (&object.data, &commit.inline_body) {
                batch.put(BODIES, keys::id(id.0), body);
            }
        }
        batch.make_current(*bucket, key, &object, current.as_ref());
        Ok(batch)
    }

    /// The commit that deletes the current version; none if there is none.
    fn deletion(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        condition: &WriteCondition,
        now: Timestamp,
    ) -> Looked<Option<Batch>> {
        self.expect_bucket(bucket)?;
        let current = self.current(bucket, key)?;
        condition.check(key, current.as_ref())?;
        let Some(current) = current else {
            return Ok(None);
        };
        let mut batch = Batch::default();
        batch.delete(CURRENT, keys::object(bucket, key.as_str().as_bytes()));
        batch.collect(current.unlinked_by(None), now);
        Ok(Some(batch))
    }

    /// The current version of a key, if it has one.
    pub(super) fn current(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
    ) -> Looked<Option<ObjectVersion>> {
        self.get(CURRENT, &keys::object(bucket, key.as_str().as_bytes()))
    }
}

impl Batch {
    /// Puts `object` in the place of `current` and queues the bytes that only `current` named.
    pub(super) fn make_current(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        object: &ObjectVersion,
        current: Option<&ObjectVersion>,
    ) {
        self.put(
            CURRENT,
            keys::object(bucket, key.as_str().as_bytes()),
            object,
        );
        if let Some(current) = current {
            self.collect(current.unlinked_by(Some(object)), object.modified_at);
        }
    }

    /// Queues what a version left behind.
    fn collect(&mut self, unlinked: Unlinked, unlinked_at: Timestamp) {
        match unlinked {
            Unlinked::Nothing => {}
            Unlinked::Chunks(chunks) => self.unlink(chunks, unlinked_at),
            Unlinked::Parts(upload) => {
                self.delete(PART_SETS, keys::id(upload.0));
                self.queue(&GcItem::Parts(upload), unlinked_at);
            }
            Unlinked::Body(body) => self.delete(BODIES, keys::id(body.0)),
        }
    }
}
