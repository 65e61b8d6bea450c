//! Multipart uploads: begun, completed, aborted.

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::read::{Looked, Reader, Store};
use super::tables::{PART_SETS, PARTS, UPLOADS};
use crate::completion::Choice;
use crate::{
    BucketId, CompleteUpload, Completed, GcItem, MetaError, MetaResult, ObjectData, ObjectKey,
    PartNumber, PartSet, Timestamp, Upload, UploadId, VersionId,
};

/// What completing an upload comes to.
enum Completion {
    /// This is to be committed.
    Commit(Batch, VersionId),
    /// It was committed before.
    Before(PartSet),
}

impl Engine {
    pub(super) async fn create_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: &Upload,
    ) -> MetaResult<()> {
        let held = vec![self.locks.bucket_stays(bucket).await];
        self.look(move |reader| reader.expect_bucket(bucket).map(drop))
            .await?;
        let mut batch = Batch::default();
        batch.put(
            UPLOADS,
            keys::upload(bucket, key.as_str(), upload.id),
            upload,
        );
        self.commit(batch, held).await
    }

    pub(super) async fn complete_upload(&self, complete: CompleteUpload) -> MetaResult<Completed> {
        // The bucket's lock is needed although the upload keeps the bucket: a delete that looks
        // at objects before this commit and at uploads after it would see neither.
        let held = vec![
            self.locks.bucket_stays(complete.bucket).await,
            self.locks.upload_ends(complete.upload).await,
            self.locks.key(complete.bucket, &complete.key).await,
        ];
        // A walk over parts, so it may wait from the beginning.
        let completion = self.blocking(move |store| store.completion(&complete));
        match completion.await? {
            Completion::Commit(batch, version) => {
                self.commit(batch, held).await?;
                Ok(Completed::Now(version))
            }
            Completion::Before(set) => Ok(Completed::Before(set)),
        }
    }

    pub(super) async fn abort_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        now: Timestamp,
    ) -> MetaResult<()> {
        let held = vec![self.locks.upload_ends(upload).await];
        let key = key.clone();
        let batch = self.look(move |reader| reader.abortion(bucket, &key, upload, now));
        self.commit(batch.await?, held).await
    }
}

impl Reader<'_> {
    /// The commit that ends an upload without an object.
    pub(super) fn abortion(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        now: Timestamp,
    ) -> Looked<Batch> {
        let upload_key = keys::upload(bucket, key.as_str(), upload);
        if self.get(UPLOADS, &upload_key)?.is_none() {
            return Err(MetaError::NoSuchUpload(upload).into());
        }
        let mut batch = Batch::default();
        batch.delete(UPLOADS, upload_key);
        batch.queue(&GcItem::Parts(upload), now);
        Ok(batch)
    }
}

impl Store {
    fn completion(&self, complete: &CompleteUpload) -> MetaResult<Completion> {
        let CompleteUpload {
            bucket,
            key,
            upload,
            object,
            ..
        } = complete;
        let upload_key = keys::upload(*bucket, key.as_str(), *upload);
        if self.on_disk().get(UPLOADS, &upload_key)?.is_none() {
            return self
                .completed_before(*bucket, key, *upload)
                .map(Completion::Before);
        }
        let parts = self.parts_of(*upload, usize::from(PartNumber::MAX))?;
        let Choice { chosen, left_out } = Choice::of(&complete.parts, parts)?;
        let displacement = self.on_disk().displacement(*bucket, key)?;
        complete
            .condition
            .check(key, displacement.current.as_ref())?;
        let mut object = object.clone();
        (object.version, object.order) = (displacement.entry.version, displacement.entry.order);

        let mut batch = Batch::default();
        for part in left_out {
            batch.delete(PARTS, keys::part(*upload, part.number));
            batch.unlink(part.layout.chunks, object.modified_at);
        }
        let part_set = PartSet {
            bucket: *bucket,
            key: key.clone(),
            sequence: object.sequence,
            etag: object.etag.clone(),
            parts: chosen,
        };
        batch.put(PART_SETS, keys::id(upload.0), &part_set);
        batch.make_current(*bucket, key, &object, displacement);
        batch.delete(UPLOADS, upload_key);
        Ok(Completion::Commit(batch, object.version))
    }

    /// The part set of an upload that was completed before, where its object is still current.
    fn completed_before(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> MetaResult<PartSet> {
        let gone = MetaError::NoSuchUpload(upload);
        let Some(set) = self.on_disk().get(PART_SETS, &keys::id(upload.0))? else {
            return Err(gone);
        };
        let current = self.on_disk().current(bucket, key)?;
        let is_current = current.map(|object| object.data) == Some(ObjectData::Parts(upload));
        if is_current && set.bucket == bucket && set.key == *key {
            Ok(set)
        } else {
            Err(gone)
        }
    }
}
