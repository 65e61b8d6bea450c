//! Findings about chunk servers: room, silence, disks, refusals.

use std::time::Duration;

use super::units::{bytes, span};
use super::{Finding, Level, add};
use crate::admin::status::NodeReport;
use crate::cluster::Refusal;

/// Percent of all disks in use from which more room is called for.
const NEARLY_FULL_PERCENT: u64 = 85;

pub(super) fn of_room(found: &mut Vec<Finding>, nodes: &[NodeReport], replicas: u8) {
    let writable: Vec<_> = nodes.iter().filter(|node| node.writable).collect();
    if writable.len() < usize::from(replicas) {
        add(
            found,
            Level::Danger,
            format!(
                "{} chunk servers take new chunks, and each chunk should have {replicas} copies",
                writable.len()
            ),
            "start chunk servers, or free space; below the write quorum, writes fail",
        );
    }
    let sum = |of: fn(&NodeReport) -> u64| writable.iter().map(|node| of(node)).sum::<u64>();
    let (capacity, free) = (sum(|node| node.capacity_bytes), sum(|node| node.free_bytes));
    let percent = capacity.saturating_sub(free) / (capacity / 100).max(1);
    if capacity > 0 && percent >= NEARLY_FULL_PERCENT {
        add(
            found,
            Level::Attention,
            format!("the disks are {percent} % full; {} are free", bytes(free)),
            "add chunk servers or disks; at 95 % a chunk server takes no more",
        );
    }
}

pub(super) fn of_node(found: &mut Vec<Finding>, node: &NodeReport, down_after: Duration) {
    let name = format!("chunk server {} at {}", node.id, node.address);
    of_state(found, node, &name, down_after);
    if node.phase == "draining" {
        add(
            found,
            Level::Note,
            format!("{name} is draining; {} chunks are on it", node.chunk_count),
            format!(
                "when it is empty: gateway admin node remove {id}; to keep it: gateway admin node \
                 undrain {id}",
                id = node.id
            ),
        );
    }
    if node.scrub.as_ref().is_some_and(|scrub| scrub.late) {
        add(
            found,
            Level::Attention,
            format!(
                "{name} is late with scrubbing: a chunk was last verified {} ago",
                span(node.oldest_unverified_s.unwrap_or(0))
            ),
            "it catches up by itself; if it does not, raise --scrub-rate-mib or --scrub-period where it runs",
        );
    }
    of_disks(found, node, &name);
}

/// Whether a node is there, and takes chunks.
pub(super) fn of_state(
    found: &mut Vec<Finding>,
    node: &NodeReport,
    name: &str,
    down_after: Duration,
) {
    let silent = span(node.silent_s);
    match node.state.as_str() {
        "down" | "suspect" if node.unreached_s.is_some() => {
            of_unreached(found, node, name, down_after);
        }
        "down" => add(
            found,
            Level::Attention,
            format!("{name} is gone ({silent})"),
            format!(
                "start it again. What it held is copied elsewhere meanwhile; if it will not return: \
                 gateway admin node drain {id}, and when status shows no repair any more, \
                 gateway admin node remove {id}",
                id = node.id
            ),
        ),
        "suspect" => add(
            found,
            Level::Attention,
            format!(
                "{name} has been silent for {silent}: its {} chunks have a copy less now",
                node.chunk_count
            ),
            format!(
                "look whether it runs; after {} its chunks are copied elsewhere",
                span(down_after.as_secs())
            ),
        ),
        _ if !node.writable && node.phase == "active" => add(
            found,
            Level::Attention,
            format!("{name} takes no new chunks: its disks are full or failed"),
            "see its /health and its log",
        ),
        _ => {}
    }
}

pub(super) fn of_disks(found: &mut Vec<Finding>, node: &NodeReport, name: &str) {
    for disk in &node.fenced_disks {
        add(
            found,
            Level::Attention,
            format!(
                "{name} serves without its disk {}: {}",
                disk.path, disk.reason
            ),
            format!(
                "mount or mend it and restart what serves it; if it is dead, replace it and start its \
                 chunkd with --forget-disk {}",
                disk.disk_id
            ),
        );
    }
}

/// The node that serves where a lost one did.
pub(super) fn successor<'a>(node: &NodeReport, nodes: &'a [NodeReport]) -> Option<&'a NodeReport> {
    let is_there = |other: &&NodeReport| {
        other.id != node.id && other.state == "live" && other.address == node.address
    };
    nodes.iter().find(is_there).filter(|_| node.state != "live")
}

pub(super) fn of_replaced(found: &mut Vec<Finding>, node: &NodeReport, successor: &NodeReport) {
    let (id, address) = (node.id, &node.address);
    add(
        found,
        Level::Attention,
        format!(
            "chunk server {id} is gone ({}); {} serves at {address} now, on other data directories",
            span(node.silent_s),
            successor.id
        ),
        format!(
            "if its directories were lost or replaced: gateway admin node drain {id}, and when status \
             shows no repair any more, gateway admin node remove {id}. If they are only not mounted: \
             stop what serves there, mount them and start it again"
        ),
    );
}

pub(super) fn of_refusal(found: &mut Vec<Finding>, refusal: &Refusal, nodes: &[NodeReport]) {
    let Refusal {
        node,
        address,
        reason,
    } = refusal;
    let served = nodes.iter().find(|known| known.id == *node);
    let served = served.map_or(String::new(), |known| {
        format!("; {} is the one that is used", known.address)
    });
    add(
        found,
        Level::Attention,
        format!("a chunk server at {address} is refused{served}"),
        reason,
    );
}

/// A node that sends heartbeats, and that this gateway does not reach.
pub(super) fn of_unreached(
    found: &mut Vec<Finding>,
    node: &NodeReport,
    name: &str,
    down_after: Duration,
) {
    let unreached_s = node.unreached_s.unwrap_or(0);
    let then = match node.state.as_str() {
        "down" => "its chunks are copied elsewhere meanwhile".to_owned(),
        _ => format!(
            "after {} its chunks are copied elsewhere",
            span(down_after.as_secs())
        ),
    };
    add(
        found,
        Level::Attention,
        format!(
            "{name} sends heartbeats from there, but has been unreachable for data for {}",
            span(unreached_s)
        ),
        format!(
            "see that gateways and chunk servers can connect to that address: look at firewalls, and at \
             its --advertise; {then}"
        ),
    );
}
