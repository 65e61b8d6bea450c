//! The batch in which an operation gathers its rows, and the one place where batches are written
//! and synced. RocksDB merges batches that are committed at the same time into one write to its
//! log, so a sync is shared by all that wait for it.

use std::sync::OnceLock;

use rocksdb::{WriteBatch, WriteOptions};
use serde::Serialize;

use super::read::Store;
use super::rows;
use super::tables::Table;
use crate::{MetaError, MetaResult};

/// Whether writes are taken. A store whose sync has failed once takes none until it is opened
/// anew: what the kernel did with the pages is unknown, and a second sync would report success.
pub(super) struct Health(OnceLock<String>);

impl Health {
    pub(super) fn new() -> Self {
        Self(OnceLock::new())
    }

    /// # Errors
    /// `Unavailable` ever after a write has failed.
    fn check(&self) -> MetaResult<()> {
        match self.0.get() {
            None => Ok(()),
            Some(failure) => Err(MetaError::Unavailable(format!(
                "an earlier write failed ({failure}); check the disk and restart"
            ))),
        }
    }

    /// Poisons the store. The outcome of the write that failed is unknown.
    fn poison(&self, failure: String) -> MetaError {
        if self.0.set(failure.clone()).is_ok() {
            tracing::error!(failure, "a metadata write failed; no more writes are taken");
        }
        MetaError::OutcomeUnknown(failure)
    }
}

/// Rows to write and to delete, all or none.
pub(super) struct Batch<'s> {
    store: &'s Store,
    rows: WriteBatch,
}

impl Store {
    /// An empty batch.
    pub(super) fn batch(&self) -> Batch<'_> {
        Batch {
            store: self,
            rows: WriteBatch::default(),
        }
    }
}

impl Batch<'_> {
    /// Writes a row over whatever stands under `key`.
    pub(super) fn put<R: Serialize>(&mut self, table: Table<R>, key: &[u8], row: &R) {
        self.rows
            .put_cf(self.store.family(table), key, rows::encode(row));
    }

    /// Removes the row under `key`, if there is one.
    pub(super) fn delete<R>(&mut self, table: Table<R>, key: &[u8]) {
        self.rows.delete_cf(self.store.family(table), key);
    }

    /// Writes the batch durably. The caller holds the locks under which it checked.
    ///
    /// # Errors
    /// `OutcomeUnknown` for a write that failed, `Unavailable` for every later one.
    pub(super) fn commit(self) -> MetaResult<()> {
        self.store.health.check()?;
        let mut options = WriteOptions::default();
        options.set_sync(true);
        let written = self.store.db.write_opt(self.rows, &options);
        written.map_err(|error| self.store.health.poison(error.into_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_is_unknown_and_all_later_ones_are_refused() {
        let health = Health::new();
        assert!(health.check().is_ok());
        let failed = health.poison("no space".into());
        assert!(matches!(failed, MetaError::OutcomeUnknown(_)));
        let refused = health.check().unwrap_err();
        assert!(refused.to_string().contains("no space"));
    }
}
