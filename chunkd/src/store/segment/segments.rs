//! All segments of one data directory, for those who write to them and read from them. The table that
//! tells of them is locked for short: a file is opened and its header written meanwhile at most, to
//! begin a segment.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chunkproto::NodeId;

use super::super::admission::Gate;
use super::super::fault::Fault;
use super::super::index::Change;
use super::create;
use super::file::SegmentFile;
use super::handles::Handles;
use super::header::{Nonce, SegmentHeader};
use super::recover::Place;
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

/// Room in a segment for one group. Until it is dropped the segment is not sealed: whoever empties it
/// would miss a group that is not written yet, and the deletes in it.
pub(super) struct Spot {
    /// Where the group goes.
    pub room: Reservation,
    /// Its number in the segment's life.
    pub ordinal: u32,
}

/// The segments of one data directory.
pub(crate) struct Segments {
    pub(super) dir: PathBuf,
    pub(super) node: NodeId,
    pub(super) segment_bytes: u32,
    pub(super) gate: Arc<Gate>,
    table: Mutex<Table>,
    /// Held while a file is made that somebody waits for, so that no two are made for one need.
    making: Mutex<()>,
    wake: Condvar,
}

impl Segments {
    /// The segments as they were found; `slots_end` is behind every number that is taken.
    pub fn new(place: Place, rows: BTreeMap<u32, SlotRow>, slots_end: u32) -> Arc<Self> {
        let Place {
            dir,
            node,
            segment_bytes,
            open_files_max,
            gate,
            ..
        } = place;
        let handles = Handles::new(dir.clone(), open_files_max);
        let table = Table::new(rows, slots_end, handles);
        Arc::new(Self {
            dir,
            node,
            segment_bytes,
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
        purpose: Purpose,
    ) -> Result<Reservation, Fault> {
        let (mut table, slot) = self.active_with_room(aligned(record_bytes), purpose)?;
        self.take(&mut table, slot, record_bytes)
    }

    /// Takes room for a group with `bytes` bytes, in the segment that new bytes go to.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    pub(super) fn place_group(
        self: &Arc<Self>,
        bytes: u64,
        purpose: Purpose,
    ) -> Result<Spot, Fault> {
        let (mut table, slot) = self.active_with_room(aligned(bytes), purpose)?;
        self.spot(&mut table, slot, bytes)
    }

    /// Takes room for a group that speaks of reservations in this segment alone. Each has kept a
    /// block for it.
    pub(super) fn place_group_in(self: &Arc<Self>, slot: u32, bytes: u64) -> Result<Spot, Fault> {
        let mut table = self.lock();
        self.spot(&mut table, slot, bytes)
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

    /// Writes the rows that changed since the last call, and removes those of segments that were
    /// given up.
    pub(super) fn write_rows(&self, index: &mut Change<'_>) {
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
            && !slot.row.has_leftovers
        {
            slot.row.has_leftovers = true;
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
        (row.state, row.has_leftovers) = (SlotState::Retired, true);
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
        self.gate
            .check_segment_room(&self.dir, self.segment_bytes.into())
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

    /// The segment that takes `bytes` more, in the locked table; begins another if the present one does
    /// not.
    fn active_with_room(
        &self,
        bytes: u64,
        purpose: Purpose,
    ) -> Result<(MutexGuard<'_, Table>, u32), Fault> {
        let mut table = self.lock();
        loop {
            if let Some(slot) = table.open_for(bytes, purpose) {
                return Ok((table, slot));
            }
            if let Some(slot) = table.free_for(bytes, purpose) {
                self.begin(&mut table, slot, purpose)?;
                self.wake.notify_all();
                return Ok((table, slot));
            }
            drop(table);
            self.make_free(bytes, purpose)?;
            table = self.lock();
        }
    }

    /// Makes a free segment that `purpose` may take, unless somebody else made room meanwhile. The table is
    /// not locked: making a file takes as long as two syncs.
    fn make_free(&self, bytes: u64, purpose: Purpose) -> Result<(), Fault> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = {
            let mut table = self.lock();
            let open = table.open_for(bytes, purpose);
            if open.or_else(|| table.free_for(bytes, purpose)).is_some() {
                return Ok(());
            }
            table.new_slot()
        };
        let row = SlotRow::free(0, self.segment_bytes);
        if !Slot::new(row).fits_afresh(bytes) {
            let error = io::Error::new(ErrorKind::StorageFull, "segments are shorter than that");
            return Err(Fault::io("append to", &self.dir)(error));
        }
        create::create(self, slot, create::Fill::Reserve, purpose)?;
        self.lock().add_free(slot, self.segment_bytes);
        Ok(())
    }

    fn spot(self: &Arc<Self>, table: &mut Table, slot: u32, bytes: u64) -> Result<Spot, Fault> {
        let room = self.take(table, slot, bytes)?;
        let row = &mut table.slot(slot).row;
        row.ordinal += 1;
        let ordinal = row.ordinal - 1;
        Ok(Spot { room, ordinal })
    }

    fn take(
        self: &Arc<Self>,
        table: &mut Table,
        slot: u32,
        bytes: u64,
    ) -> Result<Reservation, Fault> {
        let file = table.file(slot)?;
        let offset = table.take(slot, bytes);
        table.slot(slot).outstanding += 1;
        Ok(Reservation {
            file,
            offset,
            segments: Arc::clone(self),
        })
    }

    /// Begins another life of a free segment.
    fn begin(&self, table: &mut Table, slot: u32, purpose: Purpose) -> Result<(), Fault> {
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
        table.begin(SlotRow::begun(&header), file, purpose);
        Ok(())
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
