//! The open store, and looking up single rows in it. Everything here but [`Store::get_cached`]
//! may wait for the disk.

use std::fs::File;

use rocksdb::{ColumnFamily, DB, ErrorKind, ReadOptions, ReadTier};
use serde::de::DeserializeOwned;

use super::commit::Health;
use super::locks::Locks;
use super::rows;
use super::tables::Table;
use crate::{MetaError, MetaResult};

/// An open store.
pub(super) struct Store {
    pub(super) db: DB,
    pub(super) locks: Locks,
    pub(super) health: Health,
    /// Dropped after the database is closed, as the order of these fields says.
    pub(super) _directory_lock: File,
}

/// What can be said of a row without waiting for the disk.
pub(super) enum Cached<R> {
    /// The row, or that there is none.
    Known(Option<R>),
    /// Only the disk knows.
    OnDisk,
}

impl Store {
    /// The row under `key`.
    pub(super) fn get<R: DeserializeOwned>(
        &self,
        table: Table<R>,
        key: &[u8],
    ) -> MetaResult<Option<R>> {
        let found = self.db.get_pinned_cf(self.family(table), key);
        let bytes = found.map_err(|error| read_error(table, error))?;
        bytes.map(|bytes| rows::decode(table, &bytes)).transpose()
    }

    /// The row under `key`, if memory holds the answer.
    pub(super) fn get_cached<R: DeserializeOwned>(
        &self,
        table: Table<R>,
        key: &[u8],
    ) -> MetaResult<Cached<R>> {
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::BlockCache);
        match self.db.get_pinned_cf_opt(self.family(table), key, &options) {
            Ok(bytes) => {
                let row = bytes.map(|bytes| rows::decode(table, &bytes)).transpose()?;
                Ok(Cached::Known(row))
            }
            Err(error) if error.kind() == ErrorKind::Incomplete => Ok(Cached::OnDisk),
            Err(error) => Err(read_error(table, error)),
        }
    }

    /// The column family of a table.
    pub(super) fn family<R>(&self, table: Table<R>) -> &ColumnFamily {
        self.db
            .cf_handle(table.name)
            .expect("every table is made when the store is opened")
    }
}

/// What a failed read means to the caller.
pub(super) fn read_error<R>(table: Table<R>, error: rocksdb::Error) -> MetaError {
    match error.kind() {
        ErrorKind::Corruption => MetaError::Corrupt {
            table: table.name,
            detail: error.into_string(),
        },
        _ => MetaError::Unavailable(error.into_string()),
    }
}
