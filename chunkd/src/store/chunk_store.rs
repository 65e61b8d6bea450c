//! The store of one disk, as the disk's node sees it.

use std::sync::Arc;

use bytes::Bytes;
use chunkproto::{
    ByteRange, ChunkError, ChunkId, ChunkInfo, ChunkPut, ChunkRead, ChunkReceipt, ChunkResult,
    ChunkStream, NodeId, OwnerHint,
};
use futures::stream::{self, StreamExt as _};

use super::admission::{InFlight, StoreState};
use super::blocking::Blocking;
use super::disk::Disk;
use super::index::Cached;
use super::open::{self, OpenError, StoreOptions};
use super::put;
use super::read::{RecordReader, Wait, first_piece, next_piece};
use super::record::{BadRecord, CHUNK_MAX_BYTES, Header};
use super::segment::Work;

/// A store of immutable chunks in one data directory. A clone is another handle to the same store.
///
/// Chunks are found by their ids alone, at any time; the index serves listings and totals. Needs a
/// tokio runtime. All methods may be called at the same time, for one chunk too.
#[derive(Clone)]
pub struct ChunkStore {
    disk: Arc<Disk>,
}

/// An open chunk together with the object it was written for.
pub struct OwnedRead {
    /// The chunk and its bytes.
    pub read: ChunkRead,
    /// The owner hint; `None` if it is of a format this program does not know.
    pub owner: Option<OwnerHint>,
}

impl ChunkStore {
    /// Opens or initialises a data directory and keeps other processes out of it until the last
    /// handle is gone. Blocks: for a moment after a clean [`close`](Self::close), otherwise for a
    /// walk through the chunks' names, and with a lost index through their headers.
    ///
    /// # Errors
    /// A directory that is in use, foreign, damaged, of a later version or unreadable.
    pub fn open(options: StoreOptions) -> Result<Self, OpenError> {
        open::open(options).map(|disk| Self {
            disk: Arc::new(disk),
        })
    }

    /// Identity of the data directory, made at its first start.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.disk.node_id()
    }

    /// Keeps a chunk. Ok means durable: it survives a power cut. The same bytes under the same id
    /// again are Ok with the same receipt. On an error nothing is kept, with one exception: after
    /// `Io` the outcome is unknown. If the caller drops the future, nothing is kept unless the
    /// chunk was being made durable at that moment.
    ///
    /// # Errors
    /// `Invalid`, `Full`, `Refused`, `BadBody`, `Conflict`, `Io`, and whatever `body` ends in.
    pub async fn put(&self, put: ChunkPut, body: ChunkStream) -> ChunkResult<ChunkReceipt> {
        let header = Header::new(put.id, put.length_bytes, &put.owner)
            .map_err(|BadRecord(detail)| ChunkError::Invalid(detail))?;
        put::receive(Arc::clone(&self.disk), header, body).await
    }

    /// Opens a chunk and reads all of it, or a range. Each block of 64 KiB is verified after it was
    /// read from disk and before a byte of it is in the stream. Reads at most 512 KiB ahead of the
    /// caller. If a block is damaged the stream ends in `Corrupt` and the chunk goes to quarantine.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, `Io`, and `Invalid` for a range that is empty or passes the end.
    pub async fn get(&self, id: ChunkId, range: Option<ByteRange>) -> ChunkResult<ChunkRead> {
        self.get_with_owner(id, range).await.map(|owned| owned.read)
    }

    /// As [`get`](Self::get), with the owner hint.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_with_owner(
        &self,
        id: ChunkId,
        range: Option<ByteRange>,
    ) -> ChunkResult<OwnedRead> {
        let mark = self.disk.gate().mark_in_flight();
        let (reader, range, first) = match self.begin_hot(id, range) {
            Some(begun) => begun,
            None => self.begin(id, range).await?,
        };
        let info = reader.info();
        let owner = reader.owner().ok();
        let first_end = range.start + first.len() as u64;
        let piece = ByteRange {
            start: range.start,
            end: first_end,
        };
        let rest = Reading {
            disk: Arc::clone(&self.disk),
            reader,
            next: next_piece(piece, range.end),
            end: range.end,
            whole: range.length_bytes() == info.length_bytes,
            ahead: None,
            _mark: mark,
        };
        let first = stream::once(async move { Ok(first) });
        let stream = first.chain(stream::try_unfold(rest, Reading::step)).boxed();
        Ok(OwnedRead {
            read: ChunkRead { info, stream },
            owner,
        })
    }

    /// Opens a chunk and reads its first piece, without leaving the thread, if all of that is in
    /// memory and as it should be. Whatever is not is left to [`begin`](Self::begin).
    fn begin_hot(&self, id: ChunkId, range: Option<ByteRange>) -> Option<Begun> {
        let reader = self.disk.open_hot(id)?;
        let range = checked_range(range, reader.info().length_bytes).ok()?;
        let first = reader.read(first_piece(range), Wait::Never).ok()?;
        Some((Arc::new(reader), range, first))
    }

    async fn begin(&self, id: ChunkId, range: Option<ByteRange>) -> ChunkResult<Begun> {
        let disk = Arc::clone(&self.disk);
        self.disk
            .work_limit()
            .run(move || {
                let reader = disk.open(id)?;
                let range = checked_range(range, reader.info().length_bytes)?;
                let first = disk.read(&reader, first_piece(range))?;
                Ok((Arc::new(reader), range, first))
            })
            .await
    }

    /// Describes a chunk from its record's two ends; its data is not read.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, `Io`; `Io` also for a chunk that could not be read lately, until
    /// [`verify`](Self::verify) or a whole [`get`](Self::get) can.
    pub async fn head(&self, id: ChunkId) -> ChunkResult<ChunkInfo> {
        self.head_with_owner(id).await.map(|(info, _)| info)
    }

    /// As [`head`](Self::head), with the owner hint as in [`OwnedRead`].
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub async fn head_with_owner(
        &self,
        id: ChunkId,
    ) -> ChunkResult<(ChunkInfo, Option<OwnerHint>)> {
        let disk = Arc::clone(&self.disk);
        self.disk
            .work_limit()
            .run(move || {
                let reader = disk.open_to_describe(id)?;
                Ok((reader.info(), reader.owner().ok()))
            })
            .await
    }

    /// Whether the chunk may be here. False where the index says from memory alone that it is not;
    /// [`head`](Self::head) knows for certain. Never waits for the disk.
    #[must_use]
    pub fn may_hold(&self, id: ChunkId) -> bool {
        !matches!(self.disk.row_cached(id), Cached::Absent)
    }

    /// Reads all of a chunk and verifies it. A damaged one goes to quarantine.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, `Io`.
    pub async fn verify(&self, id: ChunkId) -> ChunkResult<ChunkInfo> {
        let disk = Arc::clone(&self.disk);
        self.disk.work_limit().run(move || disk.verify(id)).await
    }

    /// As [`verify`](Self::verify), reading from the disk and not from the page cache, as far as the
    /// filesystem heeds `posix_fadvise`; the chunk is not in the page cache afterwards.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn verify_from_disk(&self, id: ChunkId) -> ChunkResult<ChunkInfo> {
        let disk = Arc::clone(&self.disk);
        self.disk
            .work_limit()
            .run(move || disk.verify_from_disk(id))
            .await
    }

    /// The object that a chunk was written for.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, `Io`; `Invalid` for a hint of a format this program does not know.
    pub async fn owner(&self, id: ChunkId) -> ChunkResult<OwnerHint> {
        let disk = Arc::clone(&self.disk);
        self.disk
            .work_limit()
            .run(move || {
                disk.open(id)?
                    .owner()
                    .map_err(|fault| ChunkError::Invalid(fault.to_string()))
            })
            .await
    }

    /// Removes a chunk, durably; Ok if there is none. Reads under way go on. Works on a full disk.
    /// If the caller drops the future, the chunk may be gone or not.
    ///
    /// # Errors
    /// `Refused` on a failed disk or while the store closes, and `Io`.
    pub async fn delete(&self, id: ChunkId) -> ChunkResult<()> {
        let permit = self.disk.gate().admit_removal().await?;
        let lock = self.disk.chunk_locks().lock(id).await;
        let row = match self.disk.row_cached(id) {
            Cached::Row(row) => Some(row),
            Cached::Absent => None,
            Cached::Unknown => {
                let disk = Arc::clone(&self.disk);
                self.disk.work_limit().run(move || disk.row(id)).await?
            }
        };
        if row.is_some_and(|row| row.location.is_some()) {
            let guards = Arc::new((Some(lock), Some(permit)));
            let work = Work::Delete { id, only: None };
            self.disk.commit(id, work, guards).await?;
            self.disk.note_good(id);
            return Ok(());
        }
        let disk = Arc::clone(&self.disk);
        self.disk
            .work_limit()
            .run(move || {
                let deleted = disk.delete_file(id);
                drop((lock, permit));
                deleted
            })
            .await
    }

    /// Up to `limit` chunks in id order, those behind `after`. Fewer than `limit` mean the end.
    /// Shows each chunk whose put or delete ended before the call as it left it, without those that the
    /// disk could not read lately.
    ///
    /// # Errors
    /// `Io`.
    pub async fn list(&self, after: Option<ChunkId>, limit: usize) -> ChunkResult<Vec<ChunkInfo>> {
        let disk = Arc::clone(&self.disk);
        self.disk
            .work_limit()
            .run(move || disk.list(after, limit))
            .await
    }

    /// Whether a chunk of this length would probably find room. Costs one statvfs, unless there is room
    /// within what the segments took before.
    #[must_use]
    pub fn has_room_for(&self, length_bytes: u64) -> bool {
        // A length that is not allowed is refused for that, by whoever is asked to take the chunk.
        length_bytes > CHUNK_MAX_BYTES || put::has_room(&self.disk, length_bytes)
    }

    /// The store's condition at this moment. Costs one statvfs.
    #[must_use]
    pub fn state(&self) -> StoreState {
        self.disk.state()
    }

    /// Ends the store cleanly: refuses new writes, waits for those under way, and leaves the mark
    /// that spares the next start a walk. Reads still work. Calling it again does no harm. Without
    /// it nothing is lost; the next start only takes longer.
    ///
    /// # Errors
    /// `Io` where the mark could not be written.
    pub async fn close(&self) -> ChunkResult<()> {
        self.disk.gate().close().await;
        let disk = Arc::clone(&self.disk);
        self.disk.work_limit().run(move || disk.mark_clean()).await
    }
}

/// An open chunk, the range that was asked for, and its first piece.
type Begun = (Arc<RecordReader>, ByteRange, Bytes);

/// A read in progress: one piece is with the caller, at most one more is being read.
struct Reading {
    disk: Arc<Disk>,
    reader: Arc<RecordReader>,
    next: Option<ByteRange>,
    end: u64,
    /// Whether the chunk is read from its first byte to its last.
    whole: bool,
    ahead: Option<Blocking<Bytes>>,
    _mark: InFlight,
}

impl Reading {
    /// Gives the next piece. One that is in memory is read here and now; otherwise the one behind
    /// it is read meanwhile.
    async fn step(mut self) -> ChunkResult<Option<(Bytes, Self)>> {
        if self.ahead.is_none()
            && let Some(piece) = self.next
            && let Ok(bytes) = self.reader.read(piece, Wait::Never)
        {
            self.next = next_piece(piece, self.end);
            return Ok(Some((bytes, self)));
        }
        let ahead = match self.ahead.take() {
            None => self.start_next().await,
            ahead => ahead,
        };
        let Some(piece) = ahead else {
            if self.whole {
                self.disk.note_good(self.reader.info().id);
            }
            return Ok(None);
        };
        let piece = piece.finish().await?;
        self.ahead = self.start_ahead();
        Ok(Some((piece, self)))
    }

    /// Starts reading the next piece when it is its turn; `None` at the end.
    async fn start_next(&mut self) -> Option<Blocking<Bytes>> {
        let piece = self.next?;
        let begun = self.disk.work_limit().start(self.reading(piece)).await;
        self.next = next_piece(piece, self.end);
        Some(begun)
    }

    /// Starts reading the next piece; `None` at the end, and where others have their turn first.
    fn start_ahead(&mut self) -> Option<Blocking<Bytes>> {
        let piece = self.next?;
        let begun = self.disk.work_limit().try_start(self.reading(piece))?;
        self.next = next_piece(piece, self.end);
        Some(begun)
    }

    fn reading(&self, piece: ByteRange) -> impl FnOnce() -> ChunkResult<Bytes> + Send + 'static {
        let (disk, reader) = (Arc::clone(&self.disk), Arc::clone(&self.reader));
        move || disk.read(&reader, piece)
    }
}

fn checked_range(range: Option<ByteRange>, length_bytes: u64) -> ChunkResult<ByteRange> {
    let range = range.unwrap_or(ByteRange {
        start: 0,
        end: length_bytes,
    });
    if range.start < range.end && range.end <= length_bytes {
        return Ok(range);
    }
    let ByteRange { start, end } = range;
    Err(ChunkError::Invalid(format!(
        "range {start}..{end} of a chunk of {length_bytes} bytes"
    )))
}
