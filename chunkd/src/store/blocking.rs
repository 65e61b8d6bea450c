//! The one place where the crate leaves the async runtime for file and index work.

use std::sync::Arc;

use chunkproto::{ChunkError, ChunkResult};
use tokio::sync::Semaphore;
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

/// How much of the same kind of work may be on the blocking pool at a time.
pub(crate) struct Turns(Option<Arc<Semaphore>>);

impl Turns {
    /// As much as there is.
    pub fn unlimited() -> Self {
        Self(None)
    }

    /// As much as `turns` has permits, shared with everybody who uses them.
    pub fn limited(turns: Arc<Semaphore>) -> Self {
        Self(Some(turns))
    }

    /// Starts `work` when it is its turn.
    pub async fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> ChunkResult<T> + Send + 'static,
    ) -> Blocking<T> {
        let turn = match &self.0 {
            Some(turns) => Arc::clone(turns).acquire_owned().await.ok(),
            None => None,
        };
        start(move || {
            let done = work();
            drop(turn);
            done
        })
    }
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
