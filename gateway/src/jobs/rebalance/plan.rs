//! Which node gives to which, and how much: a pure function of how full the nodes are.
//!
//! A move is planned only while the difference between giver and taker is above a threshold, and
//! never beyond the point where both are equally full. So every move makes the cluster more even,
//! nothing is moved back, and it ends.

use chunkproto::NodeId;

use crate::chunks::reserved_bytes;
use crate::cluster::NodeView;

/// How uneven nodes may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evenness {
    /// Nodes whose use differs by less than so many percent of a disk are even.
    pub threshold_percent: u8,
}

/// One node gives to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The fuller node.
    pub from: NodeId,
    /// The emptier node.
    pub to: NodeId,
    /// The longest chunk that may move: longer ones would overshoot, or the difference is too small
    /// for them to be worth it.
    pub chunk_max_bytes: u64,
}

impl Evenness {
    /// The transfers that are worth it, the most uneven pair first. `used_bytes` of the nodes must not
    /// count what waits to be deleted.
    #[must_use]
    pub fn transfers(&self, nodes: &[NodeView]) -> Vec<Transfer> {
        let mut found = Vec::new();
        for from in nodes {
            for to in nodes.iter().filter(|to| to.writable) {
                if let Some(chunk_max_bytes) = self.worth(from, to) {
                    let transfer = Transfer {
                        from: from.id,
                        to: to.id,
                        chunk_max_bytes,
                    };
                    found.push((fill(from).saturating_sub(fill(to)), transfer));
                }
            }
        }
        found.sort_by_key(|(difference, _)| std::cmp::Reverse(*difference));
        found.into_iter().map(|(_, transfer)| transfer).collect()
    }

    /// The longest chunk that is worth moving from one node to the other; `None` if they are even.
    fn worth(&self, from: &NodeView, to: &NodeView) -> Option<u64> {
        let level = bytes_to_level(from, to)?;
        let smaller = from.capacity_bytes.min(to.capacity_bytes);
        // Nodes of one size differ by twice what levels them.
        let threshold_bytes = smaller / 200 * u64::from(self.threshold_percent);
        let room_bytes = to
            .free_bytes
            .saturating_sub(reserved_bytes(to.capacity_bytes));
        let most = level.min(room_bytes);
        (level > threshold_bytes && most > 0).then_some(most)
    }
}

/// How full a node is, in millionths.
fn fill(node: &NodeView) -> u128 {
    u128::from(node.used_bytes) * 1_000_000 / u128::from(node.capacity_bytes.max(1))
}

/// Bytes after whose move both nodes are equally full; `None` if `from` is not the fuller one.
fn bytes_to_level(from: &NodeView, to: &NodeView) -> Option<u64> {
    let (from_used, to_used) = (u128::from(from.used_bytes), u128::from(to.used_bytes));
    let (from_size, to_size) = (
        u128::from(from.capacity_bytes),
        u128::from(to.capacity_bytes),
    );
    let difference = (from_used * to_size).checked_sub(to_used * from_size)?;
    let level = difference.checked_div(from_size + to_size)?;
    u64::try_from(level).ok().filter(|level| *level > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVEN: Evenness = Evenness {
        threshold_percent: 5,
    };
    const CAPACITY: u64 = 100_000;

    fn node(number: u8, used_bytes: u64, capacity_bytes: u64) -> NodeView {
        NodeView {
            id: NodeId::from_bytes([number; 16]),
            zone: String::new(),
            writable: true,
            in_flight: 0,
            used_bytes,
            free_bytes: capacity_bytes - used_bytes,
            capacity_bytes,
        }
    }

    /// Moves a chunk in the view.
    fn apply(nodes: &mut [NodeView], transfer: Transfer, bytes: u64) {
        for node in nodes {
            if node.id == transfer.from {
                node.used_bytes -= bytes;
                node.free_bytes += bytes;
            } else if node.id == transfer.to {
                node.used_bytes += bytes;
                node.free_bytes -= bytes;
            }
        }
    }

    /// How uneven all nodes are together; every move must make it smaller.
    fn unevenness(nodes: &[NodeView]) -> u128 {
        let of = |node: &NodeView| {
            let used = u128::from(node.used_bytes);
            used * used * 1_000_000 / u128::from(node.capacity_bytes)
        };
        nodes.iter().map(of).sum()
    }

    #[test]
    fn an_empty_newcomer_gets_from_the_fullest_first() {
        let nodes = [
            node(1, 60_000, CAPACITY),
            node(2, 50_000, CAPACITY),
            node(3, 0, CAPACITY),
        ];
        let first = EVEN.transfers(&nodes)[0];
        assert_eq!((first.from, first.to), (nodes[0].id, nodes[2].id));
        assert_eq!(first.chunk_max_bytes, 30_000);
    }

    #[test]
    fn even_nodes_are_left_alone() {
        let nodes = [node(1, 54_000, CAPACITY), node(2, 50_000, CAPACITY)];
        assert_eq!(EVEN.transfers(&nodes), []);
    }

    #[test]
    fn a_chunk_longer_than_half_of_the_difference_stays() {
        let any = Evenness {
            threshold_percent: 0,
        };
        let nodes = [node(1, 1000, CAPACITY), node(2, 0, CAPACITY)];
        assert_eq!(any.transfers(&nodes)[0].chunk_max_bytes, 500);
    }

    #[test]
    fn nodes_that_take_nothing_get_nothing() {
        let full = NodeView {
            free_bytes: 4000,
            ..node(2, 0, CAPACITY)
        };
        let silent = NodeView {
            writable: false,
            ..node(3, 0, CAPACITY)
        };
        let nodes = [node(1, 90_000, CAPACITY), full, silent];
        assert_eq!(EVEN.transfers(&nodes), []);
    }

    #[test]
    fn a_disk_of_twice_the_size_gets_twice_as_much() {
        let mut nodes = [node(1, 60_000, CAPACITY), node(2, 0, 2 * CAPACITY)];
        let transfer = EVEN.transfers(&nodes)[0];
        apply(&mut nodes, transfer, transfer.chunk_max_bytes);
        assert_eq!((nodes[0].used_bytes, nodes[1].used_bytes), (20_000, 40_000));
    }

    proptest! {
        #[test]
        fn every_move_makes_the_nodes_more_even_and_moving_ends(
            disks in prop::collection::vec((0u64..90_000, 1u64..4), 2..8),
            chunks in prop::collection::vec(1u64..9000, 1..20),
            threshold_percent in 0u8..20,
        ) {
            let even = Evenness { threshold_percent };
            let mut nodes: Vec<_> = (1u8..)
                .zip(disks)
                .map(|(number, (used, size))| node(number, used, size * CAPACITY))
                .collect();
            let mut sizes = chunks.iter().cycle();
            let mut left = 100_000u32;
            // Chunks that are too long for a transfer are passed over; after a while none fits.
            let mut passed = 0;
            while let Some(&transfer) = even.transfers(&nodes).first() {
                let bytes = *sizes.next().expect("a cycle never ends");
                if bytes > transfer.chunk_max_bytes {
                    passed += 1;
                    if passed > chunks.len() {
                        break;
                    }
                    continue;
                }
                passed = 0;
                let before = unevenness(&nodes);
                apply(&mut nodes, transfer, bytes);
                prop_assert!(unevenness(&nodes) <= before);
                let again = even.transfers(&nodes);
                let back = again.iter().find(|next| (next.from, next.to) == (transfer.to, transfer.from));
                prop_assert!(back.is_none(), "{transfer:?} then {back:?}");
                left -= 1;
                prop_assert!(left > 0, "it does not end");
            }
        }
    }
}
