//! All segments of one data directory: what each is used for, where the next bytes go, and which
//! files are open. Short critical sections; the disk is touched in them only to begin a segment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chunkproto::NodeId;

use super::super::admission::Gate;
use super::super::fault::Fault;
use super::create;
use super::file::SegmentFile;
use super::handles::Handles;
use super::header::{Nonce, SegmentHeader};
use super::recover::Place;
use super::slot::{Slot, SlotRow, SlotState};
use super::{Location, aligned};

/// Free segments that new chunks leave alone, so that deletes and compaction go on when the disk
/// is full.
pub(super) const RESERVE_SEGMENTS: usize = 1;
/// Records up to this length are written by the committer, in their group; longer ones by those who
/// bring them, side by side.
const INLINE_BYTES_MAX: u64 = 72 << 10;

/// Whose bytes ask for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
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

/// Room in a segment for one group.
pub(super) struct Spot {
    pub file: Arc<SegmentFile>,
    pub offset: u32,
    pub ordinal: u32,
}

/// The segments of one data directory.
pub(crate) struct Segments {
    pub(super) dir: PathBuf,
    pub(super) node: NodeId,
    pub(super) segment_bytes: u32,
    pub(super) gate: Arc<Gate>,
    table: Mutex<Table>,
    wake: Condvar,
}

pub(super) struct Table {
    pub slots: BTreeMap<u32, Slot>,
    pub handles: Handles,
    /// The segment that new bytes go to, and whether it came out of the reserve.
    active: Option<(u32, Purpose)>,
    /// When it was begun.
    begun: Instant,
    /// Segments whose rows differ from the index.
    changed: BTreeSet<u32>,
    /// The number of the next new file.
    slots_end: u32,
    /// Set when the keeper should look at the table.
    pub nudged: bool,
}

impl Segments {
    /// The segments as they were found; `slots_end` is behind every number that is taken.
    pub fn new(place: Place, rows: BTreeMap<u32, SlotRow>, slots_end: u32) -> Arc<Self> {
        let Place {
            dir,
            node,
            segment_bytes,
            gate,
            ..
        } = place;
        let slot = |(slot, row): (u32, SlotRow)| (slot, Slot::new(row));
        let open = |(slot, row): (&u32, &SlotRow)| {
            (row.state == SlotState::Open).then_some((*slot, Purpose::Put))
        };
        let rows_end = rows.keys().last().map_or(0, |last| last + 1);
        let table = Table {
            slots_end: slots_end.max(rows_end),
            active: rows.iter().find_map(open),
            begun: Instant::now(),
            handles: Handles::new(dir.clone()),
            changed: rows.keys().copied().collect(),
            slots: rows.into_iter().map(slot).collect(),
            nudged: false,
        };
        Arc::new(Self {
            dir,
            node,
            segment_bytes,
            gate,
            table: Mutex::new(table),
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
        purpose: Purpose,
    ) -> Result<Reservation, Fault> {
        let mut table = self.lock();
        let slot = self.active_with_room(&mut table, aligned(record_bytes), purpose)?;
        let file = table.file(slot)?;
        let offset = table.take(slot, record_bytes);
        table.slot(slot).outstanding += 1;
        Ok(Reservation {
            file,
            offset,
            segments: Arc::clone(self),
        })
    }

    /// Takes room for a group with `bytes` bytes, in the segment that new bytes go to.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    pub(super) fn place_group(&self, bytes: u64, purpose: Purpose) -> Result<Spot, Fault> {
        let mut table = self.lock();
        let slot = self.active_with_room(&mut table, aligned(bytes), purpose)?;
        table.spot(slot, bytes)
    }

    /// Takes room for a group that speaks of reservations in this segment alone. Each has kept a
    /// block for it.
    pub(super) fn place_group_in(&self, slot: u32, bytes: u64) -> Result<Spot, Fault> {
        self.lock().spot(slot, bytes)
    }

    /// The open file at `location`; None if the chunk is not there any more. With `cached`, also
    /// None if the file would have to be opened first.
    pub fn pin(
        &self,
        location: &Location,
        cached: bool,
    ) -> Result<Option<Arc<SegmentFile>>, Fault> {
        let mut table = self.lock();
        let lives = |slot: &&Slot| {
            slot.row.generation == location.generation && slot.row.state.holds_chunks()
        };
        if table.slots.get(&location.slot).filter(lives).is_none() {
            return Ok(None);
        }
        match table.handles.get(location.slot) {
            Some(file) => Ok(Some(file)),
            None if cached => Ok(None),
            None => table.file(location.slot).map(Some),
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

    /// The rows that changed since the last call; None for a segment that is given up.
    pub(super) fn take_changed(&self) -> Vec<(u32, Option<SlotRow>)> {
        let mut table = self.lock();
        let changed = std::mem::take(&mut table.changed);
        let row = |slot| (slot, table.slots.get(&slot).map(|entry| entry.row));
        changed.into_iter().map(row).collect()
    }

    /// Notes that this life holds a record of a chunk whose place is, or was last, elsewhere.
    pub(super) fn note_stale(&self, number: u32, generation: u32) {
        let mut table = self.lock();
        if let Some(slot) = table.slots.get_mut(&number)
            && slot.row.generation == generation
            && slot.row.state == SlotState::Sealed
        {
            slot.row.state = SlotState::Emptying;
            table.changed.insert(number);
        }
    }

    /// Ends reading from a segment that has nothing left; false if somebody still reads there.
    pub(super) fn retire(&self, slot: u32) -> bool {
        let mut table = self.lock();
        if table.slot(slot).row.live_bytes > 0 || !table.handles.close(slot) {
            return false;
        }
        table.slot(slot).row.state = SlotState::Retired;
        table.changed.insert(slot);
        true
    }

    /// Lets a retired segment be used again.
    pub(super) fn set_free(&self, slot: u32) {
        let mut table = self.lock();
        let row = &mut table.slot(slot).row;
        *row = SlotRow::free(row.generation, row.bytes);
        table.changed.insert(slot);
    }

    /// Ends a segment that was found open after an unclean stop.
    pub(super) fn seal_found(&self, slot: u32) {
        let mut table = self.lock();
        if table.active.is_some_and(|(active, _)| active == slot) {
            table.active = None;
        }
        table.seal_if_done(slot);
    }

    /// Whether a new chunk finds room without the filesystem's help.
    pub fn has_room(&self) -> bool {
        let table = self.lock();
        let open = table.active.is_some_and(|(slot, purpose)| {
            purpose == Purpose::Put && table.slots[&slot].fits(self.record_bytes_max())
        });
        open || table.free().count() > RESERVE_SEGMENTS
    }

    /// Waits until a segment was begun or sealed, or the time is over. True if anything happened
    /// that the keeper cares for.
    pub(super) fn wait_for_nudge(&self, longest: Duration) -> bool {
        let waited = self.wake.wait_timeout(self.lock(), longest);
        let (mut table, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut table.nudged)
    }

    /// Makes the keeper look at the table.
    pub(super) fn nudge(&self) {
        self.lock().nudged = true;
        self.wake.notify_all();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segment that takes `bytes` more; begins another if the present one does not.
    fn active_with_room(
        &self,
        table: &mut Table,
        bytes: u64,
        purpose: Purpose,
    ) -> Result<u32, Fault> {
        if let Some((slot, opened_for)) = table.active {
            // A segment out of the reserve takes new chunks as soon as there is a reserve again.
            let reserved = opened_for == Purpose::Upkeep
                && purpose == Purpose::Put
                && table.free().count() < RESERVE_SEGMENTS;
            if !reserved && table.slots[&slot].fits(bytes) {
                return Ok(slot);
            }
            if reserved {
                self.make_free(table, purpose)?;
            }
            table.close(slot);
        }
        let slot = self.make_free(table, purpose)?;
        self.begin(table, slot)?;
        table.active = Some((slot, purpose));
        table.begun = Instant::now();
        table.nudged = true;
        self.wake.notify_all();
        Ok(slot)
    }

    /// A free segment that `purpose` may take, made now if there is none.
    fn make_free(&self, table: &mut Table, purpose: Purpose) -> Result<u32, Fault> {
        let kept = match purpose {
            Purpose::Put => RESERVE_SEGMENTS,
            Purpose::Upkeep => 0,
        };
        if table.free().count() <= kept {
            let slot = table.new_slot();
            create::create(self, slot, create::Fill::Reserve)?;
            table.add_free(slot, self.segment_bytes);
        }
        let mut free = table.free();
        Ok(free.next().expect("there is one now"))
    }

    /// Begins another life of a free segment.
    fn begin(&self, table: &mut Table, slot: u32) -> Result<(), Fault> {
        let row = table.slot(slot).row;
        let header = SegmentHeader {
            node: self.node,
            slot,
            generation: row.generation + 1,
            nonce: Nonce::generate(),
            bytes: row.bytes,
            in_use: true,
        };
        let path = create::path(&self.dir, slot);
        let file = SegmentFile::open(&path, slot, header.generation, header.nonce)?;
        file.write_header(&header)?;
        table.handles.insert(Arc::new(file));
        table.slot(slot).row = SlotRow::begun(&header);
        table.changed.insert(slot);
        Ok(())
    }
}

impl Table {
    /// The segments that wait to be used again.
    pub fn free(&self) -> impl Iterator<Item = u32> + '_ {
        let free =
            |(slot, entry): (&u32, &Slot)| (entry.row.state == SlotState::Free).then_some(*slot);
        self.slots.iter().filter_map(free)
    }

    /// How many percent of the sealed segments' bytes are not live.
    pub fn dead_percent(&self) -> u64 {
        let rows = self.slots.values().map(|entry| &entry.row);
        let sealed = rows.filter(|row| row.state.is_sealed());
        let (bytes, live_bytes) = sealed.fold((0, 0), |(bytes, live_bytes), row| {
            (bytes + u64::from(row.bytes), live_bytes + row.live_bytes)
        });
        100 - (live_bytes * 100)
            .checked_div(bytes)
            .unwrap_or(100)
            .min(100)
    }

    /// A number for a new file.
    pub fn new_slot(&mut self) -> u32 {
        self.slots_end += 1;
        self.slots_end - 1
    }

    /// Enters a new file that was never used.
    pub fn add_free(&mut self, slot: u32, bytes: u32) {
        let row = SlotRow::free(0, bytes);
        self.slots.insert(slot, Slot::new(row));
        self.changed.insert(slot);
    }

    /// Gives a free segment up.
    pub fn forget(&mut self, slot: u32) {
        self.handles.close(slot);
        self.slots.remove(&slot);
        self.changed.insert(slot);
    }

    /// How many percent of the segment are used that new bytes go to, and how long ago it was begun;
    /// None before the first one.
    pub fn active_use(&self) -> Option<(u64, Duration)> {
        let row = self.slots[&self.active?.0].row;
        let percent = u64::from(row.tail) * 100 / u64::from(row.bytes);
        Some((percent, self.begun.elapsed()))
    }

    pub fn slot(&mut self, slot: u32) -> &mut Slot {
        self.slots
            .get_mut(&slot)
            .expect("slots are never removed while in use")
    }

    /// The open file of a segment in use.
    pub fn file(&mut self, slot: u32) -> Result<Arc<SegmentFile>, Fault> {
        let row = self.slot(slot).row;
        self.handles.open(slot, row.generation, row.nonce)
    }

    /// Appends nothing more to a segment but the groups of its reservations.
    fn close(&mut self, slot: u32) {
        self.active = None;
        self.seal_if_done(slot);
    }

    fn seal_if_done(&mut self, slot: u32) {
        let active = self.active.is_some_and(|(active, _)| active == slot);
        let entry = self.slot(slot);
        if !active && entry.outstanding == 0 && entry.row.state == SlotState::Open {
            entry.row.state = SlotState::Sealed;
            self.changed.insert(slot);
            self.nudged = true;
        }
    }

    fn take(&mut self, slot: u32, bytes: u64) -> u32 {
        let row = &mut self.slot(slot).row;
        let offset = row.tail;
        row.tail += u32::try_from(aligned(bytes)).expect("it fits the segment");
        offset
    }

    fn spot(&mut self, slot: u32, bytes: u64) -> Result<Spot, Fault> {
        let file = self.file(slot)?;
        let offset = self.take(slot, bytes);
        let row = &mut self.slot(slot).row;
        let ordinal = row.ordinal;
        row.ordinal += 1;
        self.changed.insert(slot);
        Ok(Spot {
            file,
            offset,
            ordinal,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut table = self.segments.lock();
        table.slot(self.file.slot).outstanding -= 1;
        table.seal_if_done(self.file.slot);
        drop(table);
        self.segments.wake.notify_all();
    }
}
