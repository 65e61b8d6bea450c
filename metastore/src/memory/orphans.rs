//! Orphans: chunks on nodes that no row places there.

use chunkproto::{ChunkId, ChunkInfo, NodeId};

use super::state::State;
use crate::{GcItem, MetaError, MetaResult, Orphan, OrphanFate, Timestamp};

impl State {
    pub(super) fn note_orphans(&mut self, node: NodeId, chunks: &[ChunkInfo], now: Timestamp) {
        for chunk in chunks {
            let orphan = Orphan {
                chunk: *chunk,
                since: now,
                quarantined_at: None,
            };
            self.orphans.entry((node, chunk.id)).or_insert(orphan);
        }
    }

    pub(super) fn orphans_of(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> Vec<Orphan> {
        let own = self.orphans.iter().filter(|((on, _), _)| *on == node);
        own.filter(|((_, chunk), _)| Some(*chunk) > after)
            .map(|(_, orphan)| orphan.clone())
            .take(limit)
            .collect()
    }

    pub(super) fn quarantine_orphan(
        &mut self,
        node: NodeId,
        chunk: ChunkId,
        now: Timestamp,
    ) -> MetaResult<()> {
        let place = (node, chunk);
        let orphan = self.orphans.get_mut(&place);
        let Some(orphan) = orphan.filter(|orphan| orphan.quarantined_at.is_none()) else {
            return Ok(());
        };
        if !self.node_chunks.insert(place) {
            return Err(MetaError::Conflict);
        }
        orphan.quarantined_at = Some(now);
        Ok(())
    }

    pub(super) fn end_orphan(&mut self, node: NodeId, chunk: ChunkId, fate: OrphanFate) {
        let place = (node, chunk);
        let Some(orphan) = self.orphans.get(&place).cloned() else {
            return;
        };
        match fate {
            OrphanFate::Spared => {
                self.orphans.remove(&place);
            }
            OrphanFate::Garbage(now) if orphan.quarantined_at.is_some() => {
                self.orphans.remove(&place);
                self.queue(GcItem::Copies(orphan.copy_on(node)), now);
            }
            OrphanFate::Garbage(_) => {}
        }
    }
}
