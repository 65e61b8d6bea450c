//! Making a whole record the chunk: durable, then in the index. The same bytes under the same id are
//! fine; a damaged record that lies there makes way; other bytes are refused.

use std::sync::Arc;

use chunkproto::{ChunkInfo, ChunkReceipt, ChunkResult};

use super::admission::WritePermit;
use super::disk::{Disk, ExistingRecord};
use super::segment::{ChangeGuards, CommitOutcome, SegmentRecord, Work};
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
    let lock = disk.chunk_locks().lock(info.id).await;
    let limit = disk.work_limit().clone();
    let named = limit.run(move || {
        let named = match disk.existing(&info)? {
            ExistingRecord::SameBytes => disk.resync(info.id),
            ExistingRecord::Nothing => disk.name(temp, info),
        };
        drop((lock, permit));
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
    let lock = disk.chunk_locks().lock(info.id).await;
    let guards: ChangeGuards = Arc::new((Some(lock), Some(permit)));
    let mut work = work;
    loop {
        match disk.commit(info.id, work, Arc::clone(&guards)).await? {
            CommitOutcome::Exists(refused) => work = *refused,
            CommitOutcome::Done | CommitOutcome::Gone => return Ok(receipt(info)),
        }
        // Something is there: verify it before it stands in for the new bytes.
        let (looking, held) = (Arc::clone(&disk), Arc::clone(&guards));
        let found = disk.work_limit().run(move || {
            let found = looking.existing(&info);
            drop(held);
            found
        });
        if let ExistingRecord::SameBytes = found.await? {
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
