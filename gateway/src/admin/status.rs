//! The cluster as operators see it.

use chunkproto::FencedDisk;
use serde::Serialize;

use crate::cluster::{NodeState, NodeStatus};
use crate::jobs::JobReport;

/// The body of `/status`.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The chunk servers, in order of their ids.
    pub nodes: Vec<NodeReport>,
    /// The background jobs, in order of their names.
    pub jobs: Vec<JobReport>,
}

/// A node in `/status`.
#[derive(Debug, Serialize)]
pub struct NodeReport {
    id: String,
    address: String,
    zone: String,
    state: &'static str,
    writable: bool,
    capacity_bytes: u64,
    used_bytes: u64,
    free_bytes: u64,
    chunk_count: u64,
    in_flight: u32,
    disk_errors: u64,
    fenced_disks: Vec<FencedDisk>,
}

/// The nodes for `/status`.
pub fn nodes(nodes: &[NodeStatus]) -> Vec<NodeReport> {
    nodes
        .iter()
        .map(|node| {
            let state = &node.registration.state;
            NodeReport {
                id: node.registration.node_id.to_string(),
                address: node.registration.address.clone(),
                zone: node.registration.zone.clone(),
                state: state_name(node.state),
                writable: state.writable && node.state == NodeState::Live,
                capacity_bytes: state.capacity_bytes,
                used_bytes: state.used_bytes,
                free_bytes: state.free_bytes,
                chunk_count: state.chunk_count,
                in_flight: node.in_flight,
                disk_errors: state.disk_errors,
                fenced_disks: state.fenced_disks.clone(),
            }
        })
        .collect()
}

const fn state_name(state: NodeState) -> &'static str {
    match state {
        NodeState::Live => "live",
        NodeState::Suspect => "suspect",
        NodeState::Down => "down",
    }
}
