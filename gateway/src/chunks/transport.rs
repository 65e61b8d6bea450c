//! The one way from the gateway to a node's chunks: over HTTP, inside the process, or through a
//! wrapper that injects faults. `gateway/tests/transport` runs one conformance suite against all.

use async_trait::async_trait;
use chunkproto::wire::ListPage;
use chunkproto::{
    ByteRange, ChunkId, ChunkInfo, ChunkPut, ChunkRead, ChunkReceipt, ChunkResult, ChunkStream,
    Fence, IdRange, InventoryDigest, NodeId, OwnerHint,
};

/// Chunk operations on a node that is named by its id.
#[async_trait]
pub trait ChunkTransport: Send + Sync + 'static {
    /// Stores a chunk. On success it is durable on the node, whole. On an error, or when the
    /// caller drops the future, it may or may not be there; it is never there in part. Putting
    /// the same bytes again under the same id succeeds.
    ///
    /// # Errors
    /// `Conflict` for other bytes under the id; `BadBody` when `body` is not as long as declared.
    async fn put(
        &self,
        node: NodeId,
        put: ChunkPut,
        body: ChunkStream,
    ) -> ChunkResult<ChunkReceipt>;

    /// Opens a chunk, or a range of it. Bytes are verified before they are yielded; the stream
    /// ends with an error where that fails, or yields exactly the range.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`.
    async fn get(
        &self,
        node: NodeId,
        chunk: ChunkId,
        range: Option<ByteRange>,
    ) -> ChunkResult<ChunkRead>;

    /// What the node says of a chunk.
    ///
    /// # Errors
    /// `NotFound`.
    async fn head(&self, node: NodeId, chunk: ChunkId) -> ChunkResult<ChunkInfo>;

    /// Deletes a chunk durably. Deleting one that is not there succeeds. A job gives its fence.
    ///
    /// # Errors
    /// `Fenced` once the node has seen a newer fence of the job.
    async fn delete(&self, node: NodeId, chunk: ChunkId, fence: Option<&Fence>) -> ChunkResult<()>;

    /// The digest of the chunks that the node holds in a range of ids.
    ///
    /// # Errors
    /// `Refused` while it cannot see all that it holds.
    async fn digest(&self, node: NodeId, range: IdRange) -> ChunkResult<InventoryDigest>;

    /// Up to `limit` chunks that the node holds, in id order, those behind `after`.
    async fn list(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> ChunkResult<ListPage>;

    /// What the chunk says of its object; `None` if that is in a format of a later version.
    async fn owner(&self, node: NodeId, chunk: ChunkId) -> ChunkResult<Option<OwnerHint>>;

    /// Makes `target` fetch a chunk from `source` and store it, as durably as `put`. A job gives its
    /// fence.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt` and `SourceUnavailable` where the source does not yield the chunk: nothing was
    /// kept, and another source may do. Otherwise as `put` on the target; `Fenced` as `delete`.
    async fn copy(
        &self,
        target: NodeId,
        chunk: ChunkId,
        source: NodeId,
        fence: Option<&Fence>,
    ) -> ChunkResult<ChunkReceipt>;
}
