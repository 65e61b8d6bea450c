//! Bringing the index in line with the segments (I9). After a clean stop it is. Otherwise the groups
//! that came after the index's last state are read again; with a new index, all of them.
//!
//! A group is written when the one before is durable, and a start ends every segment that was being
//! written. So only the last group in a segment can be torn: its records are verified, and those that
//! are not whole are cut off, at each start alike. Anything else that is damaged is bit rot, and is
//! reported.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chunkproto::{ChunkId, NodeId};

use super::super::admission::Gate;
use super::super::directory::Layout;
use super::super::fault::Fault;
use super::super::index::Index;
use super::super::index_rows::Row;
use super::super::read::{RecordReader, Wait};
use super::append::{record_bytes, row_of};
use super::create;
use super::file::{SegmentFile, is_blank, read_header};
use super::group::{Entry, Group};
use super::header::SegmentHeader;
use super::salvage::salvage;
use super::scan::{Scan, Scanned};
use super::slot::{SlotRow, SlotState};
use super::table::Segments;

/// How often the walk says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// The segments of a directory, and the number of the last group in them.
pub(crate) struct Recovered {
    pub segments: Arc<Segments>,
    pub sequence: u64,
}

/// Where the segments are and whose they are.
#[derive(Clone)]
pub(crate) struct Place {
    pub dir: PathBuf,
    pub layout: Layout,
    pub node: NodeId,
    pub segment_bytes: u32,
    pub gate: Arc<Gate>,
}

/// Opens the segments of a directory and brings the index in line with them.
///
/// # Errors
/// `Index` when the index knows segments that are not there: it must be made anew. `Io`.
pub(crate) fn recover(place: Place, index: &Index, clean: bool) -> Result<Recovered, Fault> {
    let mut rows = BTreeMap::new();
    for entry in index.slots() {
        let (slot, row) = entry?;
        rows.insert(slot, end_retired(&place, slot, SlotRow::decode(&row)?)?);
    }
    if clean {
        // Files that were left alone have no rows, and must not be written over.
        let slots_end = slots_end(&place)?;
        return Ok(Recovered {
            segments: Segments::new(place, rows, slots_end),
            sequence: index.applied(),
        });
    }
    Recovery::new(place, index, rows)?.run()
}

/// A segment that may hold groups which the index does not show.
struct Unread {
    file: Arc<SegmentFile>,
    from: u32,
    ordinal: u32,
    bytes: u32,
}

struct Recovery<'a> {
    place: Place,
    index: &'a Index,
    segments: Arc<Segments>,
    unread: Vec<Unread>,
    /// The index's state when it was opened.
    applied: u64,
    /// Chunks that were deleted, by which group, and in which life of which segment.
    gone: HashMap<ChunkId, (u64, u32, u32)>,
    /// Records that a delete elsewhere or a later record makes stale.
    stale: HashSet<(u32, u32)>,
    /// The last group so far.
    sequence: u64,
    groups: u64,
}

impl<'a> Recovery<'a> {
    fn new(
        place: Place,
        index: &'a Index,
        mut rows: BTreeMap<u32, SlotRow>,
    ) -> Result<Self, Fault> {
        let known = rows.len();
        let mut found = 0;
        let mut slots_end = 0;
        let mut unread = Vec::new();
        for entry in fs::read_dir(&place.dir).map_err(Fault::io("list", &place.dir))? {
            let entry = entry.map_err(Fault::io("list", &place.dir))?;
            let name = entry.file_name();
            let Some(slot) = name.to_str().and_then(create::slot_of_name) else {
                tracing::warn!(path = %entry.path().display(), "this file is no segment; ignored");
                continue;
            };
            slots_end = slots_end.max(slot.saturating_add(1));
            found += usize::from(rows.contains_key(&slot));
            let row = rows.get(&slot).copied();
            if row.is_some_and(|row| row.state.is_sealed()) {
                continue;
            }
            let header = read_header(&entry.path())?;
            if header.is_none() && row.is_none() && !is_blank(&entry.path())? {
                tracing::error!(
                    path = %entry.path().display(),
                    "bit rot: both headers of a segment are damaged and the index does not know it; \
                     left alone. Its chunks must be repaired from other replicas; then the file can \
                     be removed"
                );
                continue;
            }
            match judge(&place, slot, row, header) {
                Verdict::Strange(why) => {
                    tracing::error!(path = %entry.path().display(), why, "not a segment of ours; left alone");
                    rows.remove(&slot);
                }
                Verdict::Free(row) => {
                    rows.insert(slot, row);
                }
                Verdict::Unread(row) => {
                    let file = SegmentFile::open(&entry.path(), slot, row.generation, row.nonce)?;
                    unread.push(Unread {
                        file: Arc::new(file),
                        from: row.tail,
                        ordinal: row.ordinal,
                        bytes: row.bytes,
                    });
                    rows.insert(slot, row);
                }
            }
        }
        if found < known {
            let missing = known - found;
            return Err(Fault::Index(format!(
                "{missing} of its segments are not there"
            )));
        }
        unread.sort_by_key(|unread| unread.file.slot);
        Ok(Self {
            applied: index.applied(),
            sequence: index.applied(),
            segments: Segments::new(place.clone(), rows, slots_end),
            place,
            index,
            unread,
            gone: HashMap::new(),
            stale: HashSet::new(),
            groups: 0,
        })
    }

    fn run(mut self) -> Result<Recovered, Fault> {
        let unread = std::mem::take(&mut self.unread);
        let (count, mut said) = (unread.len(), Instant::now());
        for (number, segment) in unread.iter().enumerate() {
            self.read(segment)?;
            if said.elapsed() >= PROGRESS_EVERY {
                said = Instant::now();
                let percent = (number + 1) * 100 / count;
                let chunks = self.index.totals().chunk_count;
                tracing::info!(
                    segments = number + 1,
                    of = count,
                    percent,
                    chunks,
                    "reading segments"
                );
            }
        }
        let sequence = self.sequence;
        self.report_gaps(sequence);
        self.seal(&unread, sequence)?;
        Ok(Recovered {
            segments: self.segments,
            sequence,
        })
    }

    /// Reads one segment's groups that the index does not show.
    fn read(&mut self, segment: &Unread) -> Result<(), Fault> {
        let file = &segment.file;
        // Entered when a later one shows that it is durable.
        let mut last: Option<Group> = None;
        let mut scan = Scan::new(file, segment.from, segment.ordinal, segment.bytes);
        while let Some(Scanned { group, at, lost }) = scan.next()? {
            if let Some(range) = lost {
                let rows = salvage(file, &range, group.sequence.saturating_sub(1))?;
                tracing::error!(
                    segment = %file.path().display(), from = range.start, to = range.end,
                    saved = rows.len(), before = at,
                    "bit rot: groups of chunks are damaged; chunks that are lost here must be repaired \
                     from other replicas, and deletes may have come undone"
                );
                self.enter_rows(rows)?;
            }
            if group.sequence <= self.applied {
                continue;
            }
            self.groups += 1;
            self.sequence = self.sequence.max(group.sequence);
            if let Some(durable) = last.replace(group) {
                self.enter(&durable, file)?;
            }
        }
        match last {
            Some(group) => self.enter_last(group, file),
            None => Ok(()),
        }
    }

    /// Enters a group that is known to be durable. Deletes first: a delete that was carried over
    /// from another segment may stand beside a later record of its chunk.
    fn enter(&mut self, group: &Group, file: &Arc<SegmentFile>) -> Result<(), Fault> {
        let mut index = self.index.change();
        // A delete that was kept twice may be told twice; the chunk leaves the index once.
        let mut removed = HashSet::new();
        for entry in &group.entries {
            let Entry::Delete {
                id,
                slot,
                generation,
                sequence,
            } = *entry
            else {
                continue;
            };
            let gone = self.gone.entry(id).or_default();
            *gone = (sequence, slot, generation).max(*gone);
            if let Some(had) = index.get(id)?
                && had.sequence <= sequence
                && let Some(location) = had.location
                && removed.insert(id)
            {
                index.remove(&had);
                self.count(&had, false);
                if (location.slot, location.generation) != (slot, generation) {
                    self.stale.insert((location.slot, location.generation));
                }
            }
        }
        index.commit()?;
        let rows = group.entries.iter();
        self.enter_rows(
            rows.filter_map(|entry| row_of(entry, file, group.sequence))
                .collect(),
        )
    }

    fn enter_rows(&mut self, rows: Vec<Row>) -> Result<(), Fault> {
        let mut index = self.index.change();
        // Salvage may find several records of one chunk.
        let mut seen = HashSet::new();
        for row in rows {
            let id = row.info.id;
            if !seen.insert(id) {
                continue;
            }
            let had = index.get(id)?;
            let later = match had {
                // The index may be older than the removal of the file.
                Some(Row { location: None, .. }) => self.has_file(id)?,
                Some(had) => had.sequence >= row.sequence,
                None => false,
            };
            let life = |row: &Row| row.location.map(|at| (at.slot, at.generation));
            let gone = self.gone.get(&id).filter(|gone| gone.0 >= row.sequence);
            if later || gone.is_some() {
                let named =
                    gone.is_some_and(|(_, slot, life_of)| life(&row) == Some((*slot, *life_of)));
                let same = had.is_some_and(|had| had.location == row.location);
                if !named && !same {
                    self.stale.extend(life(&row));
                }
                continue;
            }
            self.stale.extend(had.as_ref().and_then(life));
            index.put(&row, had.as_ref());
            self.count(&row, true);
            had.iter().for_each(|had| self.count(had, false));
        }
        index.commit()
    }

    /// Enters what is whole of the last group in a segment.
    fn enter_last(&mut self, mut group: Group, file: &Arc<SegmentFile>) -> Result<(), Fault> {
        group.entries.retain(|entry| {
            let Some(row) = row_of(entry, file, group.sequence) else {
                return true;
            };
            let whole = is_whole(file, &row);
            if !whole {
                tracing::warn!(
                    chunk = %row.info.id, segment = %file.path().display(),
                    "a record in the last group of a segment is torn and was cut off; a crash leaves \
                     such records, and none of them was acknowledged"
                );
            }
            whole
        });
        self.enter(&group, file)
    }

    /// Groups follow each other without a gap, unless the index was made anew: then segments that
    /// were freed since are missing.
    fn report_gaps(&self, sequence: u64) {
        let expected = sequence - self.applied;
        if self.applied > 0 && self.groups < expected {
            tracing::error!(
                dir = %self.place.dir.display(), lost = expected - self.groups,
                "bit rot: groups of chunks are missing; their chunks must be repaired from other replicas"
            );
        }
    }

    /// Makes what was read durable, since it may have been in memory alone, and ends the segments:
    /// what lies behind their last group is not known.
    fn seal(&mut self, unread: &[Unread], sequence: u64) -> Result<(), Fault> {
        for segment in unread {
            if self.place.gate.durability().syncs() {
                segment.file.sync()?;
            }
            self.segments.seal_found(segment.file.slot);
        }
        for (slot, generation) in self.stale.drain() {
            self.segments.note_stale(slot, generation);
        }
        let mut index = self.index.change();
        for (slot, row) in self.segments.take_changed() {
            index.set_slot(
                slot,
                row.map(|row| row.encode()).as_ref().map(|row| &row[..]),
            );
        }
        index.set_applied(sequence);
        index.commit()?;
        self.index.flush()
    }

    fn has_file(&self, id: ChunkId) -> Result<bool, Fault> {
        let path = self.place.layout.record(id);
        path.try_exists().map_err(Fault::io("look at", &path))
    }

    fn count(&self, row: &Row, live: bool) {
        if let Some(location) = row.location {
            self.segments.count(&location, record_bytes(row), live);
        }
    }
}

/// Ends the life of a segment for good that was emptied when the store stopped. Until its file says
/// so, a new index would find what is in it again, deleted chunks too.
fn end_retired(place: &Place, slot: u32, row: SlotRow) -> Result<SlotRow, Fault> {
    if row.state != SlotState::Retired {
        return Ok(row);
    }
    let path = create::path(&place.dir, slot);
    if !path.try_exists().map_err(Fault::io("look at", &path))? {
        return Err(Fault::Index(format!("segment {slot:08x} is not there")));
    }
    // It may live again already, or have been replaced.
    let ours = read_header(&path)?.is_none_or(|header| {
        header.node == place.node && header.slot == slot && header.generation <= row.generation
    });
    if !ours {
        return Ok(row);
    }
    create::end_life(&path, place.node, slot, &row, place.gate.durability())?;
    Ok(SlotRow::free(row.generation, row.bytes))
}

/// The first number behind all that are taken.
fn slots_end(place: &Place) -> Result<u32, Fault> {
    let mut end = 0;
    for entry in fs::read_dir(&place.dir).map_err(Fault::io("list", &place.dir))? {
        let name = entry.map_err(Fault::io("list", &place.dir))?.file_name();
        let slot = name.to_str().and_then(create::slot_of_name);
        end = end.max(slot.map_or(0, |slot| slot.saturating_add(1)));
    }
    Ok(end)
}

/// What a file turned out to be.
enum Verdict {
    Free(SlotRow),
    Unread(SlotRow),
    Strange(&'static str),
}

/// What the file of a slot is, from the index's row and its own header.
fn judge(place: &Place, slot: u32, row: Option<SlotRow>, header: Option<SegmentHeader>) -> Verdict {
    let Some(header) = header else {
        return match row {
            // Its header is damaged, but the index knows its mark.
            Some(row) if row.state == SlotState::Open => Verdict::Unread(row),
            row => Verdict::Free(row.unwrap_or(SlotRow::free(0, place.segment_bytes))),
        };
    };
    if header.node != place.node {
        return Verdict::Strange("it belongs to another node");
    }
    if header.slot != slot {
        return Verdict::Strange("it has another segment's name");
    }
    let known = row.map_or(0, |row| row.generation);
    match row {
        Some(row) if row.state == SlotState::Open && header.generation == known => {
            Verdict::Unread(row)
        }
        // A life of which the index knows nothing, or with a new index any life.
        row if header.in_use && (header.generation > known || row.is_none()) => {
            Verdict::Unread(SlotRow::begun(&header))
        }
        _ => Verdict::Free(SlotRow::free(header.generation.max(known), header.bytes)),
    }
}

fn is_whole(file: &Arc<SegmentFile>, row: &Row) -> bool {
    let Some(location) = row.location else {
        return false;
    };
    RecordReader::in_segment(Arc::clone(file), location, row, Wait::ForDisk)
        .and_then(|reader| reader.verify())
        .is_ok()
}
