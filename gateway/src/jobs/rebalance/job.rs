//! The rebalance job: a round looks how full the nodes are and moves chunks between the most uneven
//! ones, one after the other, giving way to requests.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::{ChunkId, JobName, NodeId};
use metastore::{ChunkRef, MetaResult};
use tokio::time::{Instant, sleep};

use super::pending_garbage::garbage_on_nodes;
use super::plan::{Evenness, Transfer};
use crate::cluster::NodeView;
use crate::jobs::drain::{MoveSettings, placed_on};
use crate::jobs::job::{Job, JobError, Round};
use crate::jobs::relocate::{Destination, MoveOutcome};
use crate::jobs::replica_mover::ReplicaMover;

/// Rest between two rounds; the nodes have told by then how full they are.
const PERIOD: Duration = Duration::from_secs(10);
/// Chunks of a node looked at in one unit.
const PAGE: usize = 256;
/// Pages looked through for a chunk that may move, for one transfer of one round.
const PAGES_MAX: usize = 16;
/// Pairs of nodes tried before the plan is looked at again.
const TRANSFERS_MAX: usize = 4;
/// Chunks moved between two looks at the plan.
const BATCH: usize = 16;
/// Requests under way on a node for which a move waits …
const BUSY: u32 = 2;
/// … looking so often whether they are fewer …
const BUSY_LOOK: Duration = Duration::from_millis(20);
/// … and at most so often for one chunk, so that steady load slows the job down and does not stop it.
const BUSY_LOOKS_MAX: u32 = 50;
/// While clients use one of its nodes, a move is followed by a rest so many times as long as it took: the
/// slower the nodes, the longer the rest …
const REST_FACTOR: u32 = 3;
/// … of this at most …
const REST_MAX: Duration = Duration::from_secs(2);
/// … where clients use a node that began a request within this time.
const USED_WITHIN: Duration = Duration::from_secs(1);

/// What an operator may set.
#[derive(Debug, Clone, Copy)]
pub struct RebalanceSettings {
    /// How it may move.
    pub moves: MoveSettings,
    /// When it moves at all.
    pub evenness: Evenness,
}

/// Moves chunks from full nodes to empty ones.
pub struct RebalanceJob {
    mover: ReplicaMover,
    settings: RebalanceSettings,
    /// Where the walk over a giver's chunks goes on.
    walks: Mutex<HashMap<NodeId, ChunkId>>,
}

impl RebalanceJob {
    /// A job that moves chunks by `mover`.
    #[must_use]
    pub fn new(mover: ReplicaMover, settings: RebalanceSettings) -> Self {
        Self {
            mover,
            settings,
            walks: Mutex::default(),
        }
    }

    /// The nodes with what they will hold once garbage is gone; `None` if that cannot be told.
    async fn view(&self) -> MetaResult<Option<Vec<NodeView>>> {
        let mut nodes = self.mover.membership.view();
        // Those that are silent or leave are for others to deal with.
        nodes.retain(|node| self.mover.membership.is_active(node.id));
        if self.settings.evenness.transfers(&nodes).is_empty() {
            return Ok(Some(nodes));
        }
        let Some(garbage) = garbage_on_nodes(self.mover.metastore.as_ref()).await? else {
            return Ok(None);
        };
        for node in &mut nodes {
            let waiting = garbage.get(&node.id).copied().unwrap_or(0);
            node.used_bytes = node.used_bytes.saturating_sub(waiting);
        }
        Ok(Some(nodes))
    }

    /// Moves a few chunks of a transfer, and notes that in the view; returns how many moved.
    async fn carry_out(
        &self,
        transfer: Transfer,
        nodes: &mut [NodeView],
        round: &Round,
    ) -> MetaResult<usize> {
        let mut moved = 0;
        let chunks = self.candidates(transfer, nodes, round).await?;
        for chunk in chunks {
            let outcome = self.give(&chunk, transfer, round).await;
            if round.readable(chunk.id, outcome)? == Some(MoveOutcome::Moved) {
                note_move(nodes, transfer, chunk.length_bytes);
                moved += 1;
            }
            if !round.goes_on() {
                break;
            }
        }
        Ok(moved)
    }

    async fn give(
        &self,
        chunk: &ChunkRef,
        transfer: Transfer,
        round: &Round,
    ) -> MetaResult<MoveOutcome> {
        self.give_way(transfer).await;
        if !round.goes_on() {
            return Ok(MoveOutcome::NotNow);
        }
        let (to, wanted) = (Destination::Node(transfer.to), self.settings.moves.replicas);
        let began = Instant::now();
        let outcome = self
            .mover
            .relocate(chunk, transfer.from, to, wanted, round)
            .await;
        self.rest_after(began.elapsed(), transfer).await;
        outcome
    }

    /// Leaves the two nodes to clients for a while, if they use them.
    async fn rest_after(&self, took: Duration, transfer: Transfer) {
        let membership = &self.mover.membership;
        let is_used = |node| membership.serves_clients(node, USED_WITHIN);
        if is_used(transfer.from) || is_used(transfer.to) {
            sleep((took * REST_FACTOR).min(REST_MAX)).await;
        }
    }

    /// Waits a while for requests on the two nodes.
    async fn give_way(&self, transfer: Transfer) {
        for _ in 0..BUSY_LOOKS_MAX {
            let load = |node| self.mover.membership.load(node);
            if load(transfer.from).max(load(transfer.to)) <= BUSY {
                return;
            }
            sleep(BUSY_LOOK).await;
        }
    }

    /// Chunks that may move, as many as level the two nodes at most.
    async fn candidates(
        &self,
        transfer: Transfer,
        nodes: &[NodeView],
        round: &Round,
    ) -> MetaResult<Vec<ChunkRef>> {
        let (mut found, mut bytes) = (Vec::new(), 0_u64);
        for _ in 0..PAGES_MAX {
            let after = self.walk(transfer.from);
            let (giver, from) = (transfer.from, (after, PAGE));
            let page = self.mover.node_chunks(giver, from, round).await?;
            let is_last = page.len() < PAGE;
            let mut at = page.last().map(|last| last.id).filter(|_| !is_last);
            for on_node in page {
                let id = on_node.id;
                let Some(chunk) = placed_on(transfer.from, on_node) else {
                    continue;
                };
                let together = bytes.saturating_add(chunk.length_bytes);
                if together <= transfer.chunk_max_bytes && may_move(&chunk, transfer, nodes) {
                    bytes = together;
                    found.push(chunk);
                }
                if found.len() == BATCH {
                    at = Some(id);
                    break;
                }
            }
            self.note_walk(transfer.from, at);
            if at.is_none() || found.len() == BATCH || !round.goes_on() {
                break;
            }
        }
        Ok(found)
    }

    fn walk(&self, node: NodeId) -> Option<ChunkId> {
        let walks = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
        walks.get(&node).copied()
    }

    /// A walk that came to its end begins anew.
    fn note_walk(&self, node: NodeId, at: Option<ChunkId>) {
        let mut walks = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
        match at {
            Some(at) => walks.insert(node, at),
            None => walks.remove(&node),
        };
    }
}

fn note_move(nodes: &mut [NodeView], transfer: Transfer, bytes: u64) {
    for node in nodes {
        if node.id == transfer.from {
            // Its room returns only with garbage collection.
            node.used_bytes = node.used_bytes.saturating_sub(bytes);
        } else if node.id == transfer.to {
            node.used_bytes = node.used_bytes.saturating_add(bytes);
            node.free_bytes = node.free_bytes.saturating_sub(bytes);
        }
    }
}

/// Whether a chunk may move so: the taker has no copy, and the copies stay in as many zones.
fn may_move(chunk: &ChunkRef, transfer: Transfer, nodes: &[NodeView]) -> bool {
    let zone_of = |id: NodeId| {
        let node = nodes.iter().find(|node| node.id == id);
        node.map_or("", |node| node.zone.as_str())
    };
    let taken = zone_of(transfer.to);
    let others = chunk.replicas.iter().filter(|node| **node != transfer.from);
    let mut others = others.map(|node| zone_of(*node));
    let crowds = !taken.is_empty() && others.any(|zone| zone == taken);
    !chunk.replicas.contains(&transfer.to) && !crowds
}

#[async_trait]
impl Job for RebalanceJob {
    fn name(&self) -> JobName {
        "rebalance".parse().expect("a job's name")
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn rate_bytes_per_s(&self) -> Option<u64> {
        self.settings.moves.rate_bytes_per_s
    }

    async fn round(&self, round: &Round) -> Result<(), JobError> {
        let Some(mut nodes) = self.view().await? else {
            round.wait_for(
                "more deleted data waits out --gc-grace, or for chunk servers that are away, than can be \
                 added up: until there is less, nobody can tell how full the chunk servers will be",
            );
            return Ok(());
        };
        while round.goes_on() {
            // Others may have gone down, or been told to leave, since.
            nodes.retain(|node| self.mover.membership.is_active(node.id));
            let transfers = self.settings.evenness.transfers(&nodes);
            let bytes = transfers.first().map_or(0, |first| first.chunk_max_bytes);
            round.progress().expect(transfers.len() as u64, bytes);
            let mut moved = 0;
            for transfer in transfers.into_iter().take(TRANSFERS_MAX) {
                moved = self.carry_out(transfer, &mut nodes, round).await?;
                if moved > 0 || !round.goes_on() {
                    break;
                }
            }
            if moved == 0 {
                break;
            }
        }
        Ok(())
    }
}
