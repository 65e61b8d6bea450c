//! Buckets and current versions.

use super::state::State;
use crate::succession::Unlinked;
use crate::version_succession::{Displaced, Entry};
use crate::{
    Bucket, BucketId, BucketName, ChunkOwner, CommitObject, DeleteOutcome, GcItem, MetaError,
    MetaResult, ObjectData, ObjectKey, ObjectVersion, Sequence, StoredVersion, Timestamp, UploadId,
    VersionId, Versioning, WriteCondition,
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
        let has_objects = self.current.keys().any(|(bucket, _)| *bucket == id)
            || self.noncurrent.keys().any(|(bucket, ..)| *bucket == id);
        if has_objects {
            return Err(MetaError::BucketNotEmpty);
        }
        let in_bucket = |(bucket, ..): &&(BucketId, ObjectKey, UploadId)| *bucket == id;
        let uploads: Vec<_> = self.uploads.keys().filter(in_bucket).cloned().collect();
        for (bucket, key, upload) in uploads {
            self.abort_upload(bucket, &key, upload, now)?;
        }
        self.buckets.remove(name);
        self.quotas.remove(&id);
        Ok(())
    }

    pub(super) fn object(&self, bucket: BucketId, key: &ObjectKey) -> MetaResult<ObjectVersion> {
        let found = self.current.get(&(bucket, key.clone())).cloned();
        found.ok_or_else(|| MetaError::NoSuchKey(key.clone()))
    }

    pub(super) fn amend_bucket(&mut self, bucket: Bucket, seen: Sequence) -> MetaResult<()> {
        let current = self.bucket(&bucket.name)?;
        if current.id != bucket.id {
            return Err(MetaError::NoSuchBucket);
        }
        if current.settings.revision != seen {
            return Err(MetaError::Conflict);
        }
        self.buckets.insert(bucket.name.clone(), bucket);
        Ok(())
    }

    pub(super) fn commit_object(&mut self, commit: CommitObject) -> MetaResult<VersionId> {
        let brings_its_bytes = commit.brings_its_bytes();
        let CommitObject {
            bucket,
            key,
            mut object,
            inline_body,
            condition,
            replicas_wanted,
        } = commit;
        let (entry, _) = self.entry(bucket, &key)?;
        let current = self.current.get(&(bucket, key.clone()));
        condition.check(&key, current)?;
        (object.version, object.order) = (entry.version, entry.order);
        if let Some(current) = current {
            object.keep_places(current);
        }
        let same_bytes = current.is_some_and(|current| current.data == object.data);
        let shared = same_bytes && object.holds_bytes() && entry.displaced == Displaced::Kept;
        if shared || (!same_bytes && !brings_its_bytes) {
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
        self.make_current(bucket, key, object, &entry);
        Ok(entry.version)
    }

    pub(super) fn delete_object(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        condition: &WriteCondition,
        now: Timestamp,
    ) -> MetaResult<DeleteOutcome> {
        let (entry, row) = self.entry(bucket, key)?;
        let current = self.current.get(&(bucket, key.clone()));
        condition.check(key, current)?;
        let was_there = current.is_some();
        self.carry_out(bucket, key, &entry, None, now);
        match (row.settings.versioning, was_there) {
            (Versioning::Off, true) => Ok(DeleteOutcome::Deleted),
            (Versioning::Off, false) => Ok(DeleteOutcome::Absent),
            _ => {
                let marker = StoredVersion::marker(&entry, now, row.owner);
                self.put_noncurrent(bucket, key, marker, now);
                Ok(DeleteOutcome::MarkerPlaced(entry.version))
            }
        }
    }

    /// Makes `object` current in the place of what stood there.
    pub(super) fn make_current(
        &mut self,
        bucket: BucketId,
        key: ObjectKey,
        object: ObjectVersion,
        entry: &Entry,
    ) {
        self.carry_out(bucket, &key, entry, Some(&object), object.modified_at);
        self.current.insert((bucket, key), object);
    }

    pub(super) fn collect(&mut self, unlinked: Unlinked, unlinked_at: Timestamp) {
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
