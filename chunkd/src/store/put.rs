//! Receiving a chunk: gather what arrives, write it while more arrives, publish at the end. Holds
//! about 1 MiB per chunk (I13): one gathering and one being written, or a small chunk as a whole.

use std::sync::Arc;

use bytes::Bytes;
use chunkproto::{ChunkError, ChunkReceipt, ChunkResult, ChunkStream};
use futures::StreamExt as _;

use super::admission::WritePermit;
use super::blocking::WorkLimit;
use super::disk::Disk;
use super::publish;
use super::record::{Header, Plan};
use super::segment::{RecordHead, SegmentRecord};
use super::write::{RecordWriter, SMALL_BYTES, SealedRecord};

/// How much is gathered for one trip to the disk while the one before is under way.
const GATHER_BYTES: u64 = 512 << 10;

/// A body on its way in. Gives exactly the declared bytes or an error.
struct Incoming {
    body: ChunkStream,
    declared_bytes: u64,
    received_bytes: u64,
}

/// Where a new chunk's record will be.
enum Tier {
    /// In a segment, written by the committer with others.
    Group,
    /// In a segment, in room of its own.
    Segment,
    /// In a file of its own.
    OwnFile,
}

/// Receives the chunk that `header` describes. If the caller goes away in the middle nothing is
/// kept, unless the record was being made durable at that moment.
pub(super) async fn receive(
    disk: Arc<Disk>,
    header: Header,
    body: ChunkStream,
) -> ChunkResult<ChunkReceipt> {
    let declared_bytes = header.length_bytes;
    let mut incoming = Incoming {
        body,
        declared_bytes,
        received_bytes: 0,
    };
    let tier = tier(
        &disk,
        declared_bytes,
        RecordHead::of(header.clone()).record_bytes(),
    );
    let permit = admit_to(&disk, &tier, declared_bytes)?;
    if matches!(tier, Tier::Group) {
        let data = incoming.gather_all().await?;
        let record = SegmentRecord::new(RecordHead::of(header), data);
        return publish::append(disk, record, permit).await;
    }
    let limit = match tier {
        Tier::Segment => disk.segment_writers().clone(),
        Tier::Group | Tier::OwnFile => disk.work_limit().clone(),
    };
    let begin = move |disk: &Disk| match tier {
        Tier::OwnFile => disk.begin_file(&header, permit),
        Tier::Group | Tier::Segment => disk.begin_in_segment(header, permit),
    };
    let sealed = if declared_bytes <= SMALL_BYTES {
        receive_small(&disk, &limit, begin, incoming).await?
    } else {
        receive_large(&disk, &limit, begin, incoming).await?
    };
    publish::land(disk, sealed).await
}

/// Whether a new chunk of this length would be admitted now, whatever its owner hint. Reserves nothing.
pub(super) fn has_room(disk: &Disk, length_bytes: u64) -> bool {
    let (gate, record_bytes) = (disk.gate(), record_bytes_max(length_bytes));
    match tier(disk, length_bytes, record_bytes) {
        Tier::Group | Tier::Segment => gate.has_room_in_segments(disk.segments(), record_bytes),
        Tier::OwnFile => gate.has_room(record_bytes),
    }
}

fn admit_to(disk: &Disk, tier: &Tier, length_bytes: u64) -> ChunkResult<WritePermit> {
    let record_bytes = record_bytes_max(length_bytes);
    match tier {
        Tier::Group | Tier::Segment => disk.gate().admit_to_segments(disk.segments(), record_bytes),
        Tier::OwnFile => disk.gate().admit(record_bytes),
    }
}

/// At least as long as the record, whichever tier it is in.
fn record_bytes_max(length_bytes: u64) -> u64 {
    Plan::own_file(length_bytes).end()
}

fn tier(disk: &Disk, length_bytes: u64, record_bytes: u64) -> Tier {
    let segments = disk.segments();
    if length_bytes >= disk.segment_max_bytes() || record_bytes > segments.record_bytes_max() {
        Tier::OwnFile
    } else if record_bytes <= segments.inline_bytes_max() {
        Tier::Group
    } else {
        Tier::Segment
    }
}

/// All disk work in one trip.
async fn receive_small(
    disk: &Arc<Disk>,
    limit: &WorkLimit,
    begin: impl FnOnce(&Disk) -> ChunkResult<RecordWriter> + Send + 'static,
    mut incoming: Incoming,
) -> ChunkResult<SealedRecord> {
    let data = incoming.gather_all().await?;
    let disk = Arc::clone(disk);
    let written = limit.start(move || {
        let mut writer = begin(&disk)?;
        disk.append(&mut writer, &data)?;
        disk.seal(writer)
    });
    written.await.finish().await
}

/// One trip per gathered run of bytes, with the next run gathered meanwhile.
async fn receive_large(
    disk: &Arc<Disk>,
    limit: &WorkLimit,
    begin: impl FnOnce(&Disk) -> ChunkResult<RecordWriter> + Send + 'static,
    mut incoming: Incoming,
) -> ChunkResult<SealedRecord> {
    let beginning = Arc::clone(disk);
    let mut under_way = limit.start(move || begin(&beginning)).await;
    loop {
        let gathered = incoming.next_run().await;
        let mut writer = under_way.finish().await?;
        let disk = Arc::clone(disk);
        let data = match gathered {
            Ok(Some(data)) => data,
            Ok(None) => return limit.start(move || disk.seal(writer)).await.finish().await,
            Err(error) => {
                discard(limit, writer).await;
                return Err(error);
            }
        };
        let append = move || {
            disk.append(&mut writer, &data)?;
            Ok(writer)
        };
        under_way = limit.start(append).await;
    }
}

/// Removes an unfinished record before the sender hears of the failure.
async fn discard(limit: &WorkLimit, writer: RecordWriter) {
    let removed = limit.run(move || {
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

    /// All bytes, which are then known to be all.
    async fn gather_all(&mut self) -> ChunkResult<Vec<Bytes>> {
        let data = self.gather(self.declared_bytes).await?;
        self.expect_end().await?;
        Ok(data)
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
