//! The garbage collection queue: what is due, and what becomes of an entry.

use chunkproto::{Fence, NodeId};
use uuid::Uuid;

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::read::{Looked, Reader, Store};
use super::tables::{CHUNKS, GC, NODE_CHUNKS, PARTS};
use crate::{ChunkRef, GcEntry, GcItem, MetaError, MetaResult, Timestamp};

impl Engine {
    pub(super) async fn gc_expand(&self, entry: &GcEntry, limit: usize) -> MetaResult<()> {
        let held = vec![self.locks.upload_ends(entry.parts_to_expand()).await];
        let entry = entry.clone();
        // A walk over parts, so it may wait from the beginning.
        let expansion = self.blocking(move |store| store.expansion(&entry, limit));
        match expansion.await? {
            Some(batch) => self.commit(batch, held).await,
            None => Ok(()),
        }
    }

    pub(super) async fn gc_narrow(
        &self,
        fence: &Fence,
        entry: &GcEntry,
        done: &[NodeId],
    ) -> MetaResult<()> {
        let held = vec![self.locks.lease_stays(&fence.job).await];
        let (fence, entry, done) = (fence.clone(), entry.clone(), done.to_vec());
        let batch = self.look(move |reader| {
            reader.expect_fence(&fence)?;
            match entry.item.without(&done) {
                Some(left) => reader.narrowing(&entry, &done, &left),
                None => reader.ending_garbage(&entry),
            }
        });
        self.commit(batch.await?, held).await
    }

    pub(super) async fn queue_garbage(
        &self,
        chunks: Vec<ChunkRef>,
        now: Timestamp,
    ) -> MetaResult<()> {
        let batch = self.look(move |reader| reader.discarding(&chunks, now));
        self.commit(batch.await?, Vec::new()).await
    }
}

impl Reader<'_> {
    /// The commit that ends an entry; an empty one where it has ended.
    fn ending_garbage(&self, entry: &GcEntry) -> Looked<Batch> {
        let (mut batch, key) = (Batch::default(), keys::gc_entry(entry));
        if self.get(GC, &key)?.is_some() {
            batch.forget(entry.deleted());
            batch.delete(GC, key);
        }
        Ok(batch)
    }

    /// The commit that takes nodes off an entry; an empty one where it has ended.
    fn narrowing(&self, entry: &GcEntry, done: &[NodeId], left: &GcItem) -> Looked<Batch> {
        let (mut batch, key) = (Batch::default(), keys::gc_entry(entry));
        if self.get(GC, &key)?.is_none() {
            return Ok(batch);
        }
        for chunk in entry.item.chunks() {
            for node in chunk.replicas.iter().filter(|node| done.contains(node)) {
                batch.delete(NODE_CHUNKS, keys::node_chunk(*node, chunk.id));
            }
        }
        batch.put(GC, key, left);
        Ok(batch)
    }

    /// The commit that queues chunks that no row names.
    fn discarding(&self, chunks: &[ChunkRef], now: Timestamp) -> Looked<Batch> {
        for chunk in chunks {
            if self.get(CHUNKS, &keys::chunk(chunk.id))?.is_some() {
                return Err(MetaError::Conflict.into());
            }
        }
        let mut batch = Batch::default();
        batch.queue(&GcItem::Chunks(chunks.to_vec()), now);
        Ok(batch)
    }
}

impl Store {
    pub(super) fn gc_due(
        &self,
        before: Timestamp,
        after: Option<(Timestamp, Uuid)>,
        limit: usize,
    ) -> MetaResult<Vec<GcEntry>> {
        let start = after
            .map(|(unlinked_at, id)| keys::behind(keys::gc(unlinked_at, id)))
            .unwrap_or_default();
        let end = before.0.to_be_bytes().to_vec();
        let found = self.readable_range(GC, start, end, limit)?;
        let entry = |(key, item): (Vec<u8>, GcItem)| {
            let (unlinked_at, id) = keys::moment_of_gc(GC, &key)?;
            Ok(GcEntry {
                unlinked_at,
                id,
                item,
            })
        };
        found.into_iter().map(entry).collect()
    }

    /// The commit that expands an entry; `None` if another run was faster.
    fn expansion(&self, entry: &GcEntry, limit: usize) -> MetaResult<Option<Batch>> {
        if self.on_disk().get(GC, &keys::gc_entry(entry))?.is_none() {
            return Ok(None);
        }
        let upload = entry.parts_to_expand();
        let mut parts = self.parts_of(upload, limit.saturating_add(1))?;
        let is_last_page = parts.len() <= limit;
        parts.truncate(limit);
        let mut batch = Batch::default();
        for part in parts {
            batch.delete(PARTS, keys::part(upload, part.number));
            batch.unlink(part.layout.chunks, entry.unlinked_at);
        }
        if is_last_page {
            batch.delete(GC, keys::gc_entry(entry));
        }
        Ok(Some(batch))
    }
}
