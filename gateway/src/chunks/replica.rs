//! One replica of one chunk while it is written: a bounded queue of pieces on one side, the
//! transport's PUT on the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunkproto::{ChunkError, ChunkPut, ChunkReceipt, ChunkResult, NodeId};
use futures::StreamExt as _;
use futures::stream;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::ChunkTransport;
use crate::cluster::Membership;

/// Pieces that wait for a slow node before the client is slowed down.
const QUEUE_PIECES: usize = 4;
/// A node that takes no piece for so long has failed.
const STALL_MAX: Duration = Duration::from_secs(20);
/// A node that does not acknowledge a whole chunk for so long has failed.
const ACK_MAX: Duration = Duration::from_secs(60);

/// A replica under way. Dropped before `finish`, it is given up: the node sees the body end too soon
/// and keeps nothing.
pub struct ReplicaWrite {
    node: NodeId,
    pieces: mpsc::Sender<Bytes>,
    put: AbortOnDropHandle<ChunkResult<ChunkReceipt>>,
}

/// The node that failed, and how.
#[derive(Debug, Clone)]
pub struct ReplicaFailure {
    /// The node.
    pub node: NodeId,
    /// What it said.
    pub error: ChunkError,
}

impl ReplicaWrite {
    /// Begins a PUT on `node`. The request is counted as in flight until it ends.
    pub fn begin(
        transport: Arc<dyn ChunkTransport>,
        membership: &Membership,
        node: NodeId,
        put: ChunkPut,
    ) -> Self {
        let (pieces, mut queue) = mpsc::channel::<Bytes>(QUEUE_PIECES);
        let in_flight = membership.begin_request(node);
        let body = stream::poll_fn(move |cx| queue.poll_recv(cx))
            .map(Ok)
            .boxed();
        let put = AbortOnDropHandle::new(tokio::spawn(async move {
            let _in_flight = in_flight;
            transport.put(node, put, body).await
        }));
        Self { node, pieces, put }
    }

    /// The node that is written to.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Queues the next piece. An error means that the replica has failed; `finish` says how.
    pub async fn send(&self, piece: Bytes) -> Result<(), ()> {
        match tokio::time::timeout(STALL_MAX, self.pieces.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }

    /// Ends the body and waits until the node says that the chunk is durable.
    pub async fn finish(self) -> Result<(NodeId, ChunkReceipt), ReplicaFailure> {
        let Self {
            node,
            pieces,
            mut put,
        } = self;
        drop(pieces);
        let outcome = match tokio::time::timeout(ACK_MAX, &mut put).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panicked)) => Err(ChunkError::Io(panicked.to_string())),
            Err(_) => Err(ChunkError::Unreachable(format!(
                "no acknowledgement in {ACK_MAX:?}"
            ))),
        };
        outcome
            .map(|receipt| (node, receipt))
            .map_err(|error| ReplicaFailure { node, error })
    }
}
