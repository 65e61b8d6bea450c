//! The repair job: one round works once on everything in the repair queue, the most endangered first,
//! also of what comes in while it goes on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::{ChunkId, JobName, NodeId};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use metastore::{MetaResult, RepairEntry, RepairNeed};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::chunk_repair::{ChunkHealth, mend};
use super::cursor::RepairCursor;
use super::down_nodes::{DownNodes, QueueingProgress};
use crate::cluster::{NodeState, NodeStatus};
use crate::jobs::job::{Job, JobError, Round};
use crate::jobs::replica_mover::ReplicaMover;

/// Chunks mended at the same time.
const PARALLEL_MAX: usize = 8;
/// Queue entries counted for the report …
const COUNTED_MAX: usize = 100_000;
/// … so often.
const COUNT_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Rest between two rounds.
const PERIOD: Duration = Duration::from_secs(2);
/// A round that could not mend anything is not repeated for so long, unless nodes come or go.
const STUCK_FOR: Duration = Duration::from_secs(60);

/// What an operator may set.
#[derive(Debug, Clone, Copy)]
pub struct RepairSettings {
    /// Replicas that each chunk should have.
    pub replicas: u8,
    /// Bytes per second that repair may copy; none: any number.
    pub rate_bytes_per_s: Option<u64>,
}

/// Goes through the repair queue.
pub struct RepairJob {
    mover: ReplicaMover,
    settings: RepairSettings,
    wake: Arc<Notify>,
    down: DownNodes,
    stuck: Mutex<Option<Stuck>>,
}

/// A round mended nothing while the nodes were so, each with whether it took new chunks.
struct Stuck {
    nodes: Vec<(NodeId, NodeState, bool)>,
    at: Instant,
}

/// Outcome of one repair-queue entry.
struct RepairOutcome {
    chunk: ChunkId,
    /// The good copies with which it stays in the queue; `None` if it does not.
    left: Option<u8>,
    /// Whether anything is different now.
    is_changed: bool,
}

impl RepairOutcome {
    fn in_vain(entry: RepairEntry) -> Self {
        Self {
            chunk: entry.chunk,
            left: Some(entry.have),
            is_changed: false,
        }
    }
}

impl RepairJob {
    /// A job that also begins a round when `wake` says so.
    #[must_use]
    pub fn new(mover: ReplicaMover, settings: RepairSettings, wake: Arc<Notify>) -> Self {
        Self {
            mover,
            settings,
            wake,
            down: DownNodes::default(),
            stuck: Mutex::default(),
        }
    }

    /// Works on the queue, from its front and again from there, until nothing is left that was not
    /// worked on, and the walks over what down nodes held are at their end, as `queueing` tells.
    async fn mend_queue(&self, queueing: &QueueingProgress, round: &Round) -> MetaResult<()> {
        let metastore = self.mover.metastore.as_ref();
        let (mut cursor, mut under_way) = (RepairCursor::default(), FuturesUnordered::new());
        let mut only_last_copies = self.down.are_too_many(&self.mover.membership);
        let (mut looked, mut changed) = (false, false);
        let mut counted_at = None::<Instant>;
        loop {
            while under_way.len() < PARALLEL_MAX && round.goes_on() {
                if counted_at.is_none_or(|at| at.elapsed() >= COUNT_AGAIN_AFTER) {
                    self.count(round).await?;
                    counted_at = Some(Instant::now());
                }
                let are_too_many = self.down.are_too_many(&self.mover.membership);
                if std::mem::replace(&mut only_last_copies, are_too_many) && !are_too_many {
                    cursor.try_again();
                }
                let Some(entry) = cursor.next(metastore).await? else {
                    break;
                };
                looked = true;
                under_way.push(self.mend(entry, only_last_copies, round));
            }
            match under_way.next().await {
                Some(outcome) => {
                    let RepairOutcome {
                        chunk,
                        left,
                        is_changed,
                    } = outcome?;
                    cursor.note(chunk, left);
                    changed |= is_changed;
                }
                None if queueing.is_at_its_end() || !round.goes_on() => break,
                None => queueing.goes_on().await,
            }
        }
        if looked && !changed {
            self.note_stuck();
        }
        Ok(())
    }

    /// Says how long the queue is.
    async fn count(&self, round: &Round) -> MetaResult<()> {
        let counts = self.mover.metastore.count_repairs(COUNTED_MAX).await?;
        let chunks = counts.chunks.iter().sum();
        round.progress().expect(chunks, counts.missing_bytes);
        Ok(())
    }

    /// Works on one entry.
    async fn mend(
        &self,
        entry: RepairEntry,
        only_last_copies: bool,
        round: &Round,
    ) -> MetaResult<RepairOutcome> {
        let outcome = self.try_mend(entry, only_last_copies, round).await;
        let outcome = round.readable(entry.chunk, outcome)?;
        Ok(outcome.unwrap_or_else(|| RepairOutcome::in_vain(entry)))
    }

    async fn try_mend(
        &self,
        entry: RepairEntry,
        only_last_copies: bool,
        round: &Round,
    ) -> MetaResult<RepairOutcome> {
        let Some(chunk) = self.mover.placement(entry.chunk).await? else {
            return self.update_queue(entry, None, round).await;
        };
        let wanted = self.settings.replicas;
        let left = match mend(&self.mover, &chunk, wanted, only_last_copies, round).await? {
            ChunkHealth::Gone => None,
            ChunkHealth::Whole(replicas) => return self.end(entry, &replicas, round).await,
            ChunkHealth::Short(have) | ChunkHealth::Crowded(have) => {
                Some(RepairNeed::new(&chunk, wanted, have, round.now()))
            }
        };
        let is_as_before = left.is_some_and(|left| left.have == entry.have);
        if is_as_before || !round.goes_on() {
            return Ok(RepairOutcome::in_vain(entry));
        }
        self.update_queue(entry, left, round).await
    }

    /// Takes an entry off the queue whose chunk was left with `replicas`. Who changed the row meanwhile
    /// and found the entry still in the queue counts on it.
    async fn end(
        &self,
        entry: RepairEntry,
        replicas: &[NodeId],
        round: &Round,
    ) -> MetaResult<RepairOutcome> {
        let outcome = self.update_queue(entry, None, round).await?;
        let current = self.mover.placement(entry.chunk).await?;
        if let Some(chunk) = current.filter(|chunk| chunk.replicas != replicas) {
            let (good, wanted) = (chunk.replicas.len(), self.settings.replicas);
            self.mover.queue_repair(&chunk, good, wanted, round).await?;
        }
        Ok(outcome)
    }

    async fn update_queue(
        &self,
        entry: RepairEntry,
        left: Option<RepairNeed>,
        round: &Round,
    ) -> MetaResult<RepairOutcome> {
        let metastore = &self.mover.metastore;
        let finished = metastore.finish_repair(round.fence(), &entry, left).await;
        Ok(match round.unless_fenced(finished)? {
            Some(()) => RepairOutcome {
                chunk: entry.chunk,
                left: left.map(|left| left.have),
                is_changed: true,
            },
            None => RepairOutcome::in_vain(entry),
        })
    }

    fn note_stuck(&self) {
        let stuck = Stuck {
            nodes: self.nodes(),
            at: Instant::now(),
        };
        *self.stuck.lock().unwrap_or_else(PoisonError::into_inner) = Some(stuck);
    }

    fn nodes(&self) -> Vec<(NodeId, NodeState, bool)> {
        let status = self.mover.membership.status().into_iter();
        let node = |node: NodeStatus| (node.registration.node_id, node.state, node.is_writable);
        status.map(node).collect()
    }

    /// Whether the last round mended nothing and nothing speaks for another outcome now.
    fn is_stuck(&self) -> bool {
        let nodes = self.nodes();
        let stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |stuck: &Stuck| stuck.nodes == nodes && stuck.at.elapsed() < STUCK_FOR;
        stuck.as_ref().is_some_and(is_same)
    }
}

#[async_trait]
impl Job for RepairJob {
    fn name(&self) -> JobName {
        "repair".parse().expect("a job's name")
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn rate_bytes_per_s(&self) -> Option<u64> {
        self.settings.rate_bytes_per_s
    }

    async fn woken(&self) {
        self.wake.notified().await;
        *self.stuck.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn round(&self, round: &Round) -> Result<(), JobError> {
        let wanted = self.settings.replicas;
        if self.is_stuck() {
            self.down.queue(&self.mover, wanted, round).await?;
        } else {
            // Mending does not wait for the end of a walk over millions of chunks, nor does another node
            // that is lost meanwhile wait for the end of mending.
            let queueing = QueueingProgress::default();
            tokio::select! {
                biased;
                mended = self.mend_queue(&queueing, round) => mended?,
                failed = self.down.keep_queueing(&self.mover, wanted, &queueing, round) => match failed? {},
            }
        }
        if self.down.are_too_many(&self.mover.membership) {
            return Err(JobError::Alarm(
                "more than a third of the chunk servers are missing: only chunks with a single copy \
                 left are repaired until they return. Drain those that will not (gateway admin node \
                 drain), or add chunk servers"
                    .into(),
            ));
        }
        Ok(())
    }
}
