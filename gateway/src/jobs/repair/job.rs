//! The repair job: one round goes through the repair queue once, from the most endangered chunk on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::{JobName, NodeId};
use futures::{TryStreamExt as _, stream};
use metastore::{MetaError, MetaResult, RepairEntry, RepairNeed};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::down_nodes::DownNodes;
use super::mend::{Mended, mend};
use crate::cluster::NodeState;
use crate::jobs::copies::Copies;
use crate::jobs::job::{Job, JobError, Round};

/// Queue entries read at a time.
const BATCH: usize = 256;
/// Chunks mended at the same time.
const PARALLEL_MAX: usize = 8;
/// Queue entries counted for the report.
const COUNTED_MAX: usize = 100_000;
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
    copies: Copies,
    settings: RepairSettings,
    wake: Arc<Notify>,
    down: DownNodes,
    stuck: Mutex<Option<Stuck>>,
}

/// A round mended nothing while the nodes were so.
struct Stuck {
    states: Vec<(NodeId, NodeState)>,
    at: Instant,
}

impl RepairJob {
    /// A job that also begins a round when `wake` says so.
    #[must_use]
    pub fn new(copies: Copies, settings: RepairSettings, wake: Arc<Notify>) -> Self {
        Self {
            copies,
            settings,
            wake,
            down: DownNodes::default(),
            stuck: Mutex::default(),
        }
    }

    async fn mend_queue(&self, round: &Round) -> MetaResult<()> {
        let metastore = &self.copies.metastore;
        let counts = metastore.count_repairs(COUNTED_MAX).await?;
        round
            .progress()
            .expect(counts.chunks.iter().sum(), counts.missing_bytes);
        let only_last_copies = self.down.are_too_many(&self.copies.membership);
        let (mut after, changed) = (None, AtomicBool::new(false));
        while round.goes_on() {
            let entries = metastore.repairs_by_danger(after, BATCH).await?;
            let Some(last) = entries.last() else {
                break;
            };
            after = Some((last.have, last.chunk));
            stream::iter(entries.into_iter().map(Ok::<_, MetaError>))
                .try_for_each_concurrent(PARALLEL_MAX, async |entry| match round.goes_on() {
                    true => {
                        let mended = self.mend(&entry, only_last_copies, round).await;
                        let mended = round.readable(entry.chunk, mended)?;
                        changed.fetch_or(mended == Some(true), Ordering::Relaxed);
                        Ok(())
                    }
                    false => Ok(()),
                })
                .await?;
        }
        if after.is_some() && !changed.into_inner() {
            self.note_stuck();
        }
        Ok(())
    }

    /// Works on one entry; whether anything is different now.
    async fn mend(
        &self,
        entry: &RepairEntry,
        only_last_copies: bool,
        round: &Round,
    ) -> MetaResult<bool> {
        let Some(chunk) = self.copies.placement(entry.chunk).await? else {
            return self.settle(entry, None, round).await;
        };
        let wanted = usize::from(self.settings.replicas);
        let left = match mend(&self.copies, &chunk, wanted, only_last_copies, round).await? {
            Mended::Gone | Mended::Whole => None,
            Mended::Short(have) => Some(RepairNeed {
                chunk: chunk.id,
                length_bytes: chunk.length_bytes,
                wanted: self.settings.replicas,
                have,
                since: round.now(),
            }),
        };
        let is_as_before = left.is_some_and(|left| left.have == entry.have);
        if is_as_before || !round.goes_on() {
            return Ok(false);
        }
        self.settle(entry, left, round).await
    }

    async fn settle(
        &self,
        entry: &RepairEntry,
        left: Option<RepairNeed>,
        round: &Round,
    ) -> MetaResult<bool> {
        let metastore = &self.copies.metastore;
        match metastore.settle_repair(round.fence(), entry, left).await {
            Ok(()) => Ok(true),
            Err(MetaError::Fenced(_)) => {
                round.end();
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn note_stuck(&self) {
        let stuck = Stuck {
            states: self.copies.membership.states(),
            at: Instant::now(),
        };
        *self.stuck.lock().unwrap_or_else(PoisonError::into_inner) = Some(stuck);
    }

    /// Whether the last round mended nothing and nothing speaks for another outcome now.
    fn is_stuck(&self) -> bool {
        let states = self.copies.membership.states();
        let stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |stuck: &Stuck| stuck.states == states && stuck.at.elapsed() < STUCK_FOR;
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
            self.down.queue(&self.copies, wanted, round).await?;
        } else {
            // Mending does not wait for the end of a walk over millions of chunks.
            let queue = self.down.queue(&self.copies, wanted, round);
            tokio::try_join!(queue, self.mend_queue(round))?;
        }
        if self.down.are_too_many(&self.copies.membership) {
            return Err(JobError::Alarm(
                "more than a third of the chunk servers are missing: only chunks with a single copy \
                 left are repaired until they return or are removed"
                    .into(),
            ));
        }
        Ok(())
    }
}
