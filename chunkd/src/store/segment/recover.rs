//! Bringing the index in line with the segments (I9). After a clean stop it is. Otherwise the groups
//! that came after the index's last state are read again; with a new index, all of them.
//!
//! A group is written when the one before is durable. So only the last one of all can be torn: its records
//! are verified, and those that are not whole are cut off. Anything else that is damaged is bit rot, and is
//! reported; with a new index, what an earlier crash had torn at the end of a segment looks like it. Where
//! nothing is synced, the last group of each segment can be torn.
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
use super::super::index::{Index, IndexBatch};
use super::super::index_rows::{Gone, Row, Walk};
use super::super::probe::Step;
use super::super::read::{RecordReader, Wait};
use super::append::{record_bytes, row_of};
use super::create;
use super::file::SegmentFile;
use super::group::{Entry, Group};
use super::salvage::{salvage, salvage_unnamed};
use super::scan::{Scan, Scanned, Trace};
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
    /// Chunks whose records are damaged, to be verified once the store is open.
    pub rotten: Vec<ChunkId>,
}

/// Where the segments are and whose they are.
#[derive(Clone)]
pub(crate) struct SegmentOptions {
    pub dir: PathBuf,
    pub layout: Layout,
    pub node: NodeId,
    pub segment_bytes: u32,
    /// Segments that are kept open.
    pub open_files_max: usize,
    /// A segment that lost nothing for so long is compacted.
    pub quiet_after: Duration,
    pub gate: Arc<Gate>,
}

/// Opens the segments of a directory and brings the index in line with them.
///
/// # Errors
/// `BadIndex` when the index knows segments that are not there: it must be made anew. `Io` and `Sync`,
/// also for what cannot be read: it is not known to be torn, and cutting it off would lose chunks.
pub(crate) fn recover(
    options: SegmentOptions,
    index: &Index,
    clean: bool,
) -> Result<Recovered, Fault> {
    let mut rows = BTreeMap::new();
    for entry in index.slots() {
        let (slot, row) = entry?;
        let row = SlotRow::decode(&row)?;
        rows.insert(slot, survey::end_retired(&options, slot, row)?);
    }
    if clean {
        // Files that were left alone have no rows, and must not be written over.
        let slots_end = survey::slots_end(&options)?;
        return Ok(Recovered {
            segments: Segments::new(options, rows, slots_end),
            sequence: index.applied(),
            rotten: Vec::new(),
        });
    }
    let survey = survey(&options, rows)?;
    Recovery::new(options, index, survey)?.run()
}

struct Recovery<'a> {
    options: SegmentOptions,
    index: &'a Index,
    segments: Arc<Segments>,
    unread: Vec<u32>,
    /// The index's state before the walk began.
    applied: u64,
    /// How far the walk is.
    walk: Walk,
    /// The latest of the last groups of the segments that were read. The others are entered.
    latest: Option<Last>,
    /// Damaged heads at the ends of segments.
    traces: Vec<(Arc<SegmentFile>, u32, Trace)>,
    /// Chunks whose records are damaged.
    rotten: Vec<ChunkId>,
}

/// The last group in a segment.
struct Last {
    scanned: Scanned,
    file: Arc<SegmentFile>,
}

impl<'a> Recovery<'a> {
    fn new(options: SegmentOptions, index: &'a Index, survey: Survey) -> Result<Self, Fault> {
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
            segments: Segments::new(options.clone(), rows, slots_end),
            options,
            index,
            unread,
            applied,
            walk,
            latest: None,
            traces: Vec::new(),
            rotten: Vec::new(),
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
        self.salvage_ends()?;
        self.enter_latest()?;
        self.report_gaps();
        self.seal(&unread)?;
        Ok(Recovered {
            segments: self.segments,
            sequence: self.walk.sequence,
            rotten: self.rotten,
        })
    }

    /// Reads one segment's groups that the index does not show.
    fn read(&mut self, slot: u32) -> Result<(), Fault> {
        let row = self.segments.lock().slot(slot).row;
        let path = create::path(&self.options.dir, slot);
        // Closed again at the end of its turn: there may be more segments than a process may open.
        let file = Arc::new(SegmentFile::open(&path, slot, row.generation, row.nonce)?);
        // Entered when a later one shows that it is durable.
        let mut last: Option<Scanned> = None;
        let mut scan = Scan::new(&file, row.tail, row.ordinal, row.bytes);
        while let Some(scanned) = scan.next()? {
            let Scanned { group, at, lost } = &scanned;
            if let (Some(first), Some(end)) = (lost.first(), lost.last()) {
                let sequence = group.sequence.saturating_sub(1);
                let mut rows = Vec::new();
                for range in lost {
                    rows.extend(salvage(&file, range, sequence)?);
                }
                rows.extend(salvage_unnamed(&file, row.bytes, sequence)?);
                tracing::error!(
                    segment = %path.display(), from = first.start, to = end.end,
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
        if let Some(trace) = scan.trace() {
            self.traces.push((Arc::clone(&file), row.bytes, trace));
        }
        match last {
            Some(scanned) => self.take_last(Last { scanned, file }),
            None => Ok(()),
        }
    }

    /// Takes in the last group of a segment. Those that are known not to be the last of all are entered.
    fn take_last(&mut self, last: Last) -> Result<(), Fault> {
        if !self.options.gate.durability().syncs() {
            return self.enter_torn(last);
        }
        let sequence = |last: &Last| last.scanned.group.sequence;
        let earlier = match self.latest.take() {
            Some(latest) if sequence(&latest) > sequence(&last) => {
                self.latest = Some(latest);
                Some(last)
            }
            latest => {
                self.latest = Some(last);
                latest
            }
        };
        earlier.map_or(Ok(()), |last| self.enter_durable(last))
    }

    /// Enters the last group of all.
    fn enter_latest(&mut self) -> Result<(), Fault> {
        match self.latest.take() {
            Some(last) if last.scanned.group.sequence < self.walk.sequence => {
                self.enter_durable(last)
            }
            Some(last) => self.enter_torn(last),
            None => Ok(()),
        }
    }

    /// Finds what a damaged head at the end of a segment spoke of, unless it may be the last group of all.
    fn salvage_ends(&mut self) -> Result<(), Fault> {
        let latest = self.latest.as_ref();
        let latest = latest.map_or(0, |last| last.scanned.group.sequence);
        let end = latest.max(self.walk.sequence);
        for (file, bytes, trace) in std::mem::take(&mut self.traces) {
            if trace.sequence > end {
                continue;
            }
            let mut rows = salvage(&file, &(trace.at..bytes.into()), trace.sequence)?;
            rows.extend(salvage_unnamed(&file, bytes, trace.sequence)?);
            tracing::error!(
                segment = %file.path().display(), at = trace.at, saved = rows.len(),
                "bit rot: the head of the last group of a segment is damaged; chunks that are lost here must \
                 be repaired from other replicas, and deletes may have come undone"
            );
            self.enter_rows(rows)?;
        }
        Ok(())
    }

    /// Enters a group that is known to be durable. Deletes first: a delete that was carried over
    /// from another segment may stand beside a later record of its chunk. Being cut off between the
    /// two does no harm, since both may be done again.
    fn enter(&mut self, scanned: &Scanned, file: &Arc<SegmentFile>) -> Result<(), Fault> {
        let Scanned { group, at, .. } = scanned;
        let probe = self.options.gate.probe();
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
        let mut index = self.index.batch();
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
        let mut index = self.index.batch();
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

    /// Enters the last group of a segment, which was durable when a later one was written. Its damaged
    /// records are told, and set aside once the store is open.
    fn enter_durable(&mut self, last: Last) -> Result<(), Fault> {
        let Last { scanned, file } = last;
        let rows = scanned.group.entries.iter();
        for row in rows.filter_map(|entry| row_of(entry, &file, scanned.group.sequence)) {
            match is_whole(&file, &row) {
                Ok(true) => {}
                // What cannot be read was durable all the same.
                Err(fault) if !fault.is_unreadable() => return Err(fault),
                _ => self.rotten.push(row.info.id),
            }
        }
        self.enter(&scanned, &file)
    }

    /// Enters what is whole of a group that may be torn.
    fn enter_torn(&mut self, last: Last) -> Result<(), Fault> {
        let Last { scanned, file } = last;
        let (mut last, file) = (scanned, &file);
        let sequence = last.group.sequence;
        let mut whole = Vec::with_capacity(last.group.entries.len());
        for entry in last.group.entries {
            match row_of(&entry, file, sequence) {
                Some(row) if !is_whole(file, &row)? => tracing::warn!(
                    chunk = %row.info.id, segment = %file.path().display(),
                    "a record in the last group is torn and was cut off; a crash leaves such records, and \
                     none of them was acknowledged"
                ),
                _ => whole.push(entry),
            }
        }
        last.group.entries = whole;
        self.enter(&last, file)
    }

    /// Groups follow each other without a gap. If the index was made anew, those of segments that were
    /// freed are missing, and only the gaps within segments tell.
    fn report_gaps(&self) {
        let Walk { sequence, groups } = self.walk;
        let expected = sequence - self.applied;
        if self.applied > 0 && groups < expected {
            tracing::error!(
                dir = %self.options.dir.display(), lost = expected - groups,
                "bit rot: groups of chunks are missing; their chunks must be repaired from other replicas"
            );
        }
    }

    /// Ends the segments, since what lies behind their last group is not known, and the walk.
    fn seal(&self, unread: &[u32]) -> Result<(), Fault> {
        let probe = self.options.gate.probe();
        probe
            .at(Step::EndRecovery)
            .map_err(Fault::io("recover", &self.options.dir))?;
        unread
            .iter()
            .for_each(|slot| self.segments.seal_found(*slot));
        let mut index = self.index.batch();
        self.segments.write_rows(&mut index);
        index.end_walk()?;
        index.set_applied(self.walk.sequence);
        index.commit()?;
        self.index.flush()
    }

    /// Makes a step of the walk visible, together with how far it is.
    fn commit(&self, mut index: IndexBatch<'_>) -> Result<(), Fault> {
        self.segments.write_rows(&mut index);
        index.set_walk(self.walk);
        index.commit()
    }

    fn has_file(&self, id: ChunkId) -> Result<bool, Fault> {
        let path = self.options.layout.record(id);
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
