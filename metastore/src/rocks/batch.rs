//! The batch in which an operation gathers its rows, and the one place where batches are written
//! and synced.

use rocksdb::{WriteBatch, WriteOptions};
use serde::Serialize;

use super::ledger::Entry;
use super::read::Store;
use super::rows;
use super::tables::{BUCKETS, Table};
use crate::usage::Growth;
use crate::{BucketId, ObjectVersion};

/// What RocksDB puts in front of each row in its log: kind, table, two lengths.
const ROW_HEADER_BYTES: usize = 12;

/// Rows to write and to delete, all or none.
#[derive(Default)]
pub(super) struct Batch {
    operations: Vec<Operation>,
    bytes: usize,
    entry: Option<Entry>,
}

struct Operation {
    table: &'static str,
    key: Vec<u8>,
    /// The row to write; none deletes the row that stands there.
    row: Option<Vec<u8>>,
}

impl Batch {
    /// Writes a row over whatever stands under `key`.
    pub(super) fn put<R: Serialize>(&mut self, table: Table<R>, key: Vec<u8>, row: &R) {
        self.push(table.name, key, Some(rows::encode(row)));
    }

    /// Removes the row under `key`, if there is one.
    pub(super) fn delete<R>(&mut self, table: Table<R>, key: Vec<u8>) {
        self.push(table.name, key, None);
    }

    /// Whether it changes a bucket.
    fn changes_buckets(&self) -> bool {
        let mut operations = self.operations.iter();
        operations.any(|operation| operation.table == BUCKETS.name)
    }

    /// What the batch means for what its bucket holds; one bucket, and one meaning.
    pub(super) fn note(&mut self, entry: Entry) {
        self.entry = Some(entry);
    }

    /// A version comes into the bucket.
    pub(super) fn count_in(&mut self, bucket: BucketId, object: &ObjectVersion) {
        self.grow(bucket, Growth::by(object));
    }

    /// A version leaves the bucket for good.
    pub(super) fn count_out(&mut self, bucket: BucketId, object: &ObjectVersion) {
        self.grow(bucket, Growth::without(object));
    }

    fn grow(&mut self, bucket: BucketId, growth: Growth) {
        let mut sum = growth;
        if let Some(Entry::Grown(_, before)) = self.entry {
            sum += before;
        }
        self.note(Entry::Grown(bucket, sum));
    }

    /// What was noted.
    pub(super) fn entry(&self) -> Option<Entry> {
        self.entry
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// What the batch takes in the log, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, table: &'static str, key: Vec<u8>, row: Option<Vec<u8>>) {
        self.bytes += ROW_HEADER_BYTES + key.len() + row.as_ref().map_or(0, Vec::len);
        self.operations.push(Operation { table, key, row });
    }
}

impl Store {
    /// Writes all rows of all `batches` in their order, whole or not at all; durable when it
    /// returns, as far as the store's durability goes. Waits for the disk. Whoever checked
    /// something holds the locks until then.
    ///
    /// # Errors
    /// The outcome is unknown then: what the kernel did with the pages of a sync that failed
    /// cannot be found out, and a second sync would report success.
    pub(super) fn write<'b>(
        &self,
        batches: impl IntoIterator<Item = &'b Batch, IntoIter: Clone>,
    ) -> Result<(), rocksdb::Error> {
        let batches = batches.into_iter();
        let changes_buckets = batches.clone().any(Batch::changes_buckets);
        let bytes = batches.clone().map(Batch::bytes).sum();
        let mut rows = WriteBatch::with_capacity_bytes(bytes);
        for operation in batches.flat_map(|batch| &batch.operations) {
            let (table, key) = (self.family(operation.table), &operation.key);
            match &operation.row {
                Some(row) => rows.put_cf(table, key, row),
                None => rows.delete_cf(table, key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(self.durability.syncs());
        let written = self.db.write_opt(rows, &options);
        if changes_buckets {
            self.buckets.forget();
        }
        written
    }
}
