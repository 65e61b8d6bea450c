//! A pass as it is kept in a disk's data directory. Losing it costs a pass begun anew, so it is
//! replaced whole and not synced.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::pass::Pass;

/// The file.
const NAME: &str = "scrub.json";
/// Written under this name first.
const NEW_NAME: &str = "scrub.json.new";

/// The pass that was kept in `dir`, if it can be read.
pub fn load(dir: &Path) -> Option<Pass> {
    let bytes = fs::read(path(dir)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Keeps a pass in `dir`.
pub fn save(dir: &Path, pass: &Pass) -> io::Result<()> {
    let bytes = serde_json::to_vec(pass).expect("numbers and ids have a JSON form");
    let new = dir.join(NEW_NAME);
    fs::write(&new, bytes)?;
    fs::rename(&new, path(dir))
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}
