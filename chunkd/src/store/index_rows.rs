//! The index's keys and rows as bytes. Derived data: a change of form raises [`INDEX_VERSION`], and
//! the next start makes the index anew.

use chunkproto::{ChunkId, ChunkInfo, Crc64};

use super::bytes::{u16_at, u32_at, u64_at};
use super::fault::Fault;
use super::segment::Location;

/// First byte of a chunk's key; its id follows.
pub(super) const CHUNK: u8 = b'c';
/// First byte of the key that lists a chunk with a file of its own; its id follows.
pub(super) const OWN_FILE: u8 = b'f';
/// First byte of a segment's key; its slot follows, most significant byte first.
pub(super) const SLOT: u8 = b's';
/// First byte of the key that notes, while the segments are read after an unclean stop, that a chunk
/// was deleted; its id follows.
pub(super) const GONE: u8 = b't';
/// The key that is there only after a clean stop.
pub(super) const CLEAN_KEY: &[u8] = b"m:clean";
/// The key of [`State`].
pub(super) const STATE_KEY: &[u8] = b"m:state";

/// The key of [`Walk`].
pub(super) const WALK_KEY: &[u8] = b"m:walk";

const INDEX_VERSION: u8 = 2;
const STATE_BYTES: usize = 25;
const IN_OWN_FILE: u8 = 1;
const OWN_FILE_BYTES: usize = 17;
const IN_SEGMENT: u8 = 2;
const SEGMENT_BYTES: usize = 39;

/// What a directory holds in sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    /// Chunks held.
    pub chunk_count: u64,
    /// Bytes of chunk data held.
    pub used_bytes: u64,
}

/// What the rows show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    /// Their sum.
    pub totals: Totals,
    /// The last group of the segments that is in them.
    pub applied: u64,
}

/// How far the walk through the segments is, after an unclean stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walk {
    /// The last group that was entered.
    pub sequence: u64,
    /// How many were entered.
    pub groups: u64,
}

/// The latest delete of a chunk that the walk has met. Ordered by when it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Gone {
    /// The group in which it happened.
    pub sequence: u64,
    /// The segment that held the chunk's record.
    pub slot: u32,
    /// The life of that segment.
    pub generation: u32,
}

/// A chunk and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// The chunk.
    pub info: ChunkInfo,
    /// Its record in a segment; `None` for a file of its own, whose path follows from the id.
    pub location: Option<Location>,
    /// The group that made the record a chunk; 0 for one in a file of its own.
    pub sequence: u64,
}

impl Row {
    /// The row of a chunk with a file of its own.
    pub fn own_file(info: ChunkInfo) -> Self {
        Self {
            info,
            location: None,
            sequence: 0,
        }
    }
}

pub(super) fn chunk_key(id: ChunkId) -> [u8; 17] {
    prefixed(CHUNK, id)
}

pub(super) fn own_file_key(id: ChunkId) -> [u8; 17] {
    prefixed(OWN_FILE, id)
}

pub(super) fn gone_key(id: ChunkId) -> [u8; 17] {
    prefixed(GONE, id)
}

pub(super) fn slot_key(slot: u32) -> [u8; 5] {
    let mut key = [SLOT; 5];
    key[1..].copy_from_slice(&slot.to_be_bytes());
    key
}

pub(super) fn id_of_key(key: &[u8]) -> Result<ChunkId, Fault> {
    match key.split_first().map(|(_, id)| <[u8; 16]>::try_from(id)) {
        Some(Ok(id)) => Ok(ChunkId::from_bytes(id)),
        _ => Err(Fault::BadIndex(format!("key {key:02x?} is no chunk's"))),
    }
}

pub(super) fn slot_of_key(key: &[u8]) -> Result<u32, Fault> {
    match key.split_first().map(|(_, slot)| <[u8; 4]>::try_from(slot)) {
        Some(Ok(slot)) => Ok(u32::from_be_bytes(slot)),
        _ => Err(Fault::BadIndex(format!("key {key:02x?} is no segment's"))),
    }
}

pub(super) fn encode_row(row: &Row) -> Vec<u8> {
    let kind = row.location.map_or(IN_OWN_FILE, |_| IN_SEGMENT);
    let mut bytes = Vec::with_capacity(SEGMENT_BYTES);
    bytes.push(kind);
    bytes.extend_from_slice(&row.info.length_bytes.to_le_bytes());
    bytes.extend_from_slice(&row.info.crc64.0.to_le_bytes());
    if let Some(location) = row.location {
        bytes.extend_from_slice(&location.slot.to_le_bytes());
        bytes.extend_from_slice(&location.generation.to_le_bytes());
        bytes.extend_from_slice(&location.offset.to_le_bytes());
        bytes.extend_from_slice(&location.head_bytes.to_le_bytes());
        bytes.extend_from_slice(&row.sequence.to_le_bytes());
    }
    bytes
}

pub(super) fn decode_row(id: ChunkId, row: &[u8]) -> Result<Row, Fault> {
    let info = |row: &[u8]| ChunkInfo {
        id,
        length_bytes: u64_at(row, 1),
        crc64: Crc64(u64_at(row, 9)),
    };
    match (row.first(), row.len()) {
        (Some(&IN_OWN_FILE), OWN_FILE_BYTES) => Ok(Row::own_file(info(row))),
        (Some(&IN_SEGMENT), SEGMENT_BYTES) => Ok(Row {
            info: info(row),
            location: Some(Location {
                slot: u32_at(row, 17),
                generation: u32_at(row, 21),
                offset: u32_at(row, 25),
                head_bytes: u16_at(row, 29),
            }),
            sequence: u64_at(row, 31),
        }),
        _ => Err(Fault::BadIndex(format!(
            "row {row:02x?} of chunk {id} is malformed"
        ))),
    }
}

pub(super) fn encode_state(state: &State) -> [u8; STATE_BYTES] {
    let mut bytes = [INDEX_VERSION; STATE_BYTES];
    bytes[1..9].copy_from_slice(&state.applied.to_le_bytes());
    bytes[9..17].copy_from_slice(&state.totals.chunk_count.to_le_bytes());
    bytes[17..25].copy_from_slice(&state.totals.used_bytes.to_le_bytes());
    bytes
}

pub(super) fn decode_state(row: &[u8]) -> Result<State, Fault> {
    if row.first() != Some(&INDEX_VERSION) || row.len() != STATE_BYTES {
        return Err(Fault::BadIndex(format!(
            "state {row:02x?} is of another version"
        )));
    }
    Ok(State {
        applied: u64_at(row, 1),
        totals: Totals {
            chunk_count: u64_at(row, 9),
            used_bytes: u64_at(row, 17),
        },
    })
}

pub(super) fn encode_walk(walk: &Walk) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&walk.sequence.to_le_bytes());
    bytes[8..].copy_from_slice(&walk.groups.to_le_bytes());
    bytes
}

pub(super) fn decode_walk(row: &[u8]) -> Result<Walk, Fault> {
    if row.len() != 16 {
        return Err(Fault::BadIndex(format!("walk {row:02x?} is malformed")));
    }
    Ok(Walk {
        sequence: u64_at(row, 0),
        groups: u64_at(row, 8),
    })
}

pub(super) fn encode_gone(gone: &Gone) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&gone.sequence.to_le_bytes());
    bytes[8..12].copy_from_slice(&gone.slot.to_le_bytes());
    bytes[12..].copy_from_slice(&gone.generation.to_le_bytes());
    bytes
}

pub(super) fn decode_gone(row: &[u8]) -> Result<Gone, Fault> {
    if row.len() != 16 {
        return Err(Fault::BadIndex(format!("delete {row:02x?} is malformed")));
    }
    Ok(Gone {
        sequence: u64_at(row, 0),
        slot: u32_at(row, 8),
        generation: u32_at(row, 12),
    })
}

fn prefixed(prefix: u8, id: ChunkId) -> [u8; 17] {
    let mut key = [prefix; 17];
    key[1..].copy_from_slice(id.as_bytes());
    key
}
