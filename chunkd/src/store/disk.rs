//! The blocking half of the store: what happens to one chunk on disk, one step at a time per id.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chunkproto::{ByteRange, ChunkError, ChunkId, ChunkInfo, ChunkResult, NodeId};

use super::admission::{Gate, StoreState, WritePermit};
use super::blocking::WorkLimit;
use super::chunk_locks::ChunkLocks;
use super::directory::Layout;
use super::durable;
use super::fault::Fault;
use super::index::{Cached, Index};
use super::index_rows::Row;
use super::probe::Step;
use super::read::{RecordPlace, RecordReader, Wait};
use super::record::Header;
use super::segment::{
    ChangeGuards, CommitOutcome, Committer, Keeper, KeeperContext, RecordHead, Recovered, Segments,
    Work, WriteClass,
};
use super::unreadable::{UNREADABLE_MAX, Unreadable};
use super::write::{RecordWriter, SealedRecord, TempFile};

/// Threads that write records to segments at a time. Filesystems let one write to a file at a time;
/// more threads would only burn CPU while they wait for each other.
const SEGMENT_WRITERS: usize = 2;
/// All other work on one disk that may be on the blocking pool at a time. The pool has 512 threads: several
/// disks may hang at once, and there are some left for others.
const WORK_MAX: usize = 64;
/// How often a chunk is looked up again whose record was moved in the meantime.
const LOOKUPS_MAX: usize = 8;

/// Whose directory is open, and the way in.
pub(crate) struct OpenDirectory {
    pub node_id: NodeId,
    pub layout: Layout,
    pub gate: Arc<Gate>,
    /// Keeps other processes out for as long as it is open.
    pub _lock: File,
}

/// One open data directory.
pub(crate) struct Disk {
    // IMPORTANT: dropped in this order. The threads end before what they work on, the lock last.
    keeper: Mutex<Option<Keeper>>,
    committer: Arc<Committer>,
    segments: Arc<Segments>,
    index: Arc<Index>,
    segment_max_bytes: u64,
    segment_writers: WorkLimit,
    work_limit: WorkLimit,
    chunk_locks: Arc<ChunkLocks>,
    unreadable: Arc<Unreadable>,
    closed: AtomicBool,
    identity: OpenDirectory,
}

/// A record that is there: open, or why it cannot be opened, and where it is.
type RecordLookup = Result<RecordReader, (Fault, RecordPlace)>;

/// What lies under the id of a new chunk. Something damaged has made way.
pub(crate) enum ExistingRecord {
    Nothing,
    SameBytes,
}

impl Disk {
    /// Starts the threads of a directory that is known to be ours, locked, with its index in line.
    pub fn start(
        identity: OpenDirectory,
        index: Index,
        recovered: Recovered,
        segment_max_bytes: u64,
    ) -> Result<Self, Fault> {
        let Recovered {
            segments,
            sequence,
            unreadable: not_read,
        } = recovered;
        let index = Arc::new(index);
        let root = identity.layout.root().to_owned();
        let failed = || Fault::io("start a thread for", &root);
        let committer = Committer::start(Arc::clone(&segments), Arc::clone(&index), sequence);
        let committer = Arc::new(committer.map_err(failed())?);
        let chunk_locks = Arc::new(ChunkLocks::default());
        let unreadable = Arc::new(Unreadable::default());
        let keeper_context = KeeperContext {
            layout: identity.layout.clone(),
            segments: Arc::clone(&segments),
            index: Arc::clone(&index),
            committer: Arc::clone(&committer),
            chunk_locks: Arc::clone(&chunk_locks),
            unreadable: Arc::clone(&unreadable),
        };
        let disk = Self {
            keeper: Mutex::new(None),
            committer,
            segments,
            index,
            segment_max_bytes,
            segment_writers: WorkLimit::new(SEGMENT_WRITERS),
            work_limit: WorkLimit::new(WORK_MAX),
            chunk_locks,
            unreadable,
            closed: AtomicBool::new(false),
            identity,
        };
        for id in not_read {
            // Told, and noted, where that is found.
            let _ = disk.verify(id);
        }
        // After that: a chunk that it is changing could not be set aside, were it found damaged now.
        let keeper = Keeper::start(keeper_context).map_err(failed())?;
        *disk.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        Ok(disk)
    }

    /// Whose directory this is.
    pub fn node_id(&self) -> NodeId {
        self.identity.node_id
    }

    /// The way in.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.identity.gate
    }

    /// Chunks from this length on have files of their own.
    pub fn segment_max_bytes(&self) -> u64 {
        self.segment_max_bytes
    }

    /// Where the other chunks are.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// The chunks that are being changed.
    pub fn chunk_locks(&self) -> &Arc<ChunkLocks> {
        &self.chunk_locks
    }

    /// The condition at this moment.
    pub fn state(&self) -> StoreState {
        let longest = self.segments.record_bytes_max();
        let has_room = self.segments.check_room(longest).is_ok();
        self.gate().state(self.index.totals(), has_room)
    }

    /// Begins a record in a file of its own.
    pub fn begin_file(&self, header: &Header, permit: WritePermit) -> ChunkResult<RecordWriter> {
        let durability = self.gate().durability();
        RecordWriter::in_own_file(&self.identity.layout, header, permit, durability)
            .map_err(|fault| self.report(header.id, fault))
    }

    /// Begins a record in a segment.
    pub fn begin_in_segment(
        &self,
        header: Header,
        permit: WritePermit,
    ) -> ChunkResult<RecordWriter> {
        let head = RecordHead::of(header);
        let begun = self
            .segments
            .reserve(head.record_bytes(), WriteClass::Put)
            .and_then(|reservation| {
                let path = reservation.file.path();
                let asked = self.gate().probe().at(Step::WriteRecord);
                asked.map_err(Fault::io("write", path))?;
                RecordWriter::in_segment(reservation, &head, permit)
            });
        begun.map_err(|fault| self.report(head.id, fault))
    }

    /// Concurrency limit for writing records to segments.
    pub fn segment_writers(&self) -> &WorkLimit {
        &self.segment_writers
    }

    /// Concurrency limit for all other work. Work that has its turn must not wait for another one: once
    /// all turns were taken by such work, none would end.
    pub fn work_limit(&self) -> &WorkLimit {
        &self.work_limit
    }

    /// Adds data to a record.
    pub fn append(&self, writer: &mut RecordWriter, data: &[Bytes]) -> ChunkResult<()> {
        let written = writer.write(data);
        written.map_err(|fault| self.report(writer.id(), fault))
    }

    /// Ends a record.
    pub fn seal(&self, writer: RecordWriter) -> ChunkResult<SealedRecord> {
        let id = writer.id();
        writer.seal().map_err(|fault| self.report(id, fault))
    }

    /// Has the committer change chunk `id`.
    pub async fn commit(
        &self,
        id: ChunkId,
        work: Work,
        guards: ChangeGuards,
    ) -> ChunkResult<CommitOutcome> {
        let landed = self.committer.commit(work, Some(guards)).await;
        landed.map_err(|fault| self.report(id, fault))
    }

    /// Gives the file of a new chunk its name, and enters it in the index. The caller has entered
    /// its id.
    pub fn name(&self, temp: TempFile, info: ChunkInfo) -> ChunkResult<()> {
        let dest = self.identity.layout.record(info.id);
        let asked = self.gate().probe().at(Step::NameFile);
        let named = asked
            .map_err(Fault::io("publish", &dest))
            .and_then(|()| temp.publish(&dest))
            .and_then(|()| self.enter(&Row::own_file(info)));
        named.map_err(|fault| self.report(info.id, fault))
    }

    /// Makes the name of a chunk durable that has it already: its writer may have been killed before
    /// it could. Does nothing for a chunk in a segment, which is durable before it is visible.
    pub fn resync(&self, id: ChunkId) -> ChunkResult<()> {
        let path = self.identity.layout.record(id);
        let synced = match self.index.get(id) {
            Ok(Some(row)) if row.location.is_some() => Ok(()),
            Ok(_) => durable::sync_parent(&path),
            Err(fault) => Err(fault),
        };
        synced.map_err(|fault| self.report(id, fault))
    }

    /// Looks at what lies under the id of a new chunk. Its bytes are verified before they stand in
    /// for the new ones; repeated writes are rare, and an acknowledgement is a promise. Something
    /// damaged is set aside. The caller has entered its id.
    ///
    /// # Errors
    /// `Conflict` for other bytes.
    pub fn existing(&self, new: &ChunkInfo) -> ChunkResult<ExistingRecord> {
        let found = self.find(new.id).and_then(|reader| match reader {
            Ok(reader) => match reader.verify() {
                Ok(()) => Ok(Ok(reader.info())),
                Err(fault) => Ok(Err((fault, reader.place()?))),
            },
            Err(damaged) => Ok(Err(damaged)),
        });
        let existing = match found {
            Ok(Ok(old)) if old == *new => Ok(ExistingRecord::SameBytes),
            Ok(Ok(_)) => Err(Fault::Conflict),
            Ok(Err((Fault::Damaged(detail), place))) => self
                .set_aside(new.id, &detail, place, None)
                .map(|()| ExistingRecord::Nothing),
            Ok(Err((fault, _))) => Err(fault),
            Err(Fault::Missing) => self.forget_lost(new.id).map(|()| ExistingRecord::Nothing),
            Err(fault) => Err(fault),
        };
        existing.map_err(|fault| self.report(new.id, fault))
    }

    /// Opens a chunk. One in a file is found by its path alone; a lost row in the index hides none.
    pub fn open(&self, id: ChunkId) -> ChunkResult<RecordReader> {
        let opened = self.find(id).and_then(|found| match found {
            Ok(reader) => Ok(reader),
            Err((fault, place)) => self.quarantine(id, fault, place),
        });
        opened.map_err(|fault| self.report_read(id, fault))
    }

    /// Opens a chunk to describe it. One that could not be read lately is not vouched for.
    pub fn open_to_describe(&self, id: ChunkId) -> ChunkResult<RecordReader> {
        if self.unreadable.holds(id) {
            return Err(ChunkError::Io(format!(
                "the disk could not read chunk {id} lately"
            )));
        }
        self.open(id)
    }

    /// Notes that all of a chunk was read and is good.
    pub fn note_good(&self, id: ChunkId) {
        self.unreadable.forget(id);
    }

    /// Opens a chunk if that needs no disk; `None` if it would. Never blocks for long.
    pub fn open_hot(&self, id: ChunkId) -> Option<RecordReader> {
        let Cached::Row(row) = self.index.get_cached(id) else {
            return None;
        };
        let location = row.location?;
        let file = self.segments.pin(&location, true).ok()??;
        RecordReader::in_segment(file, location, &row, Wait::Never).ok()
    }

    /// Reads one piece of an open chunk; a bad block sends the whole chunk to quarantine.
    pub fn read(&self, reader: &RecordReader, piece: ByteRange) -> ChunkResult<Bytes> {
        let id = reader.info().id;
        let bytes = reader
            .read(piece, Wait::ForDisk)
            .or_else(|fault| self.quarantine(id, fault, reader.place()?));
        bytes.map_err(|fault| self.report_read(id, fault))
    }

    /// Reads and verifies all of a chunk; a damaged one goes to quarantine.
    pub fn verify(&self, id: ChunkId) -> ChunkResult<ChunkInfo> {
        let reader = self.open(id)?;
        let verified = reader
            .verify()
            .or_else(|fault| self.quarantine(id, fault, reader.place()?));
        verified
            .map(|()| {
                self.note_good(id);
                reader.info()
            })
            .map_err(|fault| self.report_read(id, fault))
    }

    /// As [`verify`](Self::verify), but what is in memory of the chunk is dropped first, so that it is
    /// read from the disk, and dropped again after, so that scrubbing leaves memory to requests.
    pub fn verify_from_disk(&self, id: ChunkId) -> ChunkResult<ChunkInfo> {
        // A short record is read whole when it is opened, so it is opened anew.
        self.open(id)?.drop_cached();
        let verified = self.verify(id);
        if verified.is_ok() {
            self.open(id)?.drop_cached();
        }
        verified
    }

    /// What the index says of a chunk.
    pub fn row(&self, id: ChunkId) -> ChunkResult<Option<Row>> {
        self.index.get(id).map_err(|fault| self.report(id, fault))
    }

    /// The same from memory alone.
    pub fn row_cached(&self, id: ChunkId) -> Cached {
        self.index.get_cached(id)
    }

    /// Removes the file of a chunk, durably. Ok if it is not there. The caller has entered its id.
    pub fn delete_file(&self, id: ChunkId) -> ChunkResult<()> {
        let deleted = self.try_delete_file(id);
        deleted.map_err(|fault| self.report(id, fault))?;
        self.unreadable.forget(id);
        Ok(())
    }

    fn try_delete_file(&self, id: ChunkId) -> Result<(), Fault> {
        let path = self.identity.layout.record(id);
        let asked = self.gate().probe().at(Step::RemoveFile);
        asked.map_err(Fault::io("remove", &path))?;
        // A name has a row from before it is durable until its absence is, and a start after an unclean
        // stop makes both so. Mostly the chunk is on another disk.
        let known = self.index.get(id)?.is_some();
        if !known && !path.try_exists().map_err(Fault::io("look at", &path))? {
            return Ok(());
        }
        durable::remove(&path, self.gate().durability())?;
        self.forget(id)
    }

    /// Up to `limit` chunks in id order behind `after`, without those that cannot be read.
    pub fn list(&self, after: Option<ChunkId>, limit: usize) -> ChunkResult<Vec<ChunkInfo>> {
        // Fewer than asked for mean the end; so as many more as may have to be left out.
        let page = self.index.page(after, limit.saturating_add(UNREADABLE_MAX));
        let mut page = page.map_err(|fault| {
            self.gate().poison_if_fatal(&fault);
            self.gate().count_disk_error();
            tracing::error!(%fault, "cannot list chunks");
            ChunkError::Io(fault.to_string())
        })?;
        page.retain(|info| !self.unreadable.holds(info.id));
        page.truncate(limit);
        Ok(page)
    }

    /// Leaves the mark of a clean stop. To be called when no write is under way and none can begin.
    pub fn mark_clean(&self) -> ChunkResult<()> {
        let first = !self.closed.swap(true, Ordering::SeqCst);
        if !first || self.gate().is_poisoned() {
            return Ok(());
        }
        let keeper = self
            .keeper
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(keeper);
        self.committer
            .commit_blocking(Work::Checkpoint, None)
            .and_then(|_| self.index.put_clean_mark())
            .map_err(|fault| ChunkError::Io(fault.to_string()))
    }

    /// A chunk's record; the inner error is one of a record that is there, with its place.
    fn find(&self, id: ChunkId) -> Result<RecordLookup, Fault> {
        let (mut damaged, mut absent) = (None, None);
        for _ in 0..LOOKUPS_MAX {
            let row = match self.index.get(id) {
                Err(fault @ Fault::BadIndex(_)) => return self.find_without_index(id, fault),
                row => row?,
            };
            let Some((row, location)) = row.and_then(|row| Some((row, row.location?))) else {
                return self.find_file(id);
            };
            let Some(file) = self.segments.pin(&location, false)? else {
                // A life ends when no row names it any more. One that still does is of no record, which a
                // power cut leaves where nothing is synced.
                if absent == Some(location) {
                    self.look_for_lost(id)?;
                    return Err(Fault::Missing);
                }
                absent = Some(location);
                continue;
            };
            match RecordReader::in_segment(file, location, &row, Wait::ForDisk) {
                Ok(reader) => return Ok(Ok(reader)),
                // Looked at once more: it may have been moved between the two steps.
                Err(fault) if damaged == Some(location) => {
                    return Ok(Err((fault, RecordPlace::Segment(location))));
                }
                Err(_) => damaged = Some(location),
            }
        }
        Err(Fault::Index(format!(
            "the segment of chunk {id} is not there"
        )))
    }

    /// A chunk's record where the index is damaged. The path of a file of its own follows from its id
    /// alone; nothing is said of where other chunks are.
    fn find_without_index(&self, id: ChunkId, fault: Fault) -> Result<RecordLookup, Fault> {
        self.gate().poison_if_fatal(&fault);
        self.find_file(id).map_err(|error| match error {
            Fault::Missing => fault,
            error => error,
        })
    }

    fn find_file(&self, id: ChunkId) -> Result<RecordLookup, Fault> {
        let path = self.identity.layout.record(id);
        let file = match open_file(&path) {
            Err(Fault::Missing) => {
                self.look_for_lost(id)?;
                return Err(Fault::Missing);
            }
            file => file?,
        };
        let place = RecordPlace::of_file(&file, &path)?;
        Ok(RecordReader::in_own_file(file, &path, id).map_err(|fault| (fault, place)))
    }

    fn enter(&self, row: &Row) -> Result<(), Fault> {
        let mut index = self.index.batch();
        let had = index.get(row.info.id)?;
        index.put(row, had.as_ref());
        index.commit()
    }

    /// Removes the row of a chunk whose file is gone.
    fn forget(&self, id: ChunkId) -> Result<(), Fault> {
        let mut index = self.index.batch();
        if let Some(row) = index.get(id)? {
            index.remove(&row);
        }
        index.commit()
    }
}

fn open_file(path: &Path) -> Result<File, Fault> {
    File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Fault::Missing,
        _ => Fault::io("open", path)(error),
    })
}

mod damage;
#[cfg(test)]
mod tests;
