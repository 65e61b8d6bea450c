//! Opening a node: look at all directories, plan, open those that are there, tell each disk of the
//! others. Nothing is written before the directories are known to make one node.

use std::os::unix::fs::MetadataExt as _;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};

use chunkproto::{DiskId, NodeId};

use super::DISKS_MAX;
use super::chunk_node::Parts;
use super::decisions::Decisions;
use super::disk::NodeDisk;
use super::error::NodeError;
use super::identity::{DiskIdentity, Roster};
use super::inspect::{inspect, same_place};
use super::plan::{self, ToOpen};
use crate::scrub::ScrubBoard;
use crate::store::{ChunkStore, OpenError, StoreOptions};

/// Settings of one node.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The data directories, one for each disk, in any order; see [`StoreOptions::dir`].
    pub dirs: Vec<PathBuf>,
    /// Disks that are gone for good. Naming one again, once it is forgotten, does no harm.
    pub forget: Vec<DiskId>,
    /// How the disks are looked after.
    pub checks: DiskChecks,
    /// Settings of each disk's store; its directory and node are filled in.
    pub store: StoreOptions,
}

/// How often the disks are looked at.
#[derive(Debug, Clone, Copy)]
pub struct DiskChecks {
    /// Between two looks.
    pub period: Duration,
    /// How long a disk may take to answer one.
    pub timeout: Duration,
}

impl Default for DiskChecks {
    /// A disk that takes longer than 10 s for one short read is of no use to requests, which wait
    /// about as long.
    fn default() -> Self {
        Self {
            period: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
        }
    }
}

impl NodeOptions {
    /// The defaults for these data directories.
    #[must_use]
    pub fn new(dirs: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self {
            dirs: dirs.into_iter().map(Into::into).collect(),
            forget: Vec::new(),
            checks: DiskChecks::default(),
            store: StoreOptions::new(PathBuf::new()),
        }
    }
}

/// Opens the node. Blocks.
pub(crate) fn open(options: NodeOptions) -> Result<Parts, NodeError> {
    let dirs = checked(&options.dirs)?;
    let plan = plan::plan(dirs.into_iter().map(inspect).collect(), &options.forget)?;
    let opened = open_all(&plan.open, plan.node_id, &options);
    let mut disks: Vec<_> = plan
        .missing
        .into_iter()
        .map(|disk| NodeDisk::missing(disk.disk_id, disk.path.into(), disk.reason))
        .collect();
    for (to_open, store) in plan.open.into_iter().zip(opened) {
        let store = store.and_then(|store| introduce(&to_open, &plan.roster).map(|()| store));
        disks.push(serve_or_fence(to_open, store)?);
    }
    if disks.iter().all(|disk| disk.writable().is_none()) {
        let fenced = disks.iter().filter_map(|disk| disk.state().fenced());
        return Err(NodeError::NoDisk(fenced.map(|disk| disk.reason).collect()));
    }
    warn_of_shared_filesystems(&disks);
    Ok(Parts {
        node_id: plan.node_id,
        disks: disks.into_iter().map(Arc::new).collect(),
        checks: options.checks,
        decisions: Decisions::default(),
        scrub: ScrubBoard::default(),
    })
}

/// The directories as absolute paths, none of them twice.
fn checked(dirs: &[PathBuf]) -> Result<Vec<PathBuf>, NodeError> {
    if dirs.is_empty() || dirs.len() > DISKS_MAX {
        return Err(NodeError::Number(dirs.len()));
    }
    let mut checked: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        let dir = path::absolute(dir).map_err(|error| OpenError::Io {
            dir: dir.clone(),
            detail: error.to_string(),
        })?;
        if let Some(first) = checked.iter().find(|first| same_place(first, &dir)) {
            return Err(NodeError::Twice(first.clone(), dir));
        }
        checked.push(dir);
    }
    Ok(checked)
}

/// Opens all directories at the same time: after an unclean stop each takes a while.
fn open_all(
    dirs: &[ToOpen],
    node_id: NodeId,
    options: &NodeOptions,
) -> Vec<Result<ChunkStore, OpenError>> {
    let open_one = |to_open: &ToOpen| {
        ChunkStore::open(StoreOptions {
            dir: to_open.dir.clone(),
            node_id: Some(node_id),
            ..options.store.clone()
        })
    };
    thread::scope(|scope| {
        let opening: Vec<_> = dirs
            .iter()
            .map(|to_open| scope.spawn(|| open_one(to_open)))
            .collect();
        let opened = opening.into_iter().map(|thread| thread.join());
        opened
            .map(|result| result.expect("opening a store does not panic"))
            .collect()
    })
}

/// Tells a disk, now locked, who it is and which others there are.
fn introduce(to_open: &ToOpen, roster: &Roster) -> Result<(), OpenError> {
    let identity = DiskIdentity::new(to_open.disk_id, roster.clone());
    let present = DiskIdentity::read(&to_open.dir)?;
    if present.as_ref() == Some(&identity) {
        return Ok(());
    }
    let is_other = |present: DiskIdentity| present.disk_id != to_open.disk_id;
    let written = if present.is_some_and(is_other) {
        Err("another disk took its place meanwhile".to_owned())
    } else {
        identity.write(&to_open.dir)
    };
    written.map_err(|detail| OpenError::Io {
        dir: to_open.dir.clone(),
        detail,
    })
}

/// A disk that serves; or one that the node had and that failed, fenced off.
fn serve_or_fence(
    to_open: ToOpen,
    store: Result<ChunkStore, OpenError>,
) -> Result<NodeDisk, NodeError> {
    let ToOpen {
        dir,
        disk_id,
        known,
    } = to_open;
    match store {
        Ok(store) => {
            let device = device_of(&dir);
            Ok(NodeDisk::serving(disk_id, dir, store, device))
        }
        Err(error @ (OpenError::Io { .. } | OpenError::Damaged { .. })) if known => {
            Ok(NodeDisk::missing(disk_id, dir, error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

fn device_of(dir: &Path) -> Option<u64> {
    fs::metadata(dir).map(|found| found.dev()).ok()
}

/// Two directories on one disk gain nothing: when it fails, both do.
fn warn_of_shared_filesystems(disks: &[NodeDisk]) {
    for (number, disk) in disks.iter().enumerate() {
        let device = device_of(disk.dir());
        let mut before = disks[..number].iter();
        let shares = |other: &&NodeDisk| device.is_some() && device_of(other.dir()) == device;
        if let Some(other) = before.find(shares) {
            tracing::warn!(
                dir = %disk.dir().display(), other = %other.dir().display(),
                "two data directories are on one filesystem; it counts once, and fails for both"
            );
        }
    }
}
