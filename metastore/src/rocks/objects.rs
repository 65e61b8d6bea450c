//! Current versions: committed, replaced, deleted. What becomes of older ones stands in `versions`.

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::read::{Looked, Reader};
use super::tables::{BODIES, CURRENT, PART_SETS};
use super::versions::Displacement;
use crate::succession::Unlinked;
use crate::version_succession::Displaced;
use crate::{
    BucketId, ChunkOwner, CommitObject, DeleteOutcome, GcItem, MetaError, MetaResult, ObjectData,
    ObjectKey, ObjectVersion, StoredVersion, Timestamp, VersionId, Versioning, WriteCondition,
};

impl Engine {
    pub(super) async fn commit_object(&self, commit: CommitObject) -> MetaResult<VersionId> {
        let held = vec![
            self.locks.bucket_stays(commit.bucket).await,
            self.locks.key(commit.bucket, &commit.key).await,
        ];
        let (batch, version) = self.look(move |reader| reader.version(&commit)).await?;
        self.commit(batch, held).await?;
        Ok(version)
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
        let (batch, outcome) = deletion.await?;
        if outcome != DeleteOutcome::Absent {
            self.commit(batch, held).await?;
        }
        Ok(outcome)
    }
}

impl Reader<'_> {
    /// The commit of a new current version, and its name.
    fn version(&self, commit: &CommitObject) -> Looked<(Batch, VersionId)> {
        let (bucket, key) = (commit.bucket, &commit.key);
        let displacement = self.displacement(bucket, key)?;
        let current = displacement.current.as_ref();
        commit.condition.check(key, current)?;
        let mut object = commit.object.clone();
        (object.version, object.order) = (displacement.entry.version, displacement.entry.order);
        if let Some(current) = current {
            object.keep_places(current);
        }
        let same_bytes = current.is_some_and(|row| row.data == object.data);
        // Two versions never share their bytes: the first to go would take them along.
        let shared =
            same_bytes && object.holds_bytes() && displacement.entry.displaced == Displaced::Kept;
        if shared || (!same_bytes && !commit.brings_its_bytes()) {
            // A change of metadata that lost against a write: its bytes are garbage already.
            return Err(MetaError::Conflict.into());
        }

        let mut batch = Batch::default();
        if !same_bytes {
            let owner = ChunkOwner::Object {
                bucket,
                key: key.clone(),
                version: object.version,
            };
            let since = object.modified_at;
            batch.link(object.chunks(), &owner, commit.replicas_wanted, since);
            if let (ObjectData::Inline(id), Some(body)) = (&object.data, &commit.inline_body) {
                batch.put(BODIES, keys::id(id.0), body);
            }
        }
        batch.make_current(bucket, key, &object, displacement);
        Ok((batch, object.version))
    }

    /// The commit that deletes the current version, or hides it behind a delete marker.
    pub(super) fn deletion(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        condition: &WriteCondition,
        now: Timestamp,
    ) -> Looked<(Batch, DeleteOutcome)> {
        let displacement = self.displacement(bucket, key)?;
        condition.check(key, displacement.current.as_ref())?;
        let mut batch = Batch::default();
        let (was_there, entry) = (displacement.current.is_some(), displacement.entry);
        let (versioning, owner) = (displacement.versioning, displacement.bucket_owner.clone());
        if was_there {
            batch.delete(CURRENT, keys::object(bucket, key.as_str().as_bytes()));
        }
        batch.carry_out(bucket, key, displacement, None, now);
        let outcome = match (versioning, was_there) {
            (Versioning::Off, true) => DeleteOutcome::Deleted,
            (Versioning::Off, false) => DeleteOutcome::Absent,
            _ => {
                let marker = StoredVersion::marker(&entry, now, owner);
                batch.put_noncurrent(bucket, key, marker, now);
                DeleteOutcome::MarkerPlaced(entry.version)
            }
        };
        Ok((batch, outcome))
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
    /// Makes `object` current in the place of what stood there.
    pub(super) fn make_current(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        object: &ObjectVersion,
        displacement: Displacement,
    ) {
        let row_key = keys::object(bucket, key.as_str().as_bytes());
        self.put(CURRENT, row_key, object);
        self.count_in(bucket, object);
        self.carry_out(bucket, key, displacement, Some(object), object.modified_at);
    }

    /// Queues what a version left behind.
    pub(super) fn collect(&mut self, unlinked: Unlinked, unlinked_at: Timestamp) {
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
