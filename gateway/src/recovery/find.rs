//! Going through everything that the chunk servers hold. Costs about 500 bytes of memory for each
//! chunk that is found.

use std::collections::HashMap;
use std::sync::Arc;

use chunkproto::wire::LIST_LIMIT_MAX;
use chunkproto::{ChunkError, ChunkId, ChunkInfo, NodeId};
use futures::{StreamExt as _, stream};
use tracing::{info, warn};

use super::error::RecoveryError;
use super::found::{FoundBodies, FoundChunk, add};
use crate::chunks::ChunkTransport;

/// Chunks of one node whose hints are asked for at the same time.
const HINTS_PARALLEL: usize = 32;

/// Which chunks are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkKind {
    /// Those of objects.
    Objects,
    /// Those of the metadata's own checkpoints and log.
    Metadata,
}

/// What was found.
#[derive(Debug, Default)]
pub struct FoundChunks {
    pub bodies: FoundBodies,
    pub chunks: u64,
    pub replicas: u64,
    /// Chunks that no node could describe.
    pub unreadable: u64,
    /// Replicas that differ from those of the same chunk that were found before.
    pub differing: u64,
    /// Nodes that could not see all of their disks.
    pub incomplete_nodes: Vec<NodeId>,
}

/// Asks every one of `nodes` for all that it holds.
pub async fn find(
    transport: &Arc<dyn ChunkTransport>,
    nodes: &[NodeId],
    kind: ChunkKind,
) -> Result<FoundChunks, RecoveryError> {
    let mut search = Search {
        transport,
        kind,
        chunks: HashMap::new(),
        unread: HashMap::new(),
        find: FoundChunks::default(),
    };
    for (number, &node) in nodes.iter().enumerate() {
        let look = search.node(node).await;
        look.map_err(|source| RecoveryError::Node { node, source })?;
        info!(
            node = number + 1,
            of = nodes.len(),
            chunks = search.chunks.len(),
            "chunk servers gone through"
        );
    }
    Ok(search.finish())
}

struct Search<'s> {
    transport: &'s Arc<dyn ChunkTransport>,
    kind: ChunkKind,
    chunks: HashMap<ChunkId, FoundChunk>,
    /// Chunks that a node listed and could not describe.
    unread: HashMap<ChunkId, NodeId>,
    find: FoundChunks,
}

impl Search<'_> {
    async fn node(&mut self, node: NodeId) -> Result<(), ChunkError> {
        let mut after = match self.kind {
            ChunkKind::Objects => None,
            ChunkKind::Metadata => Some(ChunkId::LAST_OF_OBJECTS),
        };
        loop {
            let mut page = self.transport.list(node, after, LIST_LIMIT_MAX).await?;
            if page.incomplete && !self.find.incomplete_nodes.contains(&node) {
                warn!(%node, "a chunk server cannot see all of its disks; what they hold is not found there");
                self.find.incomplete_nodes.push(node);
            }
            after = page.chunks.last().map(|chunk| chunk.id);
            let is_wanted =
                |chunk: &ChunkInfo| chunk.id.is_of_metadata() == (self.kind == ChunkKind::Metadata);
            page.chunks.retain(is_wanted);
            self.page(node, page.chunks).await?;
            let is_past =
                self.kind == ChunkKind::Objects && after.is_some_and(|last| last.is_of_metadata());
            if !page.truncated || is_past {
                return Ok(());
            }
        }
    }

    async fn page(&mut self, node: NodeId, page: Vec<ChunkInfo>) -> Result<(), ChunkError> {
        let mut unknown = Vec::new();
        for info in page {
            match self.chunks.get_mut(&info.id) {
                Some(found) if found.info == info => {
                    found.nodes.push(node);
                    self.find.replicas += 1;
                }
                Some(_) => self.find.differing += 1,
                None => unknown.push(info),
            }
        }
        let asked = stream::iter(unknown).map(|info| {
            let transport = Arc::clone(self.transport);
            async move { (info, transport.owner(node, info.id).await) }
        });
        let mut asked = asked.buffer_unordered(HINTS_PARALLEL);
        while let Some((info, answer)) = asked.next().await {
            match answer {
                Ok(Some(hint)) => {
                    let nodes = vec![node];
                    self.find.replicas += 1;
                    self.unread.remove(&info.id);
                    self.chunks
                        .insert(info.id, FoundChunk { info, hint, nodes });
                }
                // Another node may have a better copy.
                Ok(None)
                | Err(ChunkError::NotFound(_) | ChunkError::Corrupt { .. } | ChunkError::Io(_)) => {
                    self.unread.insert(info.id, node);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn finish(mut self) -> FoundChunks {
        self.find.chunks = self.chunks.len() as u64;
        self.find.unreadable = self.unread.len() as u64;
        for (chunk, node) in &self.unread {
            warn!(%chunk, %node, "a chunk does not say what it belongs to; it is left out");
        }
        for chunk in self.chunks.into_values() {
            add(&mut self.find.bodies, chunk);
        }
        self.find
    }
}
