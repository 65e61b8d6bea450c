//! Entering in the index what the groups say, in whatever order they are read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chunkproto::ChunkId;

use super::super::super::fault::Fault;
use super::super::super::index::IndexBatch;
use super::super::super::index_rows::{Gone, Row};
use super::super::super::probe::Step;
use super::super::append::{record_bytes, row_of};
use super::super::file::SegmentFile;
use super::super::group::{Entry, Group};
use super::super::scan::Scanned;
use super::super::{Location, aligned};
use super::Recovery;

impl Recovery<'_> {
    /// Enters a group that is known to be durable. Deletes first: a delete that was carried over
    /// from another segment may stand beside a later record of its chunk. Being cut off between the
    /// two does no harm, since both may be done again.
    pub(super) fn enter(
        &mut self,
        scanned: &Scanned,
        file: &Arc<SegmentFile>,
    ) -> Result<(), Fault> {
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

    pub(super) fn enter_rows(&self, rows: Vec<Row>) -> Result<(), Fault> {
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
    pub(super) fn note_stale(&self, at: Location) {
        self.segments.note_stale(at.slot, at.generation);
    }

    fn count(&self, row: &Row, live: bool) {
        if let Some(location) = row.location {
            self.segments.count(&location, record_bytes(row), live);
        }
    }
}
