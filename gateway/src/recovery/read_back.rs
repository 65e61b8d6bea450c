//! Reading bodies back before there are rows of them: each chunk from the first node that has it
//! whole.

use std::sync::Arc;

use chunkproto::{ChunkError, ChunkResult, Crc64Hasher, NodeId};
use futures::TryStreamExt as _;
use metastore::{ChunkLayout, ChunkRef};
use tracing::warn;

use crate::chunks::ChunkTransport;

/// Something that takes a body's bytes in order, and can go back to where a chunk began.
pub trait Sink: Clone + Send {
    /// Takes the next bytes.
    fn take(&mut self, bytes: &[u8]);
}

impl Sink for md5::Md5 {
    fn take(&mut self, bytes: &[u8]) {
        md5::Digest::update(self, bytes);
    }
}

impl Sink for Vec<u8> {
    fn take(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Reads a whole body into `sink`, each chunk verified against its length and checksum.
///
/// # Errors
/// What the last node said of a chunk that none has whole.
pub async fn read_body<S: Sink>(
    transport: &Arc<dyn ChunkTransport>,
    layout: &ChunkLayout,
    sink: S,
) -> ChunkResult<S> {
    let mut taken = sink;
    for chunk in &layout.chunks {
        taken = read_chunk(transport, chunk, &taken).await?;
    }
    Ok(taken)
}

/// The sink after one more chunk.
pub async fn read_chunk<S: Sink>(
    transport: &Arc<dyn ChunkTransport>,
    chunk: &ChunkRef,
    before: &S,
) -> ChunkResult<S> {
    let mut failure = ChunkError::NotFound(chunk.id);
    for &node in &chunk.replicas {
        match read_replica(transport, chunk, node, before.clone()).await {
            Ok(after) => return Ok(after),
            Err(error) => {
                warn!(chunk = %chunk.id, %node, %error, "a copy of a chunk cannot be read");
                failure = error;
            }
        }
    }
    Err(failure)
}

async fn read_replica<S: Sink>(
    transport: &Arc<dyn ChunkTransport>,
    chunk: &ChunkRef,
    node: NodeId,
    mut sink: S,
) -> ChunkResult<S> {
    let mut stream = transport.get(node, chunk.id, None).await?.stream;
    let (mut crc64, mut length_bytes) = (Crc64Hasher::new(), 0);
    while let Some(piece) = stream.try_next().await? {
        crc64.update(&piece);
        length_bytes += piece.len() as u64;
        sink.take(&piece);
    }
    if (length_bytes, crc64.finish()) == (chunk.length_bytes, chunk.crc64) {
        Ok(sink)
    } else {
        Err(ChunkError::Corrupt {
            chunk: chunk.id,
            detail: "other bytes than it was acknowledged with".into(),
        })
    }
}
