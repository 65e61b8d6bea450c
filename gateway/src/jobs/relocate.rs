//! Moving one copy of a chunk from a node to another: copied, verified, named in place of the old
//! one by compare-and-set; the old one is garbage from then on. At no moment has the chunk fewer good
//! copies than before (I7).

use chunkproto::NodeId;
use metastore::{ChunkRef, MetaResult};

use super::copy_sources::CopySources;
use super::job::Round;
use super::replica_mover::{CopyFailure, ReplicaMover, ReplicaState};
use super::rows::RowUpdate;

/// Nodes tried for one chunk in one round.
const ATTEMPTS_MAX: usize = 3;

/// Where a copy is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Wherever placement would put it.
    Best,
    /// To this node, if it takes new chunks and its zone has no other copy.
    Node(NodeId),
}

/// Outcome of moving one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveOutcome {
    /// Its row names the old node no longer.
    Moved,
    /// It stays for now: it is busy, bad (and queued for repair), or its row changed.
    NotNow,
    /// No node takes it.
    NoTarget,
}

impl ReplicaMover {
    /// Moves the copy of `chunk` on `from`. `wanted` is how many copies it should have; one that has more
    /// beside it goes, unless it was to go to a certain node.
    ///
    /// # Errors
    /// What keeps the metadata from being read or written.
    pub async fn relocate(
        &self,
        chunk: &ChunkRef,
        from: NodeId,
        destination: Destination,
        wanted: u8,
        round: &Round,
    ) -> MetaResult<MoveOutcome> {
        let held = self.examine(chunk).await;
        let is_good = |&&(_, state): &&(NodeId, ReplicaState)| state == ReplicaState::Good;
        let mut sources: Vec<_> = held.iter().filter(is_good).map(|(node, _)| *node).collect();
        if held.contains(&(from, ReplicaState::Awaited))
            || held.contains(&(from, ReplicaState::Lost))
        {
            return Ok(MoveOutcome::NotNow);
        }
        if !sources.contains(&from) {
            // Moving is for good copies; whatever ails this one is for repair.
            self.queue_repair(chunk, sources.len(), wanted, round)
                .await?;
            return Ok(MoveOutcome::NotNow);
        }
        self.membership.order_for_reading(&mut sources);
        let replicas = chunk.replicas.iter().copied();
        let stay: Vec<_> = replicas.filter(|node| *node != from).collect();
        let beside = sources.iter().filter(|node| **node != from).count();
        if destination == Destination::Best && beside >= usize::from(wanted) {
            // A copy too many needs no other place; whether those that stay are well placed, repair sees.
            self.queue_repair(chunk, beside, wanted, round).await?;
            return self.commit_move(chunk, stay, wanted, round).await;
        }
        let (mut refused, mut tried) = (vec![from], CopySources::default());
        for _ in 0..ATTEMPTS_MAX {
            let barred = [refused.clone(), tried.cut_off(&sources)].concat();
            let Some(target) = self.target(chunk, destination, &stay, &barred) else {
                let is_first = barred.len() == 1;
                return Ok(if is_first {
                    MoveOutcome::NoTarget
                } else {
                    MoveOutcome::NotNow
                });
            };
            let Some(source) = tried.choose(&sources, target) else {
                return Ok(MoveOutcome::NotNow);
            };
            if !self.may_name(chunk, target).await? {
                refused.push(target);
                continue;
            }
            match self.copy(chunk, source, target, round).await {
                Ok(()) => {
                    let moved = |&node: &NodeId| if node == from { target } else { node };
                    let replicas = chunk.replicas.iter().map(moved).collect();
                    return self.commit_move(chunk, replicas, wanted, round).await;
                }
                Err(CopyFailure::Source) => {
                    sources.retain(|other| *other != source);
                    self.queue_repair(chunk, sources.len(), wanted, round)
                        .await?;
                }
                Err(CopyFailure::SourceUnavailable) => tried.note_unavailable(source, target),
                Err(CopyFailure::Target) => refused.push(target),
                Err(CopyFailure::Over) => return Ok(MoveOutcome::NotNow),
            }
        }
        Ok(MoveOutcome::NotNow)
    }

    fn target(
        &self,
        chunk: &ChunkRef,
        destination: Destination,
        stay: &[NodeId],
        refused: &[NodeId],
    ) -> Option<NodeId> {
        match destination {
            Destination::Best => self.choose(chunk, stay, refused),
            // What is wanted of it may have changed since the plan was made.
            Destination::Node(node) => {
                let is_open = !refused.contains(&node) && self.takes(chunk, node);
                (is_open && !self.crowds(node, stay)).then_some(node)
            }
        }
    }

    async fn commit_move(
        &self,
        chunk: &ChunkRef,
        replicas: Vec<NodeId>,
        wanted: u8,
        round: &Round,
    ) -> MetaResult<MoveOutcome> {
        Ok(
            match self.commit_replicas(chunk, replicas, wanted, round).await? {
                RowUpdate::Done | RowUpdate::Gone => MoveOutcome::Moved,
                RowUpdate::NotNow => MoveOutcome::NotNow,
            },
        )
    }
}
