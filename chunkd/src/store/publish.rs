//! Making a whole record the chunk: durable, then in the index. The same bytes under the same id are
//! fine; a damaged record that lies there makes way; other bytes are refused.

use std::sync::Arc;

use chunkproto::{ChunkInfo, ChunkReceipt, ChunkResult};

use super::admission::WritePermit;
use super::disk::{Disk, Present};
use super::segment::{Hold, Landed, SegmentRecord, Work};
use super::write::{SealedRecord, Sink, TempFile};

/// Appends a record with others in one group, and makes it the chunk.
pub(super) async fn append(
    disk: Arc<Disk>,
    record: SegmentRecord,
    permit: WritePermit,
) -> ChunkResult<ChunkReceipt> {
    let info = record.info;
    let work = Work::Append { record, from: None };
    commit(disk, info, work, permit).await
}

/// Makes a record the chunk that was written already.
pub(super) async fn land(disk: Arc<Disk>, sealed: SealedRecord) -> ChunkResult<ChunkReceipt> {
    let SealedRecord { sink, info, permit } = sealed;
    match sink {
        Sink::OwnFile(temp) => name(disk, temp, info, permit).await,
        Sink::Segment(room) => {
            let work = Work::Land {
                reservation: room.reservation,
                head_bytes: room.head_bytes,
                info,
                from: None,
            };
            commit(disk, info, work, permit).await
        }
    }
}

async fn name(
    disk: Arc<Disk>,
    temp: TempFile,
    info: ChunkInfo,
    permit: WritePermit,
) -> ChunkResult<ChunkReceipt> {
    let busy = disk.busy().enter(info.id).await;
    let turns = disk.turns().clone();
    let named = turns.run(move || {
        let named = match disk.present(&info)? {
            Present::SameBytes => disk.resync(info.id),
            Present::Nothing => disk.name(temp, info),
        };
        drop((busy, permit));
        named.map(|()| receipt(info))
    });
    named.await
}

async fn commit(
    disk: Arc<Disk>,
    info: ChunkInfo,
    work: Work,
    permit: WritePermit,
) -> ChunkResult<ChunkReceipt> {
    let busy = disk.busy().enter(info.id).await;
    let hold: Hold = Arc::new((Some(busy), Some(permit)));
    let mut work = work;
    loop {
        match disk.commit(info.id, work, Arc::clone(&hold)).await? {
            Landed::Exists(refused) => work = *refused,
            Landed::Done | Landed::Gone => return Ok(receipt(info)),
        }
        // Something is there: verify it before it stands in for the new bytes.
        let (present, held) = (Arc::clone(&disk), Arc::clone(&hold));
        let found = disk.turns().run(move || {
            let found = present.present(&info);
            drop(held);
            found
        });
        if let Present::SameBytes = found.await? {
            return Ok(receipt(info));
        }
    }
}

fn receipt(info: ChunkInfo) -> ChunkReceipt {
    ChunkReceipt {
        length_bytes: info.length_bytes,
        crc64: info.crc64,
    }
}
