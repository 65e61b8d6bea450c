//! The blocking half of the store: what happens to one chunk on disk, one step at a time per id,
//! with index and totals kept in line. Here every fault becomes a `ChunkError`, once.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use chunkproto::{ByteRange, ChunkError, ChunkId, ChunkInfo, ChunkReceipt, ChunkResult, NodeId};

use super::admission::{Gate, StoreState, WritePermit};
use super::busy::BusyIds;
use super::directory::Layout;
use super::durable;
use super::fault::Fault;
use super::index::{Index, Totals};
use super::quarantine;
use super::read::{FileId, RecordReader};
use super::record::Header;
use super::write::{RecordWriter, SealedRecord};

/// One open data directory.
pub(crate) struct Disk {
    node_id: NodeId,
    layout: Layout,
    gate: Arc<Gate>,
    index: Index,
    chunk_count: AtomicU64,
    used_bytes: AtomicU64,
    busy: BusyIds,
    closed: AtomicBool,
    /// Keeps other processes out for as long as it is open.
    _lock: File,
}

/// What lies under an id already.
enum Present {
    Nothing,
    SameBytes,
    OtherBytes,
    Damaged(String, FileId),
}

impl Disk {
    /// A directory that is known to be ours, locked, with its index in line.
    pub fn new(
        node_id: NodeId,
        layout: Layout,
        gate: Arc<Gate>,
        index: Index,
        totals: Totals,
        lock: File,
    ) -> Self {
        Self {
            node_id,
            layout,
            gate,
            index,
            chunk_count: AtomicU64::new(totals.chunk_count),
            used_bytes: AtomicU64::new(totals.used_bytes),
            busy: BusyIds::default(),
            closed: AtomicBool::new(false),
            _lock: lock,
        }
    }

    /// Whose directory this is.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The way in.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// The condition at this moment.
    pub fn state(&self) -> StoreState {
        let Totals {
            chunk_count,
            used_bytes,
        } = self.totals();
        self.gate.state(chunk_count, used_bytes)
    }

    /// Begins a record.
    pub fn begin(&self, header: Header, permit: WritePermit) -> ChunkResult<RecordWriter> {
        let id = header.id;
        RecordWriter::create(&self.layout, header, permit).map_err(|fault| self.settle(id, fault))
    }

    /// Adds data to a record.
    pub fn append(
        &self,
        id: ChunkId,
        writer: &mut RecordWriter,
        data: &[Bytes],
    ) -> ChunkResult<()> {
        writer.write(data).map_err(|fault| self.settle(id, fault))
    }

    /// Ends a record and makes it the chunk. On Ok it is durable and in the index. The same bytes
    /// under the same id are Ok as well; a damaged record that lies there makes way.
    pub fn publish(&self, id: ChunkId, writer: RecordWriter) -> ChunkResult<ChunkReceipt> {
        self.try_publish(writer)
            .map_err(|fault| self.settle(id, fault))
    }

    /// Opens a chunk, from its path alone: a lost row in the index hides nothing.
    pub fn open(&self, id: ChunkId) -> ChunkResult<RecordReader> {
        let path = self.layout.record(id);
        let opened = open_record(&path).and_then(|file| {
            let seen = FileId::of(&file, &path)?;
            RecordReader::new(file, &path, id).or_else(|fault| self.quarantine(id, fault, seen))
        });
        opened.map_err(|fault| self.settle(id, fault))
    }

    /// Reads one piece of an open chunk; a bad block sends the whole chunk to quarantine.
    pub fn read(&self, reader: &RecordReader, piece: ByteRange) -> ChunkResult<Bytes> {
        let id = reader.info().id;
        let bytes = reader
            .read(piece)
            .or_else(|fault| self.quarantine(id, fault, reader.file_id()?));
        bytes.map_err(|fault| self.settle(id, fault))
    }

    /// Removes a chunk, durably. Ok if it is not there.
    pub fn delete(&self, id: ChunkId, permit: WritePermit) -> ChunkResult<()> {
        let _busy = self.busy.enter(id);
        let deleted = durable::remove(&self.layout.record(id)).and_then(|()| self.forget(id));
        drop(permit);
        deleted.map_err(|fault| self.settle(id, fault))
    }

    /// Up to `limit` chunks in id order behind `after`.
    pub fn list(&self, after: Option<ChunkId>, limit: usize) -> ChunkResult<Vec<ChunkInfo>> {
        self.index.page(after, limit).map_err(|fault| {
            self.gate.count_disk_error();
            tracing::error!(%fault, "cannot list chunks; a restart makes the index anew");
            ChunkError::Io(fault.to_string())
        })
    }

    /// Leaves the mark of a clean stop. To be called when no write is under way and none can begin.
    pub fn mark_clean(&self) -> ChunkResult<()> {
        let first = !self.closed.swap(true, Ordering::SeqCst);
        if !first || self.gate.is_poisoned() {
            return Ok(());
        }
        self.index
            .put_clean_mark(self.totals())
            .map_err(|fault| ChunkError::Io(fault.to_string()))
    }

    fn try_publish(&self, writer: RecordWriter) -> Result<ChunkReceipt, Fault> {
        let sealed = writer.seal()?;
        let info = sealed.info();
        let _busy = self.busy.enter(info.id);
        match self.present(&info)? {
            Present::Nothing => self.name(sealed)?,
            Present::Damaged(detail, seen) => {
                self.set_aside(info.id, &detail, seen)?;
                self.name(sealed)?;
            }
            // Its writer may have been killed before it synced the name: sync it for both.
            Present::SameBytes => durable::sync_parent(&self.layout.record(info.id))?,
            Present::OtherBytes => return Err(Fault::Conflict),
        }
        if self.index.insert(&info)? {
            self.chunk_count.fetch_add(1, Ordering::Relaxed);
            self.used_bytes
                .fetch_add(info.length_bytes, Ordering::Relaxed);
        }
        Ok(ChunkReceipt {
            length_bytes: info.length_bytes,
            crc64: info.crc64,
        })
    }

    fn name(&self, sealed: SealedRecord) -> Result<(), Fault> {
        let dest = self.layout.record(sealed.info().id);
        sealed.publish(&dest)
    }

    /// What lies under the id of a new chunk. Its bytes are verified before they stand in for the
    /// new ones; repeated writes are rare, and an acknowledgement is a promise.
    fn present(&self, new: &ChunkInfo) -> Result<Present, Fault> {
        let path = self.layout.record(new.id);
        let file = match open_record(&path) {
            Err(Fault::Missing) => return Ok(Present::Nothing),
            file => file?,
        };
        let seen = FileId::of(&file, &path)?;
        let verified = RecordReader::new(file, &path, new.id).and_then(|reader| {
            reader.verify()?;
            Ok(reader.info())
        });
        match verified {
            Ok(old) if old == *new => Ok(Present::SameBytes),
            Ok(_) => Ok(Present::OtherBytes),
            Err(Fault::Damaged(detail)) => Ok(Present::Damaged(detail, seen)),
            Err(fault) => Err(fault),
        }
    }

    /// Sets a chunk aside if `fault` says that it is damaged, and passes the fault on.
    fn quarantine<T>(&self, id: ChunkId, fault: Fault, seen: FileId) -> Result<T, Fault> {
        let Fault::Damaged(detail) = &fault else {
            return Err(fault);
        };
        let path = self.layout.record(id);
        match self.gate.admit_quarantine() {
            Some(_permit) => {
                let _busy = self.busy.enter(id);
                self.set_aside(id, detail, seen)?;
            }
            None => tracing::error!(
                chunk = %id, path = %path.display(), detail,
                "a damaged chunk stays where it is, since the store takes no changes"
            ),
        }
        Err(fault)
    }

    /// Moves the file that was found damaged out of the way, unless it is gone or replaced by now.
    /// The caller has entered `id`.
    fn set_aside(&self, id: ChunkId, detail: &str, seen: FileId) -> Result<(), Fault> {
        let path = self.layout.record(id);
        let now = match open_record(&path) {
            Err(Fault::Missing) => return Ok(()),
            file => FileId::of(&file?, &path)?,
        };
        if now != seen {
            return Ok(());
        }
        quarantine::set_aside(&self.layout, id, detail)?;
        self.gate.count_quarantined();
        self.forget(id)
    }

    /// Removes the row of a chunk that is gone from its path.
    fn forget(&self, id: ChunkId) -> Result<(), Fault> {
        if let Some(info) = self.index.remove(id)? {
            self.chunk_count.fetch_sub(1, Ordering::Relaxed);
            self.used_bytes
                .fetch_sub(info.length_bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    fn totals(&self) -> Totals {
        Totals {
            chunk_count: self.chunk_count.load(Ordering::Relaxed),
            used_bytes: self.used_bytes.load(Ordering::Relaxed),
        }
    }

    /// What a caller is told of a fault with chunk `id`, after its consequences were drawn.
    fn settle(&self, id: ChunkId, fault: Fault) -> ChunkError {
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
            Fault::Sync { .. } => self.gate.poison(fault.to_string()),
            Fault::Io { .. } | Fault::Index(_) => {}
        }
        self.gate.count_disk_error();
        tracing::error!(chunk = %id, %fault, "the disk failed an operation");
        ChunkError::Io(fault.to_string())
    }
}

fn open_record(path: &Path) -> Result<File, Fault> {
    File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Fault::Missing,
        _ => Fault::io("open", path)(error),
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use tempfile::TempDir;

    use super::super::{StoreOptions, open};
    use super::*;

    fn fresh() -> (TempDir, Disk) {
        let dir = TempDir::new().unwrap();
        let disk = open::open(StoreOptions::new(dir.path())).unwrap();
        (dir, disk)
    }

    fn failed_sync() -> Fault {
        Fault::sync(Path::new("/disk/file"))(io::Error::from_raw_os_error(5))
    }

    #[tokio::test]
    async fn a_failed_sync_ends_writing_for_good_and_is_told() {
        let (_dir, disk) = fresh();
        let id = ChunkId::generate();
        assert!(matches!(disk.settle(id, failed_sync()), ChunkError::Io(_)));
        let refusal = disk.gate.admit(1).map(|_| ()).unwrap_err();
        assert!(matches!(&refusal, ChunkError::Refused(why) if why.contains("/disk/file")));
        assert!(disk.gate.admit_removal().await.is_err());
        assert!(!disk.state().writable && disk.state().disk_errors == 1);
        assert!(matches!(
            disk.open(id).map(|_| ()),
            Err(ChunkError::NotFound(_))
        ));
    }

    #[test]
    fn a_failed_disk_leaves_no_mark_of_a_clean_stop() {
        let (_dir, disk) = fresh();
        disk.settle(ChunkId::generate(), failed_sync());
        disk.mark_clean().unwrap();
        assert_eq!(disk.index.take_clean_mark().unwrap(), None);
    }

    #[test]
    fn a_disk_without_room_is_full_and_not_failed() {
        let (_dir, disk) = fresh();
        let full = Fault::io("write", Path::new("f"))(ErrorKind::StorageFull.into());
        assert!(matches!(
            disk.settle(ChunkId::generate(), full),
            ChunkError::Full(_)
        ));
        assert!(disk.state().writable && disk.state().disk_errors == 0);
    }

    #[test]
    fn room_is_reserved_while_a_write_is_under_way() {
        let (_dir, disk) = fresh();
        let most = disk.state().free_bytes / 100 * 60;
        let first = disk.gate.admit(most).unwrap();
        assert!(matches!(
            disk.gate.admit(most).map(|_| ()),
            Err(ChunkError::Full(_))
        ));
        drop(first);
        assert!(disk.gate.admit(most).is_ok());
    }
}
