//! Buckets and current versions.

use super::state::State;
use crate::succession::Unlinked;
use crate::{
    Bucket, BucketId, BucketName, ChunkOwner, CommitObject, DeleteOutcome, GcItem, MetaError,
    MetaResult, ObjectData, ObjectKey, ObjectVersion, Timestamp, UploadId, WriteCondition,
};

impl State {
    pub(super) fn create_bucket(&mut self, bucket: Bucket) -> MetaResult<()> {
        if let Some(existing) = self.buckets.get(&bucket.name) {
            let owner = existing.owner.clone();
            return Err(MetaError::BucketExists {
                name: bucket.name,
                owner,
            });
        }
        self.buckets.insert(bucket.name.clone(), bucket);
        Ok(())
    }

    pub(super) fn bucket(&self, name: &BucketName) -> MetaResult<Bucket> {
        self.buckets
            .get(name)
            .cloned()
            .ok_or(MetaError::NoSuchBucket)
    }

    pub(super) fn delete_bucket(&mut self, name: &BucketName, now: Timestamp) -> MetaResult<()> {
        let id = self.bucket(name)?.id;
        let has_objects = self.current.keys().any(|(bucket, _)| *bucket == id);
        if has_objects {
            return Err(MetaError::BucketNotEmpty);
        }
        let in_bucket = |(bucket, ..): &&(BucketId, ObjectKey, UploadId)| *bucket == id;
        let uploads: Vec<_> = self.uploads.keys().filter(in_bucket).cloned().collect();
        for (bucket, key, upload) in uploads {
            self.abort_upload(bucket, &key, upload, now)?;
        }
        self.buckets.remove(name);
        Ok(())
    }

    pub(super) fn object(&self, bucket: BucketId, key: &ObjectKey) -> MetaResult<ObjectVersion> {
        let found = self.current.get(&(bucket, key.clone())).cloned();
        found.ok_or_else(|| MetaError::NoSuchKey(key.clone()))
    }

    pub(super) fn commit_object(&mut self, commit: CommitObject) -> MetaResult<()> {
        let brings_its_bytes = commit.brings_its_bytes();
        let CommitObject {
            bucket,
            key,
            mut object,
            inline_body,
            condition,
            replicas_wanted,
        } = commit;
        self.expect_bucket(bucket)?;
        let current = self.current.get(&(bucket, key.clone())).cloned();
        condition.check(&key, current.as_ref())?;
        if let Some(current) = &current {
            object.keep_places(current);
        }
        let same_bytes = current.is_some_and(|current| current.data == object.data);
        if !same_bytes && !brings_its_bytes {
            return Err(MetaError::Conflict);
        }
        if !same_bytes {
            let owner = ChunkOwner::Object {
                bucket,
                key: key.clone(),
                version: object.version,
            };
            self.link(object.chunks(), &owner, replicas_wanted, object.modified_at);
            if let (ObjectData::Inline(id), Some(body)) = (&object.data, inline_body) {
                self.bodies.insert(*id, body);
            }
        }
        self.make_current(bucket, key, object);
        Ok(())
    }

    pub(super) fn delete_object(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        condition: &WriteCondition,
        now: Timestamp,
    ) -> MetaResult<DeleteOutcome> {
        self.expect_bucket(bucket)?;
        condition.check(key, self.current.get(&(bucket, key.clone())))?;
        let Some(deleted) = self.current.remove(&(bucket, key.clone())) else {
            return Ok(DeleteOutcome::Absent);
        };
        self.collect(deleted.unlinked_by(None), now);
        Ok(DeleteOutcome::Deleted)
    }

    /// Makes `object` current and queues the bytes that only the version before it named.
    pub(super) fn make_current(&mut self, bucket: BucketId, key: ObjectKey, object: ObjectVersion) {
        if let Some(replaced) = self.current.insert((bucket, key), object.clone()) {
            self.collect(replaced.unlinked_by(Some(&object)), object.modified_at);
        }
    }

    fn collect(&mut self, unlinked: Unlinked, unlinked_at: Timestamp) {
        match unlinked {
            Unlinked::Nothing => {}
            Unlinked::Chunks(chunks) => self.unlink(chunks, unlinked_at),
            Unlinked::Parts(upload) => {
                self.part_sets.remove(&upload);
                self.queue(GcItem::Parts(upload), unlinked_at);
            }
            Unlinked::Body(body) => {
                self.bodies.remove(&body);
            }
        }
    }
}
