//! The bodies that are being read now, by when their rows were looked up: garbage collection spares
//! what an older running read may still need (I3).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metastore::Timestamp;

/// Knows the running reads of this gateway. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct RunningReads {
    /// How many reads began at each moment.
    begun: Arc<Mutex<BTreeMap<Timestamp, usize>>>,
}

/// A read that runs until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct RunningRead {
    reads: RunningReads,
    begun_at: Timestamp,
}

impl RunningReads {
    /// Notes a read that begins at `now`.
    pub fn begin(&self, now: Timestamp) -> RunningRead {
        *self.lock().entry(now).or_default() += 1;
        RunningRead {
            reads: self.clone(),
            begun_at: now,
        }
    }

    /// When the oldest running read began.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.lock().keys().next().copied()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Timestamp, usize>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RunningRead {
    fn drop(&mut self) {
        let mut begun = self.reads.lock();
        if let Some(count) = begun.get_mut(&self.begun_at) {
            *count -= 1;
            if *count == 0 {
                begun.remove(&self.begun_at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_read_is_the_one_that_still_runs() {
        let reads = RunningReads::default();
        let first = reads.begin(Timestamp(1));
        let twin = reads.begin(Timestamp(1));
        let second = reads.begin(Timestamp(2));
        drop(first);
        assert_eq!(reads.oldest(), Some(Timestamp(1)));
        drop(twin);
        assert_eq!(reads.oldest(), Some(Timestamp(2)));
        drop(second);
        assert_eq!(reads.oldest(), None);
    }
}
