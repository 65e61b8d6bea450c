//! Strays: chunks on nodes that no row places there.

use chunkproto::{ChunkId, ChunkInfo, Fence, NodeId};

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::read::{Looked, Reader, Store, Unseen};
use super::tables::{CHUNKS, NODE_CHUNKS, STRAYS};
use crate::{GcItem, MetaError, MetaResult, Stray, StrayFate, Timestamp};

impl Engine {
    pub(super) async fn note_strays(
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

    pub(super) async fn quarantine_stray(
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

    pub(super) async fn end_stray(
        &self,
        fence: &Fence,
        node: NodeId,
        chunk: ChunkId,
        fate: StrayFate,
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

/// A stray that is not what it was when its locks were taken is looked at again later.
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
            if self.get(STRAYS, &key)?.is_none() {
                let stray = Stray {
                    chunk: *chunk,
                    since: now,
                    quarantined_at: None,
                };
                batch.put(STRAYS, key, &stray);
            }
        }
        Ok(batch)
    }

    fn quarantining(&self, node: NodeId, chunk: ChunkId, now: Timestamp) -> Looked<Batch> {
        let mut batch = Batch::default();
        let key = keys::node_chunk(node, chunk);
        let Some(stray) = self.get(STRAYS, &key)? else {
            return Ok(batch);
        };
        if stray.quarantined_at.is_some() {
            return Ok(batch);
        }
        if self.get(NODE_CHUNKS, &key)?.is_some() {
            return Err(MetaError::Conflict.into());
        }
        let quarantined = Stray {
            quarantined_at: Some(now),
            ..stray
        };
        batch.put(STRAYS, key.clone(), &quarantined);
        // While this stands, the chunk is named on no account on this node.
        batch.put(NODE_CHUNKS, key, &());
        Ok(batch)
    }

    fn ending(&self, node: NodeId, chunk: ChunkId, fate: StrayFate) -> Looked<Batch> {
        let mut batch = Batch::default();
        let key = keys::node_chunk(node, chunk);
        let Some(stray) = self.get(STRAYS, &key)? else {
            return Ok(batch);
        };
        match fate {
            StrayFate::Spared => batch.delete(STRAYS, key),
            StrayFate::Garbage(now) if stray.quarantined_at.is_some() => {
                batch.delete(STRAYS, key);
                batch.queue(&GcItem::Copies(stray.copy_on(node)), now);
            }
            StrayFate::Garbage(_) => {}
        }
        Ok(batch)
    }
}

impl Store {
    pub(super) fn strays(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<Stray>> {
        let start = match after {
            Some(chunk) => keys::behind(keys::node_chunk(node, chunk)),
            None => keys::id(node.into()),
        };
        let found = self.range(STRAYS, start, keys::past(node.as_bytes()), limit)?;
        Ok(found.into_iter().map(|(_, stray)| stray).collect())
    }
}
