//! The gateway's directory on disk: made at first start, recognised ever after, and never shared
//! with something else's files.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The file that says whose directory it is.
const MARKER: &str = "SEXTANT";
/// Written first under this name, so that the marker is whole or absent.
const MARKER_BEING_MADE: &str = "SEXTANT.new";
/// What a new file system brings along.
const LOST_AND_FOUND: &str = "lost+found";
const OWNER_ONLY: u32 = 0o700;

/// Which command a directory belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryKind {
    /// `gateway standalone`: metadata and chunk stores.
    Standalone,
    /// `gateway serve`: metadata alone.
    Metadata,
}

impl DirectoryKind {
    /// The marker's content: purpose and format version.
    const fn marker(self) -> &'static str {
        match self {
            Self::Standalone => "sextant gateway standalone 1\n",
            Self::Metadata => "sextant gateway metadata 1\n",
        }
    }
}

/// Why a directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It holds other files.
    #[error(
        "{} is not empty and not Sextant's; name an empty or a new directory", path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to another command or another version.
    #[error(
        "{} is marked '{found}', and '{wanted}' is needed; start the command and version that made \
         it, or name another directory", path.display()
    )]
    Other {
        /// The directory.
        path: PathBuf,
        /// What the marker says.
        found: String,
        /// What it should say.
        wanted: String,
    },
    /// The file system refused.
    #[error("cannot prepare {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes sure that `dir` is there and is ours. A refused directory is left as it was.
///
/// # Errors
/// See [`DirectoryError`].
pub fn claim(dir: &Path, kind: DirectoryKind) -> Result<(), DirectoryError> {
    let fail = |source| DirectoryError::Io {
        path: dir.to_owned(),
        source,
    };
    create(dir).map_err(fail)?;
    match std::fs::read_to_string(dir.join(MARKER)) {
        Ok(found) if found == kind.marker() => Ok(()),
        Ok(found) => Err(DirectoryError::Other {
            path: dir.to_owned(),
            found: found.trim().chars().take(60).collect(),
            wanted: kind.marker().trim().to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !is_unused(dir).map_err(fail)? {
                return Err(DirectoryError::Foreign {
                    path: dir.to_owned(),
                });
            }
            mark(dir, kind).map_err(fail)
        }
        Err(error) => Err(fail(error)),
    }
}

/// Makes a directory, and those above it, for its owner alone.
pub fn create(dir: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(OWNER_ONLY)
        .create(dir)
}

fn is_unused(dir: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name != LOST_AND_FOUND && name != MARKER_BEING_MADE {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes the marker durably: whole or not at all.
fn mark(dir: &Path, kind: DirectoryKind) -> io::Result<()> {
    let being_made = dir.join(MARKER_BEING_MADE);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&being_made)?;
    file.write_all(kind.marker().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&being_made, dir.join(MARKER))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_once_and_recognised_after() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("new");
        claim(&dir, DirectoryKind::Standalone).unwrap();
        claim(&dir, DirectoryKind::Standalone).unwrap();
    }

    #[test]
    fn a_directory_with_other_files_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        let refused = claim(dir.path(), DirectoryKind::Standalone);
        assert!(matches!(refused, Err(DirectoryError::Foreign { .. })));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_command_s_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        claim(dir.path(), DirectoryKind::Standalone).unwrap();
        let refused = claim(dir.path(), DirectoryKind::Metadata).unwrap_err();
        assert!(refused.to_string().contains("standalone"));
    }

    #[test]
    fn a_first_start_that_was_cut_off_is_begun_again() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(MARKER_BEING_MADE), "sext").unwrap();
        claim(dir.path(), DirectoryKind::Metadata).unwrap();
    }
}
