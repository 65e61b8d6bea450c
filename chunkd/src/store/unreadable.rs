//! Chunks that the disk could not read: nothing shows that their records are wrong, so they are not set
//! aside, but nobody may count on them either. They are left out of listings, so that a gateway finds
//! them missing and has them copied from other replicas.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chunkproto::ChunkId;

use super::admission::Gate;

/// One bad sector costs the chunk that lies there; so many foretell the end of the disk.
pub(crate) const UNREADABLE_MAX: usize = 16;

/// The chunks of one disk that could not be read when that was last tried, at most [`UNREADABLE_MAX`].
#[derive(Default)]
pub(crate) struct Unreadable {
    ids: Mutex<BTreeSet<ChunkId>>,
    /// How many there are, so that nobody has to wait to learn that there is none.
    count: AtomicUsize,
}

impl Unreadable {
    /// Notes a chunk. The last one that there may be ends writing, which `gate` tells.
    pub fn note(&self, id: ChunkId, gate: &Gate) {
        let mut ids = self.ids();
        if ids.len() < UNREADABLE_MAX {
            ids.insert(id);
        }
        self.count.store(ids.len(), Ordering::Relaxed);
        if ids.len() >= UNREADABLE_MAX {
            gate.poison(format!("{UNREADABLE_MAX} chunks cannot be read"));
        }
    }

    /// Forgets a chunk that could be read, or is gone.
    pub fn forget(&self, id: ChunkId) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let mut ids = self.ids();
            ids.remove(&id);
            self.count.store(ids.len(), Ordering::Relaxed);
        }
    }

    /// Whether a chunk is one of them.
    pub fn holds(&self, id: ChunkId) -> bool {
        self.count.load(Ordering::Relaxed) > 0 && self.ids().contains(&id)
    }

    fn ids(&self) -> MutexGuard<'_, BTreeSet<ChunkId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
