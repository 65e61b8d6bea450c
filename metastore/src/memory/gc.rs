//! The garbage collection queue: what is due, and what becomes of an entry.

use chunkproto::NodeId;
use uuid::Uuid;

use super::state::State;
use crate::succession::DeletedChunks;
use crate::{ChunkRef, GcEntry, GcItem, MetaError, MetaResult, Timestamp};

impl State {
    pub(super) fn gc_due(
        &self,
        before: Timestamp,
        after: Option<(Timestamp, Uuid)>,
        limit: usize,
    ) -> Vec<GcEntry> {
        let due = self
            .gc
            .iter()
            .filter(|((unlinked_at, _), _)| *unlinked_at < before)
            .filter(|(moment, _)| Some(**moment) > after);
        let entry = |(&(unlinked_at, id), item): (&_, &GcItem)| GcEntry {
            unlinked_at,
            id,
            item: item.clone(),
        };
        due.take(limit).map(entry).collect()
    }

    pub(super) fn gc_expand(&mut self, entry: &GcEntry, limit: usize) {
        let upload = entry.parts_to_expand();
        if !self.gc.contains_key(&(entry.unlinked_at, entry.id)) {
            return;
        }
        for part in self.parts_of(upload).into_iter().take(limit) {
            self.parts.remove(&(upload, part.number));
            self.unlink(part.layout.chunks, entry.unlinked_at);
        }
        if self.parts_of(upload).is_empty() {
            self.gc.remove(&(entry.unlinked_at, entry.id));
        }
    }

    fn end_garbage(&mut self, entry: &GcEntry) {
        let moment = (entry.unlinked_at, entry.id);
        if self.gc.remove(&moment).is_none() {
            return;
        }
        match entry.deleted() {
            DeletedChunks::Chunks(chunks) => {
                for chunk in chunks {
                    self.displace(chunk);
                    self.repair.remove(&chunk.id);
                }
            }
            DeletedChunks::Copies(chunk) => self.displace(chunk),
        }
    }

    pub(super) fn gc_narrow(&mut self, entry: &GcEntry, done: &[NodeId]) {
        let Some(left) = entry.item.without(done) else {
            return self.end_garbage(entry);
        };
        let moment = (entry.unlinked_at, entry.id);
        if self.gc.contains_key(&moment) {
            for chunk in entry.item.chunks() {
                for node in chunk.replicas.iter().filter(|node| done.contains(node)) {
                    self.node_chunks.remove(&(*node, chunk.id));
                }
            }
            self.gc.insert(moment, left);
        }
    }

    fn displace(&mut self, chunk: &ChunkRef) {
        for &node in &chunk.replicas {
            self.node_chunks.remove(&(node, chunk.id));
        }
    }

    pub(super) fn queue_garbage(
        &mut self,
        chunks: Vec<ChunkRef>,
        now: Timestamp,
    ) -> MetaResult<()> {
        if chunks
            .iter()
            .any(|chunk| self.chunks.contains_key(&chunk.id))
        {
            return Err(MetaError::Conflict);
        }
        self.queue(GcItem::Chunks(chunks), now);
        Ok(())
    }
}
