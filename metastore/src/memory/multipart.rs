//! Multipart uploads and their parts.

use super::state::State;
use crate::completion::Choice;
use crate::placement::keep_places;
use crate::succession::chunks_without;
use crate::{
    BucketId, ChunkOwner, CompleteUpload, Completed, GcItem, MetaError, MetaResult, ObjectData,
    ObjectKey, Part, PartNumber, PartPage, PartSet, Timestamp, Upload, UploadId,
};

impl State {
    pub(super) fn create_upload(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: Upload,
    ) -> MetaResult<()> {
        self.expect_bucket(bucket)?;
        self.uploads
            .insert((bucket, key.clone(), upload.id), upload);
        Ok(())
    }

    pub(super) fn upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> MetaResult<Upload> {
        let found = self.uploads.get(&(bucket, key.clone(), upload)).cloned();
        found.ok_or(MetaError::NoSuchUpload(upload))
    }

    pub(super) fn put_part(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        mut part: Part,
        replicas_wanted: u8,
    ) -> MetaResult<()> {
        self.upload(bucket, key, upload)?;
        if let Some(replaced) = self.parts.get(&(upload, part.number)) {
            keep_places(&mut part.layout, &replaced.layout.chunks);
        }
        let owner = ChunkOwner::Part {
            upload,
            number: part.number,
        };
        self.link(
            &part.layout.chunks,
            &owner,
            replicas_wanted,
            part.modified_at,
        );
        if let Some(replaced) = self.parts.insert((upload, part.number), part.clone()) {
            let unlinked = chunks_without(&replaced.layout.chunks, &part.layout.chunks);
            self.unlink(unlinked, part.modified_at);
        }
        Ok(())
    }

    pub(super) fn list_parts(
        &self,
        upload: UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> PartPage {
        let mut parts = self.parts_of(upload);
        parts.retain(|part| Some(part.number) > after);
        let truncated = limit > 0 && parts.len() > limit;
        parts.truncate(limit);
        PartPage { parts, truncated }
    }

    pub(super) fn part(&self, upload: UploadId, number: PartNumber) -> MetaResult<Part> {
        self.parts
            .get(&(upload, number))
            .cloned()
            .ok_or(MetaError::InvalidPart(number))
    }

    pub(super) fn complete_upload(&mut self, complete: CompleteUpload) -> MetaResult<Completed> {
        let CompleteUpload {
            bucket,
            key,
            upload,
            mut object,
            parts,
            condition,
        } = complete;
        if self.upload(bucket, &key, upload).is_err() {
            return self
                .completed_before(bucket, &key, upload)
                .map(Completed::Before);
        }
        let Choice { chosen, left_out } = Choice::of(&parts, self.parts_of(upload))?;
        condition.check(&key, self.current.get(&(bucket, key.clone())))?;
        let (entry, _) = self.entry(bucket, &key)?;
        (object.version, object.order) = (entry.version, entry.order);
        for part in left_out {
            self.parts.remove(&(upload, part.number));
            self.unlink(part.layout.chunks, object.modified_at);
        }
        let part_set = PartSet {
            bucket,
            key: key.clone(),
            sequence: object.sequence,
            etag: object.etag.clone(),
            parts: chosen,
        };
        self.part_sets.insert(upload, part_set);
        self.uploads.remove(&(bucket, key.clone(), upload));
        self.make_current(bucket, key, object, &entry);
        Ok(Completed::Now(entry.version))
    }

    fn completed_before(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> MetaResult<PartSet> {
        let set = self.part_set(upload)?;
        let current = self
            .current
            .get(&(bucket, key.clone()))
            .map(|object| &object.data);
        let is_current = current == Some(&ObjectData::Parts(upload));
        if is_current && set.bucket == bucket && set.key == *key {
            Ok(set)
        } else {
            Err(MetaError::NoSuchUpload(upload))
        }
    }

    pub(super) fn part_set(&self, upload: UploadId) -> MetaResult<PartSet> {
        self.part_sets
            .get(&upload)
            .cloned()
            .ok_or(MetaError::NoSuchUpload(upload))
    }

    pub(super) fn abort_upload(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        now: Timestamp,
    ) -> MetaResult<()> {
        self.upload(bucket, key, upload)?;
        self.uploads.remove(&(bucket, key.clone(), upload));
        self.queue(GcItem::Parts(upload), now);
        Ok(())
    }

    /// All parts of an upload in order of their numbers.
    pub(super) fn parts_of(&self, upload: UploadId) -> Vec<Part> {
        let own = self.parts.iter().filter(|((owner, _), _)| *owner == upload);
        own.map(|(_, part)| part.clone()).collect()
    }
}
