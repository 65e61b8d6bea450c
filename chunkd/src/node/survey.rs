//! Looking at the given data directories before any of them is touched.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use chunkproto::NodeId;

use super::identity::Identity;
use crate::store::{OpenError, owner_of};

/// A data directory as it was found.
#[derive(Debug)]
pub(crate) struct Look {
    /// The directory, absolute.
    pub dir: PathBuf,
    /// What is there.
    pub sight: Sight,
}

/// What is at a path.
#[derive(Debug)]
pub(crate) enum Sight {
    /// Nothing.
    Missing,
    /// An empty directory: a new disk, or a mount point whose disk is not mounted.
    Empty,
    /// A data directory of this node, which may not have a disk's identity yet.
    Disk(NodeId, Option<Identity>),
    /// Something that cannot be used.
    Unusable(OpenError),
}

/// Looks at one directory.
pub(crate) fn look_at(dir: PathBuf) -> Look {
    let sight = see(&dir).unwrap_or_else(Sight::Unusable);
    Look { dir, sight }
}

/// Whether two paths lead to the same place, as far as one can tell.
pub(crate) fn same_place(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    one == other || real(one).is_some_and(|place| real(other) == Some(place))
}

fn see(dir: &Path) -> Result<Sight, OpenError> {
    match fs::metadata(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Sight::Missing),
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
        Some(node_id) => Ok(Sight::Disk(node_id, Identity::read(dir)?)),
        None => Ok(Sight::Empty),
    }
}
