//! Receiving a chunk: gather what arrives, write it while more arrives, publish at the end. Holds
//! about 1 MiB per chunk (I13): one gathering and one being written, or a small chunk as a whole.

use std::sync::Arc;

use bytes::Bytes;
use chunkproto::{ChunkError, ChunkReceipt, ChunkResult, ChunkStream};
use futures::StreamExt as _;

use super::admission::WritePermit;
use super::blocking;
use super::disk::Disk;
use super::record::Header;
use super::write::{RecordWriter, SMALL_BYTES};

/// How much is gathered for one trip to the disk while the one before is under way.
const GATHER_BYTES: u64 = 512 << 10;

/// A body on its way in. Gives exactly the declared bytes or an error.
struct Incoming {
    body: ChunkStream,
    declared_bytes: u64,
    received_bytes: u64,
}

/// Receives the chunk that `header` describes. If the caller goes away in the middle nothing is
/// kept, unless the record was being published at that moment.
pub(super) async fn receive(
    disk: Arc<Disk>,
    header: Header,
    permit: WritePermit,
    body: ChunkStream,
) -> ChunkResult<ChunkReceipt> {
    let declared_bytes = header.length_bytes;
    let incoming = Incoming {
        body,
        declared_bytes,
        received_bytes: 0,
    };
    if declared_bytes <= SMALL_BYTES {
        receive_small(disk, header, permit, incoming).await
    } else {
        receive_large(disk, header, permit, incoming).await
    }
}

/// All disk work in one trip.
async fn receive_small(
    disk: Arc<Disk>,
    header: Header,
    permit: WritePermit,
    mut incoming: Incoming,
) -> ChunkResult<ChunkReceipt> {
    let data = incoming.gather(SMALL_BYTES).await?;
    incoming.expect_end().await?;
    blocking::run(move || {
        let id = header.id;
        let mut writer = disk.begin(header, permit)?;
        disk.append(id, &mut writer, &data)?;
        disk.publish(id, writer)
    })
    .await
}

/// One trip per gathered run of bytes, with the next run gathered meanwhile.
async fn receive_large(
    disk: Arc<Disk>,
    header: Header,
    permit: WritePermit,
    mut incoming: Incoming,
) -> ChunkResult<ChunkReceipt> {
    let id = header.id;
    let begin = Arc::clone(&disk);
    let mut under_way = blocking::start(move || begin.begin(header, permit));
    loop {
        let gathered = incoming.next_run().await;
        let mut writer = under_way.finish().await?;
        let data = match gathered {
            Ok(Some(data)) => data,
            Ok(None) => return blocking::run(move || disk.publish(id, writer)).await,
            Err(error) => {
                discard(writer).await;
                return Err(error);
            }
        };
        let append = Arc::clone(&disk);
        under_way = blocking::start(move || {
            append.append(id, &mut writer, &data)?;
            Ok(writer)
        });
    }
}

/// Removes an unfinished record before the sender hears of the failure.
async fn discard(writer: RecordWriter) {
    let removed = blocking::run(move || {
        drop(writer);
        Ok(())
    });
    if let Err(error) = removed.await {
        tracing::warn!(%error, "an unfinished record stays until the next start");
    }
}

impl Incoming {
    /// The next run of bytes, or None after the declared end, which is then known to be the end.
    async fn next_run(&mut self) -> ChunkResult<Option<Vec<Bytes>>> {
        if self.received_bytes == self.declared_bytes {
            return self.expect_end().await.map(|()| None);
        }
        self.gather(GATHER_BYTES).await.map(Some)
    }

    /// At least `bytes` bytes, or all that are left.
    async fn gather(&mut self, bytes: u64) -> ChunkResult<Vec<Bytes>> {
        let enough = self.declared_bytes.min(self.received_bytes + bytes);
        let mut pieces = Vec::new();
        while self.received_bytes < enough {
            let Some(piece) = self.body.next().await.transpose()? else {
                return Err(self.bad_body("it is shorter"));
            };
            self.received_bytes += piece.len() as u64;
            if self.received_bytes > self.declared_bytes {
                return Err(self.bad_body("it is longer"));
            }
            pieces.push(piece);
        }
        Ok(pieces)
    }

    async fn expect_end(&mut self) -> ChunkResult<()> {
        while let Some(piece) = self.body.next().await.transpose()? {
            if !piece.is_empty() {
                return Err(self.bad_body("it is longer"));
            }
        }
        Ok(())
    }

    fn bad_body(&self, how: &str) -> ChunkError {
        let Self {
            declared_bytes,
            received_bytes,
            ..
        } = self;
        ChunkError::BadBody(format!(
            "{how} than declared: {received_bytes} of {declared_bytes} bytes"
        ))
    }
}
