//! What follows when something is wrong with a chunk on the disk: damaged records are set aside, rows
//! without a file forgotten, chunks that cannot be read noted. Here every fault becomes a
//! `ChunkError`, once.

use std::fs;
use std::sync::Arc;

use chunkproto::{ChunkError, ChunkId};

use super::super::fault::Fault;
use super::super::quarantine;
use super::super::read::{RecordPlace, RecordReader};
use super::super::segment::{ChangeGuards, Location, Work};
use super::{Disk, open_file};

impl Disk {
    /// Sets a chunk aside if `fault` says that it is damaged, and passes the fault on.
    pub(super) fn quarantine<T>(
        &self,
        id: ChunkId,
        fault: Fault,
        place: RecordPlace,
    ) -> Result<T, Fault> {
        let Fault::Damaged(detail) = &fault else {
            return Err(fault);
        };
        // Without waiting: who changes the chunk may wait for this thread, and the next read finds
        // the damage again.
        match (
            self.gate().admit_quarantine(),
            self.chunk_locks.try_lock(id),
        ) {
            (Some(permit), Some(lock)) => {
                let guards = Arc::new((Some(lock), Some(permit)));
                self.set_aside(id, detail, place, Some(guards))?;
            }
            _ => tracing::error!(
                chunk = %id, ?place, detail,
                "a damaged chunk stays where it is for now, since it or the store cannot be changed"
            ),
        }
        Err(fault)
    }

    /// Moves what was found damaged out of the way, unless it is gone or replaced by now. The caller
    /// has entered `id`, and may leave that to the `guards`.
    pub(super) fn set_aside(
        &self,
        id: ChunkId,
        detail: &str,
        place: RecordPlace,
        guards: Option<ChangeGuards>,
    ) -> Result<(), Fault> {
        self.unreadable.forget(id);
        match place {
            RecordPlace::Segment(location) => self.set_record_aside(id, detail, location, guards),
            RecordPlace::OwnFile { .. } => self.set_file_aside(id, detail, place),
        }
    }

    fn set_record_aside(
        &self,
        id: ChunkId,
        detail: &str,
        location: Location,
        guards: Option<ChangeGuards>,
    ) -> Result<(), Fault> {
        let row = self
            .index
            .get(id)?
            .filter(|row| row.location == Some(location));
        let (Some(row), Some(file)) = (row, self.segments.pin(&location, false)?) else {
            return Ok(());
        };
        let raw = RecordReader::raw_in_segment(file, location, &row);
        quarantine::keep(&self.identity.layout, id, &raw, detail)?;
        self.gate().count_quarantined();
        let only = Some(location);
        self.committer
            .commit_blocking(Work::Delete { id, only }, guards)?;
        Ok(())
    }

    fn set_file_aside(&self, id: ChunkId, detail: &str, place: RecordPlace) -> Result<(), Fault> {
        let path = self.identity.layout.record(id);
        let now = match open_file(&path) {
            Err(Fault::Missing) => return Ok(()),
            file => RecordPlace::of_file(&file?, &path)?,
        };
        if now != place {
            return Ok(());
        }
        quarantine::set_aside(&self.identity.layout, id, detail)?;
        self.gate().count_quarantined();
        self.forget(id)
    }

    /// Forgets a chunk whose record is not there, unless it is being changed at this moment.
    pub(super) fn look_for_lost(&self, id: ChunkId) -> Result<(), Fault> {
        match self.chunk_locks.try_lock(id) {
            Some(_lock) => self.forget_lost(id),
            None => Ok(()),
        }
    }

    /// Forgets a chunk with a row and without a record: without a file, which happens when somebody removes
    /// it or a filesystem is repaired, or without the segment's life that it was in. The caller has entered
    /// its id.
    pub(super) fn forget_lost(&self, id: ChunkId) -> Result<(), Fault> {
        let Some(row) = self.index.get(id)? else {
            return Ok(());
        };
        let is_lost = match row.location {
            Some(location) => !self.segments.holds(&location),
            None => self.has_no_file(id)?,
        };
        if !is_lost {
            return Ok(());
        }
        tracing::error!(chunk = %id, location = ?row.location, "the record of a chunk is gone");
        self.gate().count_quarantined();
        self.forget(id)
    }

    fn has_no_file(&self, id: ChunkId) -> Result<bool, Fault> {
        let path = self.identity.layout.record(id);
        // Where the directory is gone too, all of the disk is, and nothing is known of the chunk.
        let found = fs::metadata(self.identity.layout.fan_out(id.as_bytes()[15]))
            .and_then(|_| path.try_exists())
            .map_err(Fault::io("look at", &path))?;
        Ok(!found)
    }

    /// As [`report`](Self::report), for a fault while chunk `id` was read.
    pub(super) fn report_read(&self, id: ChunkId, fault: Fault) -> ChunkError {
        if fault.is_unreadable() {
            self.unreadable.note(id, self.gate());
        }
        self.report(id, fault)
    }

    /// What a caller is told of a fault with chunk `id`, after its consequences were drawn.
    pub(super) fn report(&self, id: ChunkId, fault: Fault) -> ChunkError {
        match &fault {
            Fault::Missing => return ChunkError::NotFound(id),
            Fault::Conflict => return ChunkError::Conflict(id),
            Fault::NoRoom { .. } => return ChunkError::Full(fault.to_string()),
            Fault::Damaged(detail) => {
                return ChunkError::Corrupt {
                    chunk: id,
                    detail: detail.clone(),
                };
            }
            Fault::Cold
            | Fault::Io { .. }
            | Fault::Sync { .. }
            | Fault::Index(_)
            | Fault::BadIndex(_) => self.gate().poison_if_fatal(&fault),
        }
        self.gate().count_disk_error();
        tracing::error!(chunk = %id, %fault, "the disk failed an operation");
        ChunkError::Io(fault.to_string())
    }
}
