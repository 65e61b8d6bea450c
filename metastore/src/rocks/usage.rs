//! What buckets hold: asked, limited, and counted where an earlier version did not keep it.

use serde::de::DeserializeOwned;

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::ledger::Entry;
use super::locks::Guard;
use super::read::{Store, read_error};
use super::rows;
use super::tables::{CURRENT, NONCURRENT, Table, USAGE};
use crate::versions::Noncurrent;
use crate::{BucketId, BucketUsage, MetaError, MetaResult, ObjectVersion, Quota, Usage};

impl Engine {
    pub(super) async fn bucket_usage(&self, bucket: BucketId) -> MetaResult<Option<BucketUsage>> {
        self.get(USAGE, keys::id(bucket.0)).await
    }

    pub(super) async fn set_quota(&self, bucket: BucketId, quota: Quota) -> MetaResult<()> {
        self.count_bucket(bucket).await?;
        self.enter(bucket, Entry::Limited(bucket, quota)).await
    }

    /// Counts a bucket while it is written to: a snapshot is taken at a moment when nothing is under
    /// way in the bucket, and what the ledger sees from then on is added.
    pub(super) async fn count_bucket(&self, bucket: BucketId) -> MetaResult<BucketUsage> {
        let _turn = self.locks.counting().await;
        if let Some(found) = self.bucket_usage(bucket).await? {
            return Ok(found);
        }
        let still = self.locks.bucket_ends(bucket).await;
        self.look(move |reader| reader.expect_bucket(bucket))
            .await?;
        let mut begun = Batch::default();
        begun.note(Entry::CountBegun(bucket));
        self.commit(begun, Vec::new()).await?;
        let counted = self.blocking(move |store| store.count_versions(bucket, still));
        let counted = Entry::Counted(bucket, counted.await?);
        self.enter(bucket, counted).await?;
        let found = self.bucket_usage(bucket).await?;
        found.ok_or(MetaError::NoSuchBucket)
    }

    async fn enter(&self, bucket: BucketId, entry: Entry) -> MetaResult<()> {
        let held = vec![self.locks.bucket_stays(bucket).await];
        self.look(move |reader| reader.expect_bucket(bucket))
            .await?;
        let mut batch = Batch::default();
        batch.note(entry);
        self.commit(batch, held).await
    }
}

impl Store {
    /// What a bucket holds at the moment at which `still` is let go of, which keeps writers out.
    fn count_versions(&self, bucket: BucketId, still: Guard) -> MetaResult<Usage> {
        let snapshot = self.db.snapshot();
        drop(still);
        let mut usage = Usage::default();
        self.each_in(&snapshot, CURRENT, bucket, |object: ObjectVersion| {
            usage.count(&object);
        })?;
        self.each_in(&snapshot, NONCURRENT, bucket, |row: Noncurrent| {
            if let Some(object) = row.version.object() {
                usage.count(object);
            }
        })?;
        Ok(usage)
    }

    fn each_in<R: DeserializeOwned>(
        &self,
        snapshot: &rocksdb::Snapshot<'_>,
        table: Table<R>,
        bucket: BucketId,
        mut see: impl FnMut(R),
    ) -> MetaResult<()> {
        let mut options = rocksdb::ReadOptions::default();
        options.fill_cache(false);
        options.set_iterate_lower_bound(keys::id(bucket.0));
        options.set_iterate_upper_bound(keys::past(bucket.0.as_bytes()));
        let mut rows = snapshot.raw_iterator_cf_opt(self.family(table.name), options);
        rows.seek_to_first();
        while let Some((_, row)) = rows.item() {
            see(rows::decode(table, row)?);
            rows.next();
        }
        rows.status().map_err(|error| read_error(table, error))
    }
}
