//! A store from a checkpoint's files and the log behind them. The directory is marked as being made
//! until it is whole, so that nothing opens it before.

use std::fs::File;
use std::path::{Path, PathBuf};

use rocksdb::{DB, WriteBatch, WriteOptions};

use super::log_piece::writes;
use super::open::{self, OpenError};
use super::options::{self, RocksOptions};

/// A directory that the files of a checkpoint are put into.
pub struct RestoredFiles {
    path: PathBuf,
    _lock: File,
}

/// A database that takes the log.
pub struct RestoredStore {
    files: RestoredFiles,
    db: DB,
    /// The log has a hole: what lies behind it does not count.
    ended: bool,
}

impl RestoredFiles {
    /// Takes the directory `path`, in which there must be no store.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn begin(path: &Path) -> Result<Self, OpenError> {
        let lock = open::begin_restored(path)?;
        let path = path.to_owned();
        Ok(Self { path, _lock: lock })
    }

    /// Where the file `name` of the checkpoint belongs; `None` for a name that RocksDB does not give.
    #[must_use]
    pub fn path_of(&self, name: &str) -> Option<PathBuf> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let fits = !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_plain);
        fits.then(|| open::database_in(&self.path).join(name))
    }

    /// Opens the database that the files make.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(self) -> Result<RestoredStore, OpenError> {
        let database = open::database_in(&self.path);
        let families = options::column_families(&RocksOptions::default());
        let db = DB::open_cf_descriptors(&options::database(), &database, families)
            .map_err(|source| open::database_error(&self.path, source))?;
        let files = self;
        let ended = false;
        Ok(RestoredStore { files, db, ended })
    }
}

impl RestoredStore {
    /// Number of the last write in it.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.db.latest_sequence_number()
    }

    /// Writes a piece of the log; what is in the store already is passed over. False, and nothing
    /// more is written, once writes are missing between the store and the piece.
    ///
    /// # Errors
    /// `Damaged` for bytes that are no piece; what the database says.
    pub fn apply(&mut self, piece: &[u8]) -> Result<bool, OpenError> {
        let path = &self.files.path;
        let damaged = || OpenError::Damaged {
            path: path.clone(),
            detail: "a piece of the log is malformed".into(),
        };
        for write in writes(piece).ok_or_else(damaged)? {
            let newest = self.db.latest_sequence_number();
            if write.first <= newest {
                continue;
            }
            if self.ended || write.first != newest + 1 {
                self.ended = true;
                return Ok(false);
            }
            let batch = WriteBatch::from_data(write.batch);
            self.db
                .write_opt(batch, &WriteOptions::default())
                .map_err(|source| open::database_error(path, source))?;
        }
        Ok(true)
    }

    /// Makes the store durable and whole: from now on it can be opened.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn finish(self) -> Result<(), OpenError> {
        let path = self.files.path.clone();
        self.db
            .flush_wal(true)
            .map_err(|source| open::database_error(&path, source))?;
        drop(self.db);
        open::sync_all_in(&open::database_in(&path)).map_err(|source| OpenError::Io {
            path: path.clone(),
            source,
        })?;
        open::finish_restored(&path)
    }
}
