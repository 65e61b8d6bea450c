//! What the walks over all disks tell.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunkproto::{DiskId, ScrubReport};

/// What the walks tell, each for its disk. A clone is another handle to the same board.
#[derive(Debug, Clone, Default)]
pub struct ScrubBoard {
    disks: Arc<Mutex<BTreeMap<DiskId, ScrubReport>>>,
}

impl ScrubBoard {
    /// Notes how far the walk over a disk is.
    pub(super) fn note(&self, disk: DiskId, report: ScrubReport) {
        self.lock().insert(disk, report);
    }

    /// All disks as one; none before the first walk began.
    #[must_use]
    pub fn report(&self) -> Option<ScrubReport> {
        let disks = self.lock();
        let worst = |one: ScrubReport, other: &ScrubReport| ScrubReport {
            oldest_verified_at_ms: one.oldest_verified_at_ms.min(other.oldest_verified_at_ms),
            done_percent: one.done_percent.min(other.done_percent),
            verified_chunks: one.verified_chunks + other.verified_chunks,
            damaged_chunks: one.damaged_chunks + other.damaged_chunks,
            late: one.late || other.late,
        };
        disks.values().fold(None, |sum, disk| {
            Some(sum.map_or_else(|| disk.clone(), |sum| worst(sum, disk)))
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DiskId, ScrubReport>> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
