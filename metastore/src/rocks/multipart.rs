//! Multipart uploads: begun, completed, aborted.

use super::keys;
use super::read::Store;
use super::tables::{PART_SETS, PARTS, UPLOADS};
use crate::completion::Choice;
use crate::{
    BucketId, CompleteUpload, Completed, GcItem, MetaError, MetaResult, ObjectData, ObjectKey,
    PartNumber, PartSet, Timestamp, Upload, UploadId,
};

impl Store {
    pub(super) fn create_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: &Upload,
    ) -> MetaResult<()> {
        let _bucket = self.locks.bucket_stays(bucket);
        self.expect_bucket(bucket)?;
        let mut batch = self.batch();
        batch.put(
            UPLOADS,
            &keys::upload(bucket, key.as_str(), upload.id),
            upload,
        );
        batch.commit()
    }

    pub(super) fn complete_upload(&self, complete: &CompleteUpload) -> MetaResult<Completed> {
        let CompleteUpload {
            bucket,
            key,
            upload,
            object,
            ..
        } = complete;
        // The bucket's lock is needed although the upload keeps the bucket: a delete that looks
        // at objects before this commit and at uploads after it would see neither.
        let _bucket = self.locks.bucket_stays(*bucket);
        let _upload = self.locks.upload_ends(*upload);
        let _key = self.locks.key(*bucket, key);
        let upload_key = keys::upload(*bucket, key.as_str(), *upload);
        if self.get(UPLOADS, &upload_key)?.is_none() {
            return self
                .completed_before(*bucket, key, *upload)
                .map(Completed::Before);
        }
        let parts = self.parts_of(*upload, usize::from(PartNumber::MAX))?;
        let Choice { chosen, left_out } = Choice::of(&complete.parts, parts)?;
        let current = self.current(*bucket, key)?;
        complete.condition.check(key, current.as_ref())?;

        let mut batch = self.batch();
        for part in left_out {
            batch.delete(PARTS, &keys::part(*upload, part.number));
            batch.unlink(part.layout.chunks, object.modified_at);
        }
        let part_set = PartSet {
            bucket: *bucket,
            key: key.clone(),
            sequence: object.sequence,
            etag: object.etag.clone(),
            parts: chosen,
        };
        batch.put(PART_SETS, &keys::id(upload.0), &part_set);
        batch.make_current(*bucket, key, object, current.as_ref());
        batch.delete(UPLOADS, &upload_key);
        batch.commit()?;
        Ok(Completed::Now)
    }

    /// The part set of an upload that was completed before, where its object is still current.
    fn completed_before(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> MetaResult<PartSet> {
        let gone = MetaError::NoSuchUpload(upload);
        let Some(set) = self.get(PART_SETS, &keys::id(upload.0))? else {
            return Err(gone);
        };
        let current = self.current(bucket, key)?.map(|object| object.data);
        let is_current = current == Some(ObjectData::Parts(upload));
        if is_current && set.bucket == bucket && set.key == *key {
            Ok(set)
        } else {
            Err(gone)
        }
    }

    pub(super) fn abort_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        now: Timestamp,
    ) -> MetaResult<()> {
        let _upload = self.locks.upload_ends(upload);
        let upload_key = keys::upload(bucket, key.as_str(), upload);
        if self.get(UPLOADS, &upload_key)?.is_none() {
            return Err(MetaError::NoSuchUpload(upload));
        }
        let mut batch = self.batch();
        batch.delete(UPLOADS, &upload_key);
        batch.queue(&GcItem::Parts(upload), now);
        batch.commit()
    }
}
