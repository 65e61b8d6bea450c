//! Buckets: made, deleted, listed.

use std::sync::Arc;

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::ledger::Entry;
use super::read::{Looked, Reader, Store};
use super::tables::{BUCKET_IDS, BUCKETS, CURRENT, NONCURRENT, USAGE};
use crate::{
    Bucket, BucketId, BucketName, BucketPage, MetaError, MetaResult, Sequence, Timestamp,
    UploadEntry, UploadQuery,
};

/// Uploads aborted between two looks at what is left, when a bucket is deleted.
const UPLOADS_PAGE: usize = 256;

impl Engine {
    pub(super) async fn create_bucket(&self, bucket: &Bucket) -> MetaResult<()> {
        let held = vec![self.locks.name(&bucket.name).await];
        let existing = self.get(BUCKETS, keys::bucket_name(&bucket.name)).await?;
        if let Some(existing) = existing {
            return Err(MetaError::BucketExists {
                name: existing.name,
                owner: existing.owner,
            });
        }
        let mut batch = Batch::default();
        batch.put(BUCKETS, keys::bucket_name(&bucket.name), bucket);
        batch.put(BUCKET_IDS, keys::id(bucket.id.0), &bucket.name);
        batch.note(Entry::Opened(bucket.id));
        self.commit(batch, held).await
    }

    pub(super) async fn amend_bucket(&self, bucket: Bucket, seen: Sequence) -> MetaResult<()> {
        // Alone with the bucket: a commit sees the settings before or after, not both.
        let held = vec![
            self.locks.name(&bucket.name).await,
            self.locks.bucket_ends(bucket.id).await,
        ];
        let current = self.get(BUCKETS, keys::bucket_name(&bucket.name)).await?;
        let current = current.filter(|current| current.id == bucket.id);
        if current.ok_or(MetaError::NoSuchBucket)?.settings.revision != seen {
            return Err(MetaError::Conflict);
        }
        let mut batch = Batch::default();
        batch.put(BUCKETS, keys::bucket_name(&bucket.name), &bucket);
        self.commit(batch, held).await
    }

    pub(super) async fn delete_bucket(&self, name: &BucketName, now: Timestamp) -> MetaResult<()> {
        let name_lock = self.locks.name(name).await;
        let bucket = self.get(BUCKETS, keys::bucket_name(name)).await?;
        let id = bucket.ok_or(MetaError::NoSuchBucket)?.id;
        let bucket_lock = self.locks.bucket_ends(id).await;
        if self.blocking(move |store| store.has_objects(id)).await? {
            return Err(MetaError::BucketNotEmpty);
        }
        self.abort_uploads(id, now).await?;
        let mut batch = Batch::default();
        batch.delete(BUCKETS, keys::bucket_name(name));
        batch.delete(BUCKET_IDS, keys::id(id.0));
        batch.delete(USAGE, keys::id(id.0));
        batch.note(Entry::Closed(id));
        self.commit(batch, vec![name_lock, bucket_lock]).await
    }

    /// Aborts every upload under way. The caller holds the bucket's lock, so that no other begins.
    async fn abort_uploads(&self, bucket: BucketId, now: Timestamp) -> MetaResult<()> {
        let left = UploadQuery {
            bucket,
            prefix: String::new(),
            delimiter: None,
            after: None,
            limit: UPLOADS_PAGE,
        };
        loop {
            let query = left.clone();
            let page = self
                .blocking(move |store| store.list_uploads(&query))
                .await?;
            for entry in page.entries {
                if let UploadEntry::Item(listed) = entry {
                    let upload = listed.upload.id;
                    match self.abort_upload(bucket, &listed.key, upload, now).await {
                        // Its client was faster.
                        Ok(()) | Err(MetaError::NoSuchUpload(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            if !page.truncated {
                return Ok(());
            }
        }
    }
}

impl Reader<'_> {
    /// The caller holds the bucket's lock, so that the answer stays true.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub(super) fn expect_bucket(&self, bucket: BucketId) -> Looked<Arc<Bucket>> {
        let name = match self.buckets().name_of(bucket) {
            Some(name) => Some(name),
            None => self.get(BUCKET_IDS, &keys::id(bucket.0))?,
        };
        let found = self.bucket_named(&name.ok_or(MetaError::NoSuchBucket)?)?;
        Ok(found
            .filter(|found| found.id == bucket)
            .ok_or(MetaError::NoSuchBucket)?)
    }

    /// The bucket of that name.
    pub(super) fn bucket_named(&self, name: &BucketName) -> Looked<Option<Arc<Bucket>>> {
        if let Some(known) = self.buckets().named(name) {
            return Ok(Some(known));
        }
        let epoch = self.buckets().epoch();
        let found = self.get_sized(BUCKETS, &keys::bucket_name(name))?;
        Ok(found.map(|(bucket, row_bytes)| {
            let bucket = Arc::new(bucket);
            if self.sees_the_present() {
                self.buckets().keep(&bucket, row_bytes, epoch);
            }
            bucket
        }))
    }
}

impl Store {
    fn has_objects(&self, bucket: BucketId) -> MetaResult<bool> {
        let (start, end) = (keys::id(bucket.0), keys::past(bucket.0.as_bytes()));
        Ok(self.has_any(CURRENT, start.clone(), end.clone())?
            || self.has_any(NONCURRENT, start, end)?)
    }

    pub(super) fn list_buckets(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> MetaResult<BucketPage> {
        let behind_cursor = after
            .map(|name| keys::behind(name.into()))
            .unwrap_or_default();
        let start = behind_cursor.max(prefix.into());
        let end = keys::past(prefix.as_bytes());
        let mut found = self.range(BUCKETS, start, end, limit.saturating_add(1))?;
        let truncated = limit > 0 && found.len() > limit;
        found.truncate(limit);
        let buckets = found.into_iter().map(|(_, bucket)| bucket).collect();
        Ok(BucketPage { buckets, truncated })
    }
}
