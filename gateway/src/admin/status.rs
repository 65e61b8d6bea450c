//! The cluster as operators see it: how safe the data is, by copies that were looked at, and what the
//! nodes and jobs are about.

use std::sync::Arc;

use chunkproto::{FencedDisk, NodeId, ScrubReport};
use metastore::{ChunkOwner, MetaResult, Metastore, NodePhase, Timestamp};
use serde::{Deserialize, Serialize};

use super::findings::{Finding, findings};
use crate::cluster::{Membership, NodeState, NodeStatus};
use crate::jobs::{BackupReport, BackupStatus, JobBoard, JobReport};

/// Entries of the repair queue that are counted.
const COUNTED_MAX: usize = 100_000;
/// Objects without a reachable copy that are named.
const NAMED_MAX: usize = 10;
/// Buckets looked through for the names of those.
const BUCKETS_MAX: usize = 1000;

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
    /// The metadata's backup; none where none is made.
    pub metadata_backup: Option<BackupReport>,
}

/// How safe the data is. Chunks in the repair queue, by the good copies that were found when they
/// were last looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DataReport {
    /// Copies that each chunk should have.
    pub replicas: u8,
    /// Chunks with 0, 1, 2 … good copies that wait for repair.
    pub chunks_by_copies: Vec<u64>,
    /// Bytes to copy until every chunk has enough.
    pub repair_bytes: u64,
    /// Whether more chunks wait than were counted.
    pub truncated: bool,
    /// Some of those with no good copy that can be reached.
    pub unreachable: Vec<Unreachable>,
}

/// A chunk without a copy that can be reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unreachable {
    /// Its object, for people.
    pub object: String,
    /// Nodes that should hold it.
    pub nodes: Vec<NodeId>,
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
    /// How far it is with verifying its chunks; none where it does not.
    pub scrub: Option<ScrubReport>,
    /// Seconds since the chunk that waits longest was verified or written.
    pub oldest_unverified_s: Option<u64>,
}

/// Looks at the cluster. Cheap to clone.
#[derive(Clone)]
pub struct StatusDesk {
    membership: Arc<Membership>,
    metastore: Arc<dyn Metastore>,
    jobs: JobBoard,
    backup: BackupStatus,
    replicas: u8,
}

impl StatusDesk {
    pub fn new(
        membership: Arc<Membership>,
        metastore: Arc<dyn Metastore>,
        (jobs, backup): (JobBoard, BackupStatus),
        replicas: u8,
    ) -> Self {
        Self {
            membership,
            metastore,
            jobs,
            backup,
            replicas,
        }
    }

    /// The cluster at this moment.
    pub async fn look(&self) -> MetaResult<Status> {
        let data = self.data().await?;
        let nodes: Vec<_> = self.membership.status().iter().map(node_report).collect();
        let jobs = self.jobs.reports();
        let down_after = self.membership.patience().down_after;
        Ok(Status {
            findings: findings(&data, &nodes, &jobs, down_after),
            data,
            nodes,
            removed_nodes: self.membership.removed(),
            jobs,
            metadata_backup: self.backup.report(Timestamp::now()),
        })
    }

    async fn data(&self) -> MetaResult<DataReport> {
        let counts = self.metastore.count_repairs(COUNTED_MAX).await?;
        let unreachable = match counts.chunks[0] {
            0 => Vec::new(),
            _ => self.unreachable().await?,
        };
        Ok(DataReport {
            replicas: self.replicas,
            chunks_by_copies: counts.chunks.to_vec(),
            repair_bytes: counts.missing_bytes,
            truncated: counts.truncated,
            unreachable,
        })
    }

    async fn unreachable(&self) -> MetaResult<Vec<Unreachable>> {
        let entries = self.metastore.repairs_by_danger(None, NAMED_MAX).await?;
        let none_left = entries.iter().filter(|entry| entry.have == 0);
        let chunks: Vec<_> = none_left.map(|entry| entry.chunk).collect();
        let placements = self.metastore.placements(&chunks).await?;
        let mut named = Vec::new();
        for placed in placements.into_iter().flatten() {
            named.push(Unreachable {
                object: self.name_of(&placed.owner).await?,
                nodes: placed.chunk.replicas,
            });
        }
        Ok(named)
    }

    async fn name_of(&self, owner: &ChunkOwner) -> MetaResult<String> {
        Ok(match owner {
            ChunkOwner::Object { bucket, key, .. } => {
                let page = self.metastore.list_buckets("", None, BUCKETS_MAX).await?;
                let found = page.buckets.iter().find(|known| known.id == *bucket);
                let name = found.map_or("?", |bucket| bucket.name.as_str());
                format!("{name}/{}", key.as_str())
            }
            ChunkOwner::Part { upload, .. } => format!("that of the multipart upload {upload}"),
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
