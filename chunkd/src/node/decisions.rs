//! Which disk each chunk under way goes to. Puts of one chunk at the same time share one decision,
//! so that it never ends on two disks; the disk's store then sees to it that they agree.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunkproto::{ChunkId, ChunkResult};
use tokio::sync::OnceCell;

/// The decisions for the chunks being put.
#[derive(Default)]
pub(crate) struct Decisions {
    under_way: Mutex<HashMap<ChunkId, Shared>>,
}

#[derive(Default)]
struct Shared {
    holders: usize,
    disk: Arc<OnceCell<usize>>,
}

/// A share in the decision for one chunk, to be held until its put has ended.
pub(crate) struct Decision<'a> {
    all: &'a Decisions,
    id: ChunkId,
    disk: Arc<OnceCell<usize>>,
}

impl Decisions {
    /// Joins the puts of chunk `id`.
    pub fn join(&self, id: ChunkId) -> Decision<'_> {
        let mut under_way = self.lock();
        let shared = under_way.entry(id).or_default();
        shared.holders += 1;
        Decision {
            all: self,
            id,
            disk: Arc::clone(&shared.disk),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChunkId, Shared>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Decision<'_> {
    /// The disk that the chunk goes to: what another put decided, or else what `choose` says. An
    /// error decides nothing; whoever comes next chooses again.
    pub async fn disk(
        &self,
        choose: impl Future<Output = ChunkResult<usize>>,
    ) -> ChunkResult<usize> {
        self.disk.get_or_try_init(|| choose).await.copied()
    }
}

impl Drop for Decision<'_> {
    fn drop(&mut self) {
        let mut under_way = self.all.lock();
        if let Some(shared) = under_way.get_mut(&self.id) {
            shared.holders -= 1;
            if shared.holders == 0 {
                under_way.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chunkproto::ChunkError;

    use super::*;

    #[tokio::test]
    async fn puts_at_the_same_time_share_a_decision_and_later_ones_decide_anew() {
        let decisions = Decisions::default();
        let id = ChunkId::generate();
        let (first, second) = (decisions.join(id), decisions.join(id));
        let full = async { Err(ChunkError::Full("full".into())) };
        assert!(first.disk(full).await.is_err());
        assert_eq!(second.disk(async { Ok(1) }).await.unwrap(), 1);
        drop(second);
        assert_eq!(first.disk(async { Ok(2) }).await.unwrap(), 1);
        let other = decisions.join(ChunkId::generate());
        assert_eq!(other.disk(async { Ok(3) }).await.unwrap(), 3);
        drop((first, other));
        let later = decisions.join(id);
        assert_eq!(later.disk(async { Ok(2) }).await.unwrap(), 2);
        drop(later);
        assert!(decisions.lock().is_empty());
    }
}
