//! What to do with the given data directories: which to open, which are new, which disks are missing
//! and stay fenced off. A pure function of what was found; nothing has been touched before it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chunkproto::{DiskId, NodeId};

use super::error::NodeError;
use super::identity::{DiskIdentity, Roster};
use super::inspect::{DirectoryContent, Inspection, same_place};
use crate::store::OpenError;

/// How the node is to be opened.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The node; fresh if no directory has one.
    pub node_id: NodeId,
    /// What each disk is to know of the others.
    pub roster: Roster,
    /// The directories to open, at least one.
    pub open: Vec<ToOpen>,
    /// The disks that are not to be had now.
    pub missing: Vec<MissingDisk>,
}

/// A directory to open.
#[derive(Debug, Clone)]
pub(crate) struct ToOpen {
    /// The directory.
    pub dir: PathBuf,
    /// The disk that it is.
    pub disk_id: DiskId,
    /// Whether the node had this disk before. A new one must be without fault.
    pub known: bool,
}

/// A disk of the node that is fenced off from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MissingDisk {
    /// The disk.
    pub disk_id: DiskId,
    /// Where it was last.
    pub path: String,
    /// What is there instead, and what to do.
    pub reason: String,
}

/// Plans a node from its directories, without the disks of `forget`.
pub(crate) fn plan(inspections: Vec<Inspection>, forget: &[DiskId]) -> Result<Plan, NodeError> {
    let node_id = node_of(&inspections)?.unwrap_or_else(NodeId::generate);
    let known = Roster::merged(inspections.iter().filter_map(
        |inspection| match &inspection.content {
            DirectoryContent::Disk(_, Some(identity)) => Some(&identity.roster),
            _ => None,
        },
    ));
    let mut roster = known.clone();
    let present = present_disks(&inspections, &roster)?;
    forget_disks(&mut roster, forget, &present)?;

    let mut absent: BTreeMap<_, _> = roster.disks.clone();
    absent.retain(|disk, _| !present.contains_key(disk));
    let mut plan = Plan {
        node_id,
        roster,
        open: Vec::new(),
        missing: Vec::new(),
    };
    for inspection in inspections {
        plan.decide(inspection, &mut absent)?;
    }
    for (disk_id, path) in absent {
        plan.miss(disk_id, path, "it is in none of the data directories");
    }
    if plan.open.is_empty() {
        let missing = plan.missing.iter();
        return Err(NodeError::NoDisk(
            missing
                .map(|disk| format!("{}: {}", disk.path, disk.reason))
                .collect(),
        ));
    }
    for ToOpen { dir, disk_id, .. } in &plan.open {
        plan.roster.disks.insert(*disk_id, text_of(dir));
    }
    plan.roster.revision += u64::from(plan.roster != known);
    Ok(plan)
}

/// A path as it stands in `disk.json`.
fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The one node that all directories with a node belong to.
fn node_of(inspections: &[Inspection]) -> Result<Option<NodeId>, NodeError> {
    let mut nodes = inspections
        .iter()
        .filter_map(|inspection| match inspection.content {
            DirectoryContent::Disk(node, _) => Some((&inspection.dir, node)),
            _ => None,
        });
    let Some((dir, node)) = nodes.next() else {
        return Ok(None);
    };
    match nodes.find(|(_, other)| *other != node) {
        None => Ok(Some(node)),
        Some((other_dir, other)) => Err(NodeError::TwoNodes {
            dir: dir.clone(),
            node,
            other_dir: other_dir.clone(),
            other,
        }),
    }
}

/// The disks that are there by their own word, each in one directory.
fn present_disks(
    inspections: &[Inspection],
    roster: &Roster,
) -> Result<BTreeMap<DiskId, PathBuf>, NodeError> {
    let mut present = BTreeMap::new();
    for inspection in inspections {
        let DirectoryContent::Disk(_, Some(DiskIdentity { disk_id, .. })) = &inspection.content
        else {
            continue;
        };
        if roster.forgotten.contains(disk_id) {
            return Err(NodeError::Returned {
                dir: inspection.dir.clone(),
                disk: *disk_id,
            });
        }
        if let Some(first) = present.insert(*disk_id, inspection.dir.clone()) {
            return Err(NodeError::Copied {
                disk: *disk_id,
                dirs: [first, inspection.dir.clone()],
            });
        }
    }
    Ok(present)
}

/// Moves disks that are gone for good to the forgotten ones. Forgetting one again changes nothing.
fn forget_disks(
    roster: &mut Roster,
    forget: &[DiskId],
    present: &BTreeMap<DiskId, PathBuf>,
) -> Result<(), NodeError> {
    for &disk in forget {
        if let Some(dir) = present.get(&disk) {
            return Err(NodeError::ForgetPresent {
                disk,
                dir: dir.clone(),
            });
        }
        let known = roster.disks.remove(&disk).is_some();
        if !known && !roster.forgotten.contains(&disk) {
            return Err(NodeError::ForgetUnknown {
                disk,
                known: roster.disks.clone().into_iter().collect(),
            });
        }
        roster.forgotten.insert(disk);
    }
    Ok(())
}

impl Plan {
    /// Decides about one directory. Takes from `absent` the disk that belongs there and is not.
    fn decide(
        &mut self,
        inspection: Inspection,
        absent: &mut BTreeMap<DiskId, String>,
    ) -> Result<(), NodeError> {
        let Inspection { dir, content } = inspection;
        let belongs = absent
            .iter()
            .find(|(_, path)| same_place(Path::new(path), &dir))
            .map(|(disk, _)| *disk);
        let reason = match (content, belongs) {
            (DirectoryContent::Disk(_, Some(DiskIdentity { disk_id, .. })), _) => {
                self.take(dir, disk_id, true);
                return Ok(());
            }
            // A disk from before disks had ids, or one whose first start was cut off.
            (DirectoryContent::Disk(_, None), belongs) => {
                let disk_id = belongs.unwrap_or_else(DiskId::generate);
                absent.remove(&disk_id);
                self.take(dir, disk_id, true);
                return Ok(());
            }
            (DirectoryContent::Missing | DirectoryContent::Empty, None) => {
                self.take(dir, DiskId::generate(), false);
                return Ok(());
            }
            (DirectoryContent::Missing, Some(_)) => "the directory is missing".to_owned(),
            (DirectoryContent::Empty, Some(_)) => "the directory is empty".to_owned(),
            (DirectoryContent::Unusable(error @ OpenError::Newer { .. }), _)
            | (DirectoryContent::Unusable(error), None) => return Err(error.into()),
            (DirectoryContent::Unusable(OpenError::Foreign { found, .. }), Some(_)) => {
                format!("the directory holds '{found}' and no disk")
            }
            (DirectoryContent::Unusable(error), Some(_)) => error.to_string(),
        };
        if let Some((disk_id, path)) = belongs.and_then(|disk| absent.remove_entry(&disk)) {
            self.miss(disk_id, path, &reason);
        }
        Ok(())
    }

    fn take(&mut self, dir: PathBuf, disk_id: DiskId, known: bool) {
        self.open.push(ToOpen {
            dir,
            disk_id,
            known,
        });
    }

    fn miss(&mut self, disk_id: DiskId, path: String, what: &str) {
        let reason = format!(
            "{what}; mount the disk and restart, or give it up for good with --forget-disk {disk_id}"
        );
        self.missing.push(MissingDisk {
            disk_id,
            path,
            reason,
        });
    }
}
