//! Which disk a new chunk goes to: the one that has it already, else the first in its order with room.

use chunkproto::{ChunkError, ChunkId, ChunkPut, ChunkResult};

use super::chunk_node::Parts;
use super::disk::FailedOperation;

impl Parts {
    /// The number of the disk for a new chunk. With one disk there is nothing to choose, and its
    /// store knows best whether it takes the chunk.
    ///
    /// # Errors
    /// `Full` if no disk has room, `Refused` if none takes writes.
    pub async fn place(&self, put: &ChunkPut) -> ChunkResult<usize> {
        if self.disks.len() == 1 {
            return Ok(0);
        }
        let order = self.order(put.id);
        if let Some(number) = self.holder(put.id, &order).await {
            return Ok(number);
        }
        let mut error = no_disk_writes();
        for number in order {
            let disk = &self.disks[number];
            // Also takes in what the store tells of a failure.
            if disk.store_state().is_none() {
                continue;
            }
            let Some(store) = disk.writable() else {
                continue;
            };
            if store.has_room_for(put.length_bytes) {
                return Ok(number);
            }
            error = ChunkError::Full("no data directory has room".into());
        }
        Err(error)
    }

    /// The disk that has the chunk already, among those that take writes. New chunks are on none,
    /// and the indexes mostly know that without a look at the disks.
    async fn holder(&self, id: ChunkId, order: &[usize]) -> Option<usize> {
        for &number in order {
            let disk = &self.disks[number];
            let Some(store) = disk.writable().filter(|store| store.may_hold(id)) else {
                continue;
            };
            let found = store.head(id).await;
            let found = disk.check_on_error(found, FailedOperation::Read, self.checks.timeout);
            if found.await.is_ok() {
                return Some(number);
            }
        }
        None
    }
}

/// What a put is told when every disk is fenced off.
pub(crate) fn no_disk_writes() -> ChunkError {
    ChunkError::Refused("no data directory takes writes".into())
}
