//! How far behind the backup is, for the operator.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metastore::Timestamp;
use serde::{Deserialize, Serialize};

/// The state of the metadata's backup. A clone is another handle to the same one.
#[derive(Debug, Clone, Default)]
pub struct BackupStatus {
    report: Arc<Mutex<Option<BackupReport>>>,
}

/// The backup as the operator sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    /// When the newest checkpoint that is whole was made, in milliseconds since 1970; none before the
    /// first one of this run.
    pub checkpoint_at: Option<Timestamp>,
    /// Its length.
    pub checkpoint_bytes: u64,
    /// Bytes of log shipped since.
    pub log_bytes: u64,
    /// Everything acknowledged before this moment would be restored, in milliseconds since 1970.
    pub restorable_until: Option<Timestamp>,
    /// How long ago that is; `None` while nothing of this run could be restored.
    pub behind_s: Option<u64>,
}

impl BackupStatus {
    /// Changes the report.
    pub fn change(&self, change: impl FnOnce(&mut BackupReport)) {
        change(self.lock().get_or_insert_default());
    }

    /// The report as of `now`; `None` if no backup is made.
    #[must_use]
    pub fn report(&self, now: Timestamp) -> Option<BackupReport> {
        let mut report = self.lock().clone()?;
        if report.checkpoint_at.is_none() {
            report.restorable_until = None;
        }
        let behind_ms = |until: Timestamp| now.0.saturating_sub(until.0);
        report.behind_s = report.restorable_until.map(|until| behind_ms(until) / 1000);
        Some(report)
    }

    fn lock(&self) -> MutexGuard<'_, Option<BackupReport>> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_restorable_before_the_first_checkpoint_is_whole() {
        let status = BackupStatus::default();
        assert_eq!(status.report(Timestamp(9000)), None);
        status.change(|report| report.restorable_until = Some(Timestamp(5000)));
        assert_eq!(status.report(Timestamp(9000)).unwrap().behind_s, None);
        status.change(|report| report.checkpoint_at = Some(Timestamp(4000)));
        assert_eq!(status.report(Timestamp(9000)).unwrap().behind_s, Some(4));
    }
}
