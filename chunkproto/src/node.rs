//! What a chunk server tells the gateways about itself: once at registration, then in heartbeats.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{DiskId, Fence, NodeId};

/// A chunk server's introduction. Repeating it is harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Identity of the data directory.
    pub node_id: NodeId,
    /// Identity of this run of the process, in time order. A gateway follows the latest and
    /// refuses an older one, so two processes with one identity cannot both serve.
    pub incarnation: Uuid,
    /// Base URL at which gateways and other nodes reach the chunk API, without a final slash.
    pub address: String,
    /// Failure zone; empty means that the node is a zone of its own.
    pub zone: String,
    /// The state at this moment.
    pub state: Heartbeat,
}

/// A chunk server's state, sent every second or so. Sizes and counts are sums over its disks, those
/// that are fenced off left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The run of the process that speaks; see [`Registration::incarnation`].
    pub incarnation: Uuid,
    /// Size of the disks.
    pub capacity_bytes: u64,
    /// Bytes of chunk data held.
    pub used_bytes: u64,
    /// Bytes free on the disks.
    pub free_bytes: u64,
    /// Chunks held.
    pub chunk_count: u64,
    /// Chunk requests under way.
    pub in_flight: u32,
    /// Disk errors since start; each disk that was fenced off counts as one more.
    pub disk_errors: u64,
    /// Damaged chunks set aside since start.
    #[serde(default)]
    pub quarantined: u64,
    /// Whether new chunks are accepted; false when each disk is full or failed.
    pub writable: bool,
    /// The disks that are fenced off; the node serves without them. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fenced_disks: Vec<FencedDisk>,
    /// How far scrubbing is; `None` if chunks are not scrubbed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<ScrubReport>,
}

/// How far a node is with reading and verifying its chunks, over all its disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubReport {
    /// Every chunk was verified or written after this moment, in milliseconds since 1970.
    pub oldest_verified_at_ms: u64,
    /// How much of the present pass is done, in percent.
    pub done_percent: u8,
    /// Chunks verified since the process started.
    pub verified_chunks: u64,
    /// Of those, the ones that were damaged, and set aside.
    pub damaged_chunks: u64,
    /// Whether a chunk has not been verified for longer than the set period.
    pub late: bool,
}

/// A disk that its chunk server has fenced off: it failed, or it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencedDisk {
    /// The disk.
    pub disk_id: DiskId,
    /// Its data directory, or where that was last.
    pub path: String,
    /// Whether its chunks can still be read.
    pub readable: bool,
    /// Why it is fenced off, in words for the operator.
    pub reason: String,
}

/// A gateway's answer to a registration or a heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// False when the gateway does not know the node (it restarted): register again.
    pub known: bool,
    /// In the answer to a registration: the newest fence of each job. A node that has just started
    /// has forgotten what it saw, and must not let an older one pass.
    #[serde(default)]
    pub fences: Vec<Fence>,
}
