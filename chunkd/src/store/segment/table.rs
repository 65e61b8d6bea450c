//! What is known of all segments: what each is used for, where the next bytes go, and which files are
//! open. State alone; `segments` guards it and touches the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::file::SegmentFile;
use super::handles::Handles;
use super::segments::{RESERVE_SEGMENTS, WriteClass};
use super::slot::{Slot, SlotRow, SlotState};
use super::{Location, aligned};

pub(super) struct Table {
    pub slots: BTreeMap<u32, Slot>,
    pub handles: Handles,
    /// The segment that new bytes go to, and whether it came out of the reserve.
    pub active: Option<(u32, WriteClass)>,
    /// When it was begun, and how long the one before took.
    begun: Instant,
    before_took: Option<Duration>,
    /// The segments that wait to be used again.
    free: BTreeSet<u32>,
    /// Segments whose rows differ from the index.
    pub changed: BTreeSet<u32>,
    /// The number of the next new file.
    slots_end: u32,
    /// Set when the keeper should look at the table.
    pub nudged: bool,
    /// Set when it should do so at once.
    pub woken: bool,
}

impl Table {
    /// The segments as they were found; `slots_end` is behind every number that is taken.
    pub fn new(rows: BTreeMap<u32, SlotRow>, slots_end: u32, handles: Handles) -> Self {
        let open = |(slot, row): (&u32, &SlotRow)| {
            (row.state == SlotState::Open).then_some((*slot, WriteClass::Put))
        };
        let free = |(slot, row): (&u32, &SlotRow)| (row.state == SlotState::Free).then_some(*slot);
        let rows_end = rows.keys().last().map_or(0, |last| last + 1);
        Self {
            slots_end: slots_end.max(rows_end),
            active: rows.iter().find_map(open),
            begun: Instant::now(),
            before_took: None,
            free: rows.iter().filter_map(free).collect(),
            handles,
            changed: rows.keys().copied().collect(),
            slots: rows
                .into_iter()
                .map(|(slot, row)| (slot, Slot::new(row)))
                .collect(),
            // What an earlier run left undone is done first.
            nudged: true,
            woken: false,
        }
    }

    /// Has the keeper look at the table at once. Whoever calls this wakes it.
    pub fn nudge(&mut self) {
        (self.nudged, self.woken) = (true, true);
    }

    /// Has a free segment, whose file is open and says so, begin the life `row` and take new bytes.
    pub fn begin(&mut self, row: SlotRow, file: SegmentFile, class: WriteClass) {
        let slot = file.slot;
        self.handles.insert(Arc::new(file));
        self.close();
        self.free.remove(&slot);
        self.slot(slot).row = row;
        self.changed.insert(slot);
        self.active = Some((slot, class));
        self.begun = Instant::now();
        self.nudge();
    }

    /// Lets a retired segment be used again.
    pub fn set_free(&mut self, slot: u32) {
        let row = &mut self.slot(slot).row;
        *row = SlotRow::free(row.generation, row.bytes);
        self.free.insert(slot);
        self.changed.insert(slot);
    }

    /// The segments that wait to be used again.
    pub fn free(&self) -> &BTreeSet<u32> {
        &self.free
    }

    /// Whether a new chunk's record of so many bytes finds room.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.open_for(bytes, WriteClass::Put).is_some()
            || self.free_for(bytes, WriteClass::Put).is_some()
    }

    /// The segment that new bytes go to, if `class` may put so many there.
    pub fn open_for(&self, bytes: u64, class: WriteClass) -> Option<u32> {
        let (slot, begun_for) = self.active?;
        // A segment out of the reserve takes new chunks as soon as there is a reserve again.
        let reserved = begun_for == WriteClass::Upkeep
            && class == WriteClass::Put
            && self.free.len() < RESERVE_SEGMENTS;
        (!reserved && self.slots[&slot].fits(bytes)).then_some(slot)
    }

    /// A free segment that `class` may take and that is long enough.
    pub fn free_for(&self, bytes: u64, class: WriteClass) -> Option<u32> {
        let kept = match class {
            WriteClass::Put => RESERVE_SEGMENTS,
            WriteClass::Upkeep => 0,
        };
        if self.free.len() <= kept {
            return None;
        }
        let mut free = self.free.iter().copied();
        free.find(|slot| self.slots[slot].fits_afresh(bytes))
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
        self.free.insert(slot);
        self.changed.insert(slot);
    }

    /// Gives a free segment up.
    pub fn forget(&mut self, slot: u32) {
        self.handles.close(slot);
        self.free.remove(&slot);
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

    /// Whether new bytes come so fast that a segment, the present one or the one before, is full before
    /// `span` is over.
    pub fn is_hurried(&self, span: Duration) -> bool {
        self.begun.elapsed() < span && self.before_took.is_some_and(|took| took < span)
    }

    pub fn slot(&mut self, slot: u32) -> &mut Slot {
        self.slots
            .get_mut(&slot)
            .expect("slots are never removed while in use")
    }

    /// The row of the segment at `location`; `None` if its life is over.
    pub fn life_at(&self, location: &Location) -> Option<SlotRow> {
        let row = self.slots.get(&location.slot)?.row;
        let lives = row.generation == location.generation && row.state.holds_chunks();
        lives.then_some(row)
    }

    /// Appends nothing more to the segment that new bytes went to but the groups of its reservations.
    fn close(&mut self) {
        if let Some((slot, _)) = self.active.take() {
            self.before_took = Some(self.begun.elapsed());
            self.seal_if_done(slot);
        }
    }

    /// Seals a segment to which nothing is appended any more; true if that is so just now.
    pub fn seal_if_done(&mut self, slot: u32) -> bool {
        let active = self.active.is_some_and(|(active, _)| active == slot);
        let entry = self.slot(slot);
        let done = !active && entry.outstanding == 0 && entry.row.state == SlotState::Open;
        if done {
            entry.row.state = SlotState::Sealed;
            self.changed.insert(slot);
            self.nudge();
        }
        done
    }

    pub fn take(&mut self, slot: u32, bytes: u64) -> u32 {
        let row = &mut self.slot(slot).row;
        let offset = row.tail;
        row.tail += u32::try_from(aligned(bytes)).expect("it fits the segment");
        self.changed.insert(slot);
        offset
    }
}
