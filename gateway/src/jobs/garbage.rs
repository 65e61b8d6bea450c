//! Garbage collection: deletes chunks that a commit unlinked, once their grace has passed and no
//! older read runs. The queue row goes after every node has deleted durably, so a crash at any point
//! repeats work and loses none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::{ChunkError, ChunkId, JobName, NodeId};
use futures::future::join_all;
use futures::{TryStreamExt as _, stream};
use metastore::{ChunkRef, GcEntry, GcItem, MetaResult, Metastore, NodePhase, Timestamp};
use tracing::debug;
use uuid::Uuid;

use super::backup::BackupStatus;
use super::job::{Job, JobError, Round};
use crate::chunks::{ChunkTransport, RunningReads, reserved_bytes};
use crate::cluster::{Membership, NodeState, NodeStatus};

/// Queue rows looked at in one unit.
const BATCH: usize = 256;
/// Part rows turned into queue rows in one unit.
const PARTS_BATCH: usize = 256;
/// Queue rows worked on at the same time.
const PARALLEL_MAX: usize = 16;
/// After so many failures a node is not asked again in a round; after one, if it does not answer.
const FAILURES_MAX: u32 = 16;
/// Entries that are dated later than this from now were stamped by a clock that was wrong.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(24 * 3600);
/// Rest between two rounds through the queue.
const PERIOD: Duration = Duration::from_secs(5);
/// Longest time that garbage is kept for a lagging backup.
const SPARED_FOR_BACKUP_MAX: Duration = Duration::from_secs(24 * 3600);
/// Garbage delayed longer than this by the backup raises an alarm.
const BACKUP_DELAY_MAX: Duration = Duration::from_secs(600);
/// Garbage delayed longer than this by a running read raises an alarm.
const READ_DELAY_MAX: Duration = Duration::from_secs(6 * 3600);
/// A node with less room than this counts as full: somewhat more than what the backup writes at a time.
const ROOM_LEAST_BYTES: u64 = 16 * 1024 * 1024;

/// Deletes what no row names any longer.
pub struct GarbageCollector {
    metastore: Arc<dyn Metastore>,
    transport: Arc<dyn ChunkTransport>,
    membership: Arc<Membership>,
    reads: RunningReads,
    grace: Duration,
    backup: BackupStatus,
}

/// Cut-off times: entries unlinked earlier may be deleted.
struct Due {
    /// With all constraints: grace, running reads, backup.
    before: Timestamp,
    /// If the backup were current.
    but_for_backup: Timestamp,
    /// If no read were running.
    but_for_reads: Timestamp,
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
            backup: BackupStatus::default(),
        }
    }

    /// Returns this collector, keeping chunks that a restore of this backup would reference.
    #[must_use]
    pub fn sparing(self, backup: BackupStatus) -> Self {
        Self { backup, ..self }
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
        let due = self.due(round.now());
        let (before, mut after) = (due.before, None);
        let failures = Failures::default();
        while round.goes_on() {
            let entries = self.metastore.gc_due(before, after, BATCH).await?;
            let Some(last) = entries.last() else {
                break;
            };
            after = Some((last.unlinked_at, last.id));
            stream::iter(entries.into_iter().map(Ok))
                .try_for_each_concurrent(PARALLEL_MAX, async |entry| match round.goes_on() {
                    true => {
                        let collected = self.collect(&entry, &failures, round).await;
                        round.readable(entry.id, collected).map(drop)
                    }
                    false => Ok(()),
                })
                .await?;
        }
        self.alarm_on_delayed_garbage(&due).await?;
        self.tell_of_the_future(round.now()).await
    }
}

impl GarbageCollector {
    /// Which rows are due (I3). The grace counts from the oldest running read too: it covers the time
    /// between a read's look at the row and its begin, between a commit's stamp and its commit, and
    /// small steps of the clock.
    fn due(&self, now: Timestamp) -> Due {
        let oldest = self.reads.oldest().map_or(now, |oldest| oldest.min(now));
        let restorable = self.restorable_until(now).min(oldest);
        Due {
            before: restorable.before(self.grace),
            but_for_backup: oldest.before(self.grace),
            but_for_reads: now.before(self.grace),
        }
    }

    /// The moment of which the metadata would be restored: what is unlinked later would be named again.
    /// While a disk is full no backup can be written, and deleting is the way out.
    fn restorable_until(&self, now: Timestamp) -> Timestamp {
        match self.backup.report(now) {
            Some(report) if !self.membership.status().iter().any(is_full) => {
                let until = report.restorable_until.unwrap_or(Timestamp(0));
                until.max(now.before(SPARED_FOR_BACKUP_MAX))
            }
            _ => now,
        }
    }

    /// # Errors
    /// An alarm while garbage waits for the metadata's backup, or for a read, for long.
    async fn alarm_on_delayed_garbage(&self, due: &Due) -> Result<(), JobError> {
        let late_backup = due.but_for_backup.before(BACKUP_DELAY_MAX);
        if self.has_delayed(due, late_backup).await? {
            return Err(JobError::Alarm(
                "the metadata's backup is behind, and what was deleted since then is kept: rows that \
                 are restored would name it. See why the job metadata-backup does not go on"
                    .into(),
            ));
        }
        let late_read = due.but_for_reads.before(READ_DELAY_MAX);
        if self.has_delayed(due, late_read).await? {
            return Err(JobError::Alarm(
                "a client has been reading one object for hours, and what was deleted since it began is \
                 kept until it has ended"
                    .into(),
            ));
        }
        Ok(())
    }

    /// # Errors
    /// An alarm while garbage is dated so late that a clock must have been wrong.
    async fn tell_of_the_future(&self, now: Timestamp) -> Result<(), JobError> {
        let after = Some((now.after(CLOCKS_DIFFER_MAX), Uuid::max()));
        let late = self.metastore.gc_due(Timestamp(u64::MAX), after, 1).await?;
        match late.first() {
            None => Ok(()),
            Some(entry) => Err(JobError::Alarm(format!(
                "a garbage entry is dated in the future ({} ms since 1970): the clock of a gateway was or is \
                 wrong. It is collected when that moment has passed",
                entry.unlinked_at.0
            ))),
        }
    }

    /// Whether anything that was unlinked before `before` is not due.
    async fn has_delayed(&self, due: &Due, before: Timestamp) -> MetaResult<bool> {
        if before <= due.before {
            return Ok(false);
        }
        let after = Some((due.before, Uuid::nil()));
        Ok(!self.metastore.gc_due(before, after, 1).await?.is_empty())
    }

    async fn collect(&self, entry: &GcEntry, failures: &Failures, round: &Round) -> MetaResult<()> {
        match &entry.item {
            GcItem::Parts(_) => self.metastore.gc_expand(entry, PARTS_BATCH).await,
            GcItem::Chunks(chunks) => self.collect_chunks(entry, chunks, failures, round).await,
            GcItem::Copies(chunk) => {
                let copies = std::slice::from_ref(chunk);
                self.collect_chunks(entry, copies, failures, round).await
            }
        }
    }

    /// Deletes the chunks of an entry on the nodes that it names. It waits for those that are away:
    /// what was deleted stays deleted when they return (I11).
    async fn collect_chunks(
        &self,
        entry: &GcEntry,
        chunks: &[ChunkRef],
        failures: &Failures,
        round: &Round,
    ) -> MetaResult<()> {
        let mut nodes: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.replicas).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let asked = nodes.into_iter().map(async |&node| {
            let is_done = self.has_deleted_all(node, chunks, failures, round).await;
            is_done.then_some(node)
        });
        let done: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        if done.is_empty() {
            return Ok(());
        }
        let narrowed = self.metastore.gc_narrow(round.fence(), entry, &done).await;
        if round.unless_fenced(narrowed)?.is_none() {
            return Ok(());
        }
        let is_done = |chunk: &&ChunkRef| chunk.replicas.iter().all(|node| done.contains(node));
        for chunk in chunks.iter().filter(is_done) {
            round.progress().done(chunk.length_bytes);
        }
        Ok(())
    }

    /// True once the node has durably deleted every one of these chunks placed on it.
    async fn has_deleted_all(
        &self,
        node: NodeId,
        chunks: &[ChunkRef],
        failures: &Failures,
        round: &Round,
    ) -> bool {
        if self.membership.phase(node) == NodePhase::Removed {
            return true;
        }
        if !self.membership.is_live(node) {
            return false;
        }
        for chunk in chunks.iter().filter(|chunk| chunk.replicas.contains(&node)) {
            let is_asked = round.goes_on() && !failures.are_enough_of(node);
            if !is_asked || !self.delete(node, chunk.id, failures, round).await {
                return false;
            }
        }
        true
    }

    /// Deletes a chunk on a node; false when it must be asked again later.
    async fn delete(
        &self,
        node: NodeId,
        chunk: ChunkId,
        failures: &Failures,
        round: &Round,
    ) -> bool {
        match self
            .transport
            .delete(node, chunk, Some(round.fence()))
            .await
        {
            Ok(()) | Err(ChunkError::NotFound(_)) => true,
            Err(ChunkError::Fenced(detail)) => {
                round.end_fenced(node, detail);
                false
            }
            Err(error) => {
                if matches!(error, ChunkError::Unreachable(_)) {
                    round.note_unknown_outcome();
                }
                debug!(%chunk, %node, %error, "a chunk could not be deleted yet");
                failures.note(node, &error);
                false
            }
        }
    }
}

/// The nodes that did not delete, in one round: while one does not answer, each further call to it costs
/// the time of all others.
#[derive(Default)]
struct Failures(Mutex<HashMap<NodeId, u32>>);

impl Failures {
    fn note(&self, node: NodeId, error: &ChunkError) {
        let count = match error {
            ChunkError::Unreachable(_) | ChunkError::Refused(_) => FAILURES_MAX,
            _ => 1,
        };
        *self.lock().entry(node).or_default() += count;
    }

    fn are_enough_of(&self, node: NodeId) -> bool {
        let count = self.lock().get(&node).copied();
        count.is_some_and(|count| count >= FAILURES_MAX)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a node is there, is to hold chunks, and has no room for one. One that lost a disk may take
/// none for another reason.
fn is_full(node: &NodeStatus) -> bool {
    let state = &node.registration.state;
    let least_bytes = reserved_bytes(state.capacity_bytes).saturating_add(ROOM_LEAST_BYTES);
    let is_meant = node.phase == NodePhase::Active && state.fenced_disks.is_empty();
    let has_room = state.writable && state.free_bytes > least_bytes;
    node.state == NodeState::Live && is_meant && !has_room
}
