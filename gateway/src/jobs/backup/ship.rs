//! Writing what is saved as chunks, like any body, with the replicas of any body.

use std::path::Path;

use bytes::Bytes;
use chunkproto::Crc64;
use futures::{StreamExt as _, stream};
use metastore::ChunkRef;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use uuid::Uuid;

use crate::backup_format::Saved;
use crate::chunks::{BodyKind, BodyOwner, BodyStream, BodyWriter, WriteError};

/// A file is read in pieces of so many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Writes the backup of one run.
#[derive(Clone)]
pub struct Ship {
    pub writer: BodyWriter,
    /// Which run.
    pub run: Uuid,
    /// Of which database.
    pub database: Uuid,
}

/// What was written.
#[derive(Debug)]
pub struct ShippedBody {
    pub crc64: Crc64,
    /// Its chunks, with the nodes that hold them.
    pub chunks: Vec<ChunkRef>,
}

impl Ship {
    /// Makes `body` durable in the cluster as `saved` of the revision `sequence`.
    ///
    /// # Errors
    /// As [`BodyWriter::write`].
    pub async fn write(
        &self,
        saved: &Saved,
        sequence: Uuid,
        body: Vec<u8>,
    ) -> Result<ShippedBody, WriteError> {
        let length_bytes = body.len() as u64;
        let body = Bytes::from(body);
        let pieces = stream::once(async { Ok(body) }).boxed();
        self.write_stream(saved, sequence, length_bytes, pieces)
            .await
    }

    /// As [`write`](Self::write), from a file that does not change.
    ///
    /// # Errors
    /// As [`BodyWriter::write`]; a file that cannot be read fails as a body does.
    pub async fn write_file(
        &self,
        saved: &Saved,
        sequence: Uuid,
        (path, length_bytes): (&Path, u64),
    ) -> Result<ShippedBody, WriteError> {
        let opened = File::open(path).await;
        let file = opened.map_err(|error| WriteError::Body(Box::new(error)))?;
        let body = pieces_of(file, length_bytes);
        self.write_stream(saved, sequence, length_bytes, body).await
    }

    async fn write_stream(
        &self,
        saved: &Saved,
        sequence: Uuid,
        length_bytes: u64,
        body: BodyStream,
    ) -> Result<ShippedBody, WriteError> {
        let owner = BodyOwner {
            kind: BodyKind::Metadata,
            bucket_id: self.run,
            bucket: String::new(),
            key: saved.to_string(),
            sequence,
            part: Some((self.database, 0)),
            details: Vec::new(),
        };
        let written = self.writer.write(owner, length_bytes, body).await?;
        Ok(ShippedBody {
            crc64: written.crc64,
            chunks: written.layout.chunks,
        })
    }
}

/// The first `length_bytes` bytes of a file.
fn pieces_of(file: File, length_bytes: u64) -> BodyStream {
    let left = file.take(length_bytes);
    stream::try_unfold(left, async |mut left| {
        let mut piece = vec![0; PIECE_BYTES];
        let length = left.read(&mut piece).await?;
        piece.truncate(length);
        Ok((length > 0).then(|| (Bytes::from(piece), left)))
    })
    .boxed()
}
