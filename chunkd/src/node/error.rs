//! Why a chunk server does not start on the data directories that it was given.

use std::fmt::Write as _;
use std::path::PathBuf;

use chunkproto::{DiskId, NodeId};

use super::DISKS_MAX;
use crate::store::OpenError;

/// Data directories that do not make a node. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// More directories than a node can have, or none.
    #[error("{0} data directories are given; a chunk server has 1 to {DISKS_MAX}")]
    Number(usize),
    /// One directory under two names.
    #[error("{} and {} are the same directory; give each data directory once", .0.display(), .1.display())]
    Twice(PathBuf, PathBuf),
    /// Two directories of two nodes.
    #[error(
        "{} belongs to node {node} and {} to node {other}; start one chunkd for each node, with its \
         own directories",
        dir.display(), other_dir.display()
    )]
    TwoNodes {
        /// A directory.
        dir: PathBuf,
        /// Whose it is.
        node: NodeId,
        /// Another directory.
        other_dir: PathBuf,
        /// Whose that one is.
        other: NodeId,
    },
    /// Two directories that are one disk.
    #[error(
        "{} and {} are both disk {disk}: one is a copy of the other; start without the copy",
        .dirs[0].display(), .dirs[1].display()
    )]
    Copied {
        /// The disk.
        disk: DiskId,
        /// The two directories.
        dirs: [PathBuf; 2],
    },
    /// A disk that was given up has returned. It may hold chunks that were deleted meanwhile.
    #[error(
        "{} is disk {disk}, which this node was told to forget; start without it, or empty the \
         directory to use it as a new disk",
        dir.display()
    )]
    Returned {
        /// The directory.
        dir: PathBuf,
        /// The disk.
        disk: DiskId,
    },
    /// A disk is to be forgotten and served.
    #[error(
        "disk {disk} is to be forgotten and is there, at {}; drop --forget-disk, or that directory",
        dir.display()
    )]
    ForgetPresent {
        /// The disk.
        disk: DiskId,
        /// Where it is.
        dir: PathBuf,
    },
    /// A disk is to be forgotten that nobody knows.
    #[error(
        "--forget-disk {disk}: this node has no such disk; it has {}",
        list(known)
    )]
    ForgetUnknown {
        /// The disk.
        disk: DiskId,
        /// The disks that the node has, with their paths.
        known: Vec<(DiskId, String)>,
    },
    /// One directory alone keeps the node from starting.
    #[error(transparent)]
    Directory(#[from] OpenError),
    /// No directory is left to serve.
    #[error("none of the data directories can be used: {}", .0.join("; "))]
    NoDisk(Vec<String>),
}

fn list(disks: &[(DiskId, String)]) -> String {
    let mut text = String::new();
    for (disk, path) in disks {
        let comma = if text.is_empty() { "" } else { ", " };
        write!(text, "{comma}{disk} at {path}").expect("a string takes all text");
    }
    text
}
