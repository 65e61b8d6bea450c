//! Writing a record piece by piece: head, data as it comes, checksums, footer. To a temporary file of
//! its own, or to room in a segment that was reserved for it. The record becomes a chunk in
//! `publish` alone; until then, dropping the writer gives everything back.

use std::fs::{self, File};
use std::io::{self, IoSlice, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chunkproto::{ChunkId, ChunkInfo, Durability};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::admission::WritePermit;
use super::directory::Layout;
use super::durable;
use super::fault::Fault;
use super::record::{Header, Plan, Sums};
use super::segment::{RecordHead, Reservation};
use super::writeback;

/// A file is written out in windows of this length, from its first byte on: while one is filled, the one
/// before is on its way. So at most two are dirty in the page cache, and the last sync is short.
const WINDOW_BYTES: u64 = 16 << 20;
/// Up to this a record is written in one go, and allocating it beforehand would only cost.
pub(crate) const SMALL_BYTES: u64 = 1 << 20;

/// A record in the making.
pub(crate) struct RecordWriter {
    // Fields are dropped in this order: the file is removed before the write counts as ended.
    sink: Sink,
    length_bytes: u64,
    id: ChunkId,
    sums: Sums,
    permit: WritePermit,
}

/// A record that is whole but neither durable nor a chunk.
pub(crate) struct SealedRecord {
    /// Where it is.
    pub sink: Sink,
    /// The chunk that it will be.
    pub info: ChunkInfo,
    /// The right to make it one.
    pub permit: WritePermit,
}

/// Where a record is written to.
pub(crate) enum Sink {
    /// A file of its own.
    OwnFile(TempFile),
    /// Room in a segment.
    Segment(SegmentRoom),
}

/// An open file that is removed when it is dropped, unless it got another name.
pub(crate) struct TempFile {
    file: File,
    path: PathBuf,
    published: bool,
    durability: Durability,
    written_bytes: u64,
    /// How much of it is on its way to the disk.
    begun_bytes: u64,
    /// How many whole windows of it are known to be written out.
    windows: u64,
}

/// Reserved room, and how much of it is written.
pub(crate) struct SegmentRoom {
    /// The room.
    pub reservation: Reservation,
    /// Length of the record's head.
    pub head_bytes: u16,
    at: u64,
    /// What is not written yet: of a small record all of it until its end, of others nothing.
    gathered: Vec<Bytes>,
    is_small: bool,
}

impl RecordWriter {
    /// Begins a record under a fresh temporary name.
    pub fn in_own_file(
        layout: &Layout,
        header: &Header,
        mut permit: WritePermit,
        durability: Durability,
    ) -> Result<Self, Fault> {
        let mut temp = TempFile::create(layout.temp(header.id), durability)?;
        if header.length_bytes > SMALL_BYTES {
            temp.preallocate(Plan::own_file(header.length_bytes).end())?;
            permit.release_room();
        }
        temp.append(&[Bytes::from(header.encode())])?;
        Ok(Self {
            sink: Sink::OwnFile(temp),
            length_bytes: header.length_bytes,
            id: header.id,
            sums: Sums::new(),
            permit,
        })
    }

    /// Begins a record in reserved room.
    pub fn in_segment(
        reservation: Reservation,
        head: &RecordHead,
        permit: WritePermit,
    ) -> Result<Self, Fault> {
        let mut room = SegmentRoom {
            at: reservation.offset.into(),
            head_bytes: head.bytes(),
            reservation,
            gathered: Vec::new(),
            is_small: head.length_bytes <= SMALL_BYTES,
        };
        room.append(&[Bytes::from(head.encode(room.reservation.file.nonce))])?;
        Ok(Self {
            sink: Sink::Segment(room),
            length_bytes: head.length_bytes,
            id: head.id,
            sums: Sums::new(),
            permit,
        })
    }

    /// The chunk.
    pub fn id(&self) -> ChunkId {
        self.id
    }

    /// Takes the next bytes of data in.
    pub fn write(&mut self, pieces: &[Bytes]) -> Result<(), Fault> {
        pieces.iter().for_each(|piece| self.sums.update(piece));
        assert!(
            self.sums.length_bytes() <= self.length_bytes,
            "no more than declared"
        );
        self.sink.append(pieces)
    }

    /// Ends the record with its checksums.
    pub fn seal(mut self) -> Result<SealedRecord, Fault> {
        assert_eq!(
            self.sums.length_bytes(),
            self.length_bytes,
            "as much as declared"
        );
        let (trailer, footer) = self.sums.finish();
        self.sink.append(&[Bytes::from(trailer)])?;
        self.sink.end()?;
        let info = ChunkInfo {
            id: self.id,
            length_bytes: footer.length_bytes,
            crc64: footer.crc64,
        };
        Ok(SealedRecord {
            sink: self.sink,
            info,
            permit: self.permit,
        })
    }
}

impl Sink {
    fn append(&mut self, pieces: &[Bytes]) -> Result<(), Fault> {
        match self {
            Self::OwnFile(temp) => temp.append(pieces),
            Self::Segment(room) => room.append(pieces),
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        match self {
            Self::OwnFile(_) => Ok(()),
            Self::Segment(room) => room.flush(),
        }
    }
}

impl SegmentRoom {
    fn append(&mut self, pieces: &[Bytes]) -> Result<(), Fault> {
        self.gathered.extend_from_slice(pieces);
        if self.is_small {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Fault> {
        let pieces = std::mem::take(&mut self.gathered);
        let file = &self.reservation.file;
        file.write(&pieces, self.at)?;
        let length_bytes = pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        writeback::begin(file.file(), self.at, length_bytes);
        self.at += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        Ok(())
    }
}

impl TempFile {
    /// Makes the record durable under its permanent name.
    pub fn publish(mut self, dest: &Path) -> Result<(), Fault> {
        durable::publish(&self.file, &self.path, dest, self.durability)?;
        self.published = true;
        Ok(())
    }

    fn create(path: PathBuf, durability: Durability) -> Result<Self, Fault> {
        let file = File::create_new(&path).map_err(Fault::io("create", &path))?;
        Ok(Self {
            file,
            path,
            published: false,
            durability,
            written_bytes: 0,
            begun_bytes: 0,
            windows: 0,
        })
    }

    /// Takes the room now, in one run where the filesystem has one.
    fn preallocate(&self, bytes: u64) -> Result<(), Fault> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(error) => Err(Fault::io("allocate", &self.path)(error.into())),
        }
    }

    fn append(&mut self, pieces: &[Bytes]) -> Result<(), Fault> {
        write_all_vectored(&mut self.file, pieces).map_err(Fault::io("write", &self.path))?;
        self.written_bytes += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        if !self.durability.syncs() || self.written_bytes <= SMALL_BYTES {
            return Ok(());
        }
        let more_bytes = self.written_bytes - self.begun_bytes;
        writeback::begin(&self.file, self.begun_bytes, more_bytes);
        self.begun_bytes = self.written_bytes;
        while self.written_bytes >= (self.windows + 2) * WINDOW_BYTES {
            writeback::wait(&self.file, self.windows * WINDOW_BYTES, WINDOW_BYTES)
                .map_err(Fault::sync(&self.path))?;
            self.windows += 1;
        }
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        match fs::remove_file(&self.path) {
            // Not there: the rename came through and only the sync behind it failed.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "a temporary file stays until the next start");
            }
            _ => {}
        }
    }
}

fn write_all_vectored(file: &mut File, pieces: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = slices.as_mut_slice();
    IoSlice::advance_slices(&mut left, 0); // leaves empty pieces behind
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
