//! Bringing the index in line with the segments (I9). After a clean stop it is. Otherwise the groups
//! that came after the index's last state are read again; with a new index, all of them.
//!
//! A group is written when the one before is durable. So only the last one of all can be torn: its records
//! are verified, and those that are not whole are cut off. Anything else that is damaged is bit rot, and is
//! reported. Where nothing is synced, the last group of each segment can be torn.
//!
//! Each group is entered together with all that the walk knows from it: how far it is, which chunks are
//! gone, which segments hold stale records. A walk that is cut off goes on from there at the next start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chunkproto::{ChunkId, NodeId};

use super::super::admission::Gate;
use super::super::directory::Layout;
use super::super::fault::Fault;
use super::super::index::Index;
use super::super::index_rows::{Row, Walk};
use super::super::probe::Step;
use super::create;
use super::file::SegmentFile;
use super::salvage::{salvage, salvage_unnamed};
use super::scan::{Scan, Scanned};
use super::segments::Segments;
use super::slot::SlotRow;
use super::survey::{self, Survey, survey};

use self::ends::{DamagedHead, LastGroup};

mod ends;
mod replay;
#[cfg(test)]
mod tests;

/// How often the walk says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// The segments of a directory, and the number of the last group in them.
pub(crate) struct Recovered {
    pub segments: Arc<Segments>,
    pub sequence: u64,
    /// Chunks whose records the disk cannot read, to be looked at once the store is open.
    pub unreadable: Vec<ChunkId>,
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
            unreadable: Vec::new(),
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
    latest: Option<LastGroup>,
    /// Damaged heads at the ends of segments.
    damaged_heads: Vec<DamagedHead>,
    /// Whether the last group of all is one of them.
    last_is_damaged: bool,
    /// Damaged records in the last groups of segments, which are not entered.
    damaged: Vec<Row>,
    /// Chunks whose records the disk cannot read.
    unreadable: Vec<ChunkId>,
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
            damaged_heads: Vec::new(),
            last_is_damaged: false,
            damaged: Vec::new(),
            unreadable: Vec::new(),
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
        self.set_damaged_aside()?;
        self.report_gaps();
        self.seal(&unread)?;
        Ok(Recovered {
            segments: self.segments,
            sequence: self.walk.sequence,
            unreadable: self.unreadable,
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
            let Scanned {
                group,
                at,
                after,
                lost,
            } = &scanned;
            if let (Some(first), Some(end)) = (lost.first(), lost.last()) {
                let mut rows = Vec::new();
                for range in lost {
                    rows.extend(salvage(&file, range, after.max(&self.applied) + 1)?);
                }
                rows.extend(salvage_unnamed(&file, row.bytes)?);
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
        let heads = scan.traces().iter().map(|trace| DamagedHead {
            trace: *trace,
            file: Arc::clone(&file),
            segment_bytes: row.bytes,
        });
        self.damaged_heads.extend(heads);
        match last {
            Some(scanned) => self.take_last(LastGroup { scanned, file }),
            None => Ok(()),
        }
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
}
