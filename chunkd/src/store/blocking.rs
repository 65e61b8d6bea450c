//! The one place where the crate leaves the async runtime for file and index work. A disk's work
//! is limited, so that one that hangs does not take all threads that others need.

use std::sync::Arc;

use chunkproto::{ChunkError, ChunkResult};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{self, JoinHandle};

/// Blocking work under way. Dropping it does not stop the work; its result is dropped at its end.
pub(crate) struct Blocking<T>(JoinHandle<ChunkResult<T>>);

/// How much of the same kind of work may be on the blocking pool at a time. A clone shares the limit.
#[derive(Clone)]
pub(crate) struct WorkLimit(Arc<Semaphore>);

impl WorkLimit {
    /// Admits so much work at a time.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// Starts `work` when it is its turn. Nothing is done if the future is dropped before.
    pub async fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> ChunkResult<T> + Send + 'static,
    ) -> Blocking<T> {
        let turn = Arc::clone(&self.0).acquire_owned().await;
        start(turn.expect("turns are never closed"), work)
    }

    /// Starts `work` if it is its turn at once.
    pub fn try_start<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> ChunkResult<T> + Send + 'static,
    ) -> Option<Blocking<T>> {
        let turn = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(start(turn, work))
    }

    /// Runs `work` when it is its turn, and waits for it.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> ChunkResult<T> + Send + 'static,
    ) -> ChunkResult<T> {
        self.start(work).await.finish().await
    }
}

fn start<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    work: impl FnOnce() -> ChunkResult<T> + Send + 'static,
) -> Blocking<T> {
    Blocking(task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    }))
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
