//! The nodes as operators and Prometheus see them.

use std::fmt::Write as _;

use chunkproto::FencedDisk;
use serde::Serialize;

use crate::cluster::{NodeState, NodeStatus};

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

/// The nodes in Prometheus's text format.
pub fn metrics(nodes: &[NodeStatus]) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&NodeStatus) -> u64| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for node in nodes {
            let _ = writeln!(
                text,
                "{name}{{node=\"{}\"}} {}",
                node.registration.node_id,
                value(node)
            );
        }
    };
    gauge(
        "sextant_node_live",
        "1 while the chunk server is heard from.",
        &|node| u64::from(node.state == NodeState::Live),
    );
    gauge(
        "sextant_node_writable",
        "1 while the chunk server takes new chunks.",
        &|node| u64::from(node.registration.state.writable),
    );
    gauge(
        "sextant_node_used_bytes",
        "Bytes of chunk data on the chunk server.",
        &|node| node.registration.state.used_bytes,
    );
    gauge(
        "sextant_node_free_bytes",
        "Bytes free on the chunk server's disk.",
        &|node| node.registration.state.free_bytes,
    );
    gauge(
        "sextant_node_chunks",
        "Chunks on the chunk server.",
        &|node| node.registration.state.chunk_count,
    );
    gauge(
        "sextant_node_fenced_disks",
        "Disks that the chunk server has fenced off.",
        &|node| node.registration.state.fenced_disks.len() as u64,
    );
    gauge(
        "sextant_node_in_flight",
        "This gateway's requests under way on it.",
        &|node| u64::from(node.in_flight),
    );
    text
}

const fn state_name(state: NodeState) -> &'static str {
    match state {
        NodeState::Live => "live",
        NodeState::Suspect => "suspect",
    }
}
