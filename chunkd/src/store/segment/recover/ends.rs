//! The last groups of segments. The last one of all may be torn: what is not whole of it was never
//! acknowledged. The others were durable once, but a crash may have torn one of them while it was the last of
//! all, and with a new index that looks like bit rot. So a damaged record counts for nothing either way: an
//! earlier copy of its chunk, if there is one, stays the chunk; it is verified when it is read.

use std::sync::Arc;

use bytes::Bytes;

use super::super::super::fault::Fault;
use super::super::super::index_rows::Row;
use super::super::super::quarantine;
use super::super::super::read::{RecordReader, Wait};
use super::super::ALIGN_BYTES;
use super::super::append::row_of;
use super::super::file::SegmentFile;
use super::super::salvage::{salvage, salvage_unnamed};
use super::super::scan::{Scanned, Trace};
use super::Recovery;

/// The last group in a segment.
pub(super) struct LastGroup {
    pub scanned: Scanned,
    pub file: Arc<SegmentFile>,
}

/// A damaged head behind the last group of a segment.
pub(super) struct DamagedHead {
    pub trace: Trace,
    pub file: Arc<SegmentFile>,
    pub segment_bytes: u32,
}

impl LastGroup {
    fn sequence(&self) -> u64 {
        self.scanned.group.sequence
    }

    /// Leaves out the records that are damaged; returns their rows. `on_unreadable` is asked where the disk
    /// cannot read one.
    fn leave_out_damaged(
        &mut self,
        mut on_unreadable: impl FnMut(&Row, Fault) -> Result<(), Fault>,
    ) -> Result<Vec<Row>, Fault> {
        let sequence = self.sequence();
        let entries = std::mem::take(&mut self.scanned.group.entries);
        let (mut whole, mut damaged) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in entries {
            match row_of(&entry, &self.file, sequence) {
                Some(row) if !is_whole(&self.file, &row, &mut on_unreadable)? => damaged.push(row),
                _ => whole.push(entry),
            }
        }
        self.scanned.group.entries = whole;
        Ok(damaged)
    }
}

impl Recovery<'_> {
    /// Takes in the last group of a segment. Those that are known not to be the last of all are entered.
    pub(super) fn take_last(&mut self, last: LastGroup) -> Result<(), Fault> {
        if !self.options.gate.durability().syncs() {
            return self.enter_torn(last);
        }
        let earlier = match self.latest.take() {
            Some(latest) if latest.sequence() > last.sequence() => {
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
    pub(super) fn enter_latest(&mut self) -> Result<(), Fault> {
        match self.latest.take() {
            Some(last) if self.last_is_damaged || last.sequence() < self.walk.sequence => {
                self.enter_durable(last)
            }
            Some(last) => self.enter_torn(last),
            None => Ok(()),
        }
    }

    /// Enters what is whole of the last group of a segment, which was durable when a later one was written.
    /// What the disk cannot read is entered too: it may be whole.
    fn enter_durable(&mut self, mut last: LastGroup) -> Result<(), Fault> {
        let unreadable = &mut self.unreadable;
        let damaged = last.leave_out_damaged(|row, fault| {
            let is_unreadable = fault.is_unreadable();
            unreadable.extend(is_unreadable.then_some(row.info.id));
            if is_unreadable { Ok(()) } else { Err(fault) }
        })?;
        for row in &damaged {
            tracing::error!(
                chunk = %row.info.id, segment = %last.file.path().display(),
                "bit rot: a record at the end of a segment is damaged, or was torn by an earlier crash; an \
                 earlier copy of its chunk is looked for"
            );
        }
        self.note_damaged(&damaged);
        self.enter(&last.scanned, &last.file)?;
        self.damaged.extend(damaged);
        Ok(())
    }

    /// Enters what is whole of a group that may be torn.
    fn enter_torn(&mut self, mut last: LastGroup) -> Result<(), Fault> {
        let damaged = last.leave_out_damaged(|_, fault| Err(fault))?;
        for row in &damaged {
            tracing::warn!(
                chunk = %row.info.id, segment = %last.file.path().display(),
                "a record in the last group is torn and was cut off; a crash leaves such records, and none \
                 of them was acknowledged"
            );
        }
        self.note_damaged(&damaged);
        self.enter(&last.scanned, &last.file)
    }

    /// Has the segments of damaged records emptied soon, so that no later walk meets them again.
    fn note_damaged(&self, damaged: &[Row]) {
        let locations = damaged.iter().filter_map(|row| row.location);
        locations.for_each(|at| self.note_stale(at));
    }

    /// Keeps copies of damaged records in quarantine whose chunks have no other. They were never entered: a
    /// walk that is cut off before costs the copy, and brings nothing back.
    pub(super) fn set_damaged_aside(&self) -> Result<(), Fault> {
        for row in &self.damaged {
            let gone = self.index.batch().gone(row.info.id)?;
            let is_gone = gone.is_some_and(|gone| gone.sequence >= row.sequence);
            if is_gone || self.index.get(row.info.id)?.is_some() {
                continue;
            }
            let gate = &self.options.gate;
            match self.quarantine(row) {
                Ok(()) => gate.count_quarantined(),
                Err(fault) => {
                    gate.poison_if_fatal(&fault);
                    tracing::error!(chunk = %row.info.id, %fault, "no copy of a damaged chunk could be kept");
                }
            }
        }
        Ok(())
    }

    fn quarantine(&self, row: &Row) -> Result<(), Fault> {
        let Some(location) = row.location else {
            return Ok(());
        };
        let file = self.segments.file(location.slot)?;
        let raw = RecordReader::raw_in_segment(file, location, row);
        let detail = "its record at the end of a segment is damaged";
        quarantine::keep(&self.options.layout, row.info.id, &raw, detail)
    }

    /// Finds what damaged heads at the ends of segments spoke of. One behind all whole groups is the last of all:
    /// it is torn, and was never acknowledged.
    pub(super) fn salvage_ends(&mut self) -> Result<(), Fault> {
        let heads = std::mem::take(&mut self.damaged_heads);
        let latest = self.latest.as_ref().map_or(0, LastGroup::sequence);
        let whole_end = latest.max(self.walk.sequence);
        let numbers = heads.iter().map(|head| head.trace.sequence);
        let torn = numbers.filter(|number| *number > whole_end).max();
        self.last_is_damaged = torn.is_some();
        for head in &heads {
            let number = head.trace.sequence;
            if Some(number) == torn {
                self.erase(head)?;
            } else if number > self.applied {
                self.salvage_end(head)?;
            } else {
                tracing::error!(
                    segment = %head.file.path().display(), at = head.trace.at, number,
                    "the head of the last group of a segment is damaged, and its number too; it is left alone. \
                     If a crash has not torn it, its chunks must be repaired from other replicas"
                );
            }
        }
        Ok(())
    }

    fn salvage_end(&self, head: &DamagedHead) -> Result<(), Fault> {
        let DamagedHead {
            trace,
            file,
            segment_bytes,
        } = head;
        let (at, end) = (trace.at, u64::from(*segment_bytes));
        let first = trace.after.max(self.applied) + 1;
        let mut rows = salvage(file, &(at..end), first)?;
        rows.extend(salvage_unnamed(file, *segment_bytes)?);
        tracing::error!(
            segment = %file.path().display(), at, saved = rows.len(),
            "bit rot: the head of the last group of a segment is damaged; chunks that are lost here must be \
             repaired from other replicas, and deletes may have come undone"
        );
        self.enter_rows(rows)
    }

    /// Removes the head of the last group of all, which is torn.
    ///
    /// IMPORTANT: before another group takes its number. With a new index this one would be taken for rot,
    /// and what was cut off with it for lost.
    fn erase(&self, head: &DamagedHead) -> Result<(), Fault> {
        tracing::warn!(
            segment = %head.file.path().display(), at = head.trace.at,
            "the head of the last group is torn and is removed; a crash leaves such a head, and nothing of the \
             group was acknowledged"
        );
        let blank = Bytes::from(vec![0; ALIGN_BYTES as usize]);
        head.file.write(&[blank], head.trace.at)?;
        if self.options.gate.durability().syncs() {
            head.file.sync()?;
        }
        Ok(())
    }
}

/// Whether a record is whole, and not damaged; true if `on_unreadable` passes over that it cannot be read.
fn is_whole(
    file: &Arc<SegmentFile>,
    row: &Row,
    on_unreadable: impl FnOnce(&Row, Fault) -> Result<(), Fault>,
) -> Result<bool, Fault> {
    let Some(location) = row.location else {
        return Ok(false);
    };
    let verified = RecordReader::in_segment(Arc::clone(file), location, row, Wait::ForDisk)
        .and_then(|reader| reader.verify());
    match verified {
        Ok(()) => Ok(true),
        Err(Fault::Damaged(_)) => Ok(false),
        Err(fault) => on_unreadable(row, fault).map(|()| true),
    }
}
