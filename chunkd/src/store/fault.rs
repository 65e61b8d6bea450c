//! What can go wrong under the store's blocking half, before it is told to a caller.
//! `Disk::report` turns each into a `ChunkError` and draws the consequences.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::record::BadRecord;

/// A failed step on the data directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// No such record.
    #[error("no such record")]
    Missing,
    /// The record's bytes are wrong: quarantine it.
    #[error("{0}")]
    Damaged(String),
    /// Not in memory, and the caller would not wait for the disk.
    #[error("not in memory")]
    Cold,
    /// The id is taken by other bytes.
    #[error("the id is taken by other bytes")]
    Conflict,
    /// The filesystem has no room.
    #[error("cannot {action} {}: {source}", path.display())]
    NoRoom {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system failed the step; nothing is known to be lost.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A sync failed: what the kernel had promised to write may be gone, and asking again would
    /// report success. The store must take no more writes.
    #[error("cannot sync {}: {source}", path.display())]
    Sync {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The index failed the step; it is derived, so no chunk is lost.
    #[error("the index failed: {0}")]
    Index(String),
    /// The index is damaged, of another version, or does not fit the records: it must be made anew.
    #[error("the index is unusable: {0}")]
    BadIndex(String),
}

impl Fault {
    /// Says where an error of the system came from. To be used with `map_err`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::NoRoom {
                action,
                path,
                source,
            },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    /// A copy of this fault for another waiter.
    pub fn again(&self) -> Self {
        let same = |source: &io::Error| io::Error::new(source.kind(), source.to_string());
        match self {
            Self::Missing => Self::Missing,
            Self::Conflict => Self::Conflict,
            Self::Cold => Self::Cold,
            Self::Damaged(detail) => Self::Damaged(detail.clone()),
            Self::Index(detail) => Self::Index(detail.clone()),
            Self::BadIndex(detail) => Self::BadIndex(detail.clone()),
            Self::NoRoom {
                action,
                path,
                source,
            } => Self::NoRoom {
                action,
                path: path.clone(),
                source: same(source),
            },
            Self::Io {
                action,
                path,
                source,
            } => Self::Io {
                action,
                path: path.clone(),
                source: same(source),
            },
            Self::Sync { path, source } => Self::Sync {
                path: path.clone(),
                source: same(source),
            },
        }
    }

    /// Whether the disk could not give the bytes that were to be read.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Io { source, .. } if !is_of_process(source))
    }

    /// Whether the process or the machine lacked something, before anything was written.
    pub fn is_of_process(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_of_process(source))
    }

    /// Says which file or directory could not be synced. To be used with `map_err`.
    pub fn sync(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Sync { path, source }
    }
}

/// Whether the error tells of a lack of the process or the machine and not of the disk.
pub(crate) fn is_of_process(error: &io::Error) -> bool {
    let lacks = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR];
    Errno::from_io_error(error).is_some_and(|error| lacks.contains(&error))
}

impl From<BadRecord> for Fault {
    fn from(BadRecord(detail): BadRecord) -> Self {
        Self::Damaged(detail)
    }
}
