//! Compaction of one segment: live records are copied to the log's end, deletes still needed are
//! rewritten, then the segment is freed. After a crash at any step each chunk has at least one whole
//! record and the index knows which.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chunkproto::{ByteRange, ChunkId};
use futures::executor::block_on;
use futures::future::join_all;

use super::super::fault::Fault;
use super::super::index_rows::Row;
use super::super::probe::Step;
use super::super::quarantine;
use super::super::read::{RecordReader, Wait, first_piece, next_piece};
use super::committer::{ChangeGuards, Work};
use super::file::SegmentFile;
use super::group::{Entry, Group};
use super::keeper::KeeperContext;
use super::record::{RecordHead, SegmentRecord};
use super::scan::Scan;
use super::segments::{Segments, WriteClass};
use super::slot::{SlotRow, SlotState};
use super::{Location, create};

/// How much is moved before it is waited for.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_MAX: usize = 128;
/// What is carried over fills less than this part of the segment.
const CARRIED_PERCENT_MAX: u64 = 95;
/// Longest pause between two batches.
const YIELD_MAX: Duration = Duration::from_millis(100);

/// The compaction of one segment.
pub(super) struct Compaction<'a> {
    context: &'a KeeperContext,
    slot: u32,
    /// Whether new chunks wait for the room: then it does not yield to other work.
    urgent: bool,
    /// Set when it is to end at the next record.
    stop: &'a AtomicBool,
    lives: OtherLives,
    batch: Vec<(Work, ChangeGuards)>,
    batch_bytes: u64,
    began: Instant,
    /// Whether a record stays because the disk cannot read it.
    stuck: bool,
}

/// Outcome of freeing segments.
pub(super) struct FreeOutcome {
    /// Those that are free now.
    pub slots: Vec<u32>,
    /// Those that could not be freed, and why.
    pub failed: Vec<(u32, Fault)>,
}

/// Segments in use other than this one, as of the start; a delete is needed only while one of them may
/// hold its record. Lives end here alone and do not return, so what was not needed then is not later.
struct OtherLives {
    /// Slot and generation.
    lives: HashSet<(u32, u32)>,
    /// Whether any may hold earlier records of a chunk that was moved out of it.
    any_stale_records: bool,
}

impl OtherLives {
    fn beside(segments: &Segments, slot: u32) -> Self {
        let table = segments.lock();
        let others = table.slots.iter();
        let others =
            others.filter(|(other, entry)| **other != slot && entry.row.state != SlotState::Free);
        let (mut lives, mut any_stale_records) = (HashSet::new(), false);
        for (other, entry) in others {
            lives.insert((*other, entry.row.generation));
            any_stale_records |= entry.row.has_stale_records;
        }
        Self {
            lives,
            any_stale_records,
        }
    }

    /// Whether a delete of a record in that life must be told again: as long as a record of its
    /// chunk may be found in a segment that is not free.
    fn need(&self, slot: u32, generation: u32) -> bool {
        self.any_stale_records || self.lives.contains(&(slot, generation))
    }
}

impl<'a> Compaction<'a> {
    /// To empty the sealed segment `slot`.
    pub fn new(context: &'a KeeperContext, slot: u32, urgent: bool, stop: &'a AtomicBool) -> Self {
        Self {
            context,
            slot,
            urgent,
            stop,
            lives: OtherLives::beside(&context.segments, slot),
            batch: Vec::new(),
            batch_bytes: 0,
            began: Instant::now(),
            stuck: false,
        }
    }

    /// Moves out what is needed; false if it was stopped, there is nothing to gain, or something cannot
    /// be read.
    ///
    /// # Errors
    /// `NoRoom` where nothing is left to move records to; nothing is lost, later is as good.
    pub fn empty(mut self) -> Result<bool, Fault> {
        let file = self.context.segments.file(self.slot)?;
        let row = self.context.segments.lock().slot(self.slot).row;
        // Stale records cost more than room: all deletes are kept on their account.
        if !row.has_stale_records && !self.is_worth_it(&file, &row)? {
            return Ok(false);
        }
        let mut scan = Scan::new(&file, 0, 0, row.bytes);
        while let Some(scanned) = scan.next()? {
            for entry in &scanned.group.entries {
                if self.stop.load(Ordering::SeqCst) {
                    return Ok(false);
                }
                self.carry(entry, &file, scanned.group.sequence)?;
            }
        }
        self.send()?;
        self.carry_hidden(&file)?;
        Ok(!self.stuck)
    }

    /// Whether what has to be told again leaves a gain. Deletes that are still needed count as
    /// nothing live in the table, and a segment full of them would be carried over for ever.
    fn is_worth_it(&self, file: &SegmentFile, row: &SlotRow) -> Result<bool, Fault> {
        let mut needed_bytes = row.live_bytes;
        let mut scan = Scan::new(file, 0, 0, row.bytes);
        while let Some(scanned) = scan.next()? {
            let needed = scanned.group.entries.iter().filter(|entry| match entry {
                Entry::Delete {
                    slot, generation, ..
                } => self.lives.need(*slot, *generation),
                Entry::Put { .. } => false,
            });
            needed_bytes += Group::entries_bytes(needed.count());
        }
        Ok(needed_bytes < u64::from(row.bytes) * CARRIED_PERCENT_MAX / 100)
    }

    fn carry(
        &mut self,
        entry: &Entry,
        file: &Arc<SegmentFile>,
        sequence: u64,
    ) -> Result<(), Fault> {
        match *entry {
            Entry::Put { id, offset, .. } => self.carry_record(id, file, offset),
            Entry::Delete {
                id,
                slot,
                generation,
                sequence: told,
            } => {
                debug_assert!(
                    told <= sequence,
                    "a delete is told when it happens or later"
                );
                if !self.lives.need(slot, generation) {
                    return Ok(());
                }
                let work = Work::KeepDelete {
                    id,
                    slot,
                    generation,
                    sequence: told,
                };
                self.push(work, Arc::new((None, None)), 64)
            }
        }
    }

    /// Moves a record, if it is still its chunk's. A damaged one goes to quarantine.
    fn carry_record(
        &mut self,
        id: ChunkId,
        file: &Arc<SegmentFile>,
        offset: u32,
    ) -> Result<(), Fault> {
        let meant = |row: &Row| {
            row.location.filter(|location| {
                location.slot == file.slot
                    && location.generation == file.generation
                    && location.offset == offset
            })
        };
        if self
            .context
            .index
            .get(id)?
            .as_ref()
            .and_then(meant)
            .is_none()
        {
            return Ok(());
        }
        if self.batch.iter().any(|(work, _)| work.id() == Some(id)) {
            self.send()?;
        }
        let lock = self.context.chunk_locks.lock_blocking(id);
        let Some(row) = self.context.index.get(id)? else {
            return Ok(());
        };
        let Some(location) = meant(&row) else {
            return Ok(());
        };
        let gate = &self.context.segments.gate;
        gate.probe()
            .at(Step::MoveRecord)
            .map_err(Fault::io("move", file.path()))?;
        let guards: ChangeGuards = Arc::new((Some(lock), None));
        match read_whole(Arc::clone(file), location, &row) {
            Ok(record) => {
                let bytes = record.head.record_bytes();
                let work = self.moved(record, location)?;
                self.push(work, guards, bytes)
            }
            Err(Fault::Damaged(detail)) => {
                let raw = RecordReader::raw_in_segment(Arc::clone(file), location, &row);
                quarantine::keep(&self.context.layout, id, &raw, &detail)?;
                gate.count_quarantined();
                let only = Some(location);
                self.push(Work::Delete { id, only }, guards, 64)
            }
            Err(fault) if fault.is_unreadable() => {
                self.context.unreadable.note(id, gate);
                self.stuck = true;
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    /// A record to be appended, or one that was written to room of its own.
    fn moved(&self, record: SegmentRecord, location: Location) -> Result<Work, Fault> {
        let from = Some(location);
        if record.head.record_bytes() <= self.context.segments.inline_bytes_max() {
            return Ok(Work::Append { record, from });
        }
        let segments = &self.context.segments;
        let reservation = segments.reserve(record.head.record_bytes(), WriteClass::Upkeep)?;
        let pieces: Vec<Bytes> = record.pieces(reservation.file.nonce).collect();
        reservation.file.write(&pieces, reservation.offset.into())?;
        Ok(Work::Land {
            reservation,
            head_bytes: record.head.bytes(),
            info: record.info,
            from,
        })
    }

    fn push(&mut self, work: Work, guards: ChangeGuards, bytes: u64) -> Result<(), Fault> {
        self.batch.push((work, guards));
        self.batch_bytes += bytes;
        if self.batch.len() >= BATCH_MAX || self.batch_bytes >= BATCH_BYTES {
            return self.send();
        }
        Ok(())
    }

    /// Waits until what was collected is durable, then yields to others for as long as it took.
    fn send(&mut self) -> Result<(), Fault> {
        let committer = &self.context.committer;
        let commits = self
            .batch
            .drain(..)
            .map(|(work, guards)| committer.commit(work, Some(guards)));
        for landed in block_on(join_all(commits)) {
            landed?;
        }
        self.batch_bytes = 0;
        if !self.urgent && self.context.segments.gate.is_busy() {
            let rest = self.began.elapsed().min(YIELD_MAX);
            self.context.segments.rest(rest, self.stop);
        }
        self.began = Instant::now();
        Ok(())
    }

    /// Moves what the index still has here although no group spoke of it: their heads are damaged.
    fn carry_hidden(&mut self, file: &Arc<SegmentFile>) -> Result<(), Fault> {
        if self.context.segments.lock().slot(self.slot).row.live_bytes == 0 {
            return Ok(());
        }
        let hidden = self.context.index.located_in(file.slot, file.generation)?;
        for row in hidden {
            let offset = row.location.map_or(0, |location| location.offset);
            self.carry_record(row.info.id, file, offset)?;
        }
        self.send()
    }
}

/// Ends the lives of segments that were emptied. Those are left from which somebody still reads.
pub(super) fn free_all(context: &KeeperContext, emptied: Vec<u32>) -> FreeOutcome {
    let segments = &context.segments;
    let retired: Vec<u32> = emptied
        .into_iter()
        .filter(|slot| segments.retire(*slot))
        .collect();
    let mut freed = FreeOutcome {
        slots: Vec::new(),
        failed: Vec::new(),
    };
    if retired.is_empty() {
        return freed;
    }
    // IMPORTANT: the index is durable before the groups go that it would be read from, and each
    // segment's end is durable before it begins another life.
    if let Err(fault) = make_index_durable(context) {
        let failed = retired.into_iter().map(|slot| (slot, fault.again()));
        freed.failed.extend(failed);
        return freed;
    }
    for slot in retired {
        match free(segments, slot) {
            Ok(()) => freed.slots.push(slot),
            Err(fault) => freed.failed.push((slot, fault)),
        }
    }
    freed
}

fn make_index_durable(context: &KeeperContext) -> Result<(), Fault> {
    let segments = &context.segments;
    let asked = segments.gate.probe().at(Step::FlushIndex);
    asked.map_err(Fault::io("index", &segments.dir))?;
    context.checkpoint()
}

fn free(segments: &Segments, slot: u32) -> Result<(), Fault> {
    let path = create::path(&segments.dir, slot);
    let asked = segments.gate.probe().at(Step::FreeSegment);
    asked.map_err(Fault::io("free", &path))?;
    let row = segments.lock().slot(slot).row;
    let durability = segments.gate.durability();
    create::end_life(&path, segments.node, slot, &row, durability)?;
    segments.set_free(slot);
    Ok(())
}

fn read_whole(
    file: Arc<SegmentFile>,
    location: Location,
    row: &Row,
) -> Result<SegmentRecord, Fault> {
    let reader = RecordReader::in_segment(file, location, row, Wait::ForDisk)?;
    let end = row.info.length_bytes;
    let mut data = Vec::new();
    let mut next = Some(first_piece(ByteRange { start: 0, end }));
    while let Some(piece) = next {
        data.push(reader.read(piece, Wait::ForDisk)?);
        next = next_piece(piece, end);
    }
    let head = RecordHead {
        id: row.info.id,
        length_bytes: end,
        owner: reader.owner_bytes().to_vec(),
    };
    let record = SegmentRecord::new(head, data);
    if record.info != row.info {
        return Err(Fault::Damaged(
            "the data differ from the chunk's checksum".into(),
        ));
    }
    Ok(record)
}
