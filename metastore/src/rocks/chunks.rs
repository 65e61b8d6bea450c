//! The rows that name chunks: written when an object or a part comes, turned into garbage when it
//! goes, always in the same batch as the row that holds the chunks.

use super::batch::Batch;
use super::keys;
use super::tables::{CHUNKS, GC, NODE_CHUNKS, REPAIR};
use crate::succession::DeletedChunks;
use crate::{ChunkOwner, ChunkRef, GcItem, RepairNeed, Timestamp};
use uuid::Uuid;

impl Batch {
    /// Names `chunks` as `owner`'s, places them on their nodes, and queues those with fewer than
    /// `replicas_wanted` replicas for repair.
    pub(super) fn link(
        &mut self,
        chunks: &[ChunkRef],
        owner: &ChunkOwner,
        replicas_wanted: u8,
        since: Timestamp,
    ) {
        for chunk in chunks {
            self.put(CHUNKS, keys::chunk(chunk.id), owner);
            for &node in &chunk.replicas {
                self.put(NODE_CHUNKS, keys::node_chunk(node, chunk.id), &());
            }
            if let Some(need) = RepairNeed::of_short(chunk, replicas_wanted, since) {
                self.queue_repair(&need);
            }
        }
    }

    /// Takes the name off `chunks` and queues them for garbage collection. They stay placed on
    /// their nodes until [`forget`](Self::forget): they are what is still there.
    pub(super) fn unlink(&mut self, chunks: Vec<ChunkRef>, unlinked_at: Timestamp) {
        if chunks.is_empty() {
            return;
        }
        for chunk in &chunks {
            self.delete(CHUNKS, keys::chunk(chunk.id));
        }
        self.queue(&GcItem::Chunks(chunks), unlinked_at);
    }

    /// Queues an item for garbage collection.
    pub(super) fn queue(&mut self, item: &GcItem, unlinked_at: Timestamp) {
        self.put(GC, keys::gc(unlinked_at, Uuid::now_v7()), item);
    }

    /// Removes the last traces of what was deleted on the nodes of an entry.
    pub(super) fn forget(&mut self, done: DeletedChunks<'_>) {
        match done {
            DeletedChunks::Chunks(chunks) => self.forget_chunks(chunks),
            DeletedChunks::Copies(chunk) => self.displace(chunk),
        }
    }

    /// Removes the last traces of chunks that were deleted on every node.
    fn forget_chunks(&mut self, chunks: &[ChunkRef]) {
        for chunk in chunks {
            self.displace(chunk);
            self.delete(REPAIR, keys::chunk(chunk.id));
        }
    }

    fn displace(&mut self, chunk: &ChunkRef) {
        for &node in &chunk.replicas {
            self.delete(NODE_CHUNKS, keys::node_chunk(node, chunk.id));
        }
    }
}
