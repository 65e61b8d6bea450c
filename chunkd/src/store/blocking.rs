//! The one place where the crate leaves the async runtime for file and index work.

use chunkproto::{ChunkError, ChunkResult};
use tokio::task::{self, JoinHandle};

/// Blocking work under way. Dropping it does not stop the work; its result is dropped at its end.
pub(crate) struct Blocking<T>(JoinHandle<ChunkResult<T>>);

/// Starts `work` on the blocking pool.
pub(crate) fn start<T: Send + 'static>(
    work: impl FnOnce() -> ChunkResult<T> + Send + 'static,
) -> Blocking<T> {
    Blocking(task::spawn_blocking(work))
}

/// Runs `work` on the blocking pool and waits for it.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> ChunkResult<T> + Send + 'static,
) -> ChunkResult<T> {
    start(work).finish().await
}

impl<T> Blocking<T> {
    /// Waits for the work's result.
    pub async fn finish(self) -> ChunkResult<T> {
        match self.0.await {
            Ok(result) => result,
            Err(error) => Err(ChunkError::Io(format!(
                "blocking work did not finish: {error}"
            ))),
        }
    }
}
