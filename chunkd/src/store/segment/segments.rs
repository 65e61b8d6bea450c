//! All segments of a data directory. The table lock is never held during disk I/O, because runtime
//! threads take it too.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chunkproto::NodeId;

use super::super::admission::Gate;
use super::super::fault::Fault;
use super::super::index::IndexBatch;
use super::super::probe::Step;
use super::create;
use super::file::SegmentFile;
use super::handles::Handles;
use super::header::{Nonce, SegmentHeader};
use super::recover::SegmentOptions;
use super::slot::{Slot, SlotRow, SlotState};
use super::table::Table;
use super::{Location, aligned};

/// Free segments that new chunks leave alone, so that deletes and compaction go on when the disk
/// is full.
pub(super) const RESERVE_SEGMENTS: usize = 1;
/// Records up to this length are written by the committer, in their group; longer ones by those who
/// bring them, side by side.
const INLINE_BYTES_MAX: u64 = 72 << 10;

/// Whose bytes ask for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteClass {
    /// A new chunk: refused when the disk is full.
    Put,
    /// A delete or a move, which make room: may use the reserve.
    Upkeep,
}

/// Room in a segment for one record, written by whoever holds this.
pub(crate) struct Reservation {
    /// The segment.
    pub file: Arc<SegmentFile>,
    /// Where the record begins.
    pub offset: u32,
    segments: Arc<Segments>,
}

/// Room for one group. While it exists the segment cannot be sealed; compaction would otherwise miss
/// the group being written.
pub(super) struct GroupReservation {
    /// Where the group goes.
    pub reservation: Reservation,
    /// Its number in the segment's life.
    pub ordinal: u32,
}

/// The segments of one data directory.
pub(crate) struct Segments {
    pub(super) dir: PathBuf,
    pub(super) node: NodeId,
    pub(super) segment_bytes: u32,
    /// A segment that lost no record for this long is compacted.
    pub(super) quiet_after: Duration,
    pub(super) gate: Arc<Gate>,
    table: Mutex<Table>,
    /// Serialises creating and beginning segments. Lock order: this, then `table`.
    making: Mutex<()>,
    wake: Condvar,
}

impl Segments {
    /// The segments as they were found; `slots_end` is behind every number that is taken.
    pub fn new(options: SegmentOptions, rows: BTreeMap<u32, SlotRow>, slots_end: u32) -> Arc<Self> {
        let SegmentOptions {
            dir,
            node,
            segment_bytes,
            open_files_max,
            quiet_after,
            gate,
            ..
        } = options;
        let handles = Handles::new(open_files_max);
        let table = Table::new(rows, slots_end, handles);
        Arc::new(Self {
            dir,
            node,
            segment_bytes,
            quiet_after,
            gate,
            table: Mutex::new(table),
            making: Mutex::new(()),
            wake: Condvar::new(),
        })
    }

    /// Most bytes of a record here: four of them fill a segment at least.
    pub fn record_bytes_max(&self) -> u64 {
        u64::from(self.segment_bytes) / 4
    }

    /// Most bytes of a record that a group takes in.
    pub fn inline_bytes_max(&self) -> u64 {
        INLINE_BYTES_MAX.min(self.record_bytes_max() / 2)
    }

    /// Takes room for one record. Given back, as dead space, when the reservation is dropped.
    ///
    /// # Errors
    /// `NoRoom` when the disk is full, `Io`, `Sync`.
    pub fn reserve(
        self: &Arc<Self>,
        record_bytes: u64,
        class: WriteClass,
    ) -> Result<Reservation, Fault> {
        let (mut table, file) = self.active_with_room(aligned(record_bytes), class)?;
        Ok(self.take(&mut table, file, record_bytes))
    }

    /// Takes room for a group with `bytes` bytes, in the segment that new bytes go to.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    pub(super) fn place_group(
        self: &Arc<Self>,
        bytes: u64,
        class: WriteClass,
    ) -> Result<GroupReservation, Fault> {
        let (mut table, file) = self.active_with_room(aligned(bytes), class)?;
        Ok(self.reserve_group(&mut table, file, bytes))
    }

    /// Takes room for a group that speaks of reservations in this segment alone. Each has kept a
    /// block for it.
    pub(super) fn place_group_in(
        self: &Arc<Self>,
        slot: u32,
        bytes: u64,
    ) -> Result<GroupReservation, Fault> {
        let file = self.file(slot)?;
        Ok(self.reserve_group(&mut self.lock(), file, bytes))
    }

    /// The open file at `location`; `None` if the chunk is not there any more. With `cached`, also
    /// `None` if the file would have to be opened first.
    pub fn pin(
        &self,
        location: &Location,
        cached: bool,
    ) -> Result<Option<Arc<SegmentFile>>, Fault> {
        let row = {
            let mut table = self.lock();
            let Some(row) = table.life_at(location) else {
                return Ok(None);
            };
            match table.handles.get(location.slot) {
                None if !cached => row,
                file => return Ok(file),
            }
        };
        let file = self.open(location.slot, &row)?;
        let mut table = self.lock();
        // It may have ended meanwhile.
        let lives = table.life_at(location).is_some();
        Ok(lives.then(|| table.handles.keep(file)))
    }

    /// Whether the life that `location` names goes on.
    pub fn holds(&self, location: &Location) -> bool {
        self.lock().life_at(location).is_some()
    }

    /// The open file of a segment in use, in its present life.
    pub(super) fn file(&self, slot: u32) -> Result<Arc<SegmentFile>, Fault> {
        loop {
            let row = {
                let mut table = self.lock();
                if let Some(file) = table.handles.get(slot) {
                    return Ok(file);
                }
                table.slot(slot).row
            };
            let file = self.open(slot, &row)?;
            let mut table = self.lock();
            let generation = table.slots.get(&slot).map(|entry| entry.row.generation);
            // Another life may have begun meanwhile; or the file was given back, and whoever opened it has the
            // last of it.
            match generation {
                Some(present) if present != file.generation => {}
                Some(_) => return Ok(table.handles.keep(file)),
                None => return Ok(file),
            }
        }
    }

    /// Counts a record of `bytes` bytes at `location` as a chunk, or as one no more.
    pub fn count(&self, location: &Location, bytes: u64, live: bool) {
        let mut table = self.lock();
        let Some(slot) = table.slots.get_mut(&location.slot) else {
            return;
        };
        if slot.row.generation != location.generation {
            return;
        }
        slot.count(bytes, live);
        table.changed.insert(location.slot);
        // Seen at the keeper's next look; each delete is not worth one.
        table.nudged |= !live;
    }

    /// Writes the rows that changed since the last call, and removes those of segments that were
    /// given up.
    pub(super) fn write_rows(&self, index: &mut IndexBatch<'_>) {
        let mut table = self.lock();
        for slot in std::mem::take(&mut table.changed) {
            let row = table.slots.get(&slot).map(|entry| entry.row.encode());
            index.set_slot(slot, row.as_ref().map(|row| &row[..]));
        }
    }

    /// Notes that the groups of a segment that was found open are known up to `tail`, and that group
    /// `ordinal` comes next.
    pub(super) fn pass(&self, slot: u32, tail: u32, ordinal: u32) {
        let mut table = self.lock();
        let row = &mut table.slot(slot).row;
        (row.tail, row.ordinal) = (tail, ordinal);
        table.changed.insert(slot);
    }

    /// Notes that this life holds a record of a chunk whose place is, or was last, elsewhere.
    pub(super) fn note_stale(&self, number: u32, generation: u32) {
        let mut table = self.lock();
        if let Some(slot) = table.slots.get_mut(&number)
            && slot.row.generation == generation
            && slot.row.state.holds_chunks()
            && !slot.row.has_stale_records
        {
            slot.row.has_stale_records = true;
            table.changed.insert(number);
        }
    }

    /// Ends reading from a segment that has nothing left; false if somebody still reads there.
    pub(super) fn retire(&self, slot: u32) -> bool {
        let mut table = self.lock();
        if table.slot(slot).row.live_bytes > 0 || !table.handles.close(slot) {
            return false;
        }
        let row = &mut table.slot(slot).row;
        (row.state, row.has_stale_records) = (SlotState::Retired, true);
        table.changed.insert(slot);
        true
    }

    /// Lets a retired segment be used again.
    pub(super) fn set_free(&self, slot: u32) {
        self.lock().set_free(slot);
    }

    /// Ends a segment that was found open after an unclean stop.
    pub(super) fn seal_found(&self, slot: u32) {
        let mut table = self.lock();
        if table.active.is_some_and(|(active, _)| active == slot) {
            table.active = None;
        }
        table.seal_if_done(slot);
    }

    /// Whether a new record of this length finds room: here, or on the filesystem for one more segment.
    ///
    /// # Errors
    /// `NoRoom`, and `Io` where the filesystem does not tell its size.
    pub fn check_room(&self, record_bytes: u64) -> Result<(), Fault> {
        if self.lock().has_room(aligned(record_bytes)) {
            return Ok(());
        }
        self.gate.check_further_room(self.segment_bytes.into())
    }

    /// Waits until a segment was begun or sealed, or the time is over. True if anything happened
    /// that the keeper cares for.
    pub(super) fn wait_for_nudge(&self, longest: Duration) -> bool {
        let asleep = |table: &mut Table| !table.woken;
        let waited = self.wake.wait_timeout_while(self.lock(), longest, asleep);
        let (mut table, _) = waited.unwrap_or_else(PoisonError::into_inner);
        table.woken = false;
        std::mem::take(&mut table.nudged)
    }

    /// Makes the keeper look at the table.
    pub(super) fn nudge(&self) {
        self.lock().nudge();
        self.wake.notify_all();
    }

    /// Waits for that long, or until `stop` is set and the keeper nudged.
    pub(super) fn rest(&self, time: Duration, stop: &AtomicBool) {
        let goes_on = |_: &mut Table| !stop.load(Ordering::SeqCst);
        let rested = self.wake.wait_timeout_while(self.lock(), time, goes_on);
        drop(rested.unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open file of the segment that takes `bytes` more, and the locked table; begins another if the
    /// present one does not.
    fn active_with_room(
        &self,
        bytes: u64,
        class: WriteClass,
    ) -> Result<(MutexGuard<'_, Table>, Arc<SegmentFile>), Fault> {
        loop {
            let mut table = self.lock();
            let open = table.open_for(bytes, class);
            if let Some(file) = open.and_then(|slot| table.handles.get(slot)) {
                return Ok((table, file));
            }
            drop(table);
            match open {
                Some(slot) => drop(self.file(slot)?),
                None => self.make_room(bytes, class)?,
            }
        }
    }

    /// Takes one step towards a segment that takes `bytes` more, unless somebody else does meanwhile: begins
    /// a free one, or makes one.
    fn make_room(&self, bytes: u64, class: WriteClass) -> Result<(), Fault> {
        let _making = self.keep_free();
        let free = {
            let table = self.lock();
            if table.open_for(bytes, class).is_some() {
                return Ok(());
            }
            table.free_for(bytes, class)
        };
        match free {
            Some(slot) => self.begin(slot, class),
            None => self.make_free(bytes, class),
        }
    }

    /// As long as this is held, no free segment is begun.
    pub(super) fn keep_free(&self) -> MutexGuard<'_, ()> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a free segment that `class` may take.
    fn make_free(&self, bytes: u64, class: WriteClass) -> Result<(), Fault> {
        let row = SlotRow::free(0, self.segment_bytes);
        if !Slot::new(row).fits_afresh(bytes) {
            let error = io::Error::new(ErrorKind::StorageFull, "segments are shorter than that");
            return Err(Fault::io("append to", &self.dir)(error));
        }
        let slot = self.lock().new_slot();
        create::create(self, slot, create::Fill::Reserve, class)?;
        self.lock().add_free(slot, self.segment_bytes);
        Ok(())
    }

    fn reserve_group(
        self: &Arc<Self>,
        table: &mut Table,
        file: Arc<SegmentFile>,
        bytes: u64,
    ) -> GroupReservation {
        let slot = file.slot;
        let reservation = self.take(table, file, bytes);
        let row = &mut table.slot(slot).row;
        row.ordinal += 1;
        let ordinal = row.ordinal - 1;
        GroupReservation {
            reservation,
            ordinal,
        }
    }

    fn take(
        self: &Arc<Self>,
        table: &mut Table,
        file: Arc<SegmentFile>,
        bytes: u64,
    ) -> Reservation {
        let offset = table.take(file.slot, bytes);
        table.slot(file.slot).outstanding += 1;
        Reservation {
            file,
            offset,
            segments: Arc::clone(self),
        }
    }

    /// Begins another life of a free segment, which nobody else begins or gives up meanwhile.
    fn begin(&self, slot: u32, class: WriteClass) -> Result<(), Fault> {
        let row = self.lock().slot(slot).row;
        let header = SegmentHeader {
            node: self.node,
            slot,
            generation: row.generation + 1,
            nonce: Nonce::generate(),
            bytes: row.bytes,
            in_use: true,
        };
        let path = create::path(&self.dir, slot);
        let asked = self.gate.probe().at(Step::BeginSegment);
        asked.map_err(Fault::io("begin", &path))?;
        let file = SegmentFile::open(&path, slot, header.generation, header.nonce)?;
        file.write_header(&header)?;
        self.lock().begin(SlotRow::begun(&header), file, class);
        self.wake.notify_all();
        Ok(())
    }

    fn open(&self, slot: u32, row: &SlotRow) -> Result<Arc<SegmentFile>, Fault> {
        let path = create::path(&self.dir, slot);
        SegmentFile::open(&path, slot, row.generation, row.nonce).map(Arc::new)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut table = self.segments.lock();
        table.slot(self.file.slot).outstanding -= 1;
        if table.seal_if_done(self.file.slot) {
            drop(table);
            self.segments.wake.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use chunkproto::Durability;
    use tempfile::TempDir;

    use super::super::super::directory::Layout;
    use super::*;
    use crate::store::Probe;

    const HOUR: Duration = Duration::from_secs(3600);
    /// Far longer than a thread needs to be woken.
    const SOON: Duration = Duration::from_secs(60);

    fn segments() -> (TempDir, Arc<Segments>) {
        let dir = TempDir::new().unwrap();
        let root = dir.path().to_owned();
        let options = SegmentOptions {
            gate: Gate::new(root.clone(), 95, Durability::PowerSafe, Probe::default()),
            layout: Layout::new(root),
            dir: dir.path().join("segments"),
            node: NodeId::generate(),
            segment_bytes: 1 << 20,
            open_files_max: 16,
            quiet_after: Duration::ZERO,
        };
        let segments = Segments::new(options, BTreeMap::new(), 0);
        (dir, segments)
    }

    /// Asserts that a wait of an hour ends soon.
    fn assert_ends_soon(wait: impl FnOnce() + Send + 'static) {
        let (over, is_over) = mpsc::channel();
        thread::spawn(move || {
            wait();
            over.send(()).unwrap();
        });
        is_over.recv_timeout(SOON).unwrap();
    }

    #[test]
    fn a_nudge_just_before_the_keeper_waits_is_not_missed() {
        let (_dir, segments) = segments();
        segments.nudge();
        assert_ends_soon(move || assert!(segments.wait_for_nudge(HOUR)));
    }

    #[test]
    fn a_rest_ends_when_the_keeper_is_stopped() {
        let (_dir, segments) = segments();
        let (stop, stopping) = (Arc::new(AtomicBool::new(false)), segments.clone());
        let stopped = Arc::clone(&stop);
        let stops = thread::spawn(move || {
            stop.store(true, Ordering::SeqCst);
            stopping.nudge();
        });
        assert_ends_soon(move || segments.rest(HOUR, &stopped));
        stops.join().unwrap();
    }
}
