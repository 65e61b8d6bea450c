//! What all jobs that move chunks do in the metadata: look where rows place chunks, make a row name
//! other nodes by compare-and-set, and queue what lacks copies for repair.

use std::collections::HashMap;

use chunkproto::{ChunkId, NodeId};
use metastore::{ChunkRef, MetaError, MetaResult, NodeChunk, Placement, RepairNeed, ReplicaChange};

use super::job::Round;
use super::replica_mover::ReplicaMover;

/// Tries to make a row that keeps changing name a copy.
const ATTEMPTS_MAX: usize = 4;

/// Outcome of a replica-set commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowUpdate {
    /// The row names what it should.
    Done,
    /// It does not, and what it will name is for a later round to find out.
    NotNow,
    /// No row names the chunk any longer.
    Gone,
}

impl ReplicaMover {
    /// Makes the chunk's row name `replicas`, where it still names what the caller saw. Where it does
    /// not, copies that were made for it are not forgotten: the row comes to name them beside what it
    /// names now, and repair, which knows that `wanted` are enough, takes out what is too many. Copies
    /// made for a row that is gone are given to garbage collection.
    ///
    /// # Errors
    /// What keeps the metadata from being read or written.
    pub async fn commit_replicas(
        &self,
        chunk: &ChunkRef,
        replicas: Vec<NodeId>,
        wanted: u8,
        round: &Round,
    ) -> MetaResult<RowUpdate> {
        match self.try_name(chunk, &replicas, round).await {
            Err(MetaError::Conflict) => {
                let made = without(&replicas, &chunk.replicas);
                self.name_too(chunk, &made, wanted, round).await
            }
            changed => changed,
        }
    }

    /// As [`commit_replicas`](Self::commit_replicas), but a row that changed is an error.
    async fn try_name(
        &self,
        chunk: &ChunkRef,
        replicas: &[NodeId],
        round: &Round,
    ) -> MetaResult<RowUpdate> {
        if replicas == chunk.replicas {
            return Ok(RowUpdate::Done);
        }
        let change = ReplicaChange {
            chunk: chunk.id,
            expected: chunk.replicas.clone(),
            replicas: replicas.to_vec(),
            now: round.now(),
        };
        let changed = self.metastore.change_replicas(round.fence(), change).await;
        match round.unless_fenced(changed) {
            Ok(Some(())) => Ok(RowUpdate::Done),
            Ok(None) => Ok(RowUpdate::NotNow),
            Err(MetaError::NoSuchChunk(_)) => {
                let made = without(replicas, &chunk.replicas);
                self.give_up(chunk, made, round).await?;
                Ok(RowUpdate::Gone)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a row that another job changed name good copies that were `made`, beside the others. One
    /// that waits on its node to be deleted cannot be named; it goes as it was to.
    async fn name_too(
        &self,
        chunk: &ChunkRef,
        made: &[NodeId],
        wanted: u8,
        round: &Round,
    ) -> MetaResult<RowUpdate> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(current) = self.placement(chunk.id).await? else {
                self.give_up(chunk, made.to_vec(), round).await?;
                return Ok(RowUpdate::Gone);
            };
            let mut replicas = current.replicas.clone();
            replicas.extend(without(made, &current.replicas));
            match self.try_name(&current, &replicas, round).await {
                Ok(RowUpdate::Done) => {
                    self.queue_repair(&current, replicas.len(), wanted, round)
                        .await?;
                    return Ok(RowUpdate::NotNow);
                }
                Err(MetaError::Conflict) => {}
                other => return other,
            }
        }
        Ok(RowUpdate::NotNow)
    }

    async fn give_up(&self, chunk: &ChunkRef, made: Vec<NodeId>, round: &Round) -> MetaResult<()> {
        if made.is_empty() {
            return Ok(());
        }
        let copies = ChunkRef {
            replicas: made,
            ..chunk.clone()
        };
        match self
            .metastore
            .queue_garbage(vec![copies], round.now())
            .await
        {
            // Named again is impossible for an id; whoever has it keeps it.
            Err(MetaError::Conflict) => Ok(()),
            other => other,
        }
    }

    /// Queues a chunk with `good` good copies of `wanted` for repair.
    ///
    /// # Errors
    /// What keeps the metadata from being read or written.
    pub(super) async fn queue_repair(
        &self,
        chunk: &ChunkRef,
        good: usize,
        wanted: u8,
        round: &Round,
    ) -> MetaResult<()> {
        let need = RepairNeed::new(chunk, wanted, good, round.now());
        self.metastore.queue_repairs(vec![need]).await
    }

    /// Whether the row may list this node: false while an older copy there is queued for deletion,
    /// since it could vanish after the commit.
    ///
    /// # Errors
    /// What keeps the metadata from being read.
    pub(super) async fn may_name(&self, chunk: &ChunkRef, node: NodeId) -> MetaResult<bool> {
        Ok(chunk.replicas.contains(&node) || !self.metastore.is_on_node(node, chunk.id).await?)
    }

    /// Chunks that rows placed on a node, in id order, those behind `after`. One whose row cannot be read
    /// comes without its placement, as if it waited to be deleted: it is left alone.
    ///
    /// # Errors
    /// What else keeps the metadata from being read.
    pub(super) async fn node_chunks(
        &self,
        node: NodeId,
        (after, limit): (Option<ChunkId>, usize),
        round: &Round,
    ) -> MetaResult<Vec<NodeChunk>> {
        let page = self.metastore.node_chunks(node, after, limit).await;
        if !matches!(page, Err(MetaError::Corrupt { .. })) {
            return page;
        }
        let ids = self.metastore.chunks_on_node(node, after, limit).await?;
        let mut places = self.readable_placements(&ids, round).await?;
        let with = |id| NodeChunk {
            id,
            placement: places.remove(&id).flatten(),
        };
        Ok(ids.into_iter().map(with).collect())
    }

    /// Where rows place chunks. Those whose row cannot be read are left out: nobody knows.
    ///
    /// # Errors
    /// What else keeps the metadata from being read.
    pub(super) async fn readable_placements(
        &self,
        ids: &[ChunkId],
        round: &Round,
    ) -> MetaResult<HashMap<ChunkId, Option<Placement>>> {
        match self.metastore.placements(ids).await {
            Err(MetaError::Corrupt { .. }) => {}
            placements => return Ok(ids.iter().copied().zip(placements?).collect()),
        }
        let mut places = HashMap::with_capacity(ids.len());
        for &id in ids {
            let placement = round.readable(id, self.metastore.placements(&[id]).await)?;
            if let Some(placement) = placement {
                places.insert(id, placement.into_iter().flatten().next());
            }
        }
        Ok(places)
    }

    /// Where a chunk is by its row; none once no row names it.
    ///
    /// # Errors
    /// What keeps the metadata from being read.
    pub async fn placement(&self, chunk: ChunkId) -> MetaResult<Option<ChunkRef>> {
        let found = self.metastore.placements(&[chunk]).await?;
        Ok(found
            .into_iter()
            .flatten()
            .next()
            .map(|placed| placed.chunk))
    }
}

/// Those of `nodes` that are not among `others`.
fn without(nodes: &[NodeId], others: &[NodeId]) -> Vec<NodeId> {
    let rest = nodes.iter().filter(|node| !others.contains(node));
    rest.copied().collect()
}
