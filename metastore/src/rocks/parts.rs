//! Parts of uploads: written, replaced, listed.

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::read::{Looked, Reader, Store};
use super::tables::{PARTS, UPLOADS};
use crate::placement::keep_places;
use crate::succession::chunks_without;
use crate::{
    BucketId, ChunkOwner, MetaError, MetaResult, ObjectKey, Part, PartNumber, PartPage, UploadId,
};

impl Engine {
    pub(super) async fn put_part(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        part: Part,
        replicas_wanted: u8,
    ) -> MetaResult<()> {
        // The upload keeps its bucket from being deleted, so the bucket needs no lock.
        let held = vec![
            self.locks.upload_stays(upload).await,
            self.locks.part(upload, part.number).await,
        ];
        let upload_key = keys::upload(bucket, key.as_str(), upload);
        let prepare = move |reader: &Reader<'_>| {
            if reader.get(UPLOADS, &upload_key)?.is_none() {
                return Err(MetaError::NoSuchUpload(upload).into());
            }
            reader.part(upload, &part, replicas_wanted)
        };
        let batch = self.look(prepare).await?;
        self.commit(batch, held).await
    }
}

impl Reader<'_> {
    /// The commit of a part.
    fn part(&self, upload: UploadId, part: &Part, replicas_wanted: u8) -> Looked<Batch> {
        let replaced = self.get(PARTS, &keys::part(upload, part.number))?;
        let mut part = part.clone();
        if let Some(replaced) = &replaced {
            keep_places(&mut part.layout, &replaced.layout.chunks);
        }

        let mut batch = Batch::default();
        let owner = ChunkOwner::Part {
            upload,
            number: part.number,
        };
        let chunks = &part.layout.chunks;
        batch.link(chunks, &owner, replicas_wanted, part.modified_at);
        batch.put(PARTS, keys::part(upload, part.number), &part);
        if let Some(replaced) = replaced {
            batch.unlink(
                chunks_without(&replaced.layout.chunks, chunks),
                part.modified_at,
            );
        }
        Ok(batch)
    }
}

impl Store {
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
