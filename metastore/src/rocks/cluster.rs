//! The cluster's own rows: nodes, what operators want of them, what stands on a node.

use chunkproto::{ChunkId, NodeId};

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::read::Store;
use super::tables::{NODE_CHUNKS, NODE_PHASES, NODES};
use crate::{MetaResult, NodePhase, NodeRow};

impl Engine {
    pub(super) async fn put_node(&self, node: &NodeRow) -> MetaResult<()> {
        let mut batch = Batch::default();
        batch.put(NODES, keys::id(node.id.into()), node);
        self.commit(batch, Vec::new()).await
    }

    pub(super) async fn set_node_phase(&self, node: NodeId, phase: NodePhase) -> MetaResult<()> {
        let mut batch = Batch::default();
        batch.put(NODE_PHASES, keys::id(node.into()), &phase);
        self.commit(batch, Vec::new()).await
    }
}

impl Store {
    pub(super) fn node_phases(&self) -> MetaResult<Vec<(NodeId, NodePhase)>> {
        let found = self.range(NODE_PHASES, Vec::new(), keys::past(&[]), usize::MAX)?;
        let phase =
            |(key, phase): (Vec<u8>, NodePhase)| Ok((keys::node_of(NODE_PHASES, &key)?, phase));
        found.into_iter().map(phase).collect()
    }

    pub(super) fn nodes(&self) -> MetaResult<Vec<NodeRow>> {
        let found = self.range(NODES, Vec::new(), keys::past(&[]), usize::MAX)?;
        Ok(found.into_iter().map(|(_, node)| node).collect())
    }

    pub(super) fn chunks_on_node(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<ChunkId>> {
        let start = match after {
            Some(chunk) => keys::behind(keys::node_chunk(node, chunk)),
            None => keys::id(node.into()),
        };
        let found = self.range(NODE_CHUNKS, start, keys::past(node.as_bytes()), limit)?;
        found
            .iter()
            .map(|(key, ())| keys::chunk_of_node_chunk(NODE_CHUNKS, key))
            .collect()
    }
}
