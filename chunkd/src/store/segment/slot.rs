//! What is known of one segment: its row in the index, and what is under way in it.

use std::time::{Duration, Instant};

use super::super::bytes::{array_at, u32_at, u64_at};
use super::super::fault::Fault;
use super::ALIGN_BYTES;
use super::header::{HEADER_BYTES, Nonce, SegmentHeader};

const ROW_BYTES: usize = 41;

/// What a segment's file is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotState {
    /// Nothing; its bytes may be written over.
    Free,
    /// Groups are appended to it.
    Open,
    /// Nothing is appended any more.
    Sealed,
    /// Empty, and soon free; its header may not say so yet.
    Retired,
}

/// What is kept of a segment in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotRow {
    /// What it is used for.
    pub state: SlotState,
    /// Its present life, or its last one if it is free.
    pub generation: u32,
    /// The mark of that life.
    pub nonce: Nonce,
    /// Length of the file.
    pub bytes: u32,
    /// Where the next bytes go; every group beyond the index lies behind it.
    pub tail: u32,
    /// Number of the next group.
    pub ordinal: u32,
    /// Bytes of the records that are chunks.
    pub live_bytes: u64,
    /// Whether it holds superseded records. A delete naming the newer place is all that stops a rebuild
    /// from reviving them.
    pub has_stale_records: bool,
}

/// A segment in the table.
pub(super) struct Slot {
    /// What the index keeps of it.
    pub row: SlotRow,
    /// Reservations that are not settled; each may need one more block for its group.
    pub outstanding: u32,
    /// When it last lost a live record, since the store was opened.
    shrunk_at: Option<Instant>,
}

impl Slot {
    /// A segment with nothing under way.
    pub fn new(row: SlotRow) -> Self {
        Self {
            row,
            outstanding: 0,
            shrunk_at: None,
        }
    }

    /// Counts a record of `bytes` bytes as a chunk, or as one no more.
    pub fn count(&mut self, bytes: u64, live: bool) {
        let live_bytes = self.row.live_bytes;
        if live {
            self.row.live_bytes = live_bytes + bytes;
        } else {
            self.row.live_bytes = live_bytes.saturating_sub(bytes);
            self.shrunk_at = Some(Instant::now());
        }
    }

    /// Whether it has lost nothing for so long.
    pub fn is_quiet(&self, quiet: Duration) -> bool {
        self.shrunk_at
            .is_none_or(|shrunk_at| shrunk_at.elapsed() >= quiet)
    }

    /// Whether `bytes` fit into the next life of a free segment, and a group's block beside them.
    pub fn fits_afresh(&self, bytes: u64) -> bool {
        let ends = 2 * u64::from(HEADER_BYTES) + u64::from(ALIGN_BYTES);
        bytes + ends <= u64::from(self.row.bytes)
    }

    /// Whether `bytes` more fit in before the copy of the header, with a block left for the group
    /// of each reservation and one more.
    pub fn fits(&self, bytes: u64) -> bool {
        let kept = u64::from(self.outstanding + 1) * u64::from(ALIGN_BYTES);
        let end = u64::from(self.row.bytes - HEADER_BYTES);
        u64::from(self.row.tail) + bytes + kept <= end
    }
}

impl SlotState {
    /// Whether records in it may be chunks.
    pub fn holds_chunks(self) -> bool {
        matches!(self, Self::Open | Self::Sealed)
    }

    /// Whether it may be compacted.
    pub fn is_sealed(self) -> bool {
        self == Self::Sealed
    }
}

impl SlotRow {
    /// The row of a free segment whose last life was `generation`.
    pub fn free(generation: u32, bytes: u32) -> Self {
        Self {
            state: SlotState::Free,
            generation,
            nonce: Nonce([0; 16]),
            bytes,
            tail: 0,
            ordinal: 0,
            live_bytes: 0,
            has_stale_records: false,
        }
    }

    /// The row of a segment at the beginning of a life.
    pub fn begun(header: &SegmentHeader) -> Self {
        Self {
            state: SlotState::Open,
            generation: header.generation,
            nonce: header.nonce,
            bytes: header.bytes,
            tail: HEADER_BYTES,
            ordinal: 0,
            live_bytes: 0,
            has_stale_records: false,
        }
    }

    /// The row's bytes in the index.
    pub fn encode(&self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        bytes[0] = match (self.state, self.has_stale_records) {
            (SlotState::Free, _) => 0,
            (SlotState::Open, false) => 1,
            (SlotState::Sealed, false) => 2,
            (SlotState::Retired, _) => 3,
            (SlotState::Sealed, true) => 4,
            (SlotState::Open, true) => 5,
        };
        bytes[1..5].copy_from_slice(&self.generation.to_le_bytes());
        bytes[5..21].copy_from_slice(&self.nonce.0);
        bytes[21..25].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[25..29].copy_from_slice(&self.tail.to_le_bytes());
        bytes[29..33].copy_from_slice(&self.ordinal.to_le_bytes());
        bytes[33..41].copy_from_slice(&self.live_bytes.to_le_bytes());
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let (state, has_stale_records) = match (bytes.first(), bytes.len()) {
            (Some(0), ROW_BYTES) => (SlotState::Free, false),
            (Some(1), ROW_BYTES) => (SlotState::Open, false),
            (Some(2), ROW_BYTES) => (SlotState::Sealed, false),
            (Some(3), ROW_BYTES) => (SlotState::Retired, true),
            (Some(4), ROW_BYTES) => (SlotState::Sealed, true),
            (Some(5), ROW_BYTES) => (SlotState::Open, true),
            _ => return Err(Fault::BadIndex(format!("segment row {bytes:02x?}"))),
        };
        Ok(Self {
            state,
            generation: u32_at(bytes, 1),
            nonce: Nonce(array_at(bytes, 5)),
            bytes: u32_at(bytes, 21),
            tail: u32_at(bytes, 25),
            ordinal: u32_at(bytes, 29),
            live_bytes: u64_at(bytes, 33),
            has_stale_records,
        })
    }
}
