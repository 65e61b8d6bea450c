//! Making segment files: their length is taken from the filesystem once, and their blocks are
//! written once before use where there is time, which halves the cost of each later sync.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use chunkproto::Durability;
use chunkproto::NodeId;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::super::durable;
use super::super::fault::Fault;
use super::file::SegmentFile;
use super::header::{HEADER_BYTES, Nonce, SegmentHeader};
use super::segments::{Segments, WriteClass};
use super::slot::SlotRow;

/// How much is zeroed by one system call.
const ZEROES_BYTES: usize = 1 << 20;

/// What a new file is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// Nothing: its blocks are only taken. For a file that is needed at once.
    Reserve,
    /// Zeroes.
    Zeroes,
}

/// The path of a segment.
pub(super) fn path(dir: &Path, slot: u32) -> PathBuf {
    dir.join(format!("{slot:08x}"))
}

/// The slot that a name in the directory stands for.
pub(super) fn slot_of_name(name: &str) -> Option<u32> {
    let slot = u32::from_str_radix(name, 16).ok()?;
    (name == format!("{slot:08x}")).then_some(slot)
}

/// Makes the file of a free segment, durably. A crash in the middle leaves a file that the next
/// start takes for free, or removes. What makes room may take all that the filesystem has.
///
/// # Errors
/// `NoRoom`, for new chunks beyond the limit of the filesystem's use; `Io`, `Sync`. Then no file is
/// left.
pub(super) fn create(
    segments: &Segments,
    slot: u32,
    fill: Fill,
    class: WriteClass,
) -> Result<(), Fault> {
    let path = path(&segments.dir, slot);
    if class == WriteClass::Put {
        segments
            .gate
            .check_further_room(segments.segment_bytes.into())?;
    }
    let made = make(segments, slot, fill, &path);
    if made.is_err() {
        // What cannot be removed now is free at the next start.
        let _ = fs::remove_file(&path);
    }
    made
}

/// Ends a life: says durably in the file at `path` that it is free. Doing it again does no harm.
pub(super) fn end_life(
    path: &Path,
    node: NodeId,
    slot: u32,
    row: &SlotRow,
    durability: Durability,
) -> Result<(), Fault> {
    let nonce = Nonce([0; 16]);
    let file = SegmentFile::open(path, slot, row.generation, nonce)?;
    file.write_header(&SegmentHeader {
        node,
        slot,
        generation: row.generation,
        nonce,
        bytes: row.bytes,
        in_use: false,
    })?;
    if durability.syncs() {
        file.sync()?;
    }
    Ok(())
}

fn make(segments: &Segments, slot: u32, fill: Fill, path: &Path) -> Result<(), Fault> {
    let file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path);
    let file = file.map_err(Fault::io("create", path))?;
    let bytes = u64::from(segments.segment_bytes);
    allocate(&file, path, bytes)?;
    if fill == Fill::Zeroes {
        zero(&file, path, bytes)?;
    }
    let header = SegmentHeader {
        node: segments.node,
        slot,
        generation: 0,
        nonce: Nonce([0; 16]),
        bytes: segments.segment_bytes,
        in_use: false,
    }
    .encode();
    for at in [0, bytes - u64::from(HEADER_BYTES)] {
        file.write_all_at(&header, at)
            .map_err(Fault::io("write", path))?;
    }
    if segments.gate.durability().syncs() {
        file.sync_all().map_err(Fault::sync(path))?;
        durable::sync_parent(path)?;
    }
    Ok(())
}

fn allocate(file: &File, path: &Path, bytes: u64) -> Result<(), Fault> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            file.set_len(bytes).map_err(Fault::io("extend", path))
        }
        Err(error) => Err(Fault::io("allocate", path)(error.into())),
    }
}

fn zero(file: &File, path: &Path, bytes: u64) -> Result<(), Fault> {
    let zeroes = vec![0; ZEROES_BYTES];
    let mut at = 0;
    while at < bytes {
        let length = (bytes - at).min(ZEROES_BYTES as u64);
        let piece = &zeroes[..usize::try_from(length).expect("at most ZEROES_BYTES")];
        match file.write_at(piece, at) {
            Ok(written) => {
                at += written as u64;
                // By pieces, or the syncs of others would wait for all of it.
                file.sync_data().map_err(Fault::sync(path))?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::io("write", path)(error)),
        }
    }
    Ok(())
}
