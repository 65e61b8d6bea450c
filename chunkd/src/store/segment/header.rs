//! The first and the last block of a segment's file: whose it is and which life it lives. Pure;
//! hostile bytes give [`BadRecord`], never a panic.

use std::fmt;

use chunkproto::{NodeId, block_crc32c};
use uuid::Uuid;

use super::super::bytes::{array_at, u16_at, u32_at};
use super::super::record::BadRecord;

/// Length of the header; a copy of it is the file's last block.
pub(crate) const HEADER_BYTES: u32 = 4096;
/// Least and most bytes of a segment's file: a header, its copy and one block; what 32 bits address.
const SEGMENT_BYTES: std::ops::RangeInclusive<u32> = 3 * HEADER_BYTES..=1 << 31;

const MAGIC: [u8; 8] = *b"SXTSEGMT";
const VERSION: u16 = 1;
const FREE: u8 = 0;
const IN_USE: u8 = 1;
const CRC_AT: usize = 64;

/// A random number that marks every block of one life of a segment. Nobody outside knows it, so
/// stored data cannot pose as a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nonce(pub [u8; 16]);

impl Nonce {
    /// A new one.
    pub fn generate() -> Self {
        Self(Uuid::new_v4().into_bytes())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({})", Uuid::from_bytes(self.0).simple())
    }
}

/// What a segment's file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The node that wrote it.
    pub node: NodeId,
    /// The number in its name.
    pub slot: u32,
    /// Which life this is; grows.
    pub generation: u32,
    /// The mark of this life; all zero in a free file.
    pub nonce: Nonce,
    /// Length of the whole file.
    pub bytes: u32,
    /// Whether the file holds records, or waits to be used again.
    pub in_use: bool,
}

impl SegmentHeader {
    /// The block that stands at both ends of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.push(if self.in_use { IN_USE } else { FREE });
        bytes.push(0);
        bytes.extend_from_slice(&self.slot.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.bytes.to_le_bytes());
        bytes.extend_from_slice(&self.nonce.0);
        bytes.extend_from_slice(self.node.as_bytes());
        bytes.resize(CRC_AT, 0);
        let crc = block_crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.resize(HEADER_BYTES as usize, 0);
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        if bytes.len() != HEADER_BYTES as usize || bytes[..8] != MAGIC {
            return Err(BadRecord("no segment header".into()));
        }
        if block_crc32c(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) {
            return Err(BadRecord("segment header checksum differs".into()));
        }
        let version = u16_at(bytes, 8);
        if version != VERSION {
            return Err(BadRecord(format!("unknown segment version {version}")));
        }
        let file_bytes = u32_at(bytes, 20);
        if !SEGMENT_BYTES.contains(&file_bytes) || !file_bytes.is_multiple_of(HEADER_BYTES) {
            return Err(BadRecord(format!("a segment of {file_bytes} bytes")));
        }
        Ok(Self {
            node: NodeId::from_bytes(array_at(bytes, 40)),
            slot: u32_at(bytes, 12),
            generation: u32_at(bytes, 16),
            nonce: Nonce(array_at(bytes, 24)),
            bytes: file_bytes,
            in_use: bytes[10] == IN_USE,
        })
    }
}
