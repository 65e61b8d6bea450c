//! What a background job is: rounds of small units, under a lease, cut short between units only.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::{ChunkError, Fence, JobName, NodeId};
use metastore::{MetaError, MetaResult, Timestamp};
use tokio::sync::watch;
use tracing::{debug, error};

use super::progress::JobProgress;
use super::throttle::Throttle;
use crate::chunks::WriteError;
use crate::clock::Clock;

/// A background job. The runner sees to its lease, its pauses and its reports.
#[async_trait]
pub trait Job: Send + Sync + 'static {
    /// Its name, which is also its lease's.
    fn name(&self) -> JobName;

    /// How long it rests after a round.
    fn period(&self) -> Duration;

    /// Bytes per second that it may move, unless the operator says otherwise; none: any number.
    fn rate_bytes_per_s(&self) -> Option<u64> {
        None
    }

    /// Returns when there is a reason to end the rest early.
    async fn woken(&self) {
        std::future::pending().await
    }

    /// Does what there is to do, unit by unit, as long as the round goes on. What it changes, it
    /// changes with the round's fence.
    ///
    /// # Errors
    /// What kept it from going on; the next round tries again.
    async fn round(&self, round: &Round) -> Result<(), JobError>;
}

/// Why a round ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The metadata cannot be read or written.
    #[error(transparent)]
    Metadata(#[from] MetaError),
    /// What the job keeps in the cluster cannot be written.
    #[error("not written: {0}")]
    Write(#[from] WriteError),
    /// A node does not answer as it should.
    #[error("the chunk server {node} did not say what it holds: {error}")]
    Node {
        /// The node.
        node: NodeId,
        /// What it said.
        error: ChunkError,
    },
    /// A node takes no orders under the round's lease. The next round has a newer token, if the lease is
    /// not another's.
    #[error(
        "the chunk server {node} has seen a newer lease of this job ({detail}): another gateway runs it, or the \
         metadata is older than that lease. A newer one is asked for"
    )]
    Fenced {
        /// The node.
        node: NodeId,
        /// What it said.
        detail: String,
    },
    /// Something looks so wrong that the job refuses to go on; an operator must look.
    #[error("{0}")]
    Alarm(String),
}

/// One round of a job, as the job sees it.
pub struct Round {
    fence: Fence,
    clock: Clock,
    progress: Arc<JobProgress>,
    throttle: Throttle,
    stop: watch::Receiver<()>,
    ended: AtomicBool,
    unknown_outcome: AtomicBool,
    unreadable: AtomicU64,
    waits_for: Mutex<Option<String>>,
    refused_by: Mutex<Option<FenceRefusal>>,
}

/// A node has seen a newer token of the job's lease than the round's.
#[derive(Debug, Clone)]
pub struct FenceRefusal {
    /// The node.
    pub node: NodeId,
    /// What it said.
    pub detail: String,
}

impl FenceRefusal {
    /// The newest token that the node has seen; 0 where it does not say.
    #[must_use]
    pub fn newest(&self) -> u64 {
        Fence::newest_in(&self.detail).map_or(0, |newest| newest.token)
    }
}

impl Round {
    /// A round under `fence` that ends when `stop` closes.
    #[must_use]
    pub fn new(
        fence: Fence,
        clock: Clock,
        progress: Arc<JobProgress>,
        throttle: Throttle,
        stop: watch::Receiver<()>,
    ) -> Self {
        Self {
            fence,
            clock,
            progress,
            throttle,
            stop,
            ended: AtomicBool::new(false),
            unknown_outcome: AtomicBool::new(false),
            unreadable: AtomicU64::new(0),
            waits_for: Mutex::default(),
            refused_by: Mutex::default(),
        }
    }

    /// The proof of the job's lease, for everything that it changes.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether the next unit may begin: the lease is held, the job not paused, the process not
    /// stopping.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::Relaxed) && self.stop.has_changed().is_ok()
    }

    /// Ends the round after the units under way.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Ends the round after a node refused its fence, as [`end`](Self::end) does; the next round asks for a
    /// newer token than the node has seen.
    pub fn end_fenced(&self, node: NodeId, detail: String) {
        let refused_by = self.refused_by.lock();
        let refusal = FenceRefusal { node, detail };
        *refused_by.unwrap_or_else(PoisonError::into_inner) = Some(refusal);
        self.end();
    }

    /// The node that refused the round's fence last, if one did.
    #[must_use]
    pub fn refused_by(&self) -> Option<FenceRefusal> {
        let refused_by = self.refused_by.lock();
        refused_by.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `bytes` may be moved at the job's rate; false if the round ends first.
    pub async fn may_move(&self, bytes: u64) -> bool {
        self.throttle.take(bytes, || self.goes_on()).await && self.goes_on()
    }

    /// How fast the job may go.
    #[must_use]
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// Where the job says how far it is.
    #[must_use]
    pub fn progress(&self) -> &JobProgress {
        &self.progress
    }

    /// Unwraps a metadata result. A corrupt row is logged and skipped (`None`), and the round ends with
    /// an alarm: see [`verdict`](Self::verdict).
    ///
    /// # Errors
    /// What else keeps the metadata from being read or written.
    pub fn readable<T>(&self, unit: impl Display, outcome: MetaResult<T>) -> MetaResult<Option<T>> {
        match outcome {
            Ok(seen) => Ok(Some(seen)),
            Err(error @ MetaError::Corrupt { .. }) => {
                error!(%unit, %error, "a row is damaged; the job goes on without it");
                self.unreadable.fetch_add(1, Ordering::Relaxed);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Unwraps the outcome of a change under the round's fence. Where another gateway holds the lease by now
    /// nothing was changed (`None`), and the round ends: that is no failure.
    ///
    /// # Errors
    /// What else kept the metadata from being written.
    pub fn unless_fenced<T>(&self, outcome: MetaResult<T>) -> MetaResult<Option<T>> {
        match outcome {
            Ok(changed) => Ok(Some(changed)),
            Err(MetaError::Fenced(fence)) => {
                debug!(%fence, "another gateway runs the job now");
                self.end();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the round that came to its end left nothing out.
    ///
    /// # Errors
    /// An alarm where rows could not be read.
    pub fn verdict(&self) -> Result<(), JobError> {
        match self.unreadable.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(JobError::Alarm(
                "some rows of the metadata cannot be read; the gateway's log names them. All others were \
                 dealt with. Keep a copy of the metadata and restore it from its backup"
                    .into(),
            )),
        }
    }

    /// Says what the job waits for, where there may be something to do that it cannot do yet.
    pub fn wait_for(&self, what: impl Into<String>) {
        *self
            .waits_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(what.into());
    }

    /// What the job waits for.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        let waits_for = self.waits_for.lock();
        waits_for.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records that a node may still carry out a call that timed out. The next round acquires a new
    /// fencing token, so a late arrival is rejected.
    pub fn note_unknown_outcome(&self) {
        self.unknown_outcome.store(true, Ordering::Relaxed);
    }

    /// Whether a call of this round has an unknown outcome.
    #[must_use]
    pub fn has_unknown_outcome(&self) -> bool {
        self.unknown_outcome.load(Ordering::Relaxed)
    }
}
