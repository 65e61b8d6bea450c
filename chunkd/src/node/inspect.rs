//! Inspecting the given data directories before any of them is touched.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use chunkproto::NodeId;

use super::identity::DiskIdentity;
use crate::store::{OpenError, owner_of};

/// A data directory as it was found.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// The directory, absolute.
    pub dir: PathBuf,
    /// What is there.
    pub content: DirectoryContent,
}

/// What is at a path.
#[derive(Debug)]
pub(crate) enum DirectoryContent {
    /// Nothing.
    Missing,
    /// An empty directory: a new disk, or a mount point whose disk is not mounted.
    Empty,
    /// A data directory of this node, which may not have a disk's identity yet.
    Disk(NodeId, Option<DiskIdentity>),
    /// Something that cannot be used.
    Unusable(OpenError),
}

/// Inspects one directory.
pub(crate) fn inspect(dir: PathBuf) -> Inspection {
    let content = see(&dir).unwrap_or_else(DirectoryContent::Unusable);
    Inspection { dir, content }
}

/// Whether two paths lead to the same place, as far as one can tell.
pub(crate) fn same_place(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    one == other || real(one).is_some_and(|place| real(other) == Some(place))
}

fn see(dir: &Path) -> Result<DirectoryContent, OpenError> {
    match fs::metadata(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(DirectoryContent::Missing),
        Err(error) => {
            return Err(OpenError::Io {
                dir: dir.to_owned(),
                detail: error.to_string(),
            });
        }
        Ok(found) if !found.is_dir() => {
            return Err(OpenError::NotADirectory {
                dir: dir.to_owned(),
            });
        }
        Ok(_) => {}
    }
    match owner_of(dir)? {
        Some(node_id) => Ok(DirectoryContent::Disk(node_id, DiskIdentity::read(dir)?)),
        None => Ok(DirectoryContent::Empty),
    }
}
