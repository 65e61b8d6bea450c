//! What nodes in memory do for those who call them, each as its fault has it.

use async_trait::async_trait;
use bytes::Bytes;
use chunkd::Admitted;
use chunkproto::wire::ListPage;
use chunkproto::{
    ByteRange, ChunkError, ChunkId, ChunkInfo, ChunkPut, ChunkRead, ChunkReceipt, ChunkResult,
    ChunkStream, Crc64, Fence, IdRange, InventoryDigest, NodeId, OwnerHint,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use gateway::chunks::ChunkTransport;

use super::bodies::nobody;
use super::{Fault, Nodes, PIECE_BYTES};

impl Nodes {
    pub(super) async fn admit(
        &self,
        node: NodeId,
        fence: Option<&Fence>,
    ) -> ChunkResult<Option<Admitted>> {
        let fences = self.nodes.lock().unwrap()[&node].1.fences.clone();
        match fence {
            Some(fence) => fences.admit(fence.clone()).await.map(Some),
            None => Ok(None),
        }
    }

    /// Everything that a node holds, in id order.
    fn held(&self, node: NodeId) -> ChunkResult<Vec<ChunkInfo>> {
        self.fault(node)?;
        let nodes = self.nodes.lock().unwrap();
        let info = |(&id, bytes): (&ChunkId, &Bytes)| ChunkInfo {
            id,
            length_bytes: bytes.len() as u64,
            crc64: Crc64::of(bytes),
        };
        Ok(nodes[&node].1.chunks.iter().map(info).collect())
    }

    /// Makes a call's way to a node.
    async fn reach(&self, node: NodeId) -> ChunkResult<Fault> {
        let hook = self.on_the_wire.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook().await;
        }
        self.fault(node)
    }

    fn fault(&self, node: NodeId) -> ChunkResult<Fault> {
        match self.nodes.lock().unwrap()[&node].0 {
            Fault::Gone => Err(ChunkError::Unreachable("connection refused".into())),
            fault => Ok(fault),
        }
    }
}

#[async_trait]
impl ChunkTransport for Nodes {
    async fn put(
        &self,
        node: NodeId,
        put: ChunkPut,
        mut body: ChunkStream,
    ) -> ChunkResult<ChunkReceipt> {
        self.nodes.lock().unwrap().get_mut(&node).unwrap().1.puts += 1;
        let fault = self.reach(node).await?;
        if fault == Fault::Full {
            return Err(ChunkError::Full("no room".into()));
        }
        let mut stored = Vec::new();
        while let Some(piece) = body.try_next().await? {
            stored.extend_from_slice(&piece);
            if let Fault::Trickles(rest) = fault {
                tokio::time::sleep(rest).await;
            }
            if matches!(fault, Fault::DiesAfter(limit) if stored.len() as u64 >= limit) {
                return Err(ChunkError::Unreachable("connection reset".into()));
            }
        }
        if let Some(held) = self.crc64(node, put.id)
            && held != Crc64::of(&stored)
        {
            return Err(ChunkError::Conflict(put.id));
        }
        if stored.len() as u64 != put.length_bytes {
            return Err(ChunkError::BadBody("too short".into()));
        }
        if fault == Fault::NeverAcks {
            std::future::pending::<()>().await;
        }
        if fault == Fault::DiesAtSync {
            return Err(ChunkError::Unreachable("connection reset".into()));
        }
        if fault == Fault::StoresGarbage {
            stored[0] ^= 1;
        }
        let receipt = ChunkReceipt {
            length_bytes: stored.len() as u64,
            crc64: Crc64::of(&stored),
        };
        {
            let mut nodes = self.nodes.lock().unwrap();
            let (_, state) = nodes.get_mut(&node).unwrap();
            state.chunks.insert(put.id, stored.into());
            state.owners.insert(put.id, put.owner);
        }
        self.reach(node).await?;
        Ok(receipt)
    }

    async fn get(
        &self,
        node: NodeId,
        chunk: ChunkId,
        range: Option<ByteRange>,
    ) -> ChunkResult<ChunkRead> {
        let fault = self.reach(node).await?;
        let info = self.head(node, chunk).await?;
        let mut bytes = {
            let mut nodes = self.nodes.lock().unwrap();
            let (_, state) = nodes.get_mut(&node).unwrap();
            state.reads += 1;
            state.chunks[&chunk].to_vec()
        };
        if fault == Fault::SendsGarbage {
            bytes[0] ^= 1;
        }
        if let Some(ByteRange { start, end }) = range {
            bytes = bytes[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()].to_vec();
        }
        let mut pieces = Vec::new();
        let mut sent = 0;
        for piece in bytes.chunks(PIECE_BYTES) {
            if matches!(fault, Fault::RotsAfter(limit) if sent >= limit) {
                let detail = "a block has another checksum".into();
                pieces.push(Err(ChunkError::Corrupt { chunk, detail }));
                break;
            }
            sent += piece.len() as u64;
            pieces.push(Ok(Bytes::copy_from_slice(piece)));
        }
        Ok(ChunkRead {
            info,
            stream: stream::iter(pieces).boxed(),
        })
    }

    async fn head(&self, node: NodeId, chunk: ChunkId) -> ChunkResult<ChunkInfo> {
        self.reach(node).await?;
        let nodes = self.nodes.lock().unwrap();
        let bytes = nodes[&node].1.chunks.get(&chunk);
        let bytes = bytes.ok_or(ChunkError::NotFound(chunk))?;
        Ok(ChunkInfo {
            id: chunk,
            length_bytes: bytes.len() as u64,
            crc64: Crc64::of(bytes),
        })
    }

    async fn delete(&self, node: NodeId, chunk: ChunkId, fence: Option<&Fence>) -> ChunkResult<()> {
        *self.deletes.lock().unwrap().entry(node).or_default() += 1;
        self.reach(node).await?;
        let _admitted = self.admit(node, fence).await?;
        let mut nodes = self.nodes.lock().unwrap();
        nodes.get_mut(&node).unwrap().1.chunks.remove(&chunk);
        Ok(())
    }

    async fn digest(&self, node: NodeId, range: IdRange) -> ChunkResult<InventoryDigest> {
        self.reach(node).await?;
        let held = self.held(node)?;
        let inside = held.iter().filter(|chunk| range.contains(chunk.id));
        Ok(InventoryDigest::of(inside))
    }

    async fn list(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> ChunkResult<ListPage> {
        *self.lists.lock().unwrap() += 1;
        self.reach(node).await?;
        let mut chunks = self.held(node)?;
        chunks.retain(|chunk| Some(chunk.id) > after);
        let truncated = chunks.len() > limit;
        chunks.truncate(limit);
        Ok(ListPage {
            chunks,
            truncated,
            incomplete: false,
        })
    }

    async fn owner(&self, node: NodeId, chunk: ChunkId) -> ChunkResult<Option<OwnerHint>> {
        self.head(node, chunk).await?;
        let nodes = self.nodes.lock().unwrap();
        Ok(nodes[&node].1.owners.get(&chunk).cloned())
    }

    async fn copy(
        &self,
        target: NodeId,
        chunk: ChunkId,
        source: NodeId,
        fence: Option<&Fence>,
    ) -> ChunkResult<ChunkReceipt> {
        let _admitted = self.admit(target, fence).await?;
        let hook = self.before_copies.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook().await;
        }
        self.copied.lock().unwrap().push(chunk);
        if self.fault(source).map_err(ChunkError::of_source)? == Fault::CutOffFromNodes {
            let detail = "connection refused".into();
            return Err(ChunkError::SourceUnavailable(detail));
        }
        let owner = self.owner(source, chunk).await;
        let owner = owner.map_err(ChunkError::of_source)?.unwrap_or_else(nobody);
        let read = self.get(source, chunk, None).await;
        let read = read.map_err(ChunkError::of_source)?;
        let put = ChunkPut {
            id: chunk,
            length_bytes: read.info.length_bytes,
            owner,
        };
        let body = read.stream.map_err(ChunkError::of_source).boxed();
        self.put(target, put, body).await
    }
}
