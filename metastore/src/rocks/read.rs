//! The open store, and looking up single rows in it.
//!
//! What a [`Reader`] does not find in memory it does not wait for, if it was told so: the look ends
//! there as [`Unseen::OnDisk`], and is taken again from its beginning where waiting is allowed
//! (`engine`). Walks over ranges (`cursor`) always wait.

use std::fs::File;

use chunkproto::Durability;
use rocksdb::{ColumnFamily, DB, ErrorKind, ReadOptions, ReadTier, Snapshot};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::bucket_cache::BucketCache;
use super::damaged::DamagedRows;
use super::rows;
use super::tables::Table;
use crate::MetaError;

/// An open store.
pub(super) struct Store {
    pub(super) db: DB,
    /// Which store it is.
    pub(super) identity: Uuid,
    /// When a write is acknowledged.
    pub(super) durability: Durability,
    pub(super) buckets: BucketCache,
    pub(super) damaged: DamagedRows,
    /// Dropped after the database is closed, as the order of these fields says.
    pub(super) _directory_lock: File,
}

/// Looks rows up, as far as its tier goes.
pub(super) struct Reader<'s> {
    store: &'s Store,
    tier: ReadTier,
    /// The moment that it sees; none: each look sees the present.
    moment: Option<&'s Snapshot<'s>>,
}

/// Why a look ended without an answer.
#[derive(Debug)]
pub(super) enum Unseen {
    /// Only the disk knows, and this look does not wait for it.
    OnDisk,
    /// It has its answer: an error.
    Failed(MetaError),
}

/// The result of a look at rows.
pub(super) type Looked<T> = Result<T, Unseen>;

impl Store {
    /// A reader that never waits.
    pub(super) fn in_memory(&self) -> Reader<'_> {
        Reader {
            store: self,
            tier: ReadTier::BlockCache,
            moment: None,
        }
    }

    /// A reader that waits for the disk, and so always sees.
    pub(super) fn on_disk(&self) -> Reader<'_> {
        Reader {
            store: self,
            tier: ReadTier::All,
            moment: None,
        }
    }

    /// A reader that waits for the disk and sees the store as it was at `moment`.
    pub(super) fn on_disk_at<'s>(&'s self, moment: &'s Snapshot<'s>) -> Reader<'s> {
        Reader {
            moment: Some(moment),
            ..self.on_disk()
        }
    }

    /// The column family of a table.
    pub(super) fn family(&self, table: &str) -> &ColumnFamily {
        self.db
            .cf_handle(table)
            .expect("every table is made when the store is opened")
    }
}

impl Reader<'_> {
    /// The buckets that need no look.
    pub(super) fn buckets(&self) -> &BucketCache {
        &self.store.buckets
    }

    /// Whether it sees the present, and not a moment that is over.
    pub(super) fn sees_the_present(&self) -> bool {
        self.moment.is_none()
    }

    /// Looks at several rows as they were at one moment. Whoever takes no lock needs this where a commit
    /// moves a row from one table to another: it might be seen in neither.
    pub(super) fn at_one_moment<T>(
        &self,
        look: impl FnOnce(&Reader<'_>) -> Looked<T>,
    ) -> Looked<T> {
        let moment = self.store.db.snapshot();
        look(&Reader {
            store: self.store,
            tier: self.tier,
            moment: Some(&moment),
        })
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_read_tier(self.tier);
        if let Some(moment) = self.moment {
            options.set_snapshot(moment);
        }
        options
    }

    /// The row under `key`.
    pub(super) fn get<R: DeserializeOwned>(
        &self,
        table: Table<R>,
        key: &[u8],
    ) -> Looked<Option<R>> {
        Ok(self.get_sized(table, key)?.map(|(row, _)| row))
    }

    /// The row under `key`, and how many bytes it has in the database.
    pub(super) fn get_sized<R: DeserializeOwned>(
        &self,
        table: Table<R>,
        key: &[u8],
    ) -> Looked<Option<(R, usize)>> {
        let options = self.options();
        let family = self.store.family(table.name);
        match self.store.db.get_pinned_cf_opt(family, key, &options) {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => Ok(Some((rows::decode(table, &bytes)?, bytes.len()))),
            Err(error) if error.kind() == ErrorKind::Incomplete => Err(Unseen::OnDisk),
            Err(error) => Err(read_error(table, error).into()),
        }
    }

    /// Up to `limit` rows of `start..end`, each with its key: for a few rows that stand together.
    pub(super) fn first<R: DeserializeOwned>(
        &self,
        table: Table<R>,
        start: Vec<u8>,
        end: Vec<u8>,
        limit: usize,
    ) -> Looked<Vec<(Vec<u8>, R)>> {
        let mut options = self.options();
        options.set_iterate_lower_bound(start);
        options.set_iterate_upper_bound(end);
        let family = self.store.family(table.name);
        let mut rows = self.store.db.raw_iterator_cf_opt(family, options);
        rows.seek_to_first();
        let mut found = Vec::new();
        while found.len() < limit
            && let Some((key, row)) = rows.item()
        {
            found.push((key.to_vec(), rows::decode(table, row)?));
            rows.next();
        }
        // An iterator that failed looks as if it had ended.
        match rows.status() {
            Ok(()) => Ok(found),
            Err(error) if error.kind() == ErrorKind::Incomplete => Err(Unseen::OnDisk),
            Err(error) => Err(read_error(table, error).into()),
        }
    }
}

impl From<MetaError> for Unseen {
    fn from(error: MetaError) -> Self {
        Self::Failed(error)
    }
}

/// For a look that may wait.
impl From<Unseen> for MetaError {
    fn from(unseen: Unseen) -> Self {
        match unseen {
            Unseen::Failed(error) => error,
            Unseen::OnDisk => Self::Unavailable("a read of the disk was not done".into()),
        }
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
