//! `disk.json`: which disk a data directory is, and which disks its node has. Every disk of a node
//! keeps the whole list, so that those that are there know which one is missing.
//! `docs/chunk-format.md` describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use chunkproto::{DiskId, Durability};
use serde::{Deserialize, Serialize};

use crate::store::{OpenError, publish};

/// Version of `disk.json`; a program refuses a later one.
const FORMAT: u32 = 1;

/// What a data directory says of itself and its siblings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiskIdentity {
    format: u32,
    /// The disk that this directory is.
    pub disk_id: DiskId,
    /// The disks of its node.
    #[serde(flatten)]
    pub roster: Roster,
}

/// The disks of one node. Grows by one entry for each disk that an operator ever adds or forgets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Roster {
    /// Counts the changes; of two rosters the later one knows better where a disk was last.
    pub revision: u64,
    /// The node's disks, each with the path of its data directory when it was last seen.
    pub disks: BTreeMap<DiskId, String>,
    /// Disks that were given up for good. They must not return: deletes did not wait for them.
    pub forgotten: BTreeSet<DiskId>,
}

/// The path of `disk.json` in the data directory `dir`.
pub(crate) fn path_in(dir: &Path) -> PathBuf {
    dir.join("disk.json")
}

impl DiskIdentity {
    /// The identity of disk `disk_id` in a node with the disks of `roster`.
    pub fn new(disk_id: DiskId, roster: Roster) -> Self {
        Self {
            format: FORMAT,
            disk_id,
            roster,
        }
    }

    /// What the data directory `dir` says; `None` if it says nothing, as before it had siblings.
    ///
    /// # Errors
    /// `Io`, `Newer`, `Damaged`.
    pub fn read(dir: &Path) -> Result<Option<Self>, OpenError> {
        match fs::read(path_in(dir)) {
            Ok(bytes) => Self::parse(dir, &bytes).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OpenError::Io {
                dir: dir.to_owned(),
                detail: format!("cannot read disk.json: {error}"),
            }),
        }
    }

    /// Understands the bytes of the `disk.json` in `dir`.
    ///
    /// # Errors
    /// `Newer`, `Damaged`.
    pub fn parse(dir: &Path, bytes: &[u8]) -> Result<Self, OpenError> {
        let damaged = |error: serde_json::Error| OpenError::Damaged {
            dir: dir.to_owned(),
            detail: format!("disk.json is unreadable: {error}"),
        };
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(damaged)?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        if let Some(found) = format.filter(|&found| found > FORMAT.into()) {
            return Err(OpenError::Newer {
                dir: path_in(dir),
                found: u32::try_from(found).unwrap_or(u32::MAX),
                supported: FORMAT,
            });
        }
        serde_json::from_value(value).map_err(damaged)
    }

    /// Writes the identity into the data directory `dir`, whole or not at all, durably.
    ///
    /// # Errors
    /// What the system said, with the file's name.
    pub fn write(&self, dir: &Path) -> Result<(), String> {
        let bytes = serde_json::to_vec_pretty(self).expect("ids and texts have a JSON form");
        let temp = dir.join("disk.json.new");
        let write = || {
            let mut file = File::create(&temp)?;
            file.write_all(&bytes)?;
            Ok(file)
        };
        let file = write()
            .map_err(|error: std::io::Error| format!("cannot write {}: {error}", temp.display()))?;
        publish(&file, &temp, &path_in(dir), Durability::PowerSafe)
            .map_err(|fault| fault.to_string())
    }
}

impl Roster {
    /// What several disks of one node know together: a disk that one has forgotten is forgotten,
    /// and the latest revision tells where a disk was last.
    pub fn merged<'a>(rosters: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut rosters: Vec<_> = rosters.into_iter().collect();
        rosters.sort_by_key(|roster| roster.revision);
        let mut merged = Self::default();
        for roster in rosters {
            merged.revision = roster.revision;
            merged.disks.extend(roster.disks.clone());
            merged.forgotten.extend(&roster.forgotten);
        }
        let forgotten = &merged.forgotten;
        merged.disks.retain(|disk, _| !forgotten.contains(disk));
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(number: u8) -> DiskId {
        DiskId::from(uuid::Uuid::from_bytes([number; 16]))
    }

    fn roster(revision: u64, disks: &[(u8, &str)], forgotten: &[u8]) -> Roster {
        Roster {
            revision,
            disks: disks
                .iter()
                .map(|&(number, path)| (disk(number), path.to_owned()))
                .collect(),
            forgotten: forgotten.iter().map(|&number| disk(number)).collect(),
        }
    }

    #[test]
    fn the_latest_place_counts_and_what_was_forgotten_stays_forgotten() {
        let older = roster(3, &[(1, "/a"), (2, "/b"), (3, "/c")], &[]);
        let newer = roster(4, &[(1, "/moved"), (4, "/d")], &[2]);
        let together = roster(4, &[(1, "/moved"), (3, "/c"), (4, "/d")], &[2]);
        assert_eq!(Roster::merged([&older, &newer]), together);
        assert_eq!(Roster::merged([&newer, &older]), together);
    }

    #[test]
    fn what_was_written_reads_back() {
        let dir = tempfile::TempDir::new().unwrap();
        assert!(DiskIdentity::read(dir.path()).unwrap().is_none());
        let identity = DiskIdentity::new(disk(1), roster(7, &[(1, "/a"), (2, "/b")], &[9]));
        identity.write(dir.path()).unwrap();
        assert_eq!(DiskIdentity::read(dir.path()).unwrap(), Some(identity));
    }

    #[test]
    fn unreadable_and_later_files_are_refused() {
        let parse = |text: &str| DiskIdentity::parse(Path::new("/d"), text.as_bytes()).unwrap_err();
        assert!(matches!(parse("{"), OpenError::Damaged { .. }));
        assert!(matches!(
            parse(r#"{"format":1}"#),
            OpenError::Damaged { .. }
        ));
        let newer = parse(r#"{"format":2,"shelves":[]}"#).to_string();
        assert!(newer.contains("/d/disk.json has format 2"), "{newer}");
    }
}
