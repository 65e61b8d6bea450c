//! Draining: what is on a node that is to leave is moved to others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::{JobName, NodeId};
use futures::{TryStreamExt as _, stream};
use metastore::{ChunkRef, MetaError, MetaResult, NodeChunk, NodePhase};

use super::job::{Job, JobError, Round};
use super::relocate::{Destination, MoveOutcome};
use super::replica_mover::ReplicaMover;
use crate::cluster::{NodeState, NodeStatus};

/// Chunks of a node looked at in one unit.
const PAGE: usize = 256;
/// Chunks moved at the same time.
const PARALLEL_MAX: usize = 4;
/// Rest between two rounds.
const PERIOD: Duration = Duration::from_secs(2);
/// So many chunks that no node takes end the walk over a node's chunks until the next round.
const STUCK_MAX: u64 = 100;

/// Moves chunks off nodes that are to leave.
pub struct DrainJob {
    mover: ReplicaMover,
    settings: MoveSettings,
}

/// How jobs that move good copies may go about it.
#[derive(Debug, Clone, Copy)]
pub struct MoveSettings {
    /// Replicas that each chunk should have.
    pub replicas: u8,
    /// Bytes per second that the job may copy; none: any number.
    pub rate_bytes_per_s: Option<u64>,
}

impl DrainJob {
    /// A job that moves chunks by `mover`.
    #[must_use]
    pub fn new(mover: ReplicaMover, settings: MoveSettings) -> Self {
        Self { mover, settings }
    }

    /// Live nodes that are to leave. What lost ones held is for repair.
    fn leaving(&self) -> Vec<NodeStatus> {
        let mut nodes = self.mover.membership.status();
        nodes.retain(|node| node.phase == NodePhase::Draining && node.state == NodeState::Live);
        nodes
    }

    /// Goes once through the chunks of a node; returns how many found no other node.
    async fn empty(&self, node: NodeId, round: &Round) -> MetaResult<u64> {
        let (stuck, mut after) = (AtomicU64::new(0), None);
        while round.goes_on() && stuck.load(Ordering::Relaxed) < STUCK_MAX {
            let from = (after, PAGE);
            let page = self.mover.node_chunks(node, from, round).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.id);
            let here = page.into_iter().filter_map(|chunk| placed_on(node, chunk));
            stream::iter(here.map(Ok::<_, MetaError>))
                .try_for_each_concurrent(PARALLEL_MAX, async |chunk| {
                    if !round.goes_on() || self.was_called_off(node) {
                        return Ok(());
                    }
                    let wanted = self.settings.replicas;
                    let best = Destination::Best;
                    let outcome = self.mover.relocate(&chunk, node, best, wanted, round);
                    let outcome = round.readable(chunk.id, outcome.await)?;
                    if outcome == Some(MoveOutcome::NoTarget) {
                        stuck.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(stuck.into_inner())
    }

    fn was_called_off(&self, node: NodeId) -> bool {
        self.mover.membership.phase(node) != NodePhase::Draining
    }
}

/// The chunk as its row places it on the node, if it does.
pub fn placed_on(node: NodeId, chunk: NodeChunk) -> Option<ChunkRef> {
    let placed = chunk.placement?.chunk;
    placed.replicas.contains(&node).then_some(placed)
}

#[async_trait]
impl Job for DrainJob {
    fn name(&self) -> JobName {
        "drain".parse().expect("a job's name")
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn rate_bytes_per_s(&self) -> Option<u64> {
        self.settings.rate_bytes_per_s
    }

    async fn round(&self, round: &Round) -> Result<(), JobError> {
        let leaving = self.leaving();
        let states = leaving.iter().map(|node| &node.registration.state);
        let (chunks, bytes) = states.fold((0, 0), |(chunks, bytes), state| {
            (chunks + state.chunk_count, bytes + state.used_bytes)
        });
        round.progress().expect(chunks, bytes);
        let mut stuck = Vec::new();
        for node in leaving {
            let node = node.registration.node_id;
            match self.empty(node, round).await? {
                0 => {}
                count => stuck.push(format!(
                    "{count} chunks of {node} (or more) find no other chunk server"
                )),
            }
        }
        if stuck.is_empty() {
            return Ok(());
        }
        Err(JobError::Alarm(format!(
            "{}: all others hold a copy already, are full, or are not heard from. Add a chunk server, \
             free space, or undrain",
            stuck.join("; ")
        )))
    }
}
