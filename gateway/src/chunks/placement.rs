//! Which nodes take a new chunk: a pure function of a view of the cluster.

use std::cmp::Reverse;
use std::collections::HashSet;

use chunkproto::NodeId;

use crate::cluster::NodeView;

/// Share of the disk that must stay free after a new chunk, in percent.
const RESERVED_PERCENT: u64 = 5;

/// What is to be placed.
#[derive(Debug, Clone, Copy)]
pub struct PlacementRequest<'a> {
    /// How many distinct nodes are wanted.
    pub nodes_wanted: usize,
    /// Length of the chunk.
    pub length_bytes: u64,
    /// Nodes that must not be chosen: they failed, or hold a replica already.
    pub excluded: &'a [NodeId],
    /// Nodes that hold other chunks of the same body, once for each chunk; they are chosen later.
    pub same_body: &'a [NodeId],
}

/// Chooses up to `nodes_wanted` distinct nodes: zones that hold no replica of this chunk yet
/// first, then nodes with fewest chunks of the same body, then fewest requests in flight, then
/// least data. `tie_break` yields random numbers, so that gateways do not march in step. Returns
/// fewer nodes where there are not enough.
pub fn choose_nodes(
    nodes: &[NodeView],
    request: PlacementRequest<'_>,
    mut tie_break: impl FnMut() -> u64,
) -> Vec<NodeId> {
    let mut candidates: Vec<_> = nodes
        .iter()
        .filter(|node| has_room(node, request.length_bytes))
        .filter(|node| !request.excluded.contains(&node.id))
        .map(|node| (load_of(node, request.same_body, tie_break()), node))
        .collect();
    candidates.sort_unstable_by_key(|(load, _)| *load);

    let mut zones: HashSet<&str> = nodes
        .iter()
        .filter(|node| request.excluded.contains(&node.id) && !node.zone.is_empty())
        .map(|node| node.zone.as_str())
        .collect();
    let mut chosen = Vec::with_capacity(request.nodes_wanted);
    let mut zone_taken = Vec::new();
    for (_, node) in candidates {
        if node.zone.is_empty() || zones.insert(&node.zone) {
            chosen.push(node.id);
        } else {
            zone_taken.push(node.id);
        }
    }
    chosen.append(&mut zone_taken);
    chosen.truncate(request.nodes_wanted);
    chosen
}

/// Where several replicas of a chunk share a zone: a node for a further one in a zone that has none yet.
/// `None` where they do not, and where no such node takes it.
pub fn choose_apart(
    nodes: &[NodeView],
    replicas: &[NodeId],
    request: PlacementRequest<'_>,
    tie_break: impl FnMut() -> u64,
) -> Option<NodeId> {
    if !share_a_zone(nodes, replicas) {
        return None;
    }
    let zones: HashSet<_> = zones_of(nodes, replicas).collect();
    let apart = nodes
        .iter()
        .filter(|node| !zones.contains(node.zone.as_str()));
    let apart: Vec<_> = apart.cloned().collect();
    choose_nodes(&apart, request, tie_break).pop()
}

/// Whether several of these nodes are in one zone.
pub fn share_a_zone(nodes: &[NodeView], replicas: &[NodeId]) -> bool {
    let mut zones = HashSet::new();
    !zones_of(nodes, replicas).all(|zone| zones.insert(zone))
}

/// The zones of some of the nodes, once for each that is in one.
fn zones_of<'n>(nodes: &'n [NodeView], some: &[NodeId]) -> impl Iterator<Item = &'n str> {
    let some = nodes.iter().filter(|node| some.contains(&node.id));
    some.map(|node| node.zone.as_str())
        .filter(|zone| !zone.is_empty())
}

/// How many nodes could take a chunk, apart from those that `failed` it.
#[must_use]
pub fn count_takers(nodes: &[NodeView], length_bytes: u64, failed: &[NodeId]) -> usize {
    let takes = |node: &&NodeView| has_room(node, length_bytes) && !failed.contains(&node.id);
    nodes.iter().filter(takes).count()
}

/// What new chunks leave free on disks of this size.
#[must_use]
pub fn reserved_bytes(capacity_bytes: u64) -> u64 {
    capacity_bytes / 100 * RESERVED_PERCENT
}

fn has_room(node: &NodeView, length_bytes: u64) -> bool {
    let needed_bytes = length_bytes.saturating_add(reserved_bytes(node.capacity_bytes));
    node.writable && node.free_bytes > needed_bytes
}

/// Smaller is chosen sooner. Data is compared in percent of the disk, so that nodes that are about
/// equally full tie.
fn load_of(node: &NodeView, same_body: &[NodeId], random: u64) -> (usize, u32, u64, Reverse<u64>) {
    let chunks_of_body = same_body.iter().filter(|id| **id == node.id).count();
    let used_percent = node.used_bytes / (node.capacity_bytes / 100).max(1);
    (
        chunks_of_body,
        node.in_flight,
        used_percent,
        Reverse(random),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 16])
    }

    fn node(number: u8) -> NodeView {
        NodeView {
            id: id(number),
            zone: String::new(),
            writable: true,
            in_flight: 0,
            used_bytes: 0,
            free_bytes: 100 * GIB,
            capacity_bytes: 100 * GIB,
        }
    }

    fn wanting(nodes_wanted: usize) -> PlacementRequest<'static> {
        PlacementRequest {
            nodes_wanted,
            length_bytes: 1,
            excluded: &[],
            same_body: &[],
        }
    }

    #[test]
    fn full_unwritable_and_excluded_nodes_are_skipped() {
        let full = NodeView {
            free_bytes: 4 * GIB,
            ..node(1)
        };
        let silent = NodeView {
            writable: false,
            ..node(2)
        };
        let request = PlacementRequest {
            excluded: &[id(3)],
            ..wanting(6)
        };
        assert_eq!(
            choose_nodes(&[full, silent, node(3), node(4)], request, || 0),
            [id(4)]
        );
    }

    #[test]
    fn zones_spread_before_load_counts() {
        let zoned = |number, zone: &str, in_flight| NodeView {
            zone: zone.into(),
            in_flight,
            ..node(number)
        };
        let nodes = [zoned(1, "a", 0), zoned(2, "a", 0), zoned(3, "b", 9)];
        let chosen = choose_nodes(&nodes, wanting(2), || 0);
        assert!(chosen.contains(&id(3)));
    }

    #[test]
    fn a_replacement_avoids_the_zone_of_the_replica_that_is_there() {
        let zoned = |number, zone: &str| NodeView {
            zone: zone.into(),
            ..node(number)
        };
        let nodes = [zoned(1, "a"), zoned(2, "a"), zoned(3, "b")];
        let request = PlacementRequest {
            excluded: &[id(1)],
            ..wanting(1)
        };
        assert_eq!(choose_nodes(&nodes, request, || 0), [id(3)]);
    }

    #[test]
    fn only_replicas_that_share_a_zone_want_a_node_apart_and_only_in_another_zone() {
        let zoned = |number, zone: &str| NodeView {
            zone: zone.into(),
            ..node(number)
        };
        let nodes = [
            zoned(1, "a"),
            zoned(2, "a"),
            zoned(3, "b"),
            zoned(4, "b"),
            zoned(5, "c"),
        ];
        let apart = |replicas: &[NodeId], nodes: &[NodeView]| {
            let request = PlacementRequest {
                excluded: replicas,
                ..wanting(1)
            };
            choose_apart(nodes, replicas, request, || 0)
        };
        assert_eq!(apart(&[id(1), id(2), id(3)], &nodes), Some(id(5)));
        assert_eq!(apart(&[id(1), id(3)], &nodes), None);
        assert_eq!(apart(&[id(1), id(2), id(3)], &nodes[..4]), None);
        let silent = NodeView {
            writable: false,
            ..zoned(5, "c")
        };
        let without = [&nodes[..4], &[silent]].concat();
        assert_eq!(apart(&[id(1), id(2), id(3)], &without), None);
        assert_eq!(apart(&[id(8), id(9)], &[node(7), node(8), node(9)]), None);
    }

    #[test]
    fn the_idle_node_is_chosen_before_the_busy_one_and_the_empty_before_the_full() {
        let busy = NodeView {
            in_flight: 1,
            ..node(1)
        };
        assert_eq!(choose_nodes(&[busy, node(2)], wanting(1), || 0), [id(2)]);
        let used = NodeView {
            used_bytes: 10 * GIB,
            ..node(1)
        };
        assert_eq!(choose_nodes(&[used, node(2)], wanting(1), || 0), [id(2)]);
    }

    #[test]
    fn chunks_of_one_body_spread_over_the_nodes() {
        let nodes: Vec<_> = (1..=6).map(node).collect();
        let mut same_body = Vec::new();
        for _ in 0..6 {
            let request = PlacementRequest {
                same_body: &same_body,
                ..wanting(1)
            };
            let chosen = choose_nodes(&nodes, request, || 0);
            same_body.extend(chosen);
        }
        assert_eq!(same_body.iter().collect::<HashSet<_>>().len(), 6);
    }

    proptest! {
        #[test]
        fn no_node_gets_two_replicas(
            loads in prop::collection::vec((0u32..5, 0u64..90, any::<bool>(), 0u8..3), 0..12),
            wanted in 1usize..7,
            random in any::<u64>(),
        ) {
            let nodes: Vec<_> = (1u8..).zip(loads).map(|(number, (in_flight, used, writable, zone))| NodeView {
                in_flight,
                used_bytes: used * GIB,
                writable,
                zone: if zone == 0 { String::new() } else { zone.to_string() },
                ..node(number)
            }).collect();
            let writable = nodes.iter().filter(|node| node.writable).count();
            let chosen = choose_nodes(&nodes, wanting(wanted), || random);
            prop_assert_eq!(chosen.len(), wanted.min(writable));
            prop_assert_eq!(chosen.iter().collect::<HashSet<_>>().len(), chosen.len());
        }
    }
}
