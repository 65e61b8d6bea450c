//! Where chunks are: looked up by chunk and by node, and changed by jobs.

use chunkproto::{ChunkId, Fence, NodeId};

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::locks::Guard;
use super::read::{Looked, Reader, Store};
use super::tables::{CHUNKS, NODE_CHUNKS, PARTS};
use crate::placement::OwnerRow;
use crate::{ChunkOwner, GcItem, MetaError, MetaResult, NodeChunk, Placement, ReplicaChange};

/// Looks for a chunk's place while it goes from row to row.
const PLACEMENT_LOOKS_MAX: usize = 8;

impl Engine {
    pub(super) async fn change_replicas(
        &self,
        fence: &Fence,
        change: ReplicaChange,
    ) -> MetaResult<()> {
        let lease = self.locks.lease_stays(&fence.job).await;
        let owner = self.get(CHUNKS, keys::chunk(change.chunk)).await?;
        let owner = owner.ok_or(MetaError::NoSuchChunk(change.chunk))?;
        let mut held = vec![lease];
        held.extend(self.owner_stays(&owner).await);
        let fence = fence.clone();
        let batch = self.look(move |reader| {
            reader.expect_fence(&fence)?;
            reader.expect_owner(change.chunk, &owner)?;
            reader.replica_change(&owner, &change)
        });
        self.commit(batch.await?, held).await
    }

    /// Locks under which the row that names a chunk stays as it is.
    pub(super) async fn owner_stays(&self, owner: &ChunkOwner) -> Vec<Guard> {
        match owner {
            ChunkOwner::Object { bucket, key, .. } => vec![self.locks.key(*bucket, key).await],
            ChunkOwner::Part { upload, number } => vec![
                self.locks.upload_stays(*upload).await,
                self.locks.part(*upload, *number).await,
            ],
        }
    }
}

impl Reader<'_> {
    /// Makes sure that a chunk's owner is still the one that was locked: a rename gives it another.
    ///
    /// # Errors
    /// `Conflict`; `NoSuchChunk`.
    pub(super) fn expect_owner(&self, chunk: ChunkId, locked: &ChunkOwner) -> Looked<()> {
        match self.get(CHUNKS, &keys::chunk(chunk))? {
            Some(owner) if owner == *locked => Ok(()),
            Some(_) => Err(MetaError::Conflict.into()),
            None => Err(MetaError::NoSuchChunk(chunk).into()),
        }
    }

    /// The commit of a change of replicas. The caller holds the owner's locks.
    fn replica_change(&self, owner: &ChunkOwner, change: &ReplicaChange) -> Looked<Batch> {
        let row = self.owner_row(owner)?;
        let mut row = row.ok_or(MetaError::NoSuchChunk(change.chunk))?;
        let moved = row.apply(change)?;
        let mut batch = Batch::default();
        for &node in &moved.added {
            let key = keys::node_chunk(node, change.chunk);
            if self.get(NODE_CHUNKS, &key)?.is_some() {
                // A copy from an earlier time waits there to be deleted, and would be.
                return Err(MetaError::Conflict.into());
            }
            batch.put(NODE_CHUNKS, key, &());
        }
        self.put_owner_row(&mut batch, owner, &row)?;
        if !moved.removed.replicas.is_empty() {
            batch.queue(&GcItem::Copies(moved.removed), change.now);
        }
        Ok(batch)
    }

    /// The row that names an owner's chunks, if it is there.
    fn owner_row(&self, owner: &ChunkOwner) -> Looked<Option<OwnerRow>> {
        Ok(match owner {
            ChunkOwner::Object {
                bucket,
                key,
                version,
            } => {
                let found = self.version_row(*bucket, key, *version)?;
                found.map(OwnerRow::Object)
            }
            ChunkOwner::Part { upload, number } => self
                .get(PARTS, &keys::part(*upload, *number))?
                .map(OwnerRow::Part),
        })
    }

    /// Reads without a lock. What is named by a row, but not by the one just looked at, was given to
    /// another in between: then it is looked for again.
    fn placement(&self, chunk: ChunkId) -> Looked<Option<Placement>> {
        for _ in 0..PLACEMENT_LOOKS_MAX {
            let Some(owner) = self.get(CHUNKS, &keys::chunk(chunk))? else {
                return Ok(None);
            };
            let row = self.owner_row(&owner)?;
            if let Some(placement) = row.and_then(|row| row.placement(owner, chunk)) {
                return Ok(Some(placement));
            }
        }
        Ok(None)
    }

    /// Writes an owner's row back to where it stands.
    fn put_owner_row(&self, batch: &mut Batch, owner: &ChunkOwner, row: &OwnerRow) -> Looked<()> {
        match (owner, row) {
            (ChunkOwner::Object { bucket, key, .. }, OwnerRow::Object(object)) => {
                self.put_version_row(batch, *bucket, key, object)?;
            }
            (ChunkOwner::Part { upload, number }, OwnerRow::Part(part)) => {
                batch.put(PARTS, keys::part(*upload, *number), part);
            }
            _ => unreachable!("an owner's row is of its own kind"),
        }
        Ok(())
    }
}

impl Store {
    pub(super) fn placements(&self, chunks: &[ChunkId]) -> MetaResult<Vec<Option<Placement>>> {
        let reader = self.on_disk();
        let placement = |chunk: &ChunkId| Ok(reader.placement(*chunk)?);
        chunks.iter().map(placement).collect()
    }

    pub(super) fn node_chunks(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<NodeChunk>> {
        let ids = self.chunks_on_node(node, after, limit)?;
        let placements = self.placements(&ids)?;
        let with = |(id, placement)| NodeChunk { id, placement };
        Ok(ids.into_iter().zip(placements).map(with).collect())
    }
}
