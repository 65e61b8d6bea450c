//! Who may write now: refuses when the disk is full or failed and when the store closes, keeps
//! room reserved for writes under way, and counts what is in flight. Deletes pass on a full disk.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use chunkproto::{ChunkError, ChunkResult, Durability, Heartbeat};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::fault::Fault;
use super::index_rows::Totals;
use super::probe::Probe;
use super::segment::Segments;

/// Most writes at once; each holds up to about 1 MiB of body. Beyond it writes are refused rather
/// than queued: a queue here could deadlock with senders that write to several nodes in step.
const WRITES_MAX: u32 = 1024;

/// A store's condition at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreState {
    /// Size of the filesystem, without what it keeps for root.
    pub capacity_bytes: u64,
    /// Bytes of chunk data held.
    pub used_bytes: u64,
    /// Bytes free on the filesystem.
    pub free_bytes: u64,
    /// Chunks held.
    pub chunk_count: u64,
    /// Reads and writes under way.
    pub in_flight: u32,
    /// Input/output errors since the store was opened, failed syncs included.
    pub disk_errors: u64,
    /// Damaged chunks set aside since the store was opened.
    pub quarantined: u64,
    /// Whether new chunks would be accepted now, up to the longest that go to segments.
    pub writable: bool,
    /// Why the store takes no more writes until it is opened again; `None` while it does.
    pub failed: Option<String>,
}

impl StoreState {
    /// The state as run `incarnation` of the process tells it to gateways.
    #[must_use]
    pub fn heartbeat(&self, incarnation: Uuid) -> Heartbeat {
        Heartbeat {
            incarnation,
            capacity_bytes: self.capacity_bytes,
            used_bytes: self.used_bytes,
            free_bytes: self.free_bytes,
            chunk_count: self.chunk_count,
            in_flight: self.in_flight,
            disk_errors: self.disk_errors,
            quarantined: self.quarantined,
            writable: self.writable,
            fenced_disks: Vec::new(),
            scrub: None,
        }
    }
}

/// The room on a filesystem.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Size without what is kept for root, as `df` reckons it.
    pub capacity_bytes: u64,
    /// Bytes free for us.
    pub free_bytes: u64,
}

/// Guards the way into one data directory.
pub(crate) struct Gate {
    dir: PathBuf,
    full_percent: u8,
    durability: Durability,
    probe: Probe,
    /// Room promised to writes under way that does not show in the filesystem yet.
    reserved_bytes: AtomicU64,
    writes: Arc<Semaphore>,
    in_flight: AtomicU32,
    disk_errors: AtomicU64,
    quarantined: AtomicU64,
    poisoned: OnceLock<String>,
    closing: AtomicBool,
}

/// The right to write, held until the write has ended and its temporary file is gone.
pub(crate) struct WritePermit {
    gate: Arc<Gate>,
    reserved_bytes: u64,
    _permit: OwnedSemaphorePermit,
    _mark: InFlight,
}

/// The mark of a read or write under way.
pub(crate) struct InFlight(Arc<Gate>);

impl Gate {
    /// A gate before `dir`, which counts as full from `full_percent` of its filesystem on.
    pub fn new(dir: PathBuf, full_percent: u8, durability: Durability, probe: Probe) -> Arc<Self> {
        Arc::new(Self {
            dir,
            full_percent,
            durability,
            probe,
            reserved_bytes: AtomicU64::new(0),
            writes: Arc::new(Semaphore::new(WRITES_MAX as usize)),
            in_flight: AtomicU32::new(0),
            disk_errors: AtomicU64::new(0),
            quarantined: AtomicU64::new(0),
            poisoned: OnceLock::new(),
            closing: AtomicBool::new(false),
        })
    }

    /// What an acknowledgement promises.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// What is asked before each step.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Admits a new record whose room the segments keep. They may find that there is none after all.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub fn admit_to_segments(
        self: &Arc<Self>,
        segments: &Segments,
        record_bytes: u64,
    ) -> ChunkResult<WritePermit> {
        self.check_open()?;
        segments.check_room(record_bytes).map_err(refusal)?;
        Ok(self.permit(self.write_permit()?, 0))
    }

    /// Admits a new record of `record_bytes` and reserves its room.
    ///
    /// # Errors
    /// `Full` and `Refused`, and `Io` where the filesystem does not tell its size.
    pub fn admit(self: &Arc<Self>, record_bytes: u64) -> ChunkResult<WritePermit> {
        self.check_open()?;
        let permit = self.write_permit()?;
        let before = self
            .reserved_bytes
            .fetch_add(record_bytes, Ordering::Relaxed);
        let permit = self.permit(permit, record_bytes);
        self.check_room(before.saturating_add(record_bytes))
            .map_err(refusal)?;
        Ok(permit)
    }

    /// Whether [`admit`](Self::admit) would admit such a record now. Takes nothing from anybody.
    pub fn has_room(&self, record_bytes: u64) -> bool {
        self.may_write() && self.check_further_room(record_bytes).is_ok()
    }

    /// As [`has_room`](Self::has_room), for a record whose room the segments keep.
    pub fn has_room_in_segments(&self, segments: &Segments, record_bytes: u64) -> bool {
        self.may_write() && segments.check_room(record_bytes).is_ok()
    }

    fn may_write(&self) -> bool {
        self.check_open().is_ok() && self.writes.available_permits() > 0
    }

    /// Admits a change that needs no room: a delete. Waits while the store is busy.
    ///
    /// # Errors
    /// `Refused` when the disk has failed or the store closes.
    pub async fn admit_removal(self: &Arc<Self>) -> ChunkResult<WritePermit> {
        self.check_open()?;
        let permit = Arc::clone(&self.writes)
            .acquire_owned()
            .await
            .map_err(|_| ChunkError::Refused("the store is closed".into()))?;
        Ok(self.permit(permit, 0))
    }

    /// Admits setting a damaged record aside, where nothing speaks against it; never waits.
    pub fn admit_quarantine(self: &Arc<Self>) -> Option<WritePermit> {
        self.check_open().ok()?;
        let permit = Arc::clone(&self.writes).try_acquire_owned().ok()?;
        Some(self.permit(permit, 0))
    }

    /// Whether the filesystem has room for so much beside what is promised already.
    ///
    /// # Errors
    /// `NoRoom`, and `Io` where the filesystem does not tell its size.
    pub fn check_further_room(&self, bytes: u64) -> Result<(), Fault> {
        let reserved_bytes = self.reserved_bytes.load(Ordering::Relaxed);
        self.check_room(bytes.saturating_add(reserved_bytes))
    }

    /// Size of the filesystem; 0 where it does not tell.
    pub fn capacity_bytes(&self) -> u64 {
        self.room().map_or(0, |room| room.capacity_bytes)
    }

    /// Whether clients wait for anything at this moment.
    pub fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Counts a read or write for as long as the mark lives.
    pub fn mark_in_flight(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Stops writing for good on a failed sync or a damaged index; ignores other faults.
    pub fn poison_if_fatal(&self, fault: &Fault) {
        match fault {
            Fault::Sync { .. } => self.poison(fault.to_string()),
            Fault::BadIndex(_) => self.poison(format!(
                "{fault}; restart the process, which makes the index anew from the records"
            )),
            _ => {}
        }
    }

    /// Ends all writing for good. The first reason stays.
    pub fn poison(&self, reason: String) {
        if self.poisoned.set(reason).is_ok() {
            let reason = self.poisoned.get().map_or("", String::as_str);
            tracing::error!(dir = %self.dir.display(), reason, "the store takes no more writes");
        }
    }

    /// Whether writing has ended for good.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.get().is_some()
    }

    /// Counts an input/output error.
    pub fn count_disk_error(&self) {
        self.disk_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a chunk that was set aside.
    pub fn count_quarantined(&self) {
        self.quarantined.fetch_add(1, Ordering::Relaxed);
    }

    /// Refuses new writes and waits until those under way have ended.
    pub async fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        // Fails only when another close was here first; then all have ended as well.
        if let Ok(all) = self.writes.acquire_many(WRITES_MAX).await {
            all.forget();
            self.writes.close();
        }
    }

    /// The condition of the store that holds these chunks. `has_room` where its segments have room for
    /// more, or may have.
    pub fn state(&self, held: Totals, has_room: bool) -> StoreState {
        let room = self.room().unwrap_or(Room {
            capacity_bytes: 0,
            free_bytes: 0,
        });
        StoreState {
            capacity_bytes: room.capacity_bytes,
            used_bytes: held.used_bytes,
            free_bytes: room.free_bytes,
            chunk_count: held.chunk_count,
            in_flight: self.in_flight.load(Ordering::Relaxed),
            disk_errors: self.disk_errors.load(Ordering::Relaxed),
            quarantined: self.quarantined.load(Ordering::Relaxed),
            writable: self.check_open().is_ok() && has_room,
            failed: self.poisoned.get().cloned(),
        }
    }

    fn write_permit(&self) -> ChunkResult<OwnedSemaphorePermit> {
        Arc::clone(&self.writes)
            .try_acquire_owned()
            .map_err(|_| ChunkError::Refused(format!("{WRITES_MAX} writes are under way already")))
    }

    fn permit(self: &Arc<Self>, permit: OwnedSemaphorePermit, reserved_bytes: u64) -> WritePermit {
        let _mark = self.mark_in_flight();
        WritePermit {
            gate: Arc::clone(self),
            reserved_bytes,
            _permit: permit,
            _mark,
        }
    }

    fn check_open(&self) -> ChunkResult<()> {
        if let Some(reason) = self.poisoned.get() {
            return Err(ChunkError::Refused(format!("the disk failed: {reason}")));
        }
        if self.closing.load(Ordering::SeqCst) {
            return Err(ChunkError::Refused("the store is shutting down".into()));
        }
        Ok(())
    }

    /// Whether `wanted_bytes`, reservations included, may still be written.
    fn check_room(&self, wanted_bytes: u64) -> Result<(), Fault> {
        let Room {
            capacity_bytes,
            free_bytes,
        } = self.room()?;
        let used_after = capacity_bytes
            .saturating_sub(free_bytes)
            .saturating_add(wanted_bytes);
        let used_max = capacity_bytes / 100 * u64::from(self.full_percent);
        if wanted_bytes > free_bytes || used_after > used_max {
            let detail = format!(
                "{free_bytes} of {capacity_bytes} bytes are free, and it is filled to {} % at most",
                self.full_percent
            );
            let full = io::Error::new(io::ErrorKind::StorageFull, detail);
            return Err(Fault::io("write to", &self.dir)(full));
        }
        Ok(())
    }

    fn room(&self) -> Result<Room, Fault> {
        let stat = rustix::fs::statvfs(&self.dir).map_err(|error| {
            self.count_disk_error();
            Fault::io("tell the size of", &self.dir)(error.into())
        })?;
        let used_blocks = stat.f_blocks.saturating_sub(stat.f_bfree);
        Ok(Room {
            capacity_bytes: used_blocks
                .saturating_add(stat.f_bavail)
                .saturating_mul(stat.f_frsize),
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }
}

/// What a sender is told where its record finds no room.
fn refusal(fault: Fault) -> ChunkError {
    match fault {
        Fault::NoRoom { .. } => ChunkError::Full(fault.to_string()),
        fault => ChunkError::Io(fault.to_string()),
    }
}

impl WritePermit {
    /// Gives the reserved room back, once the filesystem itself has taken it.
    pub fn release_room(&mut self) {
        self.gate
            .reserved_bytes
            .fetch_sub(self.reserved_bytes, Ordering::Relaxed);
        self.reserved_bytes = 0;
    }
}

impl Drop for WritePermit {
    fn drop(&mut self) {
        self.release_room();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn asking_for_much_room_takes_none_from_a_record_that_comes_meanwhile() {
        let dir = TempDir::new().unwrap();
        let durability = Durability::PowerSafe;
        let gate = Gate::new(dir.path().to_owned(), 100, durability, Probe::default());
        thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let answers = (0..20_000).map(|_| gate.has_room(u64::MAX / 4));
                answers.filter(|has_room| *has_room).count()
            });
            while !asking.is_finished() {
                assert!(gate.admit(1).is_ok());
            }
            assert_eq!(asking.join().unwrap(), 0);
        });
    }
}
