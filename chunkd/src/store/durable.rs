//! The durable steps on the data directory. Each is one function that does all of it: when it
//! returns Ok, its effect survives a power cut. A failed sync comes back as `Fault::Sync`, and the
//! caller must poison the store, since the kernel reports a lost write only once.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use chunkproto::Durability;

use super::fault::Fault;

/// Makes the finished file at `temp` the permanent one at `dest`, on the same filesystem.
/// A crash in the middle leaves the one or the other, and `dest` is never there in part.
pub(crate) fn publish(
    file: &File,
    temp: &Path,
    dest: &Path,
    durability: Durability,
) -> Result<(), Fault> {
    if !durability.syncs() {
        return fs::rename(temp, dest).map_err(Fault::io("publish", dest));
    }
    file.sync_all().map_err(Fault::sync(temp))?;
    // IMPORTANT: the name comes after the sync of what it names, and the sync of the directory
    // after the name; each other order can lose an acknowledged chunk in a power cut.
    fs::rename(temp, dest).map_err(Fault::io("publish", dest))?;
    sync_parent(dest)
}

/// Removes the file at `path`. Ok if there is none; then too its absence is durable, because an
/// earlier attempt may have ended between its two steps.
pub(crate) fn remove(path: &Path, durability: Durability) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Fault::io("remove", path)(error)),
        _ if durability.syncs() => sync_parent(path),
        _ => Ok(()),
    }
}

/// Moves a file that is durable already to another directory of the same filesystem.
pub(crate) fn move_aside(path: &Path, dest: &Path) -> Result<(), Fault> {
    fs::rename(path, dest).map_err(Fault::io("set aside", path))?;
    sync_parent(dest)?;
    sync_parent(path)
}

/// Syncs the directory that holds `path`: the names in it are durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Fault> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    sync_dir(parent)
}

/// Syncs a directory: the names in it are durable, and so is the absence of others.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Fault> {
    let directory = File::open(dir).map_err(Fault::io("open", dir))?;
    directory.sync_all().map_err(Fault::sync(dir))
}
