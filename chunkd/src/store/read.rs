//! Reading a record, wherever it is. Every block is verified after it was read and before any of its
//! bytes leave this file (I12).

use std::fs::File;
use std::io::{ErrorKind, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chunkproto::{
    BLOCK_BYTES, ByteRange, ChunkId, ChunkInfo, Crc64Hasher, OwnerHint, block_crc32c,
};
use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};

use super::fault::Fault;
use super::index_rows::Row;
use super::record::{FOOTER_BYTES, Footer, HEADER_BYTES, Header, Plan};
use super::segment::{Location, RecordHead, SegmentFile};

/// Most bytes that one read from disk covers, and the size of the pieces handed out.
pub(crate) const PIECE_BYTES: u64 = 4 * BLOCK_BYTES as u64;
/// Tables up to this length are read when the record is opened, and kept.
const KEPT_TABLE_BYTES: u64 = 4096;
/// Records in segments up to this length are read in one go when they are opened.
const WHOLE_BYTES: u64 = BLOCK_BYTES as u64 + 4096;

/// Unit of the page cache, or a multiple of it.
const PAGE_BYTES: u64 = 64 * 1024;

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// No: what is not in memory gives `Fault::Cold`.
    Never,
    /// Yes.
    ForDisk,
}

/// An open record whose parts agree.
pub(crate) struct RecordReader {
    source: Source,
    info: ChunkInfo,
    owner: Vec<u8>,
    plan: Plan,
    footer: Footer,
    buffered: Buffered,
}

/// Where a record was found, to tell whether it is still the chunk's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordPlace {
    /// A file of its own.
    OwnFile {
        /// Device of the file.
        device: u64,
        /// Inode of the file.
        inode: u64,
    },
    /// A segment.
    Segment(Location),
}

/// The file that a record is in.
enum Source {
    OwnFile(File, PathBuf),
    Segment(Arc<SegmentFile>, Location),
}

/// What is in memory of a record.
enum Buffered {
    /// All of it.
    Whole(Bytes),
    /// The table of block checksums.
    Table(Vec<u8>),
    /// Nothing.
    Nothing,
}

impl RecordPlace {
    /// The place of a file of its own.
    pub fn of_file(file: &File, path: &Path) -> Result<Self, Fault> {
        let meta = file.metadata().map_err(Fault::io("look at", path))?;
        Ok(Self::OwnFile {
            device: meta.dev(),
            inode: meta.ino(),
        })
    }
}

impl RecordReader {
    /// Opens the record of chunk `id` in `file`, a file of its own that was opened at `path`.
    ///
    /// # Errors
    /// `Damaged` unless header, footer and the file's length agree and name this chunk.
    pub fn in_own_file(file: File, path: &Path, id: ChunkId) -> Result<Self, Fault> {
        let file_bytes = file.metadata().map_err(Fault::io("look at", path))?.len();
        let source = Source::OwnFile(file, path.to_owned());
        let header = Header::decode(&source.read(0, HEADER_BYTES as u64, Wait::ForDisk)?)?;
        let plan = Plan::own_file(header.length_bytes);
        if file_bytes != plan.end() {
            let expected = plan.end();
            return Err(Fault::Damaged(format!(
                "{file_bytes} bytes long instead of {expected}"
            )));
        }
        check_id(header.id, id)?;
        let owner = header.into_owner_bytes();
        Self::with_ends(source, id, owner, plan, Wait::ForDisk)
    }

    /// Opens the record that `row` speaks of, in its segment.
    ///
    /// # Errors
    /// `Damaged` unless head, footer and the row agree. `Cold`, where `wait` forbids to wait.
    pub fn in_segment(
        file: Arc<SegmentFile>,
        location: Location,
        row: &Row,
        wait: Wait,
    ) -> Result<Self, Fault> {
        let nonce = file.nonce;
        let source = Source::Segment(file, location);
        let plan = Plan {
            data_at: u64::from(location.offset) + u64::from(location.head_bytes),
            length_bytes: row.info.length_bytes,
        };
        let begin = u64::from(location.offset);
        let short = plan.end() - begin <= WHOLE_BYTES;
        let end = if short { plan.end() } else { plan.data_at };
        let bytes = source.read(begin, end - begin, wait)?;
        let head = RecordHead::decode(&bytes, nonce)
            .filter(|head| head.plan_at(location.offset) == plan)
            .ok_or_else(|| Fault::Damaged("the record's head is not whole".into()))?;
        check_id(head.id, row.info.id)?;
        let reader = if short {
            let footer = &bytes[to_usize(plan.footer_at() - begin)..];
            let footer = Footer::decode(footer)?;
            let info = checked(head.id, plan, &footer)?;
            Self {
                source,
                info,
                owner: head.owner,
                plan,
                footer,
                buffered: Buffered::Whole(bytes.into()),
            }
        } else {
            Self::with_ends(source, head.id, head.owner, plan, wait)?
        };
        if reader.info != row.info {
            return Err(Fault::Damaged("record and index differ".into()));
        }
        Ok(reader)
    }

    /// Opens a record in a segment that no row speaks of, by its head alone.
    pub fn unlisted(
        file: Arc<SegmentFile>,
        location: Location,
        head: RecordHead,
        wait: Wait,
    ) -> Result<Self, Fault> {
        let plan = head.plan_at(location.offset);
        let source = Source::Segment(file, location);
        Self::with_ends(source, head.id, head.owner, plan, wait)
    }

    fn with_ends(
        source: Source,
        id: ChunkId,
        owner: Vec<u8>,
        plan: Plan,
        wait: Wait,
    ) -> Result<Self, Fault> {
        let keeps = plan.table_bytes() <= KEPT_TABLE_BYTES;
        let begin = if keeps {
            plan.table_at()
        } else {
            plan.footer_at()
        };
        let mut table = source.read(begin, plan.end() - begin, wait)?;
        let footer = Footer::decode(&table[table.len() - FOOTER_BYTES..])?;
        table.truncate(table.len() - FOOTER_BYTES);
        let info = checked(id, plan, &footer)?;
        if keeps && block_crc32c(&table) != footer.table_crc32c {
            return Err(bad_table());
        }
        Ok(Self {
            source,
            info,
            owner,
            plan,
            footer,
            buffered: if keeps {
                Buffered::Table(table)
            } else {
                Buffered::Nothing
            },
        })
    }

    /// The chunk's description.
    pub fn info(&self) -> ChunkInfo {
        self.info
    }

    /// The object that the chunk was written for.
    pub fn owner(&self) -> Result<OwnerHint, Fault> {
        OwnerHint::decode(&self.owner).map_err(|error| Fault::Damaged(error.to_string()))
    }

    /// The owner hint as it was encoded.
    pub fn owner_bytes(&self) -> &[u8] {
        &self.owner
    }

    /// Where the record is.
    pub fn place(&self) -> Result<RecordPlace, Fault> {
        match &self.source {
            Source::OwnFile(file, path) => RecordPlace::of_file(file, path),
            Source::Segment(_, location) => Ok(RecordPlace::Segment(*location)),
        }
    }

    /// The bytes of `range`, which covers at most [`PIECE_BYTES`] and lies within the chunk.
    ///
    /// # Errors
    /// `Damaged` if any block that the range touches differs from its checksum. `Cold`, where
    /// `wait` forbids to wait.
    pub fn read(&self, range: ByteRange, wait: Wait) -> Result<Bytes, Fault> {
        let length_bytes = self.plan.length_bytes;
        assert!(
            range.start < range.end && range.end <= length_bytes,
            "range in the chunk"
        );
        let block = BLOCK_BYTES as u64;
        let start = range.start / block * block;
        let end = range.end.next_multiple_of(block).min(length_bytes);
        assert!(end - start <= PIECE_BYTES + block, "one piece at a time");
        let data = self.part(self.plan.data_at + start, end - start, wait)?;
        let (first, last) = (range.start / block, range.end.div_ceil(block));
        let table = self.table(first, last, wait)?;
        for ((number, bytes), expected) in (first..)
            .zip(data.chunks(BLOCK_BYTES))
            .zip(table.chunks_exact(4))
        {
            if block_crc32c(bytes).to_le_bytes() != expected {
                return Err(Fault::Damaged(format!(
                    "block {number} differs from its checksum"
                )));
            }
        }
        Ok(data.slice(to_usize(range.start - start)..to_usize(range.end - start)))
    }

    /// Reads and verifies the whole record, both kinds of checksums and the table's.
    pub fn verify(&self) -> Result<(), Fault> {
        let mut whole = Crc64Hasher::new();
        let mut next = Some(first_piece(ByteRange {
            start: 0,
            end: self.plan.length_bytes,
        }));
        while let Some(piece) = next {
            whole.update(&self.read(piece, Wait::ForDisk)?);
            next = next_piece(piece, self.plan.length_bytes);
        }
        if whole.finish() != self.footer.crc64 {
            return Err(Fault::Damaged(
                "the data differ from the chunk's checksum".into(),
            ));
        }
        let table = self.part(self.plan.table_at(), self.plan.table_bytes(), Wait::ForDisk)?;
        if block_crc32c(&table) != self.footer.table_crc32c {
            return Err(bad_table());
        }
        Ok(())
    }

    /// The bytes where a record in a segment should be, right or wrong; what cannot be read is left
    /// out.
    pub fn raw_in_segment(file: Arc<SegmentFile>, location: Location, row: &Row) -> Vec<u8> {
        let plan = Plan {
            data_at: u64::from(location.offset) + u64::from(location.head_bytes),
            length_bytes: row.info.length_bytes,
        };
        let source = Source::Segment(file, location);
        let (mut raw, mut at) = (Vec::new(), u64::from(location.offset));
        while at < plan.end() {
            let length = (plan.end() - at).min(PIECE_BYTES);
            match source.read(at, length, Wait::ForDisk) {
                Ok(bytes) => raw.extend_from_slice(&bytes),
                Err(_) => break,
            }
            at += length;
        }
        raw
    }

    /// Asks the system to drop what it has in memory of the record, so that the next read comes from
    /// the disk. Pages that are being read or written at this moment may stay.
    pub fn drop_cached(&self) {
        let (file, begin) = match &self.source {
            Source::OwnFile(file, _) => (file, 0),
            Source::Segment(file, location) => (file.file(), u64::from(location.offset)),
        };
        // Pages that are only in part within the range would stay.
        let begin = begin / PAGE_BYTES * PAGE_BYTES;
        let length = self.plan.end().next_multiple_of(PAGE_BYTES) - begin;
        let length = NonZeroU64::new(length);
        // Advice alone: a filesystem that ignores it makes scrubbing read from memory.
        let _ = rustix::fs::fadvise(file, begin, length, Advice::DontNeed);
    }

    /// The checksums of the blocks `first..last`.
    fn table(&self, first: u64, last: u64, wait: Wait) -> Result<Bytes, Fault> {
        if let Buffered::Table(table) = &self.buffered {
            let part = &table[to_usize(4 * first)..to_usize(4 * last)];
            return Ok(Bytes::copy_from_slice(part));
        }
        self.part(self.plan.table_at() + 4 * first, 4 * (last - first), wait)
    }

    fn part(&self, at: u64, length: u64, wait: Wait) -> Result<Bytes, Fault> {
        if let (Buffered::Whole(record), Source::Segment(_, location)) =
            (&self.buffered, &self.source)
        {
            let start = to_usize(at - u64::from(location.offset));
            return Ok(record.slice(start..start + to_usize(length)));
        }
        self.source.read(at, length, wait).map(Bytes::from)
    }
}

impl Source {
    /// Exactly `length` bytes at `at`; fewer mean that the record was cut off.
    fn read(&self, at: u64, length: u64, wait: Wait) -> Result<Vec<u8>, Fault> {
        let (file, path) = match self {
            Self::OwnFile(file, path) => (file, path.as_path()),
            Self::Segment(file, _) => (file.file(), file.path()),
        };
        let mut bytes = vec![0; to_usize(length)];
        if wait == Wait::Never {
            return read_hot(file, &mut bytes, at).map(|()| bytes);
        }
        match file.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(Fault::Damaged(format!(
                "cut off before byte {}",
                at + length
            ))),
            Err(error) => Err(Fault::io("read", path)(error)),
        }
    }
}

/// Fills `bytes` if all of it is in memory. Any trouble is left to the read that may wait.
fn read_hot(file: &File, bytes: &mut [u8], at: u64) -> Result<(), Fault> {
    let wanted = bytes.len();
    let mut buffers = [IoSliceMut::new(bytes)];
    loop {
        match rustix::io::preadv2(file, &mut buffers, at, ReadWriteFlags::NOWAIT) {
            Ok(read) if read == wanted => return Ok(()),
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return Err(Fault::Cold),
        }
    }
}

/// The first piece of `range`: it ends at a multiple of the piece size.
pub(crate) fn first_piece(range: ByteRange) -> ByteRange {
    let end = (range.start / PIECE_BYTES + 1) * PIECE_BYTES;
    ByteRange {
        start: range.start,
        end: end.min(range.end),
    }
}

/// The piece behind `piece`, up to `end`.
pub(crate) fn next_piece(piece: ByteRange, end: u64) -> Option<ByteRange> {
    (piece.end < end).then(|| {
        first_piece(ByteRange {
            start: piece.end,
            end,
        })
    })
}

fn checked(id: ChunkId, plan: Plan, footer: &Footer) -> Result<ChunkInfo, Fault> {
    if footer.length_bytes != plan.length_bytes {
        return Err(Fault::Damaged("head and footer differ in length".into()));
    }
    Ok(ChunkInfo {
        id,
        length_bytes: footer.length_bytes,
        crc64: footer.crc64,
    })
}

fn check_id(found: ChunkId, id: ChunkId) -> Result<(), Fault> {
    if found == id {
        return Ok(());
    }
    Err(Fault::Damaged(format!("the record is of chunk {found}")))
}

fn bad_table() -> Fault {
    Fault::Damaged("the table differs from its checksum".into())
}

fn to_usize(length: u64) -> usize {
    usize::try_from(length).expect("at most a piece or a table, both far below 4 GiB")
}
