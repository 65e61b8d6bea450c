//! Opening a data directory: refuse what is not ours, lock, initialise or load, clean up, bring the
//! index in line. The order matters: nothing is written before the directory is known to be ours.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chunkproto::{Durability, NodeId};

use super::admission::Gate;
use super::directory::{DirectoryState, LAYOUT_VERSION, Layout};
use super::disk::{Disk, OpenDirectory};
use super::durable;
use super::fault::Fault;
use super::index::{Index, IndexCache};
use super::open_files;
use super::probe::Probe;
use super::rebuild;
use super::segment::{self, ALIGN_BYTES, Recovered, SegmentOptions};

/// Settings of one store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The data directory; made and initialised if it is missing or empty.
    pub dir: PathBuf,
    /// Memory for the index's blocks; stores in one process may share it.
    pub index_cache: IndexCache,
    /// How full the filesystem may get, in percent, before new chunks are refused.
    pub full_percent: u8,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// Chunks below this length go to segments, the others to files of their own.
    pub segment_max_bytes: u64,
    /// Length of a new segment's file; a multiple of 4096, at least 64 KiB; on a small
    /// filesystem a 64th of it. Records longer than a
    /// quarter of it get files of their own as well.
    pub segment_bytes: u32,
    /// A segment that lost no chunk for so long will not soon lose the rest by itself, and is compacted.
    pub quiet_after: Duration,
    /// Asked before each step; for tests.
    pub probe: Probe,
    /// The node that the directory must belong to, and that a new one is given to; None takes any
    /// and gives a new one to a new node.
    pub node_id: Option<NodeId>,
}

/// How long a lock is waited for, and how often it is tried: a process that ends, or one that was forked at
/// this moment and has not become another program yet, keeps it a little longer.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_RETRY: Duration = Duration::from_millis(10);
/// A filesystem has room for so many segments, unless they would be shorter than the next number.
const SEGMENTS_MIN: u64 = 64;
const SMALL_SEGMENT_BYTES: u32 = 1 << 20;

impl StoreOptions {
    /// Memory for the index's blocks unless told otherwise.
    pub const INDEX_CACHE_BYTES: usize = 16 << 20;
    /// From this length on a chunk gains nothing from sharing a sync.
    pub const SEGMENT_MAX_BYTES: u64 = 8 << 20;
    /// Long enough to be begun seldom, short enough to be compacted at a stretch.
    pub const SEGMENT_BYTES: u32 = 64 << 20;
    /// Beyond this filesystems slow down, and deletes need some room themselves.
    pub const FULL_PERCENT: u8 = 95;

    /// Long enough for one client to delete what it wrote together.
    pub const QUIET_AFTER: Duration = Duration::from_secs(5);

    /// The defaults for the data directory `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            index_cache: IndexCache::new(Self::INDEX_CACHE_BYTES),
            full_percent: Self::FULL_PERCENT,
            durability: Durability::PowerSafe,
            segment_max_bytes: Self::SEGMENT_MAX_BYTES,
            segment_bytes: Self::SEGMENT_BYTES,
            quiet_after: Self::QUIET_AFTER,
            probe: Probe::default(),
            node_id: None,
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
    /// It belongs to another node than asked for.
    #[error(
        "the data directory {} belongs to node {found} and not to {expected}; give each node its own \
         directories",
        dir.display()
    )]
    OtherNode {
        /// The data directory.
        dir: PathBuf,
        /// The node that it belongs to.
        found: NodeId,
        /// The node that it was opened for.
        expected: NodeId,
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

/// Opens the data directory. Blocks; after an unclean stop for as long as it takes to walk the names
/// of large chunks and to read what the last few segments say, and with a lost index for as long as
/// it takes to read the heads of everything.
pub(crate) fn open(options: StoreOptions) -> Result<Disk, OpenError> {
    let dir = options.dir.clone();
    let layout = Layout::new(options.dir.clone());
    let failed = |fault: Fault| OpenError::Io {
        dir: dir.clone(),
        detail: fault.to_string(),
    };

    make_root(&dir)?;
    accept(&layout, &dir, options.node_id)?;
    let lock = take_lock(&layout)?;
    // What was seen before the lock may have been another process's first start: look again.
    let node_id = match accept(&layout, &dir, options.node_id)? {
        Some(Owner::Present(node_id)) => node_id,
        Some(Owner::Older(node_id)) => {
            layout.raise(node_id).map_err(failed)?;
            node_id
        }
        None => {
            let node_id = options.node_id.unwrap_or_else(NodeId::generate);
            layout.initialise(node_id).map_err(failed)?;
            node_id
        }
    };
    layout.clear_temp().map_err(failed)?;
    let gate = Gate::new(
        dir.clone(),
        options.full_percent,
        options.durability,
        options.probe.clone(),
    );
    let segment_options = SegmentOptions {
        dir: layout.segments(),
        layout: layout.clone(),
        node: node_id,
        segment_bytes: segment_bytes(&options, &gate),
        open_files_max: open_files::raise_limit(),
        quiet_after: options.quiet_after,
        gate: Arc::clone(&gate),
    };
    let (index, recovered) =
        load_index(&layout, segment_options, &options.index_cache).map_err(failed)?;
    tracing::debug!(dir = %dir.display(), %node_id, totals = ?index.totals(), "chunk store opened");
    let identity = OpenDirectory {
        node_id,
        layout,
        gate,
        _lock: lock,
    };
    Disk::start(identity, index, recovered, options.segment_max_bytes).map_err(failed)
}

/// The length of new segments: on a small filesystem less, so that there are some of them.
fn segment_bytes(options: &StoreOptions, gate: &Gate) -> u32 {
    let share = gate.capacity_bytes() / SEGMENTS_MIN;
    let floor = options.segment_bytes.min(SMALL_SEGMENT_BYTES);
    let share = u32::try_from(share).unwrap_or(u32::MAX) / ALIGN_BYTES * ALIGN_BYTES;
    options.segment_bytes.min(share.max(floor))
}

/// The index in line with the records. After a clean stop that is as it was left.
fn load_index(
    layout: &Layout,
    segment_options: SegmentOptions,
    cache: &IndexCache,
) -> Result<(Index, Recovered), Fault> {
    let dir = layout.index();
    remove_old_index(layout)?;
    match Index::open(&dir, cache).and_then(|index| bring_in_line(layout, &segment_options, index))
    {
        Err(Fault::BadIndex(detail)) => {
            tracing::warn!(dir = %dir.display(), detail, "the index is unusable and is made anew");
            remove_index(layout)?;
            bring_in_line(layout, &segment_options, Index::open(&dir, cache)?)
        }
        opened => opened,
    }
}

/// Removes the index as a whole: one that lost some of its files might still open.
fn remove_index(layout: &Layout) -> Result<(), Fault> {
    let (dir, old) = (layout.index(), layout.old_index());
    fs::rename(&dir, &old).map_err(Fault::io("remove", &dir))?;
    durable::sync_parent(&dir)?;
    remove_old_index(layout)
}

fn remove_old_index(layout: &Layout) -> Result<(), Fault> {
    let old = layout.old_index();
    match fs::remove_dir_all(&old) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Fault::io("remove", &old)(error)),
        _ => Ok(()),
    }
}

fn bring_in_line(
    layout: &Layout,
    segment_options: &SegmentOptions,
    index: Index,
) -> Result<(Index, Recovered), Fault> {
    let clean = index.take_clean_mark()?;
    let recovered = segment::recover(segment_options.clone(), &index, clean)?;
    if !clean {
        rebuild::reconcile(layout, &index, segment_options.gate.durability())?;
    }
    Ok((index, recovered))
}

/// Whose a directory is.
enum Owner {
    Present(NodeId),
    Older(NodeId),
}

impl Owner {
    fn node_id(&self) -> NodeId {
        match self {
            Self::Present(node_id) | Self::Older(node_id) => *node_id,
        }
    }
}

/// The node that the data directory `dir` belongs to; `None` for one that is missing or empty.
/// Touches nothing.
///
/// # Errors
/// As [`open`], but for the lock.
pub(crate) fn owner_of(dir: &Path) -> Result<Option<NodeId>, OpenError> {
    let owner = accept(&Layout::new(dir.to_owned()), dir, None)?;
    Ok(owner.map(|owner| owner.node_id()))
}

/// Whose the directory is, which must be node `expected` if one is; `None` if it is to be initialised.
fn accept(
    layout: &Layout,
    dir: &Path,
    expected: Option<NodeId>,
) -> Result<Option<Owner>, OpenError> {
    let owner = inspect(layout, dir)?;
    match (owner.as_ref().map(Owner::node_id), expected) {
        (Some(found), Some(expected)) if found != expected => Err(OpenError::OtherNode {
            dir: dir.to_owned(),
            found,
            expected,
        }),
        _ => Ok(owner),
    }
}

fn inspect(layout: &Layout, dir: &Path) -> Result<Option<Owner>, OpenError> {
    let dir = dir.to_owned();
    match layout.inspect() {
        Ok(DirectoryState::Node(node_id)) => Ok(Some(Owner::Present(node_id))),
        Ok(DirectoryState::Older(node_id)) => Ok(Some(Owner::Older(node_id))),
        Ok(DirectoryState::Empty) => Ok(None),
        Ok(DirectoryState::Newer(found)) => Err(OpenError::Newer {
            dir,
            found,
            supported: LAYOUT_VERSION,
        }),
        Ok(DirectoryState::Damaged(detail)) => Err(OpenError::Damaged { dir, detail }),
        Ok(DirectoryState::Foreign(found)) => Err(OpenError::Foreign { dir, found }),
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
    let patience_ends = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < patience_ends => {
                wait_before_retry();
            }
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { dir }),
            Err(TryLockError::Error(error)) => {
                return Err(failed(format!("cannot lock {}: {error}", path.display())));
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a store is opened on a thread that may block, and a lock's end tells nobody"
)]
fn wait_before_retry() {
    thread::sleep(LOCK_RETRY);
}
