//! What stands on a node.

use chunkproto::{ChunkId, NodeId};

use super::state::State;

impl State {
    pub(super) fn chunks_on_node(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> Vec<ChunkId> {
        let on_node = self.node_chunks.iter().filter(|(on, _)| *on == node);
        on_node
            .map(|(_, chunk)| *chunk)
            .filter(|&chunk| Some(chunk) > after)
            .take(limit)
            .collect()
    }
}
