//! Opening a data directory: refuse what is not ours, lock, initialise or load, clean up, bring the
//! index in line. The order matters: nothing is written before the directory is known to be ours.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::admission::Gate;
use super::directory::{Found, LAYOUT_VERSION, Layout};
use super::disk::Disk;
use super::durable;
use super::fault::Fault;
use super::index::{Index, Totals};
use super::rebuild;

/// Settings of one store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The data directory; made and initialised if it is missing or empty.
    pub dir: PathBuf,
    /// Memory for the index's blocks. Listings alone read them.
    pub index_cache_bytes: usize,
    /// How full the filesystem may get, in percent, before new chunks are refused.
    pub full_percent: u8,
}

impl StoreOptions {
    /// Memory for the index's blocks unless told otherwise.
    pub const INDEX_CACHE_BYTES: usize = 4 << 20;
    /// Beyond this filesystems slow down, and deletes need some room themselves.
    pub const FULL_PERCENT: u8 = 95;

    /// The defaults for the data directory `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            index_cache_bytes: Self::INDEX_CACHE_BYTES,
            full_percent: Self::FULL_PERCENT,
        }
    }
}

/// Why a data directory could not be opened. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the data directory {} is in use by another process; stop that one, or choose another directory",
        dir.display()
    )]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// It holds somebody else's files.
    #[error(
        "{} is not a chunk store: it contains '{found}' and no node.json; choose an empty directory",
        dir.display()
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Something in it that does not belong.
        found: String,
    },
    /// The path is a file or another thing that is no directory.
    #[error("{} is not a directory; choose an empty directory", dir.display())]
    NotADirectory {
        /// The path.
        dir: PathBuf,
    },
    /// It was written by a later version of the program.
    #[error(
        "the data directory {} has format {found}, and this program knows formats up to {supported}; \
         start the newer program that wrote it",
        dir.display()
    )]
    Newer {
        /// The data directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The latest format that this program knows.
        supported: u32,
    },
    /// Something essential is missing or unreadable.
    #[error(
        "the data directory {} is damaged: {detail}; restore it from a copy, or start with an empty \
         directory and let the cluster repair the chunks",
        dir.display()
    )]
    Damaged {
        /// The data directory.
        dir: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The system refused a step: permissions, a full or a failing disk.
    #[error("cannot open the data directory {}: {detail}", dir.display())]
    Io {
        /// The data directory.
        dir: PathBuf,
        /// Which step, and what the system said.
        detail: String,
    },
}

/// Opens the data directory. Blocks; after an unclean stop for as long as a walk through the
/// records' names takes, and with a lost index for as long as reading their headers takes.
pub(crate) fn open(options: StoreOptions) -> Result<Disk, OpenError> {
    let dir = options.dir.clone();
    let layout = Layout::new(options.dir);
    let failed = |fault: Fault| OpenError::Io {
        dir: dir.clone(),
        detail: fault.to_string(),
    };

    make_root(&dir)?;
    accept(&layout, &dir)?;
    let lock = take_lock(&layout)?;
    // What was seen before the lock may have been another process's first start: look again.
    let node_id = match accept(&layout, &dir)? {
        Some(node_id) => node_id,
        None => layout.initialise().map_err(failed)?,
    };
    layout.clear_temp().map_err(failed)?;
    let (index, totals) = load_index(&layout, options.index_cache_bytes).map_err(failed)?;
    tracing::debug!(dir = %dir.display(), %node_id, ?totals, "chunk store opened");
    let gate = Gate::new(dir.clone(), options.full_percent);
    Ok(Disk::new(node_id, layout, gate, index, totals, lock))
}

/// The index in line with the records, and what it holds. After a clean stop that is as it was
/// left; otherwise the records are walked.
fn load_index(layout: &Layout, cache_bytes: usize) -> Result<(Index, Totals), Fault> {
    let dir = layout.index();
    let opened = Index::open(&dir, cache_bytes).and_then(|index| {
        let totals = match index.take_clean_mark()? {
            Some(totals) => totals,
            None => rebuild::reconcile(layout, &index)?,
        };
        Ok((index, totals))
    });
    match opened {
        Err(Fault::Index(detail)) => {
            tracing::warn!(dir = %dir.display(), detail, "the index is damaged and is made anew");
            fs::remove_dir_all(&dir).map_err(Fault::io("remove", &dir))?;
            let index = Index::open(&dir, cache_bytes)?;
            let totals = rebuild::reconcile(layout, &index)?;
            Ok((index, totals))
        }
        opened => opened,
    }
}

/// The node that the directory belongs to, or None if it is to be initialised.
fn accept(layout: &Layout, dir: &Path) -> Result<Option<chunkproto::NodeId>, OpenError> {
    let dir = dir.to_owned();
    match layout.inspect() {
        Ok(Found::Node(node_id)) => Ok(Some(node_id)),
        Ok(Found::Empty) => Ok(None),
        Ok(Found::Newer(found)) => Err(OpenError::Newer {
            dir,
            found,
            supported: LAYOUT_VERSION,
        }),
        Ok(Found::Damaged(detail)) => Err(OpenError::Damaged { dir, detail }),
        Ok(Found::Foreign(found)) => Err(OpenError::Foreign { dir, found }),
        Err(fault) => Err(OpenError::Io {
            dir,
            detail: fault.to_string(),
        }),
    }
}

fn make_root(dir: &Path) -> Result<(), OpenError> {
    if dir.exists() && !dir.is_dir() {
        return Err(OpenError::NotADirectory {
            dir: dir.to_owned(),
        });
    }
    fs::create_dir_all(dir)
        .map_err(Fault::io("create", dir))
        .and_then(|()| durable::sync_parent(dir))
        .map_err(|fault| OpenError::Io {
            dir: dir.to_owned(),
            detail: fault.to_string(),
        })
}

/// The lock on the directory, held for as long as the file is open; it ends with the process.
fn take_lock(layout: &Layout) -> Result<File, OpenError> {
    let dir = layout.root().to_owned();
    let path = layout.lock();
    let failed = |detail: String| OpenError::Io {
        dir: dir.clone(),
        detail,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| failed(format!("cannot create {}: {error}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir }),
        Err(TryLockError::Error(error)) => {
            Err(failed(format!("cannot lock {}: {error}", path.display())))
        }
    }
}
