//! Garbage collection: deletes chunks that a commit unlinked, once their grace has passed and no
//! older read runs. The queue row goes after every node has deleted durably, so a crash at any point
//! repeats work and loses none.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::{ChunkError, JobName};
use futures::{TryStreamExt as _, stream};
use metastore::{ChunkRef, GcEntry, GcItem, MetaResult, Metastore, Timestamp};
use tracing::debug;

use super::job::{Job, JobError, Round};
use crate::chunks::{ChunkTransport, RunningReads};
use crate::cluster::Membership;

/// Queue rows looked at in one unit.
const BATCH: usize = 256;
/// Part rows turned into queue rows in one unit.
const PARTS_BATCH: usize = 256;
/// Queue rows worked on at the same time.
const PARALLEL_MAX: usize = 16;
/// Rest between two rounds through the queue.
const PERIOD: Duration = Duration::from_secs(5);

/// Deletes what no row names any longer.
pub struct GarbageCollector {
    metastore: Arc<dyn Metastore>,
    transport: Arc<dyn ChunkTransport>,
    membership: Arc<Membership>,
    reads: RunningReads,
    grace: Duration,
}

impl GarbageCollector {
    /// A collector that spares what was unlinked less than `grace` ago.
    #[must_use]
    pub fn new(
        metastore: Arc<dyn Metastore>,
        transport: Arc<dyn ChunkTransport>,
        membership: Arc<Membership>,
        reads: RunningReads,
        grace: Duration,
    ) -> Self {
        Self {
            metastore,
            transport,
            membership,
            reads,
            grace,
        }
    }
}

#[async_trait]
impl Job for GarbageCollector {
    fn name(&self) -> JobName {
        "gc".parse().expect("a job's name")
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    /// Goes once through the rows that are due.
    async fn round(&self, round: &Round) -> Result<(), JobError> {
        let before = self.due_before(round.now());
        let mut after = None;
        while round.goes_on() {
            let entries = self.metastore.gc_due(before, after, BATCH).await?;
            let Some(last) = entries.last() else {
                break;
            };
            after = Some((last.unlinked_at, last.id));
            stream::iter(entries.into_iter().map(Ok))
                .try_for_each_concurrent(PARALLEL_MAX, async |entry| match round.goes_on() {
                    true => self.collect(&entry, round).await,
                    false => Ok(()),
                })
                .await?;
        }
        Ok(())
    }
}

impl GarbageCollector {
    /// Rows unlinked before this moment are due (I3). The grace counts from the oldest running read
    /// too: it covers the time between a read's look at the row and its begin, between a commit's
    /// stamp and its commit, and small steps of the clock.
    fn due_before(&self, now: Timestamp) -> Timestamp {
        let grace_ms = u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX);
        let oldest = self.reads.oldest().map_or(now, |oldest| oldest.min(now));
        Timestamp(oldest.0.saturating_sub(grace_ms))
    }

    async fn collect(&self, entry: &GcEntry, round: &Round) -> MetaResult<()> {
        match &entry.item {
            GcItem::Parts(_) => self.metastore.gc_expand(entry, PARTS_BATCH).await,
            GcItem::Chunks(chunks) => self.collect_chunks(entry, chunks, round).await,
            GcItem::Copies(chunk) => {
                let copies = std::slice::from_ref(chunk);
                self.collect_chunks(entry, copies, round).await
            }
        }
    }

    /// Deletes the chunks of an entry on the nodes that it names.
    async fn collect_chunks(
        &self,
        entry: &GcEntry,
        chunks: &[ChunkRef],
        round: &Round,
    ) -> MetaResult<()> {
        if !self.all_live(chunks) {
            // Nodes that are away keep their copies, and nothing waits for them here.
            return Ok(());
        }
        for chunk in chunks {
            if !self.delete(chunk, round).await {
                return Ok(());
            }
        }
        self.metastore.gc_done(entry).await?;
        for chunk in chunks {
            round.progress().done(chunk.length_bytes);
        }
        Ok(())
    }

    fn all_live(&self, chunks: &[ChunkRef]) -> bool {
        chunks
            .iter()
            .flat_map(|chunk| &chunk.replicas)
            .all(|node| self.membership.is_live(*node))
    }

    /// Deletes a chunk on all its nodes; false when one of them must be asked again later.
    async fn delete(&self, chunk: &ChunkRef, round: &Round) -> bool {
        for &node in &chunk.replicas {
            let fence = Some(round.fence());
            match self.transport.delete(node, chunk.id, fence).await {
                Ok(()) | Err(ChunkError::NotFound(_)) => {}
                Err(ChunkError::Fenced(detail)) => {
                    debug!(detail, "another gateway collects garbage now");
                    round.end();
                    return false;
                }
                Err(error) => {
                    if matches!(error, ChunkError::Unreachable(_)) {
                        round.leave_unsettled();
                    }
                    debug!(chunk = %chunk.id, %node, %error, "a chunk could not be deleted yet");
                    return false;
                }
            }
        }
        true
    }
}
