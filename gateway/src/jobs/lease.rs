//! Holding a job's lease: asked for before a round, renewed while it runs, given up at the end.

use std::sync::Arc;
use std::time::Duration;

use chunkproto::{Fence, JobName};
use metastore::{LeaseAnswer, LeaseRequest, MetaError, MetaResult, Metastore, Timestamp};
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::Clock;

/// A lease ends so long after its last renewal. A gateway that died is replaced after this time.
pub const LEASE_TIME: Duration = Duration::from_secs(30);
/// A lease is renewed this long after the last renewal.
const RENEW_AFTER: Duration = Duration::from_secs(10);
/// Without a renewal for so long, the holder takes the lease for lost, well before it ends.
const LOST_AFTER: Duration = Duration::from_secs(20);

/// One job's lease, seen from one process.
pub struct Lease {
    metastore: Arc<dyn Metastore>,
    job: JobName,
    holder: Uuid,
    clock: Clock,
    held: Option<HeldLease>,
    /// The newest token that a node has seen, where that is one that the metadata does not know.
    token_above: u64,
}

#[derive(Clone)]
struct HeldLease {
    fence: Fence,
    renewed_at: Instant,
}

/// The outcome of asking for a lease.
pub enum LeaseState {
    /// It is ours.
    Ours(Fence),
    /// Another process has it.
    Theirs(Uuid),
}

impl Lease {
    /// The lease of `job`, not held yet.
    pub fn new(metastore: Arc<dyn Metastore>, job: JobName, holder: Uuid, clock: Clock) -> Self {
        Self {
            metastore,
            job,
            holder,
            clock,
            held: None,
            token_above: 0,
        }
    }

    /// Renews the lease if it is held, else asks for it.
    pub async fn hold(&mut self) -> MetaResult<LeaseState> {
        let held = self.held.as_ref().map(|held| held.fence.clone());
        if let Some(fence) = held
            && self.keep().await?
        {
            return Ok(LeaseState::Ours(fence));
        }
        let asked_at = Instant::now();
        let request = LeaseRequest {
            job: self.job.clone(),
            holder: self.holder,
            now: self.clock.now(),
            until: self.until(),
            token_above: self.token_above,
        };
        match self.metastore.acquire_lease(request).await? {
            LeaseAnswer::Granted(fence) => {
                self.held = Some(HeldLease {
                    fence: fence.clone(),
                    renewed_at: asked_at,
                });
                Ok(LeaseState::Ours(fence))
            }
            LeaseAnswer::Held { by, .. } => Ok(LeaseState::Theirs(by)),
        }
    }

    /// Renews the lease where it is time to; false once it is lost.
    ///
    /// # Errors
    /// What kept it from being renewed, while there is time to try again.
    pub async fn keep(&mut self) -> MetaResult<bool> {
        let until = self.until();
        let Some(held) = &mut self.held else {
            return Ok(false);
        };
        if held.renewed_at.elapsed() < RENEW_AFTER {
            return Ok(true);
        }
        let asked_at = Instant::now();
        match self.metastore.renew_lease(&held.fence, until).await {
            Ok(()) => {
                held.renewed_at = asked_at;
                Ok(true)
            }
            Err(MetaError::Fenced(_)) => {
                self.held = None;
                Ok(false)
            }
            Err(_) if held.renewed_at.elapsed() > LOST_AFTER => {
                self.held = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the next [`hold`](Self::hold) ask for a new token.
    pub fn forget(&mut self) {
        self.held = None;
    }

    /// As [`forget`](Self::forget); the new token is to be greater than `token`, which a node has seen.
    pub fn forget_up_to(&mut self, token: u64) {
        self.token_above = self.token_above.max(token);
        self.forget();
    }

    /// Gives the lease up, so that another process need not wait for its end.
    pub async fn release(&mut self) {
        if let Some(held) = self.held.take()
            && let Err(error) = self.metastore.release_lease(&held.fence).await
        {
            tracing::debug!(job = %self.job, %error, "a lease was not released; it ends by itself");
        }
    }

    fn until(&self) -> Timestamp {
        self.clock.now().after(LEASE_TIME)
    }
}
