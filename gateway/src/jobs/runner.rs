//! The life of a job: rest, hold the lease, run a round, say how it went, again; until the process
//! stops. Any number of gateways may run the same jobs: whoever holds the lease works.

use std::sync::Arc;
use std::time::Duration;

use metastore::{JobControl, MetaResult, Metastore};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{error, warn};
use uuid::Uuid;

use super::job::{FenceRefusal, Job, JobError, Round};
use super::lease::{Lease, LeaseState};
use super::progress::{JobBoard, JobProgress, JobState};
use super::throttle::Throttle;
use crate::clock::Clock;

/// How often a running round looks at its lease and at what the operator says.
const WATCH_PERIOD: Duration = Duration::from_secs(1);

/// Runs jobs. A clone runs further ones under the same identity.
#[derive(Clone)]
pub struct JobRunner {
    metastore: Arc<dyn Metastore>,
    board: JobBoard,
    holder: Uuid,
    clock: Clock,
    stop: watch::Receiver<()>,
}

impl JobRunner {
    /// A runner whose jobs end, after the units under way, when `stop` closes. `holder` tells this
    /// process from others in the leases.
    #[must_use]
    pub fn new(
        metastore: Arc<dyn Metastore>,
        board: JobBoard,
        holder: Uuid,
        clock: Clock,
        stop: watch::Receiver<()>,
    ) -> Self {
        Self {
            metastore,
            board,
            holder,
            clock,
            stop,
        }
    }

    /// Runs `job` until the process stops.
    pub async fn run(self, job: impl Job) {
        let mut run = Run {
            lease: Lease::new(
                Arc::clone(&self.metastore),
                job.name(),
                self.holder,
                self.clock.clone(),
            ),
            progress: self.board.of(&job.name()),
            throttle: Throttle::new(job.rate_bytes_per_s()),
            alarm: None,
            runner: &self,
            job: &job,
        };
        let mut stop = self.stop.clone();
        loop {
            run.turn().await;
            tokio::select! {
                biased;
                _ = stop.changed() => break,
                () = sleep(job.period()) => {}
                () = job.woken() => {}
                () = run.progress.resumed() => {}
            }
        }
        run.lease.release().await;
    }
}

/// A job that is being run.
struct Run<'r, J> {
    runner: &'r JobRunner,
    job: &'r J,
    lease: Lease,
    progress: Arc<JobProgress>,
    throttle: Throttle,
    /// What was said last of why it refuses to go on; the same is not said every round.
    alarm: Option<String>,
}

impl<J: Job> Run<'_, J> {
    /// One round, if it is our turn.
    async fn turn(&mut self) {
        let outcome = self.round().await;
        let now = self.runner.clock.now();
        match outcome {
            Ok(()) => self.alarm = None,
            Err(JobError::Alarm(reason)) => {
                if self.alarm.as_ref() != Some(&reason) {
                    error!(job = %self.job.name(), reason, "a job refuses to go on");
                    self.alarm = Some(reason.clone());
                }
                self.progress.fail_round(now, &reason, JobState::Alarmed);
            }
            Err(failure) => {
                warn!(job = %self.job.name(), error = %failure, "a job's round failed");
                self.progress
                    .fail_round(now, &failure.to_string(), JobState::Resting);
            }
        }
    }

    async fn round(&mut self) -> Result<(), JobError> {
        if self.apply_operator_control().await?.paused {
            self.progress.enter(JobState::Paused, "");
            self.lease.release().await;
            return Ok(());
        }
        let fence = match self.lease.hold().await? {
            LeaseState::Ours(fence) => fence,
            LeaseState::Theirs(by) => {
                let detail = format!("the gateway {by} holds its lease");
                self.progress.enter(JobState::Elsewhere, detail);
                return Ok(());
            }
        };
        self.progress.begin_round(fence.token);
        let done_before = self.progress.done_units();
        let round = Round::new(
            fence,
            self.runner.clock.clone(),
            Arc::clone(&self.progress),
            self.throttle.clone(),
            self.runner.stop.clone(),
        );
        let job = self.job;
        let outcome = tokio::select! {
            biased;
            outcome = job.round(&round) => outcome,
            never = self.watch(&round) => match never {},
        };
        if round.has_unknown_outcome() {
            self.lease.forget();
        }
        let refused_by = round.refused_by();
        if let Some(refusal) = &refused_by {
            self.lease.forget_up_to(refusal.newest());
        }
        outcome?;
        if let Some(FenceRefusal { node, detail }) = refused_by {
            return Err(JobError::Fenced { node, detail });
        }
        round.verdict()?;
        let did_something = self.progress.done_units() > done_before;
        self.progress
            .end_round(self.runner.clock.now(), did_something);
        if let Some(what) = round.waits_for() {
            self.progress.enter(JobState::Waiting, what);
        }
        Ok(())
    }

    /// Keeps the lease while a round runs, and ends the round when it is lost or the job paused.
    async fn watch(&mut self, round: &Round) -> std::convert::Infallible {
        loop {
            sleep(WATCH_PERIOD).await;
            match self.lease.keep().await {
                Ok(true) => {}
                Ok(false) => {
                    warn!(job = %self.job.name(), "a job lost its lease; its round ends");
                    round.end();
                }
                Err(failure) => {
                    warn!(job = %self.job.name(), error = %failure, "a lease was not renewed yet");
                }
            }
            match self.apply_operator_control().await {
                Ok(JobControl { paused: true, .. }) => round.end(),
                Ok(_) => {}
                Err(failure) => {
                    warn!(job = %self.job.name(), error = %failure, "a job's rate was not read");
                }
            }
        }
    }

    async fn apply_operator_control(&self) -> MetaResult<JobControl> {
        let control = self.runner.metastore.job_control(&self.job.name()).await?;
        let rate = control.rate_bytes_per_s.or(self.job.rate_bytes_per_s());
        self.throttle.set_rate(rate);
        Ok(control)
    }
}
