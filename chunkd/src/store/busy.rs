//! One change at a time to one chunk, so that two puts, or a put and a delete, never mix.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use chunkproto::ChunkId;

/// Ids with a change under way, so that two changes to one chunk never mix.
#[derive(Default)]
pub(crate) struct BusyIds {
    ids: Mutex<HashSet<ChunkId>>,
    freed: Condvar,
}

/// The sole right to change one chunk.
pub(crate) struct Busy<'a>(&'a BusyIds, ChunkId);

impl BusyIds {
    /// Waits until no other change to `id` is under way. Never to be entered twice by one thread.
    pub fn enter(&self, id: ChunkId) -> Busy<'_> {
        let mut ids = self.ids();
        while !ids.insert(id) {
            ids = self.freed.wait(ids).unwrap_or_else(PoisonError::into_inner);
        }
        Busy(self, id)
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<ChunkId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.ids().remove(&self.1);
        self.0.freed.notify_all();
    }
}
