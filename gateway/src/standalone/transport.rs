//! The way to the chunk stores of this process: the same trait as to remote ones, without a network
//! hop.

use std::collections::HashMap;

use async_trait::async_trait;
use chunkd::{Admitted, ChunkNode, Fences, carry_out, digest_of, receive};
use chunkproto::wire::ListPage;
use chunkproto::{
    ByteRange, ChunkError, ChunkId, ChunkInfo, ChunkPut, ChunkRead, ChunkReceipt, ChunkResult,
    ChunkStream, Fence, IdRange, InventoryDigest, NodeId, OwnerHint,
};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::chunks::ChunkTransport;

/// The chunk transport to nodes inside this process.
pub struct EmbeddedTransport {
    nodes: HashMap<NodeId, (ChunkNode, Fences)>,
}

impl EmbeddedTransport {
    /// A transport to these nodes, each under its own id.
    #[must_use]
    pub fn new(nodes: &[ChunkNode]) -> Self {
        let by_id = |node: &ChunkNode| (node.node_id(), (node.clone(), Fences::fresh()));
        Self {
            nodes: nodes.iter().map(by_id).collect(),
        }
    }

    fn node(&self, node: NodeId) -> ChunkResult<&ChunkNode> {
        self.fenced_node(node).map(|(node, _)| node)
    }

    fn fenced_node(&self, node: NodeId) -> ChunkResult<&(ChunkNode, Fences)> {
        self.nodes
            .get(&node)
            .ok_or_else(|| ChunkError::Unreachable(format!("there is no chunk store {node} here")))
    }

    /// Lets a job's operation in by its fence, until what is returned is dropped.
    async fn admit(&self, node: NodeId, fence: Option<&Fence>) -> ChunkResult<Option<Admitted>> {
        let (_, fences) = self.fenced_node(node)?;
        match fence {
            Some(fence) => fences.admit(fence.clone()).await.map(Some),
            None => Ok(None),
        }
    }
}

#[async_trait]
impl ChunkTransport for EmbeddedTransport {
    async fn put(
        &self,
        node: NodeId,
        put: ChunkPut,
        body: ChunkStream,
    ) -> ChunkResult<ChunkReceipt> {
        self.node(node)?.put(put, body).await
    }

    async fn get(
        &self,
        node: NodeId,
        chunk: ChunkId,
        range: Option<ByteRange>,
    ) -> ChunkResult<ChunkRead> {
        self.node(node)?.get(chunk, range).await
    }

    async fn head(&self, node: NodeId, chunk: ChunkId) -> ChunkResult<ChunkInfo> {
        self.node(node)?.head(chunk).await
    }

    async fn delete(&self, node: NodeId, chunk: ChunkId, fence: Option<&Fence>) -> ChunkResult<()> {
        let admitted = self.admit(node, fence).await?;
        let node = self.node(node)?.clone();
        carry_out(admitted, async move { node.delete(chunk).await }).await
    }

    async fn digest(&self, node: NodeId, range: IdRange) -> ChunkResult<InventoryDigest> {
        let node = self.node(node)?;
        let list = |after, limit| async move {
            let listing = node.list(after, limit).await?;
            match listing.incomplete {
                true => Err(ChunkError::Refused("its disk is fenced off".into())),
                false => Ok(listing.chunks),
            }
        };
        digest_of(range, list).await
    }

    async fn list(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> ChunkResult<ListPage> {
        let mut listing = self.node(node)?.list(after, limit + 1).await?;
        let truncated = listing.chunks.len() > limit;
        listing.chunks.truncate(limit);
        Ok(ListPage {
            chunks: listing.chunks,
            truncated,
            incomplete: listing.incomplete,
        })
    }

    async fn owner(&self, node: NodeId, chunk: ChunkId) -> ChunkResult<Option<OwnerHint>> {
        let (_, owner) = self.node(node)?.head_with_owner(chunk).await?;
        Ok(owner)
    }

    async fn copy(
        &self,
        target: NodeId,
        chunk: ChunkId,
        source: NodeId,
        fence: Option<&Fence>,
    ) -> ChunkResult<ChunkReceipt> {
        let admitted = self.admit(target, fence).await?;
        let source = self.node(source).map_err(ChunkError::of_source)?;
        let owner = source.owner(chunk).await.map_err(ChunkError::of_source)?;
        let read = source.get(chunk, None).await;
        let read = read.map_err(ChunkError::of_source)?;
        let put = ChunkPut {
            id: chunk,
            length_bytes: read.info.length_bytes,
            owner,
        };
        let body = read.stream.map_err(ChunkError::of_source).boxed();
        let target = self.node(target)?.clone();
        let keep = move |body| async move { target.put(put, body).await };
        receive(admitted, body, keep).await
    }
}
