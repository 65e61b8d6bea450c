//! One disk of a node: its store, how it is, and when it is fenced off. A disk only gets worse while
//! the process runs; a restart looks again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use chunkproto::{ChunkError, ChunkResult, DiskId};
use tokio::sync::{Mutex, oneshot};
use tokio::time;

use super::health_check::{HealthCheck, Verdict};
use super::state::DiskState;
use crate::store::{ChunkStore, StoreState};

/// Health of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskHealth {
    /// Well. It may be full.
    Serving,
    /// Fenced off but for reads, which are verified and therefore good if they succeed.
    ReadOnly(String),
    /// Fenced off altogether.
    Fenced(String),
}

/// Which operation failed, and so what to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailedOperation {
    /// Nothing in particular.
    None,
    /// A read failed.
    Read,
    /// A write, a sync or a delete failed.
    Write,
}

/// One disk.
pub(crate) struct NodeDisk {
    id: DiskId,
    dir: PathBuf,
    /// `None` for a disk that was not to be had at start.
    store: Option<ChunkStore>,
    /// The filesystem that it lies on; disks that share one share its room.
    device: Option<u64>,
    /// Size of the filesystem at start, by which new chunks are spread.
    weight_bytes: u64,
    health: RwLock<DiskHealth>,
    /// Set while a check of the disk takes too long; unlike bad health it passes.
    stalled: AtomicBool,
    /// How often the disk was fenced off.
    fenced_count: AtomicU64,
    /// The check under way. One at a time.
    check: Mutex<Option<oneshot::Receiver<Verdict>>>,
}

impl NodeDisk {
    /// A disk that serves from `dir`, on filesystem `device`.
    pub fn serving(id: DiskId, dir: PathBuf, store: ChunkStore, device: Option<u64>) -> Self {
        let weight_bytes = store.state().capacity_bytes;
        let mut disk = Self::new(id, dir, DiskHealth::Serving);
        disk.store = Some(store);
        disk.device = device;
        disk.weight_bytes = weight_bytes;
        disk
    }

    /// A disk that is not to be had.
    pub fn missing(id: DiskId, dir: PathBuf, reason: String) -> Self {
        let disk = Self::new(id, dir, DiskHealth::Serving);
        disk.worsen(DiskHealth::Fenced(reason));
        disk
    }

    /// Which disk this is.
    pub fn id(&self) -> DiskId {
        self.id
    }

    /// Its data directory, or where that was.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its share of new chunks, against that of other disks.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// The store, if it may be read.
    pub fn readable(&self) -> Option<ChunkStore> {
        match self.health() {
            DiskHealth::Serving | DiskHealth::ReadOnly(_) => self.store.clone(),
            DiskHealth::Fenced(_) => None,
        }
    }

    /// The store, if it may be changed.
    pub fn writable(&self) -> Option<ChunkStore> {
        match self.health() {
            DiskHealth::Serving => self.store.clone(),
            DiskHealth::ReadOnly(_) | DiskHealth::Fenced(_) => None,
        }
    }

    /// The store's state, with what it tells of a failure taken in. `None` if it cannot be asked.
    pub fn store_state(&self) -> Option<StoreState> {
        let state = self.readable()?.state();
        if let Some(reason) = &state.failed {
            self.worsen(DiskHealth::ReadOnly(reason.clone()));
        }
        Some(state)
    }

    /// The disk for the operator's eyes.
    pub fn state(&self) -> DiskState {
        let store = self.store_state();
        DiskState {
            disk_id: self.id,
            dir: self.dir.clone(),
            health: self.health(),
            device: self.device,
            fenced_count: self.fenced_count.load(Ordering::Relaxed),
            store,
        }
    }

    /// Its health at this moment.
    pub fn health(&self) -> DiskHealth {
        if self.stalled.load(Ordering::Relaxed) {
            return DiskHealth::Fenced("it does not answer".into());
        }
        self.lasting_health()
    }

    /// Passes a store result through. After an I/O error checks the disk first, so that the caller sees
    /// it fenced if it must be.
    pub async fn check_on_error<T>(
        &self,
        result: ChunkResult<T>,
        operation: FailedOperation,
        timeout: Duration,
    ) -> ChunkResult<T> {
        if matches!(result, Err(ChunkError::Io(_))) {
            self.check_health(operation, timeout).await;
        }
        result
    }

    /// Checks whether the disk is there and well, for at most `timeout`, and fences it off if not.
    pub async fn check_health(&self, operation: FailedOperation, timeout: Duration) {
        if self.is_not_to_be_looked_at(operation) {
            return;
        }
        let mut check = self.check.lock().await;
        // The check that was waited for may have taken too long, or found the disk gone.
        if self.is_not_to_be_looked_at(operation) {
            return;
        }
        let verdict = check.get_or_insert_with(|| {
            let health_check = HealthCheck {
                dir: self.dir.clone(),
                disk_id: self.id,
                try_write: operation == FailedOperation::Write,
            };
            health_check.start()
        });
        match time::timeout(timeout, verdict).await {
            Ok(verdict) => {
                *check = None;
                self.answered();
                self.judge(verdict.unwrap_or(Verdict::Unclear));
            }
            Err(_) => self.stall(timeout),
        }
    }

    fn new(id: DiskId, dir: PathBuf, health: DiskHealth) -> Self {
        Self {
            id,
            dir,
            store: None,
            device: None,
            weight_bytes: 0,
            health: RwLock::new(health),
            stalled: AtomicBool::new(false),
            fenced_count: AtomicU64::new(0),
            check: Mutex::new(None),
        }
    }

    /// A disk that is gone is not looked at, and one that stalls is waited for by the regular looks alone.
    fn is_not_to_be_looked_at(&self, operation: FailedOperation) -> bool {
        let stalls = self.stalled.load(Ordering::Relaxed) && operation != FailedOperation::None;
        stalls || matches!(self.lasting_health(), DiskHealth::Fenced(_))
    }

    /// Its health, but for stalls.
    fn lasting_health(&self) -> DiskHealth {
        let health = self.health.read();
        health.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn judge(&self, verdict: Verdict) {
        let worse = match verdict {
            Verdict::Gone(reason) => DiskHealth::Fenced(reason),
            Verdict::NoWrites(reason) => DiskHealth::ReadOnly(reason),
            Verdict::Unclear => return,
            Verdict::Good => {
                self.store_state(); // tells of a failed sync, and of too many chunks that it cannot read
                return;
            }
        };
        self.worsen(worse);
    }

    /// Takes in a health that is worse than the present one, and says so once.
    fn worsen(&self, to: DiskHealth) {
        let mut health = self.health.write().unwrap_or_else(PoisonError::into_inner);
        let (dir, disk) = (self.dir.display(), self.id);
        match (&*health, &to) {
            (DiskHealth::Serving, DiskHealth::ReadOnly(reason)) => tracing::error!(
                %disk, %dir, reason,
                "a disk is fenced off and only read; the others go on"
            ),
            (DiskHealth::Serving | DiskHealth::ReadOnly(_), DiskHealth::Fenced(reason)) => {
                tracing::error!(%disk, %dir, reason, "a disk is fenced off; the others go on");
            }
            _ => return,
        }
        self.fenced_count.fetch_add(1, Ordering::Relaxed);
        *health = to;
    }

    fn stall(&self, timeout: Duration) {
        if !self.stalled.swap(true, Ordering::Relaxed) {
            self.fenced_count.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                disk = %self.id, dir = %self.dir.display(),
                "a disk did not answer for {timeout:?} and is fenced off until it does"
            );
        }
    }

    fn answered(&self) {
        if self.stalled.swap(false, Ordering::Relaxed) {
            tracing::warn!(disk = %self.id, dir = %self.dir.display(), "a disk answers again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tempfile::TempDir;

    use super::super::identity::{DiskIdentity, Roster};
    use super::*;
    use crate::store::StoreOptions;

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// A disk with an identity.
    fn fresh() -> (TempDir, NodeDisk) {
        let dir = TempDir::new().unwrap();
        let store = ChunkStore::open(StoreOptions::new(dir.path())).unwrap();
        let id = DiskId::generate();
        DiskIdentity::new(id, Roster::default())
            .write(dir.path())
            .unwrap();
        let disk = NodeDisk::serving(id, dir.path().to_owned(), store, None);
        (dir, disk)
    }

    async fn fail(disk: &NodeDisk, operation: FailedOperation) {
        let failed: ChunkResult<()> = Err(ChunkError::Io("made up".into()));
        let told = disk.check_on_error(failed, operation, TIMEOUT).await;
        assert!(matches!(told, Err(ChunkError::Io(_))));
    }

    #[tokio::test]
    async fn a_failed_write_on_a_disk_that_is_well_changes_nothing() {
        let (_dir, disk) = fresh();
        fail(&disk, FailedOperation::Write).await;
        assert_eq!(disk.health(), DiskHealth::Serving);
    }

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "its waits take no real time")]
    async fn who_waits_for_a_look_that_takes_too_long_takes_no_other() {
        let (dir, disk) = fresh();
        let disk = Arc::new(disk);
        let identity = dir.path().join("disk.json");
        std::fs::remove_file(&identity).unwrap();
        // Who opens a pipe waits until it has a writer.
        mknodat(CWD, &identity, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let looking = Arc::clone(&disk);
        let first = tokio::spawn(async move {
            let timeout = Duration::from_millis(50);
            looking.check_health(FailedOperation::None, timeout).await;
        });
        tokio::task::yield_now().await;
        assert!(disk.check.try_lock().is_err(), "the first one looks");

        let second = time::timeout(
            TIMEOUT / 2,
            disk.check_health(FailedOperation::Read, TIMEOUT),
        )
        .await;

        first.await.unwrap();
        assert!(second.is_ok(), "it waited for a look of its own");
        assert!(matches!(disk.health(), DiskHealth::Fenced(_)));
        // Lets the thread go that looks.
        drop(std::fs::File::options().write(true).open(&identity));
    }

    #[tokio::test]
    async fn a_disk_only_gets_worse() {
        let (_dir, disk) = fresh();
        disk.worsen(DiskHealth::Fenced("first".into()));
        disk.worsen(DiskHealth::ReadOnly("later".into()));
        disk.worsen(DiskHealth::Fenced("last".into()));
        disk.check_health(FailedOperation::None, TIMEOUT).await;
        assert_eq!(disk.health(), DiskHealth::Fenced("first".into()));
        assert_eq!(disk.state().fenced_count, 1);
    }
}
