//! The store's directory: `lock`, held while the store is open; `format`, which says what the
//! directory is; `identity`, which store it is; `db`, which is RocksDB's. Nothing is touched in a
//! directory that is not ours.
//!
//! A first start may be cut off at any step and done again: the marker says "being made" before
//! there is a database, and names the format once the database is whole. No row is written, so
//! none can be lost, before the second marker is durable.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rocksdb::{DB, ErrorKind};

use super::bucket_cache::BucketCache;
use super::damaged::DamagedRows;
use super::identity;
use super::options::{self, RocksOptions};
use super::read::Store;

/// What stands in `format`: the shape of all tables, keys and rows. A program opens only a store
/// of the format that it writes.
const FORMAT: &str = "sextant metastore 1\n";
/// What stands there until the first start has come to its end.
const BEING_MADE: &str = "sextant metastore 1, being made\n";
const FORMAT_FILE: &str = "format";
/// The next `format` or other short file, until it is whole.
const FORMAT_NEW_FILE: &str = "format.new";
const LOCK_FILE: &str = "lock";
const DATABASE_DIR: &str = "db";
/// What a fresh file system has in its root.
const LOST_AND_FOUND: &str = "lost+found";

/// Why a metadata store cannot be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open, or this one has already.
    #[error(
        "the metadata store '{}' is in use by another process; stop that one first, or choose another directory",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory has files in it, but is no metadata store.
    #[error(
        "'{}' is not empty and not a metadata store; choose an empty directory",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Written by a version of the program with another format.
    #[error(
        "the metadata store '{}' has the format '{found}', this program reads '{}'; start the version that wrote it, or migrate it as the operations guide describes",
        path.display(),
        FORMAT.trim_end()
    )]
    OtherFormat {
        /// The directory.
        path: PathBuf,
        /// The format that it has.
        found: String,
    },
    /// The database is damaged or parts of it are missing.
    #[error(
        "the metadata store '{}' is damaged ({detail}); keep a copy of it, then restore a checkpoint as the operations guide describes",
        path.display()
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The directory cannot be used.
    #[error("the metadata store '{}' cannot be used; check the disk and the directory's owner", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// RocksDB refused, other than for damage.
    #[error("the metadata store '{}' cannot be opened; check the disk and the directory's owner", path.display())]
    Database {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: rocksdb::Error,
    },
}

/// What a directory turned out to be.
enum DirectoryState {
    /// Empty, or cut off before the first marker: a store may be made in it.
    Nothing,
    /// A first start that was cut off: whatever stands in `db` has no row.
    HalfMade,
    /// A store of our format.
    Store,
}

/// Opens the store in `path`, or makes one where there is nothing. Blocks.
pub(super) fn open(path: &Path, given: &RocksOptions) -> Result<Store, OpenError> {
    let io_error = |source| OpenError::Io {
        path: path.into(),
        source,
    };
    fs::create_dir_all(path).map_err(io_error)?;
    let (lock, found) = lock_and_inspect(path)?;
    let database = database_in(path);
    match found {
        DirectoryState::Store if !database.join("CURRENT").exists() => {
            // RocksDB would begin a new database here and delete the files of the old one.
            let detail = "db/CURRENT is missing".to_owned();
            return Err(OpenError::Damaged {
                path: path.into(),
                detail,
            });
        }
        DirectoryState::Store => {}
        DirectoryState::HalfMade => remove_half_made(&database).map_err(io_error)?,
        DirectoryState::Nothing => write_whole(path, FORMAT_FILE, BEING_MADE).map_err(io_error)?,
    }
    let families = options::column_families(given);
    let db = DB::open_cf_descriptors(&options::database(), &database, families)
        .map_err(|source| database_error(path, source))?;
    if !matches!(found, DirectoryState::Store) {
        // IMPORTANT: after the database, which is durable by now, and before any row. What is
        // marked as being made is thrown away, and a marked store without a database is damaged.
        sync_directory(path).map_err(io_error)?;
        write_whole(path, FORMAT_FILE, FORMAT).map_err(io_error)?;
    }
    let identity = identity::of(path).map_err(io_error)?;
    Ok(Store {
        db,
        identity,
        durability: given.durability,
        buckets: BucketCache::default(),
        damaged: DamagedRows::default(),
        _directory_lock: lock,
    })
}

/// Makes sure that there is no store in `path` yet, and marks one as being made there.
pub(super) fn begin_restored(path: &Path) -> Result<File, OpenError> {
    let io_error = |source| OpenError::Io {
        path: path.into(),
        source,
    };
    fs::create_dir_all(path).map_err(io_error)?;
    let (lock, found) = lock_and_inspect(path)?;
    if matches!(found, DirectoryState::Store) {
        return Err(OpenError::Foreign { path: path.into() });
    }
    write_whole(path, FORMAT_FILE, BEING_MADE).map_err(io_error)?;
    remove_half_made(&database_in(path)).map_err(io_error)?;
    fs::create_dir(database_in(path)).map_err(io_error)?;
    Ok(lock)
}

/// Marks the store in `path` as whole.
pub(super) fn finish_restored(path: &Path) -> Result<(), OpenError> {
    sync_directory(path)
        .and_then(|()| write_whole(path, FORMAT_FILE, FORMAT))
        .map_err(|source| OpenError::Io {
            path: path.into(),
            source,
        })
}

/// Where RocksDB's files are.
pub(super) fn database_in(path: &Path) -> PathBuf {
    path.join(DATABASE_DIR)
}

fn lock_and_inspect(path: &Path) -> Result<(File, DirectoryState), OpenError> {
    if !path.join(LOCK_FILE).exists() {
        // Not even a lock is left in a directory that is not ours.
        inspect(path)?;
    }
    let lock = lock(path)?;
    Ok((lock, inspect(path)?))
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let io_error = |source| OpenError::Io {
        path: path.into(),
        source,
    };
    let file = File::create(path.join(LOCK_FILE)).map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.into() }),
        Err(TryLockError::Error(source)) => Err(io_error(source)),
    }
}

fn inspect(path: &Path) -> Result<DirectoryState, OpenError> {
    let io_error = |source| OpenError::Io {
        path: path.into(),
        source,
    };
    match fs::read(path.join(FORMAT_FILE)) {
        Ok(marker) if marker == FORMAT.as_bytes() => Ok(DirectoryState::Store),
        Ok(marker) if marker == BEING_MADE.as_bytes() => Ok(DirectoryState::HalfMade),
        Ok(marker) => {
            let text = String::from_utf8_lossy(&marker);
            let found = text.trim_end().chars().take(80).collect();
            Err(OpenError::OtherFormat {
                path: path.into(),
                found,
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            for entry in fs::read_dir(path).map_err(io_error)? {
                let name = entry.map_err(io_error)?.file_name();
                if ![LOCK_FILE, FORMAT_NEW_FILE, LOST_AND_FOUND]
                    .iter()
                    .any(|ours| name == *ours)
                {
                    return Err(OpenError::Foreign { path: path.into() });
                }
            }
            Ok(DirectoryState::Nothing)
        }
        Err(error) => Err(io_error(error)),
    }
}

/// Makes a short file of the directory durable, whole or not at all.
pub(super) fn write_whole(path: &Path, name: &str, text: &str) -> io::Result<()> {
    let temporary = path.join(FORMAT_NEW_FILE);
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path.join(name))?;
    sync_directory(path)?;
    // The directory itself may be new too.
    path.parent()
        .filter(|parent| parent.is_dir())
        .map_or(Ok(()), sync_directory)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes the files of a database durable; returns their length in bytes.
pub(super) fn sync_all_in(database: &Path) -> io::Result<u64> {
    let mut length_bytes = 0;
    for entry in fs::read_dir(database)? {
        let file = File::open(entry?.path())?;
        file.sync_all()?;
        length_bytes += file.metadata()?.len();
    }
    sync_directory(database)?;
    Ok(length_bytes)
}

/// Removes what a cut-off first start left of its database.
fn remove_half_made(database: &Path) -> io::Result<()> {
    match fs::remove_dir_all(database) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn database_error(path: &Path, source: rocksdb::Error) -> OpenError {
    match source.kind() {
        ErrorKind::Corruption | ErrorKind::InvalidArgument => OpenError::Damaged {
            path: path.into(),
            detail: source.into_string(),
        },
        _ => OpenError::Database {
            path: path.into(),
            source,
        },
    }
}
