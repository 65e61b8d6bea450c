//! Reading a record from its file. Every block is verified after it was read and before any of its
//! bytes leave this file (I12).

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chunkproto::{
    BLOCK_BYTES, ByteRange, ChunkId, ChunkInfo, Crc64Hasher, OwnerHint, block_crc32c,
};

use super::fault::Fault;
use super::record::{FOOTER_BYTES, Footer, HEADER_BYTES, Header, Plan};

/// Most bytes that one read from disk covers, and the size of the pieces handed out.
pub(crate) const PIECE_BYTES: u64 = 4 * BLOCK_BYTES as u64;

/// An open record whose header, footer and length agree.
pub(crate) struct RecordReader {
    file: File,
    path: PathBuf,
    header: Header,
    footer: Footer,
}

/// Which file a record is, whatever its name is by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The identity of an open file.
    pub fn of(file: &File, path: &Path) -> Result<Self, Fault> {
        let meta = file.metadata().map_err(Fault::io("look at", path))?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
        })
    }
}

impl RecordReader {
    /// Reads both ends of the record of chunk `id` in `file`, which was opened at `path`.
    ///
    /// # Errors
    /// `Damaged` unless header, footer and the file's length agree and name this chunk.
    pub fn new(file: File, path: &Path, id: ChunkId) -> Result<Self, Fault> {
        let file_bytes = file.metadata().map_err(Fault::io("look at", path))?.len();
        let header = Header::decode(&read_at(&file, path, 0, HEADER_BYTES)?)?;
        if header.id != id {
            return Err(Fault::Damaged(format!(
                "the record is of chunk {}",
                header.id
            )));
        }
        let plan = Plan {
            length_bytes: header.length_bytes,
        };
        if file_bytes != plan.record_bytes() {
            let expected = plan.record_bytes();
            return Err(Fault::Damaged(format!(
                "{file_bytes} bytes long instead of {expected}"
            )));
        }
        let footer = Footer::decode(&read_at(&file, path, plan.footer_at(), FOOTER_BYTES)?)?;
        if footer.length_bytes != header.length_bytes {
            return Err(Fault::Damaged("header and footer differ in length".into()));
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            header,
            footer,
        })
    }

    /// The chunk's description.
    pub fn info(&self) -> ChunkInfo {
        ChunkInfo {
            id: self.header.id,
            length_bytes: self.header.length_bytes,
            crc64: self.footer.crc64,
        }
    }

    /// The object that the chunk was written for.
    pub fn owner(&self) -> Result<OwnerHint, Fault> {
        self.header.owner().map_err(Fault::from)
    }

    /// Which file this is.
    pub fn file_id(&self) -> Result<FileId, Fault> {
        FileId::of(&self.file, &self.path)
    }

    /// The bytes of `range`, which covers at most [`PIECE_BYTES`] and lies within the chunk.
    ///
    /// # Errors
    /// `Damaged` if any block that the range touches differs from its checksum.
    pub fn read(&self, range: ByteRange) -> Result<Bytes, Fault> {
        let plan = Plan {
            length_bytes: self.header.length_bytes,
        };
        assert!(
            range.start < range.end && range.end <= plan.length_bytes,
            "range in the chunk"
        );
        let block_bytes = BLOCK_BYTES as u64;
        let first_block = range.start / block_bytes;
        let end_block = range.end.div_ceil(block_bytes);
        let start = first_block * block_bytes;
        let end = (end_block * block_bytes).min(plan.length_bytes);

        let data = read_at(
            &self.file,
            &self.path,
            Plan::DATA_AT + start,
            to_usize(end - start),
        )?;
        let table_bytes = to_usize(4 * (end_block - first_block));
        let table = read_at(
            &self.file,
            &self.path,
            plan.table_entry_at(first_block),
            table_bytes,
        )?;
        let blocks = data.chunks(BLOCK_BYTES).zip(table.chunks_exact(4));
        for (block, (bytes, expected)) in (first_block..).zip(blocks) {
            if block_crc32c(bytes).to_le_bytes() != expected {
                return Err(Fault::Damaged(format!(
                    "block {block} differs from its checksum"
                )));
            }
        }
        Ok(Bytes::from(data).slice(to_usize(range.start - start)..to_usize(range.end - start)))
    }

    /// Reads and verifies the whole record, both kinds of checksums and the table's.
    pub fn verify(&self) -> Result<(), Fault> {
        let plan = Plan {
            length_bytes: self.header.length_bytes,
        };
        let mut whole = Crc64Hasher::new();
        let mut next = Some(first_piece(ByteRange {
            start: 0,
            end: plan.length_bytes,
        }));
        while let Some(piece) = next {
            whole.update(&self.read(piece)?);
            next = next_piece(piece, plan.length_bytes);
        }
        if whole.finish() != self.footer.crc64 {
            return Err(Fault::Damaged(
                "the data differ from the chunk's checksum".into(),
            ));
        }
        let table_bytes = to_usize(plan.footer_at() - plan.table_at());
        let table = read_at(&self.file, &self.path, plan.table_at(), table_bytes)?;
        if block_crc32c(&table) != self.footer.table_crc32c {
            return Err(Fault::Damaged("the table differs from its checksum".into()));
        }
        Ok(())
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

/// Exactly `length` bytes at `at`; fewer mean that the record was cut off.
fn read_at(file: &File, path: &Path, at: u64, length: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0; length];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(Fault::Damaged(format!(
            "cut off before byte {}",
            at + length as u64
        ))),
        Err(error) => Err(Fault::io("read", path)(error)),
    }
}

fn to_usize(length: u64) -> usize {
    usize::try_from(length).expect("at most a piece or a table, both far below 4 GiB")
}
