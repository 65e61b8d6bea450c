//! Finding a chunk: the disks are asked in its order. One that is fenced off may hold it, so that
//! without it nobody can say that the chunk is not there.

use std::sync::Arc;

use chunkproto::{ChunkError, ChunkId, ChunkResult};

use super::chunk_node::Parts;
use super::disk::{FailedOperation, NodeDisk};
use super::rank::{self, Candidate};
use crate::store::ChunkStore;

impl Parts {
    /// The numbers of the disks, the one where the chunk belongs first.
    pub fn order(&self, id: ChunkId) -> Vec<usize> {
        let candidates = self.disks.iter().map(|disk| Candidate {
            id: disk.id(),
            weight_bytes: disk.weight_bytes(),
        });
        rank::order(id, candidates)
    }

    /// Asks one disk after the other until one has the chunk.
    ///
    /// # Errors
    /// What a disk that has the chunk says of it; `Refused` if only disks that are fenced off may
    /// have it; `NotFound` if none has.
    pub async fn find<T, Answer: Future<Output = ChunkResult<T>>>(
        &self,
        id: ChunkId,
        ask: impl Fn(ChunkStore) -> Answer,
    ) -> ChunkResult<(Arc<NodeDisk>, T)> {
        let mut failure = None;
        for number in self.order(id) {
            let disk = &self.disks[number];
            let answer = match disk.readable() {
                Some(store) => {
                    let answer = ask(store).await;
                    disk.check_on_error(answer, FailedOperation::Read, self.checks.timeout)
                        .await
                }
                None => Err(may_be_on(disk)),
            };
            match answer {
                Ok(found) => return Ok((Arc::clone(disk), found)),
                Err(ChunkError::NotFound(_)) => {}
                Err(error @ ChunkError::Invalid(_)) => return Err(error),
                // What a disk said of the chunk itself weighs more than that another is away.
                Err(error @ ChunkError::Refused(_)) => failure = failure.or(Some(error)),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or(ChunkError::NotFound(id)))
    }
}

/// What is said of a chunk that may be on a disk that is fenced off.
pub(crate) fn may_be_on(disk: &NodeDisk) -> ChunkError {
    ChunkError::Refused(format!(
        "disk {} at {} is fenced off and may hold the chunk",
        disk.id(),
        disk.dir().display()
    ))
}
