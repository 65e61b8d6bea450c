//! Which disk a new chunk goes to: the one that has it already, else the first in its order with room.

use chunkproto::{ChunkError, ChunkId, ChunkPut, ChunkResult};

use super::chunk_node::Parts;
use super::disk::Suspicion;
use crate::store::StoreState;

/// What a record may take beside its data and their checksums.
const RECORD_EXTRA_BYTES: u64 = 64 << 10;

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
        // A disk beyond its limit may still have room within what it took before, for small chunks.
        let mut beyond_limit = None;
        let mut error = no_disk_writes();
        for number in order {
            let disk = &self.disks[number];
            let Some(state) = disk.store_state().filter(|_| disk.writable().is_some()) else {
                continue;
            };
            if has_room(&state, put.length_bytes, self.full_percent) {
                return Ok(number);
            }
            if state.writable {
                beyond_limit = beyond_limit.or(Some(number));
            }
            error = ChunkError::Full("no data directory has room".into());
        }
        beyond_limit.ok_or(error)
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
            let found = disk.settle(found, Suspicion::Read, self.checks.patience);
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

/// Whether a chunk will probably fit. The store has the last word, which also knows the writes under
/// way; a chunk that it turns away is sent to another node.
fn has_room(state: &StoreState, length_bytes: u64, full_percent: u8) -> bool {
    let record_bytes = length_bytes
        .saturating_add(length_bytes / 1024)
        .saturating_add(RECORD_EXTRA_BYTES);
    let used_bytes = state.capacity_bytes.saturating_sub(state.free_bytes);
    let used_max = state.capacity_bytes / 100 * u64::from(full_percent);
    state.writable
        && record_bytes <= state.free_bytes
        && used_bytes.saturating_add(record_bytes) <= used_max
}
