//! Chunks of bodies that came to nothing, on their way from the requests to garbage collection: the
//! client went away, or too few nodes took the rest. Where too many come, or the process ends, some are
//! lost; then they are found as strays when their nodes are compared with the rows.

use chunkproto::ChunkId;
use metastore::ChunkRef;
use tokio::sync::mpsc;

/// Bodies that wait to be written down.
const BODIES_MAX: usize = 1024;

/// Takes chunks that no row will ever name. Cheap to clone; giving some never waits.
#[derive(Debug, Clone)]
pub struct Leftovers(mpsc::Sender<Vec<ChunkRef>>);

/// Where they come out, body by body.
pub type LeftoverQueue = mpsc::Receiver<Vec<ChunkRef>>;

impl Leftovers {
    /// A way for leftovers, and its end. Without the end, they go nowhere.
    #[must_use]
    pub fn new() -> (Self, LeftoverQueue) {
        let (sender, queue) = mpsc::channel(BODIES_MAX);
        (Self(sender), queue)
    }
}

/// The chunks of a body under way, each with the nodes that may hold it. They are leftovers unless the
/// body comes to its end, whatever happens to the request.
pub(super) struct Unfinished {
    leftovers: Option<Leftovers>,
    chunks: Vec<ChunkRef>,
}

impl Unfinished {
    pub(super) fn new(leftovers: Option<Leftovers>) -> Self {
        let chunks = Vec::new();
        Self { leftovers, chunks }
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

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(Leftovers(sender)) = self.leftovers.take().filter(|_| !self.chunks.is_empty())
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
