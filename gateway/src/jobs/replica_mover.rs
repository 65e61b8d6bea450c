//! What all jobs that move chunks do on the nodes: look which copies of a chunk are good, choose a
//! node, copy to it, verify. What they change in rows is in `rows.rs`.

use std::sync::Arc;
use std::time::Duration;

use chunkproto::{ChunkError, ChunkReceipt, NodeId};
use futures::future::join_all;
use metastore::{ChunkRef, Metastore};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::job::Round;
use crate::chance::Chance;
use crate::chunks::{ChunkTransport, PlacementRequest, choose_apart, choose_nodes, count_takers};
use crate::cluster::{Membership, NodeState};

/// A node copies the shortest chunk from another one in this time …
const COPY_MIN: Duration = Duration::from_secs(30);
/// … and longer ones as if they came at this rate.
const COPY_BYTES_PER_S: u64 = 2 * 1024 * 1024;

/// Copies chunks between nodes.
#[derive(Clone)]
pub struct ReplicaMover {
    pub(super) metastore: Arc<dyn Metastore>,
    pub(super) transport: Arc<dyn ChunkTransport>,
    pub(super) membership: Arc<Membership>,
    chance: Chance,
}

/// What one of the nodes that a row names turned out to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaState {
    /// The chunk, with length and checksum of the row.
    Good,
    /// Not the chunk.
    Nothing,
    /// Something else under the chunk's id.
    Other,
    /// It cannot be read: the disk fails.
    Unreadable,
    /// Unknown: the node does not answer, but has not been silent for long.
    Awaited,
    /// Unknown: the node is taken for gone.
    Lost,
}

/// Why a chunk was not copied.
#[derive(Debug)]
pub enum CopyFailure {
    /// The copy on this source is bad.
    Source,
    /// The target got nothing from this source, whose copy may be good.
    SourceUnavailable,
    /// The target did not take it.
    Target,
    /// The round is over.
    Over,
}

impl ReplicaMover {
    /// Copies over `transport` between the nodes of `membership`, for rows in `metastore`.
    #[must_use]
    pub fn new(
        metastore: Arc<dyn Metastore>,
        transport: Arc<dyn ChunkTransport>,
        membership: Arc<Membership>,
    ) -> Self {
        Self {
            metastore,
            transport,
            membership,
            chance: Chance::system(),
        }
    }

    /// This with `chance` as its source of randomness.
    #[must_use]
    pub fn drawing(self, chance: Chance) -> Self {
        Self { chance, ..self }
    }

    /// Asks every node that the row names what it holds. Where a node has damaged bytes under a good
    /// description, that is found when they are read.
    pub async fn examine(&self, chunk: &ChunkRef) -> Vec<(NodeId, ReplicaState)> {
        let asked = chunk.replicas.iter().map(async |&node| {
            let state = match self.membership.state(node) {
                NodeState::Live => self.ask(node, chunk).await,
                NodeState::Suspect => ReplicaState::Awaited,
                NodeState::Down => ReplicaState::Lost,
            };
            (node, state)
        });
        join_all(asked).await
    }

    /// Asks one live node.
    pub(super) async fn ask(&self, node: NodeId, chunk: &ChunkRef) -> ReplicaState {
        match self.transport.head(node, chunk.id).await {
            Ok(info) if (info.length_bytes, info.crc64) == (chunk.length_bytes, chunk.crc64) => {
                ReplicaState::Good
            }
            Ok(info) => {
                warn!(chunk = %chunk.id, %node, ?info, "a node holds other bytes than its row says");
                ReplicaState::Other
            }
            Err(ChunkError::NotFound(_) | ChunkError::Corrupt { .. }) => ReplicaState::Nothing,
            Err(ChunkError::Io(_)) => ReplicaState::Unreadable,
            // It may be on a disk that is away. After a while nobody waits for that.
            Err(ChunkError::Refused(_)) if self.membership.is_crippled(node) => {
                ReplicaState::Unreadable
            }
            Err(error) => {
                if matches!(error, ChunkError::Unreachable(_)) {
                    self.membership.suspect(node);
                }
                ReplicaState::Awaited
            }
        }
    }

    /// Live nodes beside those that the row names that hold the chunk as the row says.
    pub(super) async fn elsewhere(&self, chunk: &ChunkRef) -> Vec<NodeId> {
        let live = self.membership.states().into_iter();
        let live = live
            .filter(|(node, state)| *state == NodeState::Live && !chunk.replicas.contains(node));
        let asked = live.map(async |(node, _)| {
            let state = self.ask(node, chunk).await;
            (state == ReplicaState::Good).then_some(node)
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// The best node for another copy of the chunk beside those on `kept`, whose zones are avoided;
    /// none of `shunned`.
    #[must_use]
    pub fn choose(&self, chunk: &ChunkRef, kept: &[NodeId], shunned: &[NodeId]) -> Option<NodeId> {
        let request = PlacementRequest {
            nodes_wanted: 1,
            length_bytes: chunk.length_bytes,
            excluded: kept,
            same_body: &[],
        };
        let mut view = self.membership.view();
        // What a node holds that the chunk leaves takes no zone.
        view.retain(|node| !shunned.contains(&node.id));
        choose_nodes(&view, request, || self.chance.lot()).pop()
    }

    /// Where of the copies on `good` those that stay, if `wanted` are enough, share a zone: a node for
    /// another copy in a zone that has none; none of `shunned`.
    #[must_use]
    pub fn choose_apart(
        &self,
        chunk: &ChunkRef,
        good: &[NodeId],
        wanted: usize,
        shunned: &[NodeId],
    ) -> Option<NodeId> {
        let mut stay = good.to_vec();
        let surplus = self.surplus(good, wanted);
        stay.retain(|node| !surplus.contains(node));
        let request = PlacementRequest {
            nodes_wanted: 1,
            length_bytes: chunk.length_bytes,
            excluded: good,
            same_body: &[],
        };
        let mut view = self.membership.view();
        view.retain(|node| !shunned.contains(&node.id));
        choose_apart(&view, &stay, request, || self.chance.lot())
    }

    /// Whether a copy on the node would share a zone with one of those that `stay`.
    pub(super) fn crowds(&self, node: NodeId, stay: &[NodeId]) -> bool {
        let view = self.membership.view();
        let zone_of = |id: NodeId| view.iter().find(|known| known.id == id);
        let Some(zone) = zone_of(node).map(|known| known.zone.as_str()) else {
            return false;
        };
        let mut others = stay.iter().filter_map(|other| zone_of(*other));
        !zone.is_empty() && others.any(|other| other.zone == zone)
    }

    /// Whether the node takes the chunk now: it is live, is to hold chunks, and has room.
    pub(super) fn takes(&self, chunk: &ChunkRef, node: NodeId) -> bool {
        let mut view = self.membership.view();
        view.retain(|known| known.id == node);
        count_takers(&view, chunk.length_bytes, &[]) > 0
    }

    /// Of nodes with good copies those that are not needed where `wanted` are enough: first of those
    /// that share a zone with another, then the last ones.
    #[must_use]
    pub fn surplus(&self, good: &[NodeId], wanted: usize) -> Vec<NodeId> {
        let view = self.membership.view();
        let zone_of = |node: NodeId| {
            let known = view.iter().find(|known| known.id == node);
            known
                .map(|known| known.zone.as_str())
                .filter(|zone| !zone.is_empty())
        };
        let (mut kept, mut surplus) = (good.to_vec(), Vec::new());
        while kept.len() > wanted {
            let shares = |at: usize| {
                let zone = zone_of(kept[at]);
                zone.is_some() && kept[..at].iter().any(|other| zone_of(*other) == zone)
            };
            let at = (0..kept.len()).rev().find(|at| shares(*at));
            surplus.push(kept.remove(at.unwrap_or(kept.len() - 1)));
        }
        surplus
    }

    /// Copies the chunk at the job's rate, and sees that the copy has length and checksum of the row.
    ///
    /// # Errors
    /// A source that is bad or cannot be read, or a target that refuses, each told apart.
    pub async fn copy(
        &self,
        chunk: &ChunkRef,
        source: NodeId,
        target: NodeId,
        round: &Round,
    ) -> Result<(), CopyFailure> {
        if !round.may_move(chunk.length_bytes).await {
            return Err(CopyFailure::Over);
        }
        let _counted = [source, target].map(|node| self.membership.begin_copy(node));
        let fence = Some(round.fence());
        let time_max = COPY_MIN + Duration::from_secs(chunk.length_bytes / COPY_BYTES_PER_S);
        let copied = self.transport.copy(target, chunk.id, source, fence);
        let copied = timeout(time_max, copied).await.unwrap_or_else(|_| {
            let detail = format!("it was not done in {time_max:?}");
            Err(ChunkError::Unreachable(detail))
        });
        let expected = ChunkReceipt {
            length_bytes: chunk.length_bytes,
            crc64: chunk.crc64,
        };
        match copied {
            Ok(receipt) if receipt == expected => {
                round.progress().done(chunk.length_bytes);
                Ok(())
            }
            Ok(receipt) => {
                warn!(chunk = %chunk.id, %source, %target, ?receipt, "a copy is not what its row says");
                // What it just stored is nothing that a row names.
                self.delete(chunk, target, round).await;
                Err(CopyFailure::Source)
            }
            Err(ChunkError::Fenced(detail)) => {
                round.end_fenced(target, detail);
                Err(CopyFailure::Over)
            }
            Err(error) => {
                warn!(chunk = %chunk.id, %source, %target, %error, "a chunk was not copied");
                if matches!(error, ChunkError::Unreachable(_)) {
                    round.note_unknown_outcome();
                }
                match error {
                    ChunkError::NotFound(_) | ChunkError::Corrupt { .. } => {
                        Err(CopyFailure::Source)
                    }
                    ChunkError::SourceUnavailable(_) => Err(CopyFailure::SourceUnavailable),
                    _ => Err(CopyFailure::Target),
                }
            }
        }
    }

    /// Deletes what stands under the chunk's id on a node and is not the chunk; whether it is gone.
    pub(super) async fn delete(&self, chunk: &ChunkRef, node: NodeId, round: &Round) -> bool {
        let fence = Some(round.fence());
        let Err(error) = self.transport.delete(node, chunk.id, fence).await else {
            return true;
        };
        debug!(chunk = %chunk.id, %node, %error, "a bad copy stays behind");
        match error {
            ChunkError::Unreachable(_) => round.note_unknown_outcome(),
            ChunkError::Fenced(detail) => round.end_fenced(node, detail),
            _ => {}
        }
        false
    }
}
