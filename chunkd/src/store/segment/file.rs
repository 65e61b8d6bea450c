//! One segment's open file in one of its lives. Reads and writes at offsets; no state of its own.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::super::fault::Fault;
use super::header::{HEADER_BYTES, Nonce, SegmentHeader};

/// Most buffers that one system call takes (IOV_MAX on Linux).
const BUFFERS_MAX: usize = 1024;
/// How much of a file is looked at for zeroes at a time.
const BLANK_WINDOW_BYTES: usize = 1 << 20;

/// An open segment.
pub(crate) struct SegmentFile {
    /// The number in its name.
    pub slot: u32,
    /// Which life the file lived when it was opened.
    pub generation: u32,
    /// The mark of that life.
    pub nonce: Nonce,
    file: File,
    path: PathBuf,
}

impl SegmentFile {
    /// Opens the file at `path`, which is known to live this life.
    pub fn open(path: &Path, slot: u32, generation: u32, nonce: Nonce) -> Result<Self, Fault> {
        let file = File::options().read(true).write(true).open(path);
        Ok(Self {
            slot,
            generation,
            nonce,
            file: file.map_err(Fault::io("open", path))?,
            path: path.to_owned(),
        })
    }

    /// The file, for reading at offsets.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the pieces one behind the other from `at` on.
    pub fn write(&self, pieces: &[Bytes], at: u64) -> Result<(), Fault> {
        write_all_at(&self.file, pieces, at).map_err(Fault::io("write", &self.path))
    }

    /// Makes what was written durable.
    pub fn sync(&self) -> Result<(), Fault> {
        self.file.sync_data().map_err(Fault::sync(&self.path))
    }

    /// Writes the header of a life at both ends of the file.
    pub fn write_header(&self, header: &SegmentHeader) -> Result<(), Fault> {
        let block = [Bytes::from(header.encode())];
        self.write(&block, 0)?;
        self.write(&block, u64::from(header.bytes - HEADER_BYTES))
    }
}

/// The header of the file at `path`, from whichever end is whole; `None` if neither is.
pub(crate) fn read_header(path: &Path) -> Result<Option<SegmentHeader>, Fault> {
    let failed = || Fault::io("read", path);
    let file = File::open(path).map_err(failed())?;
    let file_bytes = file.metadata().map_err(failed())?.len();
    let last = file_bytes.saturating_sub(u64::from(HEADER_BYTES));
    for at in [0, last] {
        let mut block = vec![0; HEADER_BYTES as usize];
        match file.read_exact_at(&mut block, at) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => continue,
            Err(error) => return Err(failed()(error)),
        }
        if let Ok(header) = SegmentHeader::decode(&block) {
            return Ok(Some(header));
        }
    }
    Ok(None)
}

/// Whether the file at `path` has nothing but zeroes.
pub(crate) fn is_blank(path: &Path) -> Result<bool, Fault> {
    let file = File::open(path).map_err(Fault::io("open", path))?;
    let mut window = vec![0; BLANK_WINDOW_BYTES];
    let mut at = 0;
    loop {
        let read = read_up_to(&file, &mut window, at).map_err(Fault::io("read", path))?;
        if window[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        if read < window.len() {
            return Ok(true);
        }
        at += read as u64;
    }
}

/// As much of `buffer` as the file has from `at` on.
pub(crate) fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn write_all_at(file: &File, pieces: &[Bytes], at: u64) -> io::Result<()> {
    let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = slices.as_mut_slice();
    let mut at = at;
    IoSlice::advance_slices(&mut left, 0); // leaves empty pieces behind
    while !left.is_empty() {
        let now = &left[..left.len().min(BUFFERS_MAX)];
        match rustix::io::pwritev(file, now, at) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
