//! Bringing the index in line with the segments (I9). After a clean stop it is. Otherwise the groups
//! that came after the index's last state are read again; with a new index, all of them.
//!
//! A group is written when the one before is durable, and a start ends every segment that was being
//! written. So only the last group in a segment can be torn: its records are verified, and those that
//! are not whole are cut off, at each start alike. Anything else that is damaged is bit rot, and is
//! reported.
//!
//! Each group is entered together with all that the walk knows from it: how far it is, which chunks are
//! gone, which segments hold stale records. A walk that is cut off goes on from there at the next start.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chunkproto::{ChunkId, NodeId};

use super::super::admission::Gate;
use super::super::directory::Layout;
use super::super::fault::Fault;
use super::super::index::{Change, Index};
use super::super::index_rows::{Gone, Row, Walk};
use super::super::probe::Step;
use super::super::read::{RecordReader, Wait};
use super::append::{record_bytes, row_of};
use super::create;
use super::file::SegmentFile;
use super::group::{Entry, Group};
use super::salvage::salvage;
use super::scan::{Scan, Scanned};
use super::segments::Segments;
use super::slot::SlotRow;
use super::survey::{self, Survey, survey};
use super::{Location, aligned};

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
    /// Segments that are kept open.
    pub open_files_max: usize,
    pub gate: Arc<Gate>,
}

/// Opens the segments of a directory and brings the index in line with them.
///
/// # Errors
/// `BadIndex` when the index knows segments that are not there: it must be made anew. `Io` and `Sync`,
/// also for what cannot be read: it is not known to be torn, and cutting it off would lose chunks.
pub(crate) fn recover(place: Place, index: &Index, clean: bool) -> Result<Recovered, Fault> {
    let mut rows = BTreeMap::new();
    for entry in index.slots() {
        let (slot, row) = entry?;
        let row = SlotRow::decode(&row)?;
        rows.insert(slot, survey::end_retired(&place, slot, row)?);
    }
    if clean {
        // Files that were left alone have no rows, and must not be written over.
        let slots_end = survey::slots_end(&place)?;
        return Ok(Recovered {
            segments: Segments::new(place, rows, slots_end),
            sequence: index.applied(),
        });
    }
    let survey = survey(&place, rows)?;
    Recovery::new(place, index, survey)?.run()
}

struct Recovery<'a> {
    place: Place,
    index: &'a Index,
    segments: Arc<Segments>,
    unread: Vec<u32>,
    /// The index's state before the walk began.
    applied: u64,
    /// How far the walk is.
    walk: Walk,
}

impl<'a> Recovery<'a> {
    fn new(place: Place, index: &'a Index, survey: Survey) -> Result<Self, Fault> {
        let Survey {
            rows,
            unread,
            slots_end,
        } = survey;
        let applied = index.applied();
        let walk = index.walk()?.unwrap_or(Walk {
            sequence: applied,
            groups: 0,
        });
        Ok(Self {
            segments: Segments::new(place.clone(), rows, slots_end),
            place,
            index,
            unread,
            applied,
            walk,
        })
    }

    fn run(mut self) -> Result<Recovered, Fault> {
        let unread = std::mem::take(&mut self.unread);
        let (count, mut said) = (unread.len(), Instant::now());
        for (number, slot) in unread.iter().enumerate() {
            self.read(*slot)?;
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
        self.report_gaps();
        self.seal(&unread)?;
        Ok(Recovered {
            segments: self.segments,
            sequence: self.walk.sequence,
        })
    }

    /// Reads one segment's groups that the index does not show.
    fn read(&mut self, slot: u32) -> Result<(), Fault> {
        let row = self.segments.lock().slot(slot).row;
        let path = create::path(&self.place.dir, slot);
        // Closed again at the end of its turn: there may be more segments than a process may open.
        let file = Arc::new(SegmentFile::open(&path, slot, row.generation, row.nonce)?);
        // Entered when a later one shows that it is durable.
        let mut last: Option<Scanned> = None;
        let mut scan = Scan::new(&file, row.tail, row.ordinal, row.bytes);
        while let Some(scanned) = scan.next()? {
            let Scanned { group, at, lost } = &scanned;
            if let Some(range) = lost {
                let rows = salvage(&file, range, group.sequence.saturating_sub(1))?;
                tracing::error!(
                    segment = %path.display(), from = range.start, to = range.end,
                    saved = rows.len(), before = at,
                    "bit rot: groups of chunks are damaged; chunks that are lost here must be repaired \
                     from other replicas, and deletes may have come undone"
                );
                self.enter_rows(rows)?;
            }
            if group.sequence <= self.applied {
                continue;
            }
            if let Some(durable) = last.replace(scanned) {
                self.enter(&durable, &file)?;
            }
        }
        match last {
            Some(scanned) => self.enter_last(scanned, &file),
            None => Ok(()),
        }
    }

    /// Enters a group that is known to be durable. Deletes first: a delete that was carried over
    /// from another segment may stand beside a later record of its chunk. Being cut off between the
    /// two does no harm, since both may be done again.
    fn enter(&mut self, scanned: &Scanned, file: &Arc<SegmentFile>) -> Result<(), Fault> {
        let Scanned { group, at, .. } = scanned;
        let probe = self.place.gate.probe();
        probe
            .at(Step::EnterFound)
            .map_err(Fault::io("recover", file.path()))?;
        self.enter_deletes(group)?;
        let end = u32::try_from(at + aligned(group.bytes.into())).expect("within the segment");
        self.segments
            .pass(file.slot, end, group.ordinal.wrapping_add(1));
        self.walk.groups += 1;
        self.walk.sequence = self.walk.sequence.max(group.sequence);
        let rows = group.entries.iter();
        self.enter_rows(
            rows.filter_map(|entry| row_of(entry, file, group.sequence))
                .collect(),
        )
    }

    fn enter_deletes(&self, group: &Group) -> Result<(), Fault> {
        let mut index = self.index.change();
        // A chunk may be deleted twice in a group: when a delete that was kept is told again.
        let mut latest: HashMap<ChunkId, Gone> = HashMap::new();
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
            let gone = Gone {
                sequence,
                slot,
                generation,
            };
            let before = latest.get(&id).copied().map_or(index.gone(id)?, Some);
            let gone = before.map_or(gone, |before| before.max(gone));
            latest.insert(id, gone);
            if let Some(had) = index.get(id)?
                && had.sequence <= sequence
                && let Some(location) = had.location
                && removed.insert(id)
            {
                index.remove(&had);
                self.count(&had, false);
                if (location.slot, location.generation) != (slot, generation) {
                    self.note_stale(location);
                }
            }
        }
        if latest.is_empty() {
            return Ok(());
        }
        for (id, gone) in latest {
            index.put_gone(id, gone);
        }
        self.commit(index)
    }

    fn enter_rows(&self, rows: Vec<Row>) -> Result<(), Fault> {
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
            let life = |at: Location| (at.slot, at.generation);
            let gone = index.gone(id)?.filter(|gone| gone.sequence >= row.sequence);
            if later || gone.is_some() {
                let named = gone.map(|gone| (gone.slot, gone.generation));
                let same = had.is_some_and(|had| had.location == row.location);
                if let Some(at) = row.location
                    && !same
                    && named != Some(life(at))
                {
                    self.note_stale(at);
                }
                continue;
            }
            had.iter()
                .filter_map(|had| had.location)
                .for_each(|at| self.note_stale(at));
            index.put(&row, had.as_ref());
            self.count(&row, true);
            had.iter().for_each(|had| self.count(had, false));
        }
        self.commit(index)
    }

    /// Enters what is whole of the last group in a segment.
    fn enter_last(&mut self, mut last: Scanned, file: &Arc<SegmentFile>) -> Result<(), Fault> {
        let sequence = last.group.sequence;
        let mut whole = Vec::with_capacity(last.group.entries.len());
        for entry in last.group.entries {
            match row_of(&entry, file, sequence) {
                Some(row) if !is_whole(file, &row)? => tracing::warn!(
                    chunk = %row.info.id, segment = %file.path().display(),
                    "a record in the last group of a segment is torn and was cut off; a crash leaves \
                     such records, and none of them was acknowledged"
                ),
                _ => whole.push(entry),
            }
        }
        last.group.entries = whole;
        self.enter(&last, file)
    }

    /// Groups follow each other without a gap, unless the index was made anew: then segments that
    /// were freed since are missing.
    fn report_gaps(&self) {
        let Walk { sequence, groups } = self.walk;
        let expected = sequence - self.applied;
        if self.applied > 0 && groups < expected {
            tracing::error!(
                dir = %self.place.dir.display(), lost = expected - groups,
                "bit rot: groups of chunks are missing; their chunks must be repaired from other replicas"
            );
        }
    }

    /// Ends the segments, since what lies behind their last group is not known, and the walk.
    fn seal(&self, unread: &[u32]) -> Result<(), Fault> {
        let probe = self.place.gate.probe();
        probe
            .at(Step::EndRecovery)
            .map_err(Fault::io("recover", &self.place.dir))?;
        unread
            .iter()
            .for_each(|slot| self.segments.seal_found(*slot));
        let mut index = self.index.change();
        self.segments.write_rows(&mut index);
        index.end_walk()?;
        index.set_applied(self.walk.sequence);
        index.commit()?;
        self.index.flush()
    }

    /// Makes a step of the walk visible, together with how far it is.
    fn commit(&self, mut index: Change<'_>) -> Result<(), Fault> {
        self.segments.write_rows(&mut index);
        index.set_walk(self.walk);
        index.commit()
    }

    fn has_file(&self, id: ChunkId) -> Result<bool, Fault> {
        let path = self.place.layout.record(id);
        path.try_exists().map_err(Fault::io("look at", &path))
    }

    /// Notes that there is a record that a delete elsewhere or a later record makes stale.
    fn note_stale(&self, at: Location) {
        self.segments.note_stale(at.slot, at.generation);
    }

    fn count(&self, row: &Row, live: bool) {
        if let Some(location) = row.location {
            self.segments.count(&location, record_bytes(row), live);
        }
    }
}

/// Whether a record is whole, or torn.
fn is_whole(file: &Arc<SegmentFile>, row: &Row) -> Result<bool, Fault> {
    let Some(location) = row.location else {
        return Ok(false);
    };
    let verified = RecordReader::in_segment(Arc::clone(file), location, row, Wait::ForDisk)
        .and_then(|reader| reader.verify());
    match verified {
        Ok(()) => Ok(true),
        Err(Fault::Damaged(_)) => Ok(false),
        Err(fault) => Err(fault),
    }
}
