//! How large the simulated cluster is, and how patient.

use std::time::Duration;

use bytesize::ByteSize;
use gateway::chunks::WriterSettings;
use gateway::cluster::NodeTimeouts;
use gateway::config::JobConfig;

pub const NODES: u8 = 6;
/// Failure zones, as many as there are replicas.
pub const ZONES: u8 = 3;
pub const GATEWAYS: usize = 2;
pub const CLIENTS: u64 = 4;
pub const KEYS: u64 = 6;
pub const REPLICAS: u8 = 3;
/// A write is acknowledged with so many good copies; the others follow.
pub const QUORUM: usize = 2;
/// Nodes that misbehave at a time: fewer than there are replicas.
pub const FAULTY_MAX: usize = 2;
/// Operations of each client.
pub const OPERATIONS: u64 = 24;
/// A few objects of it matter to the rebalance.
pub const CAPACITY_BYTES: u64 = 400 << 20;
/// After the faults, everything must be in order within this time.
pub const SETTLE_MAX: Duration = Duration::from_secs(1800);

/// Shorter than what clients take to read slowly.
pub const GRACE: Duration = Duration::from_secs(20);
/// The grace as gateways see it whose clocks differ by as much as they do here.
pub const GRACE_LEAST: Duration = Duration::from_secs(17);
const ORPHAN_AGE: Duration = Duration::from_secs(120);

pub fn patience() -> NodeTimeouts {
    NodeTimeouts {
        down_after: Duration::from_secs(25),
        ..NodeTimeouts::default()
    }
}

pub fn writer() -> WriterSettings {
    WriterSettings {
        replicas: REPLICAS,
        write_quorum: None,
        finish_within: ORPHAN_AGE / 2,
    }
}

pub fn jobs() -> JobConfig {
    JobConfig {
        gc_grace: GRACE.as_secs(),
        node_down_after: patience().down_after.as_secs(),
        repair_rate: ByteSize::mib(128),
        move_rate: ByteSize::mib(64),
        rebalance_threshold: 1,
        multipart_expiry: Duration::from_secs(60),
        lifecycle_day_seconds: 86_400,
        reconcile_every: 60,
        orphan_age: ORPHAN_AGE.as_secs(),
        orphan_quarantine: 60,
        orphan_limit: 100,
        metadata_backup_every: 0,
        metadata_log_size: ByteSize::mib(64),
    }
}
