//! Buckets: made, deleted, listed.

use super::keys;
use super::read::Store;
use super::tables::{BUCKET_IDS, BUCKETS, CURRENT};
use crate::{
    Bucket, BucketId, BucketName, BucketPage, MetaError, MetaResult, Timestamp, UploadEntry,
    UploadQuery,
};

/// Uploads aborted between two looks at what is left, when a bucket is deleted.
const UPLOADS_PAGE: usize = 256;

impl Store {
    pub(super) fn create_bucket(&self, bucket: &Bucket) -> MetaResult<()> {
        let _name = self.locks.name(&bucket.name);
        if let Some(existing) = self.get(BUCKETS, &keys::bucket_name(&bucket.name))? {
            return Err(MetaError::BucketExists {
                name: existing.name,
                owner: existing.owner,
            });
        }
        let mut batch = self.batch();
        batch.put(BUCKETS, &keys::bucket_name(&bucket.name), bucket);
        batch.put(BUCKET_IDS, &keys::id(bucket.id.0), &bucket.name);
        batch.commit()
    }

    pub(super) fn delete_bucket(&self, name: &BucketName, now: Timestamp) -> MetaResult<()> {
        let _name = self.locks.name(name);
        let bucket = self.get(BUCKETS, &keys::bucket_name(name))?;
        let id = bucket.ok_or(MetaError::NoSuchBucket)?.id;
        let _bucket = self.locks.bucket_ends(id);
        let (start, end) = (keys::id(id.0), keys::past(id.0.as_bytes()));
        if self.has_any(CURRENT, start, end)? {
            return Err(MetaError::BucketNotEmpty);
        }
        self.abort_uploads(id, now)?;
        let mut batch = self.batch();
        batch.delete(BUCKETS, &keys::bucket_name(name));
        batch.delete(BUCKET_IDS, &keys::id(id.0));
        batch.commit()
    }

    /// Aborts every upload under way. The caller holds the bucket's lock, so that no other begins.
    fn abort_uploads(&self, bucket: BucketId, now: Timestamp) -> MetaResult<()> {
        loop {
            let page = self.list_uploads(&UploadQuery {
                bucket,
                prefix: String::new(),
                delimiter: None,
                after: None,
                limit: UPLOADS_PAGE,
            })?;
            for entry in page.entries {
                if let UploadEntry::Item(listed) = entry {
                    self.abort_upload(bucket, &listed.key, listed.upload.id, now)?;
                }
            }
            if !page.truncated {
                return Ok(());
            }
        }
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

    /// The caller holds the bucket's lock, so that the answer stays true.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub(super) fn expect_bucket(&self, bucket: BucketId) -> MetaResult<()> {
        match self.get(BUCKET_IDS, &keys::id(bucket.0))? {
            Some(_) => Ok(()),
            None => Err(MetaError::NoSuchBucket),
        }
    }
}
