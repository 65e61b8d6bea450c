//! Orphans: chunks on nodes that no row places there.

use chunkproto::{ChunkId, ChunkInfo, Fence, NodeId};

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::read::{Looked, Reader, Store, Unseen};
use super::tables::{CHUNKS, NODE_CHUNKS, ORPHANS};
use crate::{GcItem, MetaError, MetaResult, Orphan, OrphanFate, Timestamp};

impl Engine {
    pub(super) async fn note_orphans(
        &self,
        fence: &Fence,
        node: NodeId,
        chunks: Vec<ChunkInfo>,
        now: Timestamp,
    ) -> MetaResult<()> {
        let held = vec![self.locks.lease_stays(&fence.job).await];
        let fence = fence.clone();
        let batch = self.look(move |reader| {
            reader.expect_fence(&fence)?;
            reader.noting(node, &chunks, now)
        });
        self.commit(batch.await?, held).await
    }

    pub(super) async fn quarantine_orphan(
        &self,
        fence: &Fence,
        node: NodeId,
        chunk: ChunkId,
        now: Timestamp,
    ) -> MetaResult<()> {
        let mut held = vec![self.locks.lease_stays(&fence.job).await];
        // Where a row names the chunk elsewhere, a job may be about to name it here too.
        let owner = self.get(CHUNKS, keys::chunk(chunk)).await?;
        if let Some(owner) = &owner {
            held.extend(self.owner_stays(owner).await);
        }
        let fence = fence.clone();
        let batch = self.look(move |reader| {
            reader.expect_fence(&fence)?;
            if let Some(owner) = &owner {
                reader.expect_owner(chunk, owner).map_err(conflict)?;
            }
            reader.quarantining(node, chunk, now)
        });
        self.commit(batch.await?, held).await
    }

    pub(super) async fn end_orphan(
        &self,
        fence: &Fence,
        node: NodeId,
        chunk: ChunkId,
        fate: OrphanFate,
    ) -> MetaResult<()> {
        let held = vec![self.locks.lease_stays(&fence.job).await];
        let fence = fence.clone();
        let batch = self.look(move |reader| {
            reader.expect_fence(&fence)?;
            reader.ending(node, chunk, fate)
        });
        self.commit(batch.await?, held).await
    }
}

/// An orphan that is not what it was when its locks were taken is looked at again later.
fn conflict(unseen: Unseen) -> Unseen {
    match unseen {
        Unseen::Failed(MetaError::NoSuchChunk(_)) => MetaError::Conflict.into(),
        other => other,
    }
}

impl Reader<'_> {
    fn noting(&self, node: NodeId, chunks: &[ChunkInfo], now: Timestamp) -> Looked<Batch> {
        let mut batch = Batch::default();
        for chunk in chunks {
            let key = keys::node_chunk(node, chunk.id);
            if self.get(ORPHANS, &key)?.is_none() {
                let orphan = Orphan {
                    chunk: *chunk,
                    since: now,
                    quarantined_at: None,
                };
                batch.put(ORPHANS, key, &orphan);
            }
        }
        Ok(batch)
    }

    fn quarantining(&self, node: NodeId, chunk: ChunkId, now: Timestamp) -> Looked<Batch> {
        let mut batch = Batch::default();
        let key = keys::node_chunk(node, chunk);
        let Some(orphan) = self.get(ORPHANS, &key)? else {
            return Ok(batch);
        };
        if orphan.quarantined_at.is_some() {
            return Ok(batch);
        }
        if self.get(NODE_CHUNKS, &key)?.is_some() {
            return Err(MetaError::Conflict.into());
        }
        let quarantined = Orphan {
            quarantined_at: Some(now),
            ..orphan
        };
        batch.put(ORPHANS, key.clone(), &quarantined);
        // While this stands, the chunk is named on no account on this node.
        batch.put(NODE_CHUNKS, key, &());
        Ok(batch)
    }

    fn ending(&self, node: NodeId, chunk: ChunkId, fate: OrphanFate) -> Looked<Batch> {
        let mut batch = Batch::default();
        let key = keys::node_chunk(node, chunk);
        let Some(orphan) = self.get(ORPHANS, &key)? else {
            return Ok(batch);
        };
        match fate {
            OrphanFate::Spared => batch.delete(ORPHANS, key),
            OrphanFate::Garbage(now) if orphan.quarantined_at.is_some() => {
                batch.delete(ORPHANS, key);
                batch.queue(&GcItem::Copies(orphan.copy_on(node)), now);
            }
            OrphanFate::Garbage(_) => {}
        }
        Ok(batch)
    }
}

impl Store {
    pub(super) fn orphans(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<Orphan>> {
        let start = match after {
            Some(chunk) => keys::behind(keys::node_chunk(node, chunk)),
            None => keys::id(node.into()),
        };
        let found = self.readable_range(ORPHANS, start, keys::past(node.as_bytes()), limit)?;
        Ok(found.into_iter().map(|(_, orphan)| orphan).collect())
    }
}
