//! The [`Upkeep`] trait: the records by which background jobs keep the cluster's data where it
//! should be. Part of the [`Metastore`](crate::Metastore) contract, and under its rules: every
//! method is atomic, and a success is durable before it is returned.
//!
//! What a job changes, it changes under its lease: the methods that take a [`Fence`] check in the
//! commit that its token is still the newest of the job's lease, so that a holder who was paused
//! and overtaken changes nothing (I8). Clocks only decide when a lease may be taken over, never
//! whether it is safe; so gateways whose clocks differ lose time, not data.

use async_trait::async_trait;
use chunkproto::{Fence, JobName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{MetaResult, Timestamp};

/// Who wants a job's lease, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The job.
    pub job: JobName,
    /// The process that asks.
    pub holder: Uuid,
    /// The present moment.
    pub now: Timestamp,
    /// When the lease ends unless it is renewed.
    pub until: Timestamp,
}

/// The answer to a [`LeaseRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// The caller holds the lease. The token is greater than that of every earlier grant.
    Granted(Fence),
    /// Another holds it.
    Held {
        /// Who.
        by: Uuid,
        /// Until when, if it is not renewed.
        until: Timestamp,
    },
}

/// What the operator has said about a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobControl {
    /// Whether the job is to rest until told otherwise.
    pub paused: bool,
    /// Bytes per second that the job may move; none: as the settings say.
    pub rate_bytes_per_s: Option<u64>,
}

/// The records of background jobs.
#[async_trait]
pub trait Upkeep: Send + Sync + 'static {
    /// Grants a job's lease where it is free, has ended, or is the caller's own already.
    async fn acquire_lease(&self, request: LeaseRequest) -> MetaResult<LeaseAnswer>;

    /// Makes a lease end at `until`. One that has ended may be renewed until another takes it.
    ///
    /// # Errors
    /// `Fenced` once the lease was granted again or released.
    async fn renew_lease(&self, fence: &Fence, until: Timestamp) -> MetaResult<()>;

    /// Ends a lease early. Does nothing to one that was granted again.
    async fn release_lease(&self, fence: &Fence) -> MetaResult<()>;

    /// The newest fence of every job that ever had a lease, in order of their names.
    async fn newest_fences(&self) -> MetaResult<Vec<Fence>>;

    /// What the operator has said about a job; by default nothing.
    async fn job_control(&self, job: &JobName) -> MetaResult<JobControl>;

    /// Notes what the operator says about a job.
    async fn set_job_control(&self, job: &JobName, control: JobControl) -> MetaResult<()>;
}
