//! The batch in which an operation gathers its rows, and the one place where batches are written
//! and synced.

use rocksdb::{WriteBatch, WriteOptions};
use serde::Serialize;

use super::read::Store;
use super::rows;
use super::tables::{BUCKETS, Table};

/// What RocksDB puts in front of each row in its log: kind, table, two lengths.
const ROW_HEADER_BYTES: usize = 12;

/// Rows to write and to delete, all or none.
#[derive(Default)]
pub(super) struct Batch {
    operations: Vec<Operation>,
    bytes: usize,
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
    /// returns, as far as the store's durability goes. Waits for the disk. Whoever checked something holds the locks until then.
    ///
    /// # Errors
    /// The outcome is unknown then: what the kernel did with the pages of a sync that failed
    /// cannot be found out, and a second sync would report success.
    pub(super) fn write(&self, batches: &[Batch]) -> Result<(), rocksdb::Error> {
        let mut rows = WriteBatch::with_capacity_bytes(batches.iter().map(Batch::bytes).sum());
        for operation in batches.iter().flat_map(|batch| &batch.operations) {
            let (table, key) = (self.family(operation.table), &operation.key);
            match &operation.row {
                Some(row) => rows.put_cf(table, key, row),
                None => rows.delete_cf(table, key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(self.durability.syncs());
        let written = self.db.write_opt(rows, &options);
        if batches.iter().any(Batch::changes_buckets) {
            self.buckets.forget();
        }
        written
    }
}
