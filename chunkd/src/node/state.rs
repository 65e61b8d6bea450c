//! How a node and each of its disks are, for heartbeats, metrics and operators.

use std::collections::HashSet;
use std::path::PathBuf;

use chunkproto::{DiskId, FencedDisk, Heartbeat};
use uuid::Uuid;

use super::disk::DiskHealth;
use crate::store::StoreState;

/// A node's condition at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// Sums over the disks that serve; a filesystem that several of them share counts once. Errors
    /// count on all disks, and each time that a disk is fenced off is one.
    pub total: StoreState,
    /// The disks, those that are fenced off included.
    pub disks: Vec<DiskState>,
}

/// One disk's condition at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskState {
    /// The disk.
    pub disk_id: DiskId,
    /// Its data directory, or where that was last.
    pub dir: PathBuf,
    /// How it is.
    pub health: DiskHealth,
    /// The filesystem that it lies on, where that is known.
    pub device: Option<u64>,
    /// How often it was fenced off since the process started.
    pub fenced_count: u64,
    /// Its store's own state; `None` while it cannot be asked.
    pub store: Option<StoreState>,
}

impl NodeState {
    /// The state of a node with these disks.
    pub(crate) fn of(disks: Vec<DiskState>) -> Self {
        let mut total = StoreState {
            capacity_bytes: 0,
            used_bytes: 0,
            free_bytes: 0,
            chunk_count: 0,
            in_flight: 0,
            disk_errors: 0,
            quarantined: 0,
            writable: false,
            failed: None,
        };
        let mut devices = HashSet::new();
        for disk in &disks {
            total.disk_errors += disk.fenced_count;
            let Some(store) = &disk.store else { continue };
            total.disk_errors += store.disk_errors;
            total.quarantined += store.quarantined;
            total.in_flight += store.in_flight;
            if disk.health != DiskHealth::Serving {
                continue;
            }
            total.used_bytes += store.used_bytes;
            total.chunk_count += store.chunk_count;
            total.writable |= store.writable;
            if disk.device.is_none_or(|device| devices.insert(device)) {
                total.capacity_bytes += store.capacity_bytes;
                total.free_bytes += store.free_bytes;
            }
        }
        Self { total, disks }
    }

    /// The disks that are fenced off.
    #[must_use]
    pub fn fenced_disks(&self) -> Vec<FencedDisk> {
        self.disks.iter().filter_map(DiskState::fenced).collect()
    }

    /// The state as run `incarnation` of the process tells it to gateways.
    #[must_use]
    pub fn heartbeat(&self, incarnation: Uuid) -> Heartbeat {
        Heartbeat {
            fenced_disks: self.fenced_disks(),
            ..self.total.heartbeat(incarnation)
        }
    }
}

impl DiskState {
    /// What gateways hear of the disk, if it is fenced off.
    #[must_use]
    pub fn fenced(&self) -> Option<FencedDisk> {
        let (readable, reason) = match &self.health {
            DiskHealth::Serving => return None,
            DiskHealth::ReadOnly(reason) => (true, reason),
            DiskHealth::Fenced(reason) => (false, reason),
        };
        Some(FencedDisk {
            disk_id: self.disk_id,
            path: self.dir.to_string_lossy().into_owned(),
            readable,
            reason: reason.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(health: DiskHealth, device: u64) -> DiskState {
        let store = StoreState {
            capacity_bytes: 100,
            used_bytes: 10,
            free_bytes: 80,
            chunk_count: 2,
            in_flight: 1,
            disk_errors: 3,
            quarantined: 1,
            writable: true,
            failed: None,
        };
        let store = (!matches!(health, DiskHealth::Fenced(_))).then_some(store);
        DiskState {
            disk_id: DiskId::generate(),
            dir: "/disk".into(),
            fenced_count: u64::from(health != DiskHealth::Serving),
            health,
            device: Some(device),
            store,
        }
    }

    #[test]
    fn room_and_content_are_summed_over_the_disks_that_serve() {
        let state = NodeState::of(vec![
            disk(DiskHealth::Serving, 1),
            disk(DiskHealth::ReadOnly("read-only".into()), 2),
            disk(DiskHealth::Fenced("gone".into()), 3),
            disk(DiskHealth::Serving, 4),
        ]);
        let total = &state.total;
        assert_eq!((total.capacity_bytes, total.free_bytes), (200, 160));
        assert_eq!((total.used_bytes, total.chunk_count), (20, 4));
        assert_eq!((total.disk_errors, total.in_flight), (3 * 3 + 2, 3));
        let heartbeat = state.heartbeat(Uuid::nil());
        let told: Vec<_> = heartbeat
            .fenced_disks
            .iter()
            .map(|disk| (disk.reason.as_str(), disk.readable))
            .collect();
        assert_eq!(told, [("read-only", true), ("gone", false)]);
        assert!(heartbeat.writable && heartbeat.disk_errors == total.disk_errors);
    }

    #[test]
    fn a_filesystem_that_two_disks_share_counts_once() {
        let state = NodeState::of(vec![
            disk(DiskHealth::Serving, 1),
            disk(DiskHealth::Serving, 1),
        ]);
        assert_eq!(state.total.capacity_bytes, 100);
        assert_eq!(state.total.used_bytes, 20);
    }
}
