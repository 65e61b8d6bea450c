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
/// A node that takes no piece for so long has failed. Well below the 30 s after which the others
/// give up on a gateway that sends them nothing meanwhile.
const STALL_MAX: Duration = Duration::from_secs(10);
/// A node acknowledges the shortest chunk in this time …
const ACK_MIN: Duration = Duration::from_secs(10);
/// … and longer ones as if its disk still had to take all of it at this rate.
const SYNC_BYTES_PER_S: u64 = 16 * 1024 * 1024;

/// A replica under way. Dropped before `finish`, it is given up: the node sees the body end too soon
/// and keeps nothing.
pub struct ReplicaWrite {
    node: NodeId,
    /// How long everything else waited for this node alone.
    held_up: Duration,
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
        Self {
            node,
            held_up: Duration::ZERO,
            pieces,
            put,
        }
    }

    /// The node that is written to.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// How long everything else waited for this node alone.
    pub fn held_up(&self) -> Duration {
        self.held_up
    }

    /// Notes that everything else waited for this node alone.
    pub fn note_hold_up(&mut self, time: Duration) {
        self.held_up += time;
    }

    /// Queues the next piece, if that needs no waiting.
    pub fn try_send(&self, piece: Bytes) -> bool {
        self.pieces.try_send(piece).is_ok()
    }

    /// Queues the next piece; gives the replica back while it takes pieces.
    ///
    /// # Errors
    /// The node has failed, or took no piece for [`STALL_MAX`]; its PUT has ended.
    pub async fn send(self, piece: Bytes) -> Result<Self, ReplicaFailure> {
        match tokio::time::timeout(STALL_MAX, self.pieces.send(piece)).await {
            Ok(Ok(())) => Ok(self),
            Ok(Err(_)) => match self.finish(0).await {
                Err(failure) => Err(failure),
                Ok((node, _)) => {
                    let detail = "it acknowledged the chunk before the end of its body";
                    let error = ChunkError::Invalid(detail.into());
                    Err(ReplicaFailure { node, error })
                }
            },
            Err(_) => {
                let error = ChunkError::Unreachable(format!("it took no byte for {STALL_MAX:?}"));
                Err(ReplicaFailure {
                    node: self.node,
                    error,
                })
            }
        }
    }

    /// Ends the body and waits until the node says that the chunk of `length_bytes` is durable.
    ///
    /// # Errors
    /// What the node said, or that it said nothing in time.
    pub async fn finish(self, length_bytes: u64) -> Result<(NodeId, ChunkReceipt), ReplicaFailure> {
        let Self {
            node, pieces, put, ..
        } = self;
        drop(pieces);
        let time_max = ACK_MIN + Duration::from_secs(length_bytes / SYNC_BYTES_PER_S);
        let outcome = match tokio::time::timeout(time_max, put).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panicked)) => Err(ChunkError::Io(panicked.to_string())),
            Err(_) => Err(ChunkError::Unreachable(format!(
                "no acknowledgement in {time_max:?}"
            ))),
        };
        outcome
            .map(|receipt| (node, receipt))
            .map_err(|error| ReplicaFailure { node, error })
    }
}
