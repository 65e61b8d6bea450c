//! What operators order of chunk servers: drain, undrain, remove. An order that would endanger data is
//! refused with the numbers that forbid it.

use std::sync::Arc;
use std::time::Duration;

use chunkproto::{ChunkError, NodeId};
use metastore::{MetaError, MetaResult, Metastore, NodePhase, RepairNeed, Timestamp};
use tokio::sync::Mutex;
use tracing::info;

use super::node_holds::{LookError, NodeHolds, Unplaced, holds, unplaced};
use crate::chunks::{ChunkTransport, reserved_bytes};
use crate::cluster::{Membership, NodeState, NodeStatus};

/// An order about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeOrder {
    /// Move its chunks elsewhere, and give it no new ones.
    Drain,
    /// Use it again.
    Undrain,
    /// Let it go for good.
    Remove,
}

/// Why an order is refused.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Nobody knows the node.
    #[error("no chunk server {0} is known")]
    Unknown(NodeId),
    /// It left already.
    #[error(
        "chunk server {0} was removed for good; with empty data directories it joins as a new one"
    )]
    Removed(NodeId),
    /// It is a store inside the gateway.
    #[error("the chunk stores of `gateway standalone` cannot be drained or removed")]
    Embedded,
    /// Too few would be left to hold as many replicas as chunks should have.
    #[error(
        "draining it would leave {left} chunk servers that are live and take chunks, and --replicas is \
         {replicas}: add {} first", replicas - left
    )]
    TooFewLeft {
        /// Those that would be left.
        left: usize,
        /// Replicas that each chunk should have.
        replicas: usize,
    },
    /// The others cannot take what it holds.
    #[error(
        "{needed_bytes} bytes would have to move, and the other chunk servers have room for {room_bytes} \
         (5 % of each disk stays free): add chunk servers or delete data first"
    )]
    NoRoom {
        /// Bytes to move.
        needed_bytes: u64,
        /// Bytes that the others can take.
        room_bytes: u64,
    },
    /// It was not drained.
    #[error("it is not draining; drain it first: gateway admin node drain {0} --wait")]
    NotDraining(NodeId),
    /// Rows name it.
    #[error(
        "{} chunks ({} bytes) are still placed on it, {} of them with no other copy: {}",
        at_least(.0.placed_chunks, .0.truncated), .0.placed_bytes, .0.last_copies, advice(.0.last_copies)
    )]
    StillHolds(NodeHolds),
    /// Reads that began earlier may need its copies.
    #[error(
        "{} copies on it wait out --gc-grace for reads that began earlier: try again later, or wait \
         with --wait", .0.garbage_chunks
    )]
    AwaitsGarbage(NodeHolds),
    /// A write that began before it was drained may come to name it.
    #[error(
        "{chunks} chunks on it are named by no row and so young that their writes may still be under \
         way: try again later"
    )]
    StillWritten {
        /// Those chunks.
        chunks: u64,
    },
    /// Chunks that rows name elsewhere are only good here.
    #[error(
        "{chunks} chunks on it are named elsewhere, and no good copy was found there: repair looks at them \
         now; try again later"
    )]
    StillNeeded {
        /// Those chunks.
        chunks: u64,
    },
    /// Nobody knows what goes on there.
    #[error(
        "it is silent, or failed a request, and is not given up: try again when it is live, or down \
         (gateway admin node list)"
    )]
    Suspect,
    /// Nothing is there to be accepted.
    #[error(
        "no orphans of {0} are noted that are not in quarantine; they are noted when reconcile has compared \
         it, and are older than --orphan-age"
    )]
    NoOrphans(NodeId),
    /// The metadata looks older than the chunks.
    #[error(
        "{orphans} orphans are noted on it, but {doubtful} of {all} chunk servers look like that, and rows place \
         chunks on {placing}: the metadata is the likelier culprit. If it was restored, restore a newer state"
    )]
    MetadataInDoubt {
        /// Orphans of the node.
        orphans: u64,
        /// Nodes with so many.
        doubtful: usize,
        /// Nodes on which rows place anything.
        placing: usize,
        /// All nodes.
        all: usize,
    },
    /// It does not say what it holds.
    #[error("it does not say what it holds ({0}): try again later")]
    Silent(ChunkError),
    /// The metadata cannot be read or written.
    #[error(transparent)]
    Metadata(#[from] MetaError),
}

fn at_least(count: u64, truncated: bool) -> String {
    match truncated {
        true => format!("more than {count}"),
        false => count.to_string(),
    }
}

fn advice(last_copies: u64) -> &'static str {
    match last_copies {
        0 => "wait until they were moved or copied (gateway admin status)",
        _ => "removing it would lose those; bring it back, or delete their objects",
    }
}

/// Takes orders about nodes.
#[derive(Clone)]
pub struct NodeAdmin {
    pub(super) membership: Arc<Membership>,
    pub(super) metastore: Arc<dyn Metastore>,
    replicas: u8,
    writes: Option<Writes>,
    /// Held while an order is checked and carried out: two that each may be carried out alone may not
    /// be together.
    order: Arc<Mutex<()>>,
}

/// How to find out about writes under way.
#[derive(Clone)]
struct Writes {
    transport: Arc<dyn ChunkTransport>,
    /// None takes longer.
    time_max: Duration,
}

impl NodeAdmin {
    /// Orders for a cluster that keeps `replicas` of each chunk.
    #[must_use]
    pub fn new(membership: Arc<Membership>, metastore: Arc<dyn Metastore>, replicas: u8) -> Self {
        Self {
            membership,
            metastore,
            replicas,
            writes: None,
            order: Arc::default(),
        }
    }

    /// As it is, but a node is asked for chunks of writes under way, which take at most `write_time_max`,
    /// before it is let go.
    #[must_use]
    pub fn asking(self, transport: Arc<dyn ChunkTransport>, write_time_max: Duration) -> Self {
        let writes = Some(Writes {
            transport,
            time_max: write_time_max,
        });
        Self { writes, ..self }
    }

    /// Carries an order out, one after the other. Doing it again changes nothing.
    ///
    /// # Errors
    /// See [`OrderError`]; then nothing has changed.
    pub async fn carry_out(&self, node: NodeId, order: NodeOrder) -> Result<(), OrderError> {
        let _alone = self.order.lock().await;
        let phase = self.membership.phase(node);
        let nodes = self.membership.status();
        let known = nodes
            .iter()
            .find(|known| known.registration.node_id == node);
        match (phase, known) {
            (NodePhase::Removed, _) if order == NodeOrder::Remove => return Ok(()),
            (NodePhase::Removed, _) => return Err(OrderError::Removed(node)),
            (_, None) => return Err(OrderError::Unknown(node)),
            (_, Some(known)) if known.is_embedded => return Err(OrderError::Embedded),
            _ => {}
        }
        let wanted = match order {
            NodeOrder::Drain => {
                if phase == NodePhase::Active {
                    self.check_drain(&nodes, node).await?;
                }
                NodePhase::Draining
            }
            NodeOrder::Undrain => NodePhase::Active,
            NodeOrder::Remove => {
                self.check_remove(node, phase).await?;
                NodePhase::Removed
            }
        };
        self.metastore.set_node_phase(node, wanted).await?;
        self.membership.set_phase(node, wanted);
        info!(%node, phase = ?wanted, "an operator changed the phase of a chunk server");
        Ok(())
    }

    async fn check_drain(&self, nodes: &[NodeStatus], node: NodeId) -> Result<(), OrderError> {
        let left = left_beside(nodes, node, self.replicas.into())?;
        let mut needed_bytes = 0_u64;
        for leaving in nodes {
            let id = leaving.registration.node_id;
            if id == node || leaving.phase == NodePhase::Draining {
                let bytes = match leaving.state {
                    NodeState::Live | NodeState::Suspect => leaving.registration.state.used_bytes,
                    // What it said when it was last heard has been copied since, or waits for it.
                    NodeState::Down => self.holds(id).await?.placed_bytes,
                };
                needed_bytes = needed_bytes.saturating_add(bytes);
            }
        }
        check_room(&left, needed_bytes)
    }

    async fn check_remove(&self, node: NodeId, phase: NodePhase) -> Result<(), OrderError> {
        if phase != NodePhase::Draining {
            return Err(OrderError::NotDraining(node));
        }
        let holds = self.holds(node).await?;
        if holds.placed_chunks > 0 {
            return Err(OrderError::StillHolds(holds));
        }
        match self.membership.state(node) {
            // It cannot be read from, so no read is waited for, and no write either.
            NodeState::Down => Ok(()),
            // A read may be under way there all the same.
            NodeState::Suspect => Err(OrderError::Suspect),
            NodeState::Live if holds.garbage_chunks > 0 => Err(OrderError::AwaitsGarbage(holds)),
            NodeState::Live => self.check_unplaced(node).await,
        }
    }

    /// Whether nothing else on a live node matters any more. (No row places anything there.) Orphans that
    /// nobody needs go with it.
    async fn check_unplaced(&self, node: NodeId) -> Result<(), OrderError> {
        let Some(Writes {
            transport,
            time_max,
        }) = &self.writes
        else {
            return Ok(());
        };
        let (nodes, now) = ((transport.as_ref(), &*self.membership), Timestamp::now());
        let looked = unplaced(self.metastore.as_ref(), nodes, node, now.before(*time_max));
        let Unplaced { young, needed } = looked.await.map_err(|error| match error {
            LookError::Node(error) => OrderError::Silent(error),
            LookError::Metadata(error) => OrderError::Metadata(error),
        })?;
        if young > 0 {
            return Err(OrderError::StillWritten { chunks: young });
        }
        if needed.is_empty() {
            return Ok(());
        }
        let need = |chunk| RepairNeed::new(chunk, self.replicas, 0, now);
        let needs = needed.iter().map(need).collect();
        self.metastore.queue_repairs(needs).await?;
        let chunks = needed.len() as u64;
        Err(OrderError::StillNeeded { chunks })
    }

    /// Counts what the metadata places on a node.
    ///
    /// # Errors
    /// What keeps it from being read.
    pub async fn holds(&self, node: NodeId) -> MetaResult<NodeHolds> {
        holds(self.metastore.as_ref(), &self.membership, node).await
    }
}

/// The nodes that would take what `node` holds; as many as `replicas` at least.
fn left_beside(
    nodes: &[NodeStatus],
    node: NodeId,
    replicas: usize,
) -> Result<Vec<&NodeStatus>, OrderError> {
    let is_left = |other: &&NodeStatus| other.registration.node_id != node && other.is_writable;
    let left: Vec<_> = nodes.iter().filter(is_left).collect();
    if left.len() < replicas {
        let left = left.len();
        return Err(OrderError::TooFewLeft { left, replicas });
    }
    Ok(left)
}

/// Whether the nodes that are left have room for what moves to them.
fn check_room(left: &[&NodeStatus], needed_bytes: u64) -> Result<(), OrderError> {
    let room = left.iter().map(|other| {
        let state = &other.registration.state;
        state
            .free_bytes
            .saturating_sub(reserved_bytes(state.capacity_bytes))
    });
    let room_bytes = room.sum();
    if needed_bytes > room_bytes {
        return Err(OrderError::NoRoom {
            needed_bytes,
            room_bytes,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chunkproto::{Heartbeat, Registration};
    use uuid::Uuid;

    use super::*;

    fn node(number: u8) -> NodeStatus {
        NodeStatus {
            registration: Registration {
                node_id: NodeId::from_bytes([number; 16]),
                incarnation: Uuid::nil(),
                address: String::new(),
                zone: String::new(),
                state: Heartbeat {
                    incarnation: Uuid::nil(),
                    capacity_bytes: 1000,
                    used_bytes: 100,
                    free_bytes: 900,
                    chunk_count: 0,
                    in_flight: 0,
                    disk_errors: 0,
                    quarantined: 0,
                    writable: true,
                    fenced_disks: Vec::new(),
                    scrub: None,
                },
            },
            state: NodeState::Live,
            phase: NodePhase::Active,
            is_embedded: false,
            silent: Duration::ZERO,
            unreached: None,
            is_writable: true,
            in_flight: 0,
        }
    }

    /// Why the first node, with 100 bytes on it, may not be drained.
    fn refusal(nodes: &[NodeStatus], replicas: usize) -> String {
        let first = nodes[0].registration.node_id;
        let left = left_beside(nodes, first, replicas);
        match left.and_then(|left| check_room(&left, 100)) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_drain_that_leaves_fewer_servers_than_replicas_is_refused_with_both_numbers() {
        let mut nodes = [node(1), node(2), node(3), node(4)];
        assert_eq!(refusal(&nodes, 3), "");
        nodes[3].is_writable = false;
        let refusal = refusal(&nodes, 3);
        assert!(
            refusal.contains("leave 2 ") && refusal.contains("--replicas is 3"),
            "{refusal}"
        );
    }

    #[test]
    fn a_drain_into_full_servers_is_refused_with_bytes_and_room() {
        let mut nodes = [node(1), node(2), node(3)];
        for full in &mut nodes[1..] {
            full.registration.state.free_bytes = 99;
        }
        let refusal = refusal(&nodes, 2);
        assert!(
            refusal.contains("100 bytes would") && refusal.contains("room for 98"),
            "{refusal}"
        );
    }
}
