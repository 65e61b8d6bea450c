//! One change at a time to one chunk, so that two puts, or a put and a delete, never mix.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunkproto::ChunkId;
use futures::executor;
use tokio::sync::Notify;

/// Ids with a change under way.
#[derive(Default)]
pub(crate) struct ChunkLocks {
    ids: Mutex<HashSet<ChunkId>>,
    freed: Notify,
}

/// The sole right to change one chunk.
pub(crate) struct ChunkLock {
    ids: Arc<ChunkLocks>,
    id: ChunkId,
}

impl ChunkLocks {
    /// Waits until no other change to `id` is under way. Never to be locked twice by one caller.
    pub async fn lock(self: &Arc<Self>, id: ChunkId) -> ChunkLock {
        loop {
            let mut freed = pin!(self.freed.notified());
            // IMPORTANT: listen before looking, or a change that ends in between is missed.
            freed.as_mut().enable();
            if self.ids().insert(id) {
                return ChunkLock {
                    ids: Arc::clone(self),
                    id,
                };
            }
            freed.await;
        }
    }

    /// Does not wait; `None` while another change to `id` is under way.
    pub fn try_lock(self: &Arc<Self>, id: ChunkId) -> Option<ChunkLock> {
        self.ids().insert(id).then(|| ChunkLock {
            ids: Arc::clone(self),
            id,
        })
    }

    /// As [`lock`](Self::lock), for a thread that may block and that no change waits for.
    pub fn lock_blocking(self: &Arc<Self>, id: ChunkId) -> ChunkLock {
        executor::block_on(self.lock(id))
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<ChunkId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ChunkLock {
    fn drop(&mut self) {
        self.ids.ids().remove(&self.id);
        self.ids.freed.notify_waiters();
    }
}
