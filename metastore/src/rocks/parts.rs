//! Parts of uploads: written, replaced, listed.

use super::keys;
use super::read::Store;
use super::tables::{PARTS, UPLOADS};
use crate::succession::chunks_without;
use crate::{
    BucketId, ChunkOwner, MetaError, MetaResult, ObjectKey, Part, PartNumber, PartPage, UploadId,
};

impl Store {
    pub(super) fn put_part(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        part: &Part,
        replicas_wanted: u8,
    ) -> MetaResult<()> {
        // The upload keeps its bucket from being deleted, so the bucket needs no lock.
        let _upload = self.locks.upload_stays(upload);
        let _part = self.locks.part(upload, part.number);
        if self
            .get(UPLOADS, &keys::upload(bucket, key.as_str(), upload))?
            .is_none()
        {
            return Err(MetaError::NoSuchUpload(upload));
        }
        let replaced = self.get(PARTS, &keys::part(upload, part.number))?;

        let mut batch = self.batch();
        let owner = ChunkOwner::Part {
            upload,
            number: part.number,
        };
        let chunks = &part.layout.chunks;
        batch.link(chunks, &owner, replicas_wanted, part.modified_at);
        batch.put(PARTS, &keys::part(upload, part.number), part);
        if let Some(replaced) = replaced {
            batch.unlink(
                chunks_without(&replaced.layout.chunks, chunks),
                part.modified_at,
            );
        }
        batch.commit()
    }

    pub(super) fn list_parts(
        &self,
        upload: UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> MetaResult<PartPage> {
        let start = match after {
            Some(number) => keys::behind(keys::part(upload, number)),
            None => keys::id(upload.0),
        };
        let end = keys::past(upload.0.as_bytes());
        let mut found = self.range(PARTS, start, end, limit.saturating_add(1))?;
        let truncated = limit > 0 && found.len() > limit;
        found.truncate(limit);
        Ok(PartPage {
            parts: found.into_iter().map(|(_, part)| part).collect(),
            truncated,
        })
    }

    /// Up to `limit` parts of an upload in order of their numbers.
    pub(super) fn parts_of(&self, upload: UploadId, limit: usize) -> MetaResult<Vec<Part>> {
        let (start, end) = (keys::id(upload.0), keys::past(upload.0.as_bytes()));
        let found = self.range(PARTS, start, end, limit)?;
        Ok(found.into_iter().map(|(_, part)| part).collect())
    }
}
