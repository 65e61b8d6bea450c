//! A gateway's way to the nodes: the chunk transport over the simulated network.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chunkproto::wire::ListPage;
use chunkproto::{
    ByteRange, ChunkError, ChunkId, ChunkInfo, ChunkPut, ChunkRead, ChunkReceipt, ChunkResult,
    ChunkStream, Fence, IdRange, InventoryDigest, NodeId, OwnerHint,
};
use futures::{StreamExt as _, TryStreamExt as _};
use gateway::chunks::ChunkTransport;
use tokio::time::timeout;

use crate::network::{Network, Peer};
use crate::node::Node;
use crate::witness::Witness;

/// As the transport over HTTP, a short call takes no longer than this.
const SHORT_CALL_MAX: Duration = Duration::from_secs(30);

pub struct Wire {
    pub gateway: usize,
    pub network: Arc<Network>,
    pub witness: Arc<Witness>,
}

impl Wire {
    fn from(&self) -> Peer {
        Peer::Gateway(self.gateway)
    }

    async fn short<T: Send + 'static>(
        &self,
        node: NodeId,
        work: impl FnOnce(&Node) -> ChunkResult<T> + Send + 'static,
    ) -> ChunkResult<T> {
        let call = self
            .network
            .call(self.from(), node, |node| async move { work(&node) });
        in_time(call).await
    }

    fn note(&self, what: &str, node: NodeId, chunk: ChunkId, outcome: &str) {
        let gateway = self.gateway;
        let what = format!("gateway {gateway}: {what} {node} {chunk} {outcome}");
        self.witness.tell(what);
    }
}

async fn in_time<T>(call: impl Future<Output = ChunkResult<T>>) -> ChunkResult<T> {
    let late = |_| Err(ChunkError::Unreachable("no answer in time".into()));
    timeout(SHORT_CALL_MAX, call).await.unwrap_or_else(late)
}

fn outcome<T>(result: &ChunkResult<T>) -> &'static str {
    match result {
        Ok(_) => "well",
        Err(_) => "failed",
    }
}

#[async_trait]
impl ChunkTransport for Wire {
    async fn put(
        &self,
        node: NodeId,
        put: ChunkPut,
        body: ChunkStream,
    ) -> ChunkResult<ChunkReceipt> {
        let chunk = put.id;
        let body = self.network.send(self.from(), node, body);
        let work = move |node: Arc<Node>| async move { node.put(put, body).await };
        let done = self.network.call(self.from(), node, work).await;
        self.note("put", node, chunk, outcome(&done));
        done
    }

    async fn get(
        &self,
        node: NodeId,
        chunk: ChunkId,
        range: Option<ByteRange>,
    ) -> ChunkResult<ChunkRead> {
        let work = move |node: Arc<Node>| async move { node.open(chunk) };
        let opened = self.network.call(self.from(), node, work).await;
        self.note("get", node, chunk, outcome(&opened));
        let (info, mut pieces) = opened?;
        if let Some(range) = range {
            cut(&mut pieces, range);
        }
        let stream = self.network.deliver(node, self.from(), pieces);
        Ok(ChunkRead { info, stream })
    }

    async fn head(&self, node: NodeId, chunk: ChunkId) -> ChunkResult<ChunkInfo> {
        self.short(node, move |node| node.disk().head(chunk)).await
    }

    async fn delete(&self, node: NodeId, chunk: ChunkId, fence: Option<&Fence>) -> ChunkResult<()> {
        let (fence, witness, gateway) = (fence.cloned(), Arc::clone(&self.witness), self.gateway);
        let work = move |node: Arc<Node>| async move {
            let _admitted = node.admit(fence.clone()).await?;
            node.wait().await;
            witness.see_fence(node.id, fence.as_ref());
            witness.see_delete(gateway, &node, chunk);
            node.disk().remove(chunk);
            Ok(())
        };
        let done = in_time(self.network.call(self.from(), node, work)).await;
        self.note("delete", node, chunk, outcome(&done));
        done
    }

    async fn digest(&self, node: NodeId, range: IdRange) -> ChunkResult<InventoryDigest> {
        self.short(node, move |node| Ok(node.disk().digest(range)))
            .await
    }

    async fn list(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> ChunkResult<ListPage> {
        let list = move |node: &Node| {
            let mut chunks = node.disk().inventory();
            chunks.retain(|chunk| Some(chunk.id) > after);
            let truncated = chunks.len() > limit;
            chunks.truncate(limit);
            Ok(ListPage {
                chunks,
                truncated,
                incomplete: false,
            })
        };
        self.short(node, list).await
    }

    async fn owner(&self, node: NodeId, chunk: ChunkId) -> ChunkResult<Option<OwnerHint>> {
        self.short(node, move |node| node.disk().owner(chunk).map(Some))
            .await
    }

    async fn copy(
        &self,
        target: NodeId,
        chunk: ChunkId,
        source: NodeId,
        fence: Option<&Fence>,
    ) -> ChunkResult<ChunkReceipt> {
        let (network, fence) = (Arc::clone(&self.network), fence.cloned());
        let witness = Arc::clone(&self.witness);
        let work = move |node: Arc<Node>| async move {
            let _admitted = node.admit(fence.clone()).await?;
            let to = Peer::Node(target);
            let read = move |node: Arc<Node>| async move {
                let owner = node.disk().owner(chunk)?;
                Ok((owner, node.open(chunk)?))
            };
            let opened = network.call(to, source, read).await;
            let (owner, (info, pieces)) = opened.map_err(ChunkError::of_source)?;
            let put = ChunkPut {
                id: chunk,
                length_bytes: info.length_bytes,
                owner,
            };
            let body = network.deliver(source, to, pieces);
            let body = body.map_err(ChunkError::of_source).boxed();
            let copied = node.put(put, body).await;
            witness.see_fence(target, fence.as_ref());
            copied
        };
        let copied = self.network.call(self.from(), target, work).await;
        self.note("copy", target, chunk, outcome(&copied));
        copied
    }
}

/// Leaves of a chunk's pieces what lies in the range.
fn cut(pieces: &mut Vec<ChunkResult<Bytes>>, range: ByteRange) {
    let (mut at, mut cut) = (0, Vec::new());
    for piece in std::mem::take(pieces) {
        let Ok(piece) = piece else {
            cut.push(piece);
            break;
        };
        let end = at + piece.len() as u64;
        let (from, to) = (range.start.max(at), range.end.min(end));
        if from < to {
            let inside = |place: u64| usize::try_from(place - at).unwrap();
            cut.push(Ok(piece.slice(inside(from)..inside(to))));
        }
        at = end;
    }
    *pieces = cut;
}
