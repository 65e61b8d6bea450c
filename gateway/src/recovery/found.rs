//! Bodies as the owner hints of their chunks describe them.

use std::collections::BTreeMap;

use chunkproto::{ChunkInfo, NodeId, OwnerHint};
use metastore::{ChunkLayout, ChunkRef, Scheme, Timestamp};
use uuid::Uuid;

/// A chunk, and the nodes that hold it.
#[derive(Debug, Clone)]
pub struct FoundChunk {
    pub info: ChunkInfo,
    pub hint: OwnerHint,
    pub nodes: Vec<NodeId>,
}

/// Which body: of an object, or of a part. Bodies of one key are in the order of their revisions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyName {
    pub bucket_id: Uuid,
    pub key: String,
    /// Upload and part number.
    pub part: Option<(Uuid, u16)>,
    pub sequence: Uuid,
}

/// The chunks of one body that were found.
#[derive(Debug, Clone)]
pub struct FoundBody {
    pub bucket: String,
    /// Length of the whole body.
    pub body_bytes: Option<u64>,
    /// As the first chunk says.
    pub details: Vec<u8>,
    /// By the offset at which each begins.
    pieces: BTreeMap<u64, ChunkRef>,
}

/// All bodies that were found.
pub type FoundBodies = BTreeMap<BodyName, FoundBody>;

/// Adds a chunk to the body that it belongs to.
pub fn add(bodies: &mut FoundBodies, chunk: FoundChunk) {
    let FoundChunk { info, hint, nodes } = chunk;
    let name = BodyName {
        bucket_id: hint.bucket_id,
        key: hint.key,
        part: hint.part,
        sequence: hint.sequence,
    };
    let body = bodies.entry(name).or_insert_with(|| FoundBody {
        bucket: hint.bucket,
        body_bytes: hint.body_bytes,
        details: Vec::new(),
        pieces: BTreeMap::new(),
    });
    if hint.offset_bytes == 0 {
        body.details = hint.details;
    }
    let chunk = ChunkRef {
        id: info.id,
        length_bytes: info.length_bytes,
        crc64: info.crc64,
        replicas: nodes,
    };
    body.pieces.insert(hint.offset_bytes, chunk);
}

impl FoundBody {
    /// Where the body's bytes are, if its chunks are all there: end to end, up to its length.
    #[must_use]
    pub fn layout(&self) -> Option<ChunkLayout> {
        let mut end = 0;
        for (offset, chunk) in &self.pieces {
            if *offset != end {
                return None;
            }
            end = offset.checked_add(chunk.length_bytes)?;
        }
        (self.body_bytes == Some(end)).then(|| ChunkLayout {
            scheme: Scheme::Replicated,
            chunks: self.pieces.values().cloned().collect(),
        })
    }

    /// Bytes of the chunks that were found.
    #[must_use]
    pub fn found_bytes(&self) -> u64 {
        let lengths = self.pieces.values().map(|chunk| chunk.length_bytes);
        // Nothing holds them against each other where chunks are missing.
        lengths.fold(0, u64::saturating_add)
    }
}

/// The moment in an id that is in time order.
#[must_use]
pub fn born_at(id: Uuid) -> Timestamp {
    let (seconds, nanos) = id.get_timestamp().map_or((0, 0), |moment| moment.to_unix());
    Timestamp(
        seconds
            .saturating_mul(1000)
            .saturating_add(u64::from(nanos / 1_000_000)),
    )
}

#[cfg(test)]
mod tests {
    use chunkproto::{ChunkId, Crc64};

    use super::*;

    fn found(sequence: u128, offset_bytes: u64, length_bytes: u64) -> FoundChunk {
        FoundChunk {
            info: ChunkInfo {
                id: ChunkId::generate(),
                length_bytes,
                crc64: Crc64(1),
            },
            hint: OwnerHint {
                bucket_id: Uuid::from_u128(1),
                bucket: "photos".into(),
                key: "k".into(),
                sequence: Uuid::from_u128(sequence),
                part: None,
                index: 0,
                offset_bytes,
                body_bytes: Some(30),
                details: vec![7],
            },
            nodes: vec![NodeId::from_bytes([1; 16])],
        }
    }

    fn bodies(chunks: &[(u128, u64, u64)]) -> FoundBodies {
        let mut bodies = FoundBodies::new();
        for (sequence, offset, length) in chunks {
            add(&mut bodies, found(*sequence, *offset, *length));
        }
        bodies
    }

    #[test]
    fn a_body_is_whole_when_its_chunks_lie_end_to_end_whatever_order_they_come_in() {
        let whole = bodies(&[(1, 20, 10), (1, 0, 10), (1, 10, 10)]);
        let body = whole.values().next().unwrap();
        assert_eq!(body.layout().unwrap().chunks.len(), 3);
        assert_eq!(body.details, [7]);
    }

    #[test]
    fn a_body_without_its_first_middle_or_last_chunk_is_none() {
        for chunks in [
            [(1, 10, 10), (1, 20, 10)],
            [(1, 0, 10), (1, 20, 10)],
            [(1, 0, 10), (1, 10, 10)],
        ] {
            let torn = bodies(&chunks);
            assert!(torn.values().next().unwrap().layout().is_none());
        }
    }

    #[test]
    fn chunks_that_claim_more_than_there_can_be_are_counted_without_a_panic() {
        let torn = bodies(&[(1, 0, u64::MAX), (1, 7, u64::MAX)]);
        let body = torn.values().next().unwrap();
        assert!(body.layout().is_none());
        assert_eq!(body.found_bytes(), u64::MAX);
    }

    #[test]
    fn chunks_of_different_revisions_make_no_body_together() {
        let mixed = bodies(&[(1, 0, 15), (2, 15, 15)]);
        assert_eq!(mixed.len(), 2);
        assert!(mixed.values().all(|body| body.layout().is_none()));
    }
}
