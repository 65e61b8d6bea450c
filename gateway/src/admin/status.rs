//! The cluster as operators see it: how safe the data is, by copies that were looked at, and what the
//! nodes and jobs are about.

use std::sync::Arc;

use chunkproto::{FencedDisk, NodeId, ScrubReport};
use metastore::{MetaResult, NodePhase, Timestamp};
use serde::{Deserialize, Serialize};

use super::data::{DataAdmin, DataReport};
use super::findings::{Finding, Seen, findings};
use crate::cluster::{Membership, NodeState, NodeStatus, Refusals};
use crate::jobs::{BackupReport, BackupStatus, JobBoard, JobReport};

/// The body of `/status`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// What needs attention, the worst first; nothing if all is well.
    pub findings: Vec<Finding>,
    /// How safe the data is.
    pub data: DataReport,
    /// The chunk servers, in order of their ids.
    pub nodes: Vec<NodeReport>,
    /// Chunk servers that were removed for good.
    pub removed_nodes: Vec<NodeId>,
    /// The background jobs, in order of their names.
    pub jobs: Vec<JobReport>,
    /// The metadata's backup; `None` if none is made.
    pub metadata_backup: Option<BackupReport>,
}

/// A node in `/status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeReport {
    /// Its id.
    pub id: NodeId,
    /// Base URL of its chunk API.
    pub address: String,
    /// Its failure zone.
    pub zone: String,
    /// `live`, `suspect` or `down`.
    pub state: String,
    /// `active` or `draining`.
    pub phase: String,
    /// Seconds since it was last heard from.
    pub silent_s: u64,
    /// Seconds for which this gateway has not reached it for data, although it is heard.
    #[serde(default)]
    pub unreached_s: Option<u64>,
    /// Whether it takes new chunks.
    pub writable: bool,
    /// Size of its disks.
    pub capacity_bytes: u64,
    /// Bytes of chunk data on it.
    pub used_bytes: u64,
    /// Bytes free on its disks.
    pub free_bytes: u64,
    /// Chunks on it.
    pub chunk_count: u64,
    /// This gateway's requests under way on it.
    pub in_flight: u32,
    /// Disk errors since its start.
    pub disk_errors: u64,
    /// Damaged chunks set aside since its start.
    pub quarantined: u64,
    /// Disks that it serves without.
    pub fenced_disks: Vec<FencedDisk>,
    /// How far it is with verifying its chunks; `None` if it does not.
    pub scrub: Option<ScrubReport>,
    /// Seconds since the chunk that waits longest was verified or written.
    pub oldest_unverified_s: Option<u64>,
}

/// Looks at the cluster. Cheap to clone.
#[derive(Clone)]
pub struct StatusAdmin {
    membership: Arc<Membership>,
    data: DataAdmin,
    jobs: JobBoard,
    backup: BackupStatus,
    refusals: Refusals,
}

impl StatusAdmin {
    pub fn new(
        membership: Arc<Membership>,
        data: DataAdmin,
        (jobs, backup): (JobBoard, BackupStatus),
        refusals: Refusals,
    ) -> Self {
        Self {
            membership,
            data,
            jobs,
            backup,
            refusals,
        }
    }

    /// The cluster at this moment.
    pub async fn look(&self) -> MetaResult<Status> {
        let data = self.data.look().await?;
        let nodes: Vec<_> = self.membership.status().iter().map(node_report).collect();
        let jobs = self.jobs.reports();
        let metadata_backup = self.backup.report(Timestamp::now());
        let seen = Seen {
            data: &data,
            nodes: &nodes,
            refused: &self.refusals.recent(),
            jobs: &jobs,
            backup: metadata_backup.as_ref(),
            down_after: self.membership.timeouts().down_after,
        };
        Ok(Status {
            findings: findings(&seen),
            data,
            nodes,
            removed_nodes: self.membership.removed(),
            jobs,
            metadata_backup,
        })
    }
}

fn node_report(node: &NodeStatus) -> NodeReport {
    let state = &node.registration.state;
    NodeReport {
        id: node.registration.node_id,
        address: node.registration.address.clone(),
        zone: node.registration.zone.clone(),
        state: state_name(node.state).into(),
        phase: phase_name(node.phase).into(),
        silent_s: node.silent.as_secs(),
        unreached_s: node.unreached.map(|time| time.as_secs()),
        writable: node.is_writable,
        capacity_bytes: state.capacity_bytes,
        used_bytes: state.used_bytes,
        free_bytes: state.free_bytes,
        chunk_count: state.chunk_count,
        in_flight: node.in_flight,
        disk_errors: state.disk_errors,
        quarantined: state.quarantined,
        fenced_disks: state.fenced_disks.clone(),
        oldest_unverified_s: state.scrub.as_ref().map(unverified_s),
        scrub: state.scrub.clone(),
    }
}

fn unverified_s(scrub: &ScrubReport) -> u64 {
    Timestamp::now()
        .0
        .saturating_sub(scrub.oldest_verified_at_ms)
        / 1000
}

const fn state_name(state: NodeState) -> &'static str {
    match state {
        NodeState::Live => "live",
        NodeState::Suspect => "suspect",
        NodeState::Down => "down",
    }
}

const fn phase_name(phase: NodePhase) -> &'static str {
    match phase {
        NodePhase::Active => "active",
        NodePhase::Draining => "draining",
        NodePhase::Removed => "removed",
    }
}
