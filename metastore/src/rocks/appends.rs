//! Appends.

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::read::{Looked, Reader};
use super::tables::{BODIES, CURRENT, PART_SETS, PARTS};
use crate::{AppendObject, ChunkOwner, MetaError, MetaResult, ObjectData};

impl Engine {
    pub(super) async fn append_object(&self, append: AppendObject) -> MetaResult<()> {
        let held = vec![
            self.locks.bucket_stays(append.bucket).await,
            self.locks.key(append.bucket, &append.key).await,
        ];
        let batch = self.look(move |reader| reader.appending(&append)).await?;
        self.commit(batch, held).await
    }
}

impl Reader<'_> {
    fn appending(&self, append: &AppendObject) -> Looked<Batch> {
        let (bucket, key) = (append.bucket, &append.key);
        let versioning = self.expect_bucket(bucket)?.settings.versioning;
        let standing = self.current(bucket, key)?;
        let standing = standing.ok_or_else(|| MetaError::NoSuchKey(key.clone()))?;
        let set = match &standing.data {
            ObjectData::Parts(upload) => self.get(PART_SETS, &keys::id(upload.0))?,
            ObjectData::Chunks(_) | ObjectData::Inline(_) => None,
        };
        let appended = append.onto(&standing, set, versioning)?;

        let mut batch = Batch::default();
        let upload = appended.upload;
        for part in &appended.parts {
            let owner = ChunkOwner::Part {
                upload,
                number: part.number,
            };
            let since = appended.object.modified_at;
            batch.link(&part.layout.chunks, &owner, append.replicas_wanted, since);
            batch.put(PARTS, keys::part(upload, part.number), part);
        }
        if let ObjectData::Inline(body) = &standing.data {
            batch.delete(BODIES, keys::id(body.0));
        }
        batch.put(PART_SETS, keys::id(upload.0), &appended.set);
        let row_key = keys::object(bucket, key.as_str().as_bytes());
        batch.put(CURRENT, row_key, &appended.object);
        batch.count_out(bucket, &standing);
        batch.count_in(bucket, &appended.object);
        Ok(batch)
    }
}
