//! Bodies, and whose they are.

use bytes::Bytes;
use chunkproto::OwnerHint;
use futures::{StreamExt as _, stream};
use gateway::chunks::{BodyKind, BodyOwner, BodyStream};
use uuid::Uuid;

pub fn owner() -> BodyOwner {
    BodyOwner {
        kind: BodyKind::Object,
        bucket_id: Uuid::now_v7(),
        bucket: "photos".into(),
        key: "cat".into(),
        sequence: Uuid::now_v7(),
        part: None,
        details: Vec::new(),
    }
}

/// The hint of a chunk that was put on a node by hand.
pub(super) fn nobody() -> OwnerHint {
    OwnerHint {
        bucket_id: Uuid::nil(),
        bucket: String::new(),
        key: String::new(),
        sequence: Uuid::nil(),
        part: None,
        index: 0,
        offset_bytes: 0,
        body_bytes: None,
        details: Vec::new(),
    }
}

/// `length` bytes that repeat at no power of two.
pub fn payload(length: usize) -> Bytes {
    (0..length)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect()
}

/// A client's body that comes in pieces.
pub fn body_of(bytes: &Bytes) -> BodyStream {
    let pieces: Vec<_> = bytes.chunks(65_536).map(Bytes::copy_from_slice).collect();
    stream::iter(pieces.into_iter().map(Ok)).boxed()
}
