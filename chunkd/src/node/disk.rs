//! One disk of a node: its store, how it is, and when it is fenced off. A disk only gets worse while
//! the process runs; a restart looks again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use chunkproto::{ChunkError, ChunkResult, DiskId};
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

use super::checkup::{Checkup, Verdict};
use super::state::DiskState;
use crate::store::{ChunkStore, StoreState};

/// How a disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Well. It may be full.
    Serving,
    /// Fenced off but for reads, which are verified and therefore good if they succeed.
    ReadOnly(String),
    /// Fenced off altogether.
    Fenced(String),
}

/// What failed on a disk, and so what to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspicion {
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
    /// None for a disk that was not to be had at start.
    store: Option<ChunkStore>,
    /// The filesystem that it lies on; disks that share one share its room.
    device: Option<u64>,
    /// Size of the filesystem at start, by which new chunks are spread.
    weight_bytes: u64,
    condition: RwLock<Condition>,
    /// Set while a look at the disk takes too long; unlike a condition it passes.
    stalled: AtomicBool,
    /// How often the disk was fenced off.
    fenced_count: AtomicU64,
    /// The look under way. One at a time.
    look: Mutex<Option<oneshot::Receiver<Verdict>>>,
}

impl NodeDisk {
    /// A disk that serves from `dir`, on filesystem `device`.
    pub fn serving(id: DiskId, dir: PathBuf, store: ChunkStore, device: Option<u64>) -> Self {
        let weight_bytes = store.state().capacity_bytes;
        let mut disk = Self::new(id, dir, Condition::Serving);
        disk.store = Some(store);
        disk.device = device;
        disk.weight_bytes = weight_bytes;
        disk
    }

    /// A disk that is not to be had.
    pub fn missing(id: DiskId, dir: PathBuf, reason: String) -> Self {
        let disk = Self::new(id, dir, Condition::Serving);
        disk.worsen(Condition::Fenced(reason));
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
        match self.condition() {
            Condition::Serving | Condition::ReadOnly(_) => self.store.clone(),
            Condition::Fenced(_) => None,
        }
    }

    /// The store, if it may be changed.
    pub fn writable(&self) -> Option<ChunkStore> {
        match self.condition() {
            Condition::Serving => self.store.clone(),
            Condition::ReadOnly(_) | Condition::Fenced(_) => None,
        }
    }

    /// The store's state, with what it tells of a failure taken in. None where it cannot be asked.
    pub fn store_state(&self) -> Option<StoreState> {
        let state = self.readable()?.state();
        if let Some(reason) = &state.failed {
            self.worsen(Condition::ReadOnly(reason.clone()));
        }
        Some(state)
    }

    /// The disk for the operator's eyes.
    pub fn state(&self) -> DiskState {
        let store = self.store_state();
        DiskState {
            disk_id: self.id,
            dir: self.dir.clone(),
            condition: self.condition(),
            device: self.device,
            fenced_count: self.fenced_count.load(Ordering::Relaxed),
            store,
        }
    }

    /// How the disk is.
    pub fn condition(&self) -> Condition {
        if self.stalled.load(Ordering::Relaxed) {
            return Condition::Fenced("it does not answer".into());
        }
        self.lasting_condition()
    }

    /// Passes a result of the store on. After an input/output error the disk is looked at first, so
    /// that whoever hears of the error finds it fenced off if it has to be.
    pub async fn settle<T>(
        &self,
        result: ChunkResult<T>,
        suspicion: Suspicion,
        patience: Duration,
    ) -> ChunkResult<T> {
        if matches!(result, Err(ChunkError::Io(_))) {
            self.look(suspicion, patience).await;
        }
        result
    }

    /// Looks whether the disk is there and well, for at most `patience`, and fences it off if not.
    pub async fn look(&self, suspicion: Suspicion, patience: Duration) {
        if self.is_not_to_be_looked_at(suspicion) {
            return;
        }
        let mut look = self.look.lock().await;
        // The look that was waited for may have taken too long, or found the disk gone.
        if self.is_not_to_be_looked_at(suspicion) {
            return;
        }
        let verdict = look.get_or_insert_with(|| {
            let checkup = Checkup {
                dir: self.dir.clone(),
                disk_id: self.id,
                try_write: suspicion == Suspicion::Write,
            };
            checkup.start()
        });
        match timeout(patience, verdict).await {
            Ok(verdict) => {
                *look = None;
                self.answered();
                self.judge(verdict.unwrap_or(Verdict::Unclear));
            }
            Err(_) => self.stall(patience),
        }
    }

    fn new(id: DiskId, dir: PathBuf, condition: Condition) -> Self {
        Self {
            id,
            dir,
            store: None,
            device: None,
            weight_bytes: 0,
            condition: RwLock::new(condition),
            stalled: AtomicBool::new(false),
            fenced_count: AtomicU64::new(0),
            look: Mutex::new(None),
        }
    }

    /// A disk that is gone is not looked at, and one that stalls is waited for by the regular looks alone.
    fn is_not_to_be_looked_at(&self, suspicion: Suspicion) -> bool {
        let stalls = self.stalled.load(Ordering::Relaxed) && suspicion != Suspicion::None;
        stalls || matches!(self.lasting_condition(), Condition::Fenced(_))
    }

    /// How the disk is, but for stalls.
    fn lasting_condition(&self) -> Condition {
        let condition = self.condition.read();
        condition.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn judge(&self, verdict: Verdict) {
        let worse = match verdict {
            Verdict::Gone(reason) => Condition::Fenced(reason),
            Verdict::NoWrites(reason) => Condition::ReadOnly(reason),
            Verdict::Unclear => return,
            Verdict::Good => {
                self.store_state(); // tells of a failed sync, and of too many chunks that it cannot read
                return;
            }
        };
        self.worsen(worse);
    }

    /// Takes a condition in if it is worse than the present one, and says so once.
    fn worsen(&self, to: Condition) {
        let mut condition = self
            .condition
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let (dir, disk) = (self.dir.display(), self.id);
        match (&*condition, &to) {
            (Condition::Serving, Condition::ReadOnly(reason)) => tracing::error!(
                %disk, %dir, reason,
                "a disk is fenced off and only read; the others go on"
            ),
            (Condition::Serving | Condition::ReadOnly(_), Condition::Fenced(reason)) => {
                tracing::error!(%disk, %dir, reason, "a disk is fenced off; the others go on");
            }
            _ => return,
        }
        self.fenced_count.fetch_add(1, Ordering::Relaxed);
        *condition = to;
    }

    fn stall(&self, patience: Duration) {
        if !self.stalled.swap(true, Ordering::Relaxed) {
            self.fenced_count.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                disk = %self.id, dir = %self.dir.display(),
                "a disk did not answer for {patience:?} and is fenced off until it does"
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

    use super::super::identity::{Identity, Roster};
    use super::*;
    use crate::store::StoreOptions;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A disk with an identity.
    fn fresh() -> (TempDir, NodeDisk) {
        let dir = TempDir::new().unwrap();
        let store = ChunkStore::open(StoreOptions::new(dir.path())).unwrap();
        let id = DiskId::generate();
        Identity::new(id, Roster::default())
            .write(dir.path())
            .unwrap();
        let disk = NodeDisk::serving(id, dir.path().to_owned(), store, None);
        (dir, disk)
    }

    async fn fail(disk: &NodeDisk, suspicion: Suspicion) {
        let failed: ChunkResult<()> = Err(ChunkError::Io("made up".into()));
        let told = disk.settle(failed, suspicion, PATIENCE).await;
        assert!(matches!(told, Err(ChunkError::Io(_))));
    }

    #[tokio::test]
    async fn a_failed_write_on_a_disk_that_is_well_changes_nothing() {
        let (_dir, disk) = fresh();
        fail(&disk, Suspicion::Write).await;
        assert_eq!(disk.condition(), Condition::Serving);
    }

    #[tokio::test]
    async fn who_waits_for_a_look_that_takes_too_long_takes_no_other() {
        let (dir, disk) = fresh();
        let disk = Arc::new(disk);
        let identity = dir.path().join("disk.json");
        std::fs::remove_file(&identity).unwrap();
        // Who opens a pipe waits until it has a writer.
        mknodat(CWD, &identity, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let looking = Arc::clone(&disk);
        let first = tokio::spawn(async move {
            let patience = Duration::from_millis(50);
            looking.look(Suspicion::None, patience).await;
        });
        while disk.look.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }

        let second = timeout(PATIENCE / 2, disk.look(Suspicion::Read, PATIENCE)).await;

        first.await.unwrap();
        assert!(second.is_ok(), "it waited for a look of its own");
        assert!(matches!(disk.condition(), Condition::Fenced(_)));
        // Lets the thread go that looks.
        drop(std::fs::File::options().write(true).open(&identity));
    }

    #[tokio::test]
    async fn a_disk_only_gets_worse() {
        let (_dir, disk) = fresh();
        disk.worsen(Condition::Fenced("first".into()));
        disk.worsen(Condition::ReadOnly("later".into()));
        disk.worsen(Condition::Fenced("last".into()));
        disk.look(Suspicion::None, PATIENCE).await;
        assert_eq!(disk.condition(), Condition::Fenced("first".into()));
        assert_eq!(disk.state().fenced_count, 1);
    }
}
