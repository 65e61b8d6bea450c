//! The segment tier: chunks below 8 MiB, appended to large files of fixed length, many of them made
//! durable by one sync. `docs/chunk-format.md` lists every byte.
//!
//! A segment's file lives several times: each life has a generation and a nonce that stands in
//! every block of that life, so that what an earlier life left behind is never mistaken for data.

mod append;
mod committer;
mod compact;
mod create;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod group;
mod handles;
mod header;
mod keeper;
mod record;
mod recover;
mod salvage;
mod scan;
mod segments;
mod slot;
mod survey;
mod table;
#[cfg(test)]
mod tearing;

pub(crate) use committer::{ChangeGuards, CommitOutcome, Committer, Work};
pub(crate) use file::SegmentFile;
pub(crate) use keeper::{Keeper, KeeperContext};
pub(crate) use record::{RecordHead, SegmentRecord};
pub(crate) use recover::{Recovered, SegmentOptions, recover};
pub(crate) use segments::{Reservation, Segments, WriteClass};

/// Everything that begins a write in a segment begins at a multiple of this, so that a block with
/// acknowledged bytes is never written again.
pub(crate) const ALIGN_BYTES: u32 = 4096;

/// Where a chunk's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Location {
    /// Which segment file.
    pub slot: u32,
    /// Which life of it.
    pub generation: u32,
    /// Offset of the record's head.
    pub offset: u32,
    /// Length of the record's head, owner hint included.
    pub head_bytes: u16,
}

/// `bytes` rounded up to a multiple of [`ALIGN_BYTES`].
pub(crate) fn aligned(bytes: u64) -> u64 {
    bytes.next_multiple_of(u64::from(ALIGN_BYTES))
}
