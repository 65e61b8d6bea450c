//! The shapes of the chunk API, the same for a remote chunk server and an embedded store.

use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::{ChunkId, ChunkResult, Crc64, OwnerHint};

/// A chunk's bytes in order. An error ends the stream; what came before it was good.
pub type ChunkStream = BoxStream<'static, ChunkResult<Bytes>>;

/// What a store must know before the first byte of a new chunk.
#[derive(Debug, Clone)]
pub struct ChunkPut {
    /// The id under which the chunk is kept.
    pub id: ChunkId,
    /// Exactly how many bytes follow; a shorter or longer body keeps nothing.
    pub length_bytes: u64,
    /// Which object the chunk belongs to, kept beside its bytes.
    pub owner: OwnerHint,
}

/// A store's word that a chunk is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkReceipt {
    /// Bytes stored.
    pub length_bytes: u64,
    /// Checksum of the bytes stored.
    pub crc64: Crc64,
}

/// What a store says of a chunk that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkInfo {
    /// The chunk.
    pub id: ChunkId,
    /// Its length.
    pub length_bytes: u64,
    /// The checksum that it was acknowledged with.
    pub crc64: Crc64,
}

/// A half-open run of bytes inside a chunk: `start..end`.
///
/// Invariant: `start < end`; a store refuses one that passes the chunk's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// How many bytes the range covers.
    #[must_use]
    pub fn length_bytes(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// An open chunk: its description, and the bytes that were asked for.
pub struct ChunkRead {
    /// The whole chunk's description.
    pub info: ChunkInfo,
    /// The bytes of the range, each verified after its last read from disk (I12).
    pub stream: ChunkStream,
}
