//! Writing a record to a temporary file: header, data as it comes, checksums, footer. The record
//! becomes a chunk in `Disk::publish` alone; until then, dropping the writer removes the file.

use std::fs::{self, File};
use std::io::{self, IoSlice, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chunkproto::ChunkInfo;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::admission::WritePermit;
use super::directory::Layout;
use super::durable;
use super::fault::Fault;
use super::record::{Header, Plan, Sums};

/// How much may be dirty in the page cache before it is synced, so that the last sync is short.
const SYNC_EVERY_BYTES: u64 = 32 << 20;
/// Up to this a record is written in one go, and allocating it beforehand would only cost.
pub(crate) const SMALL_BYTES: u64 = 1 << 20;

/// A record in the making.
pub(crate) struct RecordWriter {
    // Fields are dropped in this order: the file is removed before the write counts as ended.
    temp: TempFile,
    header: Header,
    sums: Sums,
    unsynced_bytes: u64,
    _permit: WritePermit,
}

/// A record that is whole but neither durable nor named.
pub(crate) struct SealedRecord {
    temp: TempFile,
    info: ChunkInfo,
    _permit: WritePermit,
}

/// An open file that is removed when it is dropped, unless it got another name.
struct TempFile {
    file: File,
    path: PathBuf,
    published: bool,
}

impl RecordWriter {
    /// Begins a record under a fresh temporary name.
    pub fn create(layout: &Layout, header: Header, permit: WritePermit) -> Result<Self, Fault> {
        let mut permit = permit;
        let temp = TempFile::create(layout.temp(header.id))?;
        if header.length_bytes > SMALL_BYTES {
            temp.preallocate(
                Plan {
                    length_bytes: header.length_bytes,
                }
                .record_bytes(),
            )?;
            permit.release_room();
        }
        let mut writer = Self {
            temp,
            sums: Sums::new(),
            unsynced_bytes: 0,
            header,
            _permit: permit,
        };
        let header = Bytes::from(writer.header.encode());
        writer.temp.append(&[header])?;
        Ok(writer)
    }

    /// Takes the next bytes of data in.
    pub fn write(&mut self, pieces: &[Bytes]) -> Result<(), Fault> {
        for piece in pieces {
            self.sums.update(piece);
            self.unsynced_bytes += piece.len() as u64;
        }
        assert!(
            self.sums.length_bytes() <= self.header.length_bytes,
            "no more than declared"
        );
        self.temp.append(pieces)?;
        if self.unsynced_bytes >= SYNC_EVERY_BYTES {
            self.temp
                .file
                .sync_data()
                .map_err(Fault::sync(&self.temp.path))?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }

    /// Ends the record with its checksums.
    pub fn seal(mut self) -> Result<SealedRecord, Fault> {
        assert_eq!(
            self.sums.length_bytes(),
            self.header.length_bytes,
            "as much as declared"
        );
        let (trailer, footer) = self.sums.finish();
        self.temp.append(&[Bytes::from(trailer)])?;
        let info = ChunkInfo {
            id: self.header.id,
            length_bytes: footer.length_bytes,
            crc64: footer.crc64,
        };
        Ok(SealedRecord {
            temp: self.temp,
            info,
            _permit: self._permit,
        })
    }
}

impl SealedRecord {
    /// The chunk that the record will be.
    pub fn info(&self) -> ChunkInfo {
        self.info
    }

    /// Makes the record durable under its permanent name.
    pub fn publish(mut self, dest: &Path) -> Result<(), Fault> {
        durable::publish(&self.temp.file, &self.temp.path, dest)?;
        self.temp.published = true;
        Ok(())
    }
}

impl TempFile {
    fn create(path: PathBuf) -> Result<Self, Fault> {
        let file = File::create_new(&path).map_err(Fault::io("create", &path))?;
        Ok(Self {
            file,
            path,
            published: false,
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
        write_all_vectored(&mut self.file, pieces).map_err(Fault::io("write", &self.path))
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
