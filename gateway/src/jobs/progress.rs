//! How far each job is: written by the jobs, read by the operator.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunkproto::JobName;
use metastore::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Current state of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Between two rounds.
    #[default]
    Resting,
    /// Between two rounds, with something to do that cannot be done yet; `detail` says what it waits for.
    Waiting,
    /// In a round.
    Running,
    /// Another gateway runs it.
    Elsewhere,
    /// The operator paused it.
    Paused,
    /// It refuses to go on until an operator has looked; `detail` says why.
    Alarmed,
}

/// A job as the operator sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobReport {
    /// Its name.
    pub job: JobName,
    /// What it is about.
    pub state: JobState,
    /// More on that, for people.
    pub detail: String,
    /// Token of the lease that this gateway held last.
    pub token: Option<u64>,
    /// Units done since the process started.
    pub done_units: u64,
    /// Bytes moved or deleted since the process started.
    pub done_bytes: u64,
    /// Units that wait, where that is known.
    pub left_units: Option<u64>,
    /// Bytes that wait, where that is known.
    pub left_bytes: Option<u64>,
    /// Units per second, since the job last had nothing to do.
    pub units_per_s: f64,
    /// Bytes per second, since the job last had nothing to do.
    pub bytes_per_s: f64,
    /// Seconds until nothing is left, at this rate.
    pub left_s: Option<u64>,
    /// Rounds that failed since the process started.
    pub errors: u64,
    /// The last failure.
    pub last_error: Option<String>,
    /// When that was, in milliseconds since 1970.
    pub last_error_at: Option<Timestamp>,
    /// When the last round ended, in milliseconds since 1970.
    pub last_round_at: Option<Timestamp>,
}

/// All jobs of this process. A clone is another handle to the same ones.
#[derive(Debug, Clone, Default)]
pub struct JobBoard {
    jobs: Arc<Mutex<BTreeMap<JobName, Arc<JobProgress>>>>,
}

impl JobBoard {
    /// The place of a job on the board.
    #[must_use]
    pub fn of(&self, job: &JobName) -> Arc<JobProgress> {
        Arc::clone(lock(&self.jobs).entry(job.clone()).or_default())
    }

    /// Whether there is such a job.
    #[must_use]
    pub fn knows(&self, job: &JobName) -> bool {
        lock(&self.jobs).contains_key(job)
    }

    /// All jobs in order of their names.
    #[must_use]
    pub fn reports(&self) -> Vec<JobReport> {
        let jobs = lock(&self.jobs);
        jobs.iter()
            .map(|(job, progress)| progress.report(job))
            .collect()
    }
}

/// How far one job is.
#[derive(Debug, Default)]
pub struct JobProgress {
    state: Mutex<State>,
    resumed: Notify,
}

#[derive(Debug, Default)]
struct State {
    state: JobState,
    detail: String,
    token: Option<u64>,
    done: Amount,
    /// Done since the job last had nothing to do, and since when.
    stretch: Option<(Instant, Amount)>,
    left_units: Option<u64>,
    left_bytes: Option<u64>,
    errors: u64,
    last_error: Option<(Timestamp, String)>,
    last_round_at: Option<Timestamp>,
    /// Whether an operator let it go on since a round asked.
    was_resumed: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Amount {
    units: u64,
    bytes: u64,
}

impl JobProgress {
    /// Says what the job is about.
    pub fn enter(&self, state: JobState, detail: impl Into<String>) {
        let mut progress = lock(&self.state);
        (progress.state, progress.detail) = (state, detail.into());
    }

    /// Says under which token the next round runs.
    pub fn begin_round(&self, token: u64) {
        let mut progress = lock(&self.state);
        progress.token = Some(token);
        (progress.state, progress.detail) = (JobState::Running, String::new());
    }

    /// Counts one unit that is done, and the bytes that it moved or deleted.
    pub fn done(&self, bytes: u64) {
        self.done_some(1, bytes);
    }

    /// Counts units that are done, and the bytes that they moved or deleted.
    pub fn done_some(&self, units: u64, bytes: u64) {
        let mut progress = lock(&self.state);
        progress.done.add(units, bytes);
        let (_, stretch) = progress
            .stretch
            .get_or_insert_with(|| (Instant::now(), Amount::default()));
        stretch.add(units, bytes);
        progress.left_units = progress.left_units.map(|left| left.saturating_sub(units));
        progress.left_bytes = progress.left_bytes.map(|left| left.saturating_sub(bytes));
    }

    /// Says how much is left.
    pub fn expect(&self, units: u64, bytes: u64) {
        let mut progress = lock(&self.state);
        (progress.left_units, progress.left_bytes) = (Some(units), Some(bytes));
    }

    /// Ends a round well. One that had nothing to do ends the stretch over which rates are told.
    pub fn end_round(&self, now: Timestamp, did_something: bool) {
        let mut progress = lock(&self.state);
        progress.last_round_at = Some(now);
        (progress.state, progress.detail) = (JobState::Resting, String::new());
        if !did_something {
            progress.stretch = None;
        }
    }

    /// Ends a round that failed.
    pub fn fail_round(&self, now: Timestamp, error: &str, state: JobState) {
        let mut progress = lock(&self.state);
        progress.last_round_at = Some(now);
        progress.errors += 1;
        progress.last_error = Some((now, error.to_owned()));
        (progress.state, progress.detail) = (state, error.to_owned());
    }

    /// An operator lets the job go on: it need not rest any longer, nor wait for what it doubts.
    pub fn resume(&self) {
        lock(&self.state).was_resumed = true;
        self.resumed.notify_one();
    }

    /// Returns when an operator lets the job go on.
    pub async fn resumed(&self) {
        self.resumed.notified().await;
    }

    /// Whether an operator let the job go on since this was last asked.
    #[must_use]
    pub fn take_resumed(&self) -> bool {
        std::mem::take(&mut lock(&self.state).was_resumed)
    }

    /// Units done since the process started.
    #[must_use]
    pub fn done_units(&self) -> u64 {
        lock(&self.state).done.units
    }

    fn report(&self, job: &JobName) -> JobReport {
        let progress = lock(&self.state);
        let (units_per_s, bytes_per_s) = progress.rates();
        JobReport {
            job: job.clone(),
            state: progress.state,
            detail: progress.detail.clone(),
            token: progress.token,
            done_units: progress.done.units,
            done_bytes: progress.done.bytes,
            left_units: progress.left_units,
            left_bytes: progress.left_bytes,
            units_per_s,
            bytes_per_s,
            left_s: progress.left_s(units_per_s, bytes_per_s),
            errors: progress.errors,
            last_error: progress.last_error.as_ref().map(|(_, text)| text.clone()),
            last_error_at: progress.last_error.as_ref().map(|(at, _)| *at),
            last_round_at: progress.last_round_at,
        }
    }
}

impl State {
    fn rates(&self) -> (f64, f64) {
        let Some((since, amount)) = self.stretch else {
            return (0.0, 0.0);
        };
        let seconds = since.elapsed().as_secs_f64().max(0.001);
        (
            as_f64(amount.units) / seconds,
            as_f64(amount.bytes) / seconds,
        )
    }

    fn left_s(&self, units_per_s: f64, bytes_per_s: f64) -> Option<u64> {
        let seconds = match (self.left_bytes, self.left_units) {
            (_, Some(0)) => 0.0,
            (Some(bytes), _) if bytes > 0 && bytes_per_s > 0.0 => as_f64(bytes) / bytes_per_s,
            (_, Some(units)) if units_per_s > 0.0 => as_f64(units) / units_per_s,
            _ => return None,
        };
        std::time::Duration::try_from_secs_f64(seconds.ceil())
            .ok()
            .map(|left| left.as_secs())
    }
}

impl Amount {
    fn add(&mut self, units: u64, bytes: u64) {
        self.units += units;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rates and estimates need not be exact"
)]
fn as_f64(number: u64) -> f64 {
    number as f64
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_and_how_long_it_takes_follow_from_what_was_done() {
        let board = JobBoard::default();
        let progress = board.of(&"repair".parse().unwrap());
        progress.expect(10, 1000);
        for _ in 0..5 {
            progress.done(100);
        }
        let [report] = &board.reports()[..] else {
            panic!("one job")
        };
        assert_eq!((report.done_units, report.done_bytes), (5, 500));
        assert_eq!((report.left_units, report.left_bytes), (Some(5), Some(500)));
        assert!(report.left_s.is_some() && report.bytes_per_s > 0.0);
    }

    #[test]
    fn a_failure_stays_visible_after_a_good_round() {
        let progress = JobProgress::default();
        progress.fail_round(Timestamp(7), "the disk is gone", JobState::Resting);
        progress.end_round(Timestamp(8), false);
        let report = progress.report(&"gc".parse().unwrap());
        assert_eq!(report.last_error.as_deref(), Some("the disk is gone"));
        assert_eq!(report.last_error_at, Some(Timestamp(7)));
        assert_eq!((report.state, report.errors), (JobState::Resting, 1));
    }
}
