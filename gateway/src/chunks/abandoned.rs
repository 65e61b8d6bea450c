//! Chunks of writes that failed or were cancelled, passed from request tasks to the garbage collection
//! queue. Best effort: if the channel is full or the process exits, reconciliation later finds them as
//! orphans.

use chunkproto::ChunkId;
use metastore::ChunkRef;
use tokio::sync::mpsc;

/// Bodies that wait to be queued.
const BODIES_MAX: usize = 1024;

/// Takes chunks that no row will ever name. Cheap to clone; giving some never waits.
#[derive(Debug, Clone)]
pub struct AbandonedChunks(mpsc::Sender<Vec<ChunkRef>>);

/// Receives them, body by body.
pub type AbandonedQueue = mpsc::Receiver<Vec<ChunkRef>>;

impl AbandonedChunks {
    /// Creates the sender for writers and the queue for the job. If the queue is dropped, chunks sent
    /// are ignored.
    #[must_use]
    pub fn new() -> (Self, AbandonedQueue) {
        let (sender, queue) = mpsc::channel(BODIES_MAX);
        (Self(sender), queue)
    }
}

/// The chunks of a body being written, each with the nodes that may hold it. Dropping it before
/// [`finish`](Self::finish) abandons them, whatever happened to the request.
pub(super) struct InFlightBody {
    abandoned: Option<AbandonedChunks>,
    chunks: Vec<ChunkRef>,
}

impl InFlightBody {
    pub(super) fn new(abandoned: Option<AbandonedChunks>) -> Self {
        let chunks = Vec::new();
        Self { abandoned, chunks }
    }

    /// Notes a chunk that was sent, and again when it is known which nodes have it.
    pub(super) fn note(&mut self, chunk: ChunkRef) {
        let is_it = |known: &&mut ChunkRef| known.id == chunk.id;
        match self.chunks.iter_mut().find(is_it) {
            Some(known) => *known = chunk,
            None => self.chunks.push(chunk),
        }
    }

    /// The body is whole: a row may come to name its chunks.
    pub(super) fn finish(mut self) {
        self.chunks.clear();
    }
}

impl Drop for InFlightBody {
    fn drop(&mut self) {
        let Some(AbandonedChunks(sender)) =
            self.abandoned.take().filter(|_| !self.chunks.is_empty())
        else {
            return;
        };
        let chunks = std::mem::take(&mut self.chunks);
        let ids: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
        if sender.try_send(chunks).is_err() {
            tracing::debug!(
                ?ids,
                "cannot queue the chunks of an abandoned body for deletion; reconciliation will find them"
            );
        }
    }
}
