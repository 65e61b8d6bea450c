//! Chunks with a replica that could not be read, on their way from the requests to the repair queue.
//! Only hints: where too many come, some are lost, and the scrub finds those chunks again.

use metastore::ChunkRef;
use tokio::sync::mpsc;

/// Hints that wait to be written down.
const HINTS_MAX: usize = 4096;

/// Takes hints. Cheap to clone; giving one never waits.
#[derive(Debug, Clone)]
pub struct RepairHints(mpsc::Sender<ChunkRef>);

/// Receives the hints.
pub type HintQueue = mpsc::Receiver<ChunkRef>;

impl RepairHints {
    /// Creates the sender for readers and the queue for the job. If the queue is dropped, hints sent
    /// are ignored.
    #[must_use]
    pub fn new() -> (Self, HintQueue) {
        let (sender, queue) = mpsc::channel(HINTS_MAX);
        (Self(sender), queue)
    }

    /// Notes that a replica of the chunk is missing or damaged.
    pub fn give(&self, chunk: &ChunkRef) {
        if self.0.try_send(chunk.clone()).is_err() {
            tracing::debug!(chunk = %chunk.id, "a hint for repair was dropped");
        }
    }
}
