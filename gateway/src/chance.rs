//! What nobody can foresee, passed in so that a test can own it: the ids of new chunks, and lots
//! between what is equally good.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use chunkproto::ChunkId;
use uuid::Uuid;

/// Yields ids and lots. Cheap to clone.
#[derive(Clone)]
pub struct Chance {
    ids: Arc<dyn Fn() -> ChunkId + Send + Sync>,
    lots: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Chance {
    /// Fresh ids by the system's clock, and lots that differ from process to process.
    #[must_use]
    pub fn system() -> Self {
        let random = RandomState::new();
        Self::of(ChunkId::generate, move || random.hash_one(Uuid::now_v7()))
    }

    /// Ids from `ids`, which must never repeat one, and lots from `lots`.
    #[must_use]
    pub fn of(
        ids: impl Fn() -> ChunkId + Send + Sync + 'static,
        lots: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            ids: Arc::new(ids),
            lots: Arc::new(lots),
        }
    }

    /// The id of a new chunk of an object.
    #[must_use]
    pub fn chunk_id(&self) -> ChunkId {
        (self.ids)()
    }

    /// A number that decides between equals.
    #[must_use]
    pub fn lot(&self) -> u64 {
        (self.lots)()
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chance").finish_non_exhaustive()
    }
}
