//! Chunks of bodies that came to nothing, on their way from the requests to garbage collection: the
//! client went away, or too few nodes took the rest. Where too many come, or the process ends, some are
//! lost; then they are found as orphans when their nodes are compared with the rows.

use chunkproto::ChunkId;
use metastore::ChunkRef;
use tokio::sync::mpsc;

/// Bodies that wait to be written down.
const BODIES_MAX: usize = 1024;

/// Takes chunks that no row will ever name. Cheap to clone; giving some never waits.
#[derive(Debug, Clone)]
pub struct AbandonedChunks(mpsc::Sender<Vec<ChunkRef>>);

/// Where they come out, body by body.
pub type AbandonedQueue = mpsc::Receiver<Vec<ChunkRef>>;

impl AbandonedChunks {
    /// A way for abandoned, and its end. Without the end, they go nowhere.
    #[must_use]
    pub fn new() -> (Self, AbandonedQueue) {
        let (sender, queue) = mpsc::channel(BODIES_MAX);
        (Self(sender), queue)
    }
}

/// The chunks of a body under way, each with the nodes that may hold it. They are abandoned unless the
/// body comes to its end, whatever happens to the request.
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
                "chunks of a body that came to nothing are left to be found"
            );
        }
    }
}
