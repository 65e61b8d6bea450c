//! Garbage collection: deletes chunks that a commit unlinked, once their grace has passed and no
//! older read runs. The queue row goes after every node has deleted durably, so a crash at any point
//! repeats work and loses none.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::{ChunkError, ChunkId, JobName, NodeId};
use futures::{TryStreamExt as _, stream};
use metastore::{ChunkRef, GcEntry, GcItem, MetaResult, Metastore, NodePhase, Timestamp};
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

    /// Deletes the chunks of an entry on the nodes that it names. It waits for those that are away:
    /// what was deleted stays deleted when they return (I11).
    async fn collect_chunks(
        &self,
        entry: &GcEntry,
        chunks: &[ChunkRef],
        round: &Round,
    ) -> MetaResult<()> {
        let mut nodes: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.replicas).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let mut done = Vec::new();
        for &node in nodes {
            if self.is_rid_of(node, chunks, round).await {
                done.push(node);
            }
        }
        if done.is_empty() {
            return Ok(());
        }
        self.metastore.gc_narrow(entry, &done).await?;
        let is_done = |chunk: &&ChunkRef| chunk.replicas.iter().all(|node| done.contains(node));
        for chunk in chunks.iter().filter(is_done) {
            round.progress().done(chunk.length_bytes);
        }
        Ok(())
    }

    /// Whether a node is rid of those of the chunks that were on it, for certain.
    async fn is_rid_of(&self, node: NodeId, chunks: &[ChunkRef], round: &Round) -> bool {
        if self.membership.phase(node) == NodePhase::Removed {
            return true;
        }
        if !self.membership.is_live(node) {
            return false;
        }
        for chunk in chunks.iter().filter(|chunk| chunk.replicas.contains(&node)) {
            if !round.goes_on() || !self.delete(node, chunk.id, round).await {
                return false;
            }
        }
        true
    }

    /// Deletes a chunk on a node; false when it must be asked again later.
    async fn delete(&self, node: NodeId, chunk: ChunkId, round: &Round) -> bool {
        match self
            .transport
            .delete(node, chunk, Some(round.fence()))
            .await
        {
            Ok(()) | Err(ChunkError::NotFound(_)) => true,
            Err(ChunkError::Fenced(detail)) => {
                debug!(detail, "another gateway collects garbage now");
                round.end();
                false
            }
            Err(error) => {
                if matches!(error, ChunkError::Unreachable(_)) {
                    round.leave_unsettled();
                }
                debug!(%chunk, %node, %error, "a chunk could not be deleted yet");
                false
            }
        }
    }
}
