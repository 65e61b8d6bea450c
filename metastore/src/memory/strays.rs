//! Strays: chunks on nodes that no row places there.

use chunkproto::{ChunkId, ChunkInfo, NodeId};

use super::state::State;
use crate::{GcItem, MetaError, MetaResult, Stray, StrayFate, Timestamp};

impl State {
    pub(super) fn note_strays(&mut self, node: NodeId, chunks: &[ChunkInfo], now: Timestamp) {
        for chunk in chunks {
            let stray = Stray {
                chunk: *chunk,
                since: now,
                quarantined_at: None,
            };
            self.strays.entry((node, chunk.id)).or_insert(stray);
        }
    }

    pub(super) fn strays_of(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> Vec<Stray> {
        let own = self.strays.iter().filter(|((on, _), _)| *on == node);
        own.filter(|((_, chunk), _)| Some(*chunk) > after)
            .map(|(_, stray)| stray.clone())
            .take(limit)
            .collect()
    }

    pub(super) fn quarantine_stray(
        &mut self,
        node: NodeId,
        chunk: ChunkId,
        now: Timestamp,
    ) -> MetaResult<()> {
        let place = (node, chunk);
        let stray = self.strays.get_mut(&place);
        let Some(stray) = stray.filter(|stray| stray.quarantined_at.is_none()) else {
            return Ok(());
        };
        if !self.node_chunks.insert(place) {
            return Err(MetaError::Conflict);
        }
        stray.quarantined_at = Some(now);
        Ok(())
    }

    pub(super) fn end_stray(&mut self, node: NodeId, chunk: ChunkId, fate: StrayFate) {
        let place = (node, chunk);
        let Some(stray) = self.strays.get(&place).cloned() else {
            return;
        };
        match fate {
            StrayFate::Spared => {
                self.strays.remove(&place);
            }
            StrayFate::Garbage(now) if stray.quarantined_at.is_some() => {
                self.strays.remove(&place);
                self.queue(GcItem::Copies(stray.copy_on(node)), now);
            }
            StrayFate::Garbage(_) => {}
        }
    }
}
