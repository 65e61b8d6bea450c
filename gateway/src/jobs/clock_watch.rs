//! Whether the clock can be believed. What a job deletes because it is old is gone although the clock
//! is put right an hour later, so jobs of that kind ask here first: wall time that went ahead of time as it
//! passes (a clock that nobody sets) is believed when it has stayed so for a while, or an operator says so. A
//! machine that was suspended looks the same, and only waits.
//!
//! Over restarts the moment of the last look is kept as the token of a lease of its own, `clock`: tokens
//! are not before the moment of their grant.

use std::sync::Arc;
use std::time::Duration;

use metastore::{LeaseRequest, MetaResult, Metastore, Timestamp};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::job::{JobError, Round};
use crate::clock::Clock;

/// Wall time may go ahead by so much between two looks.
const AHEAD_MAX: Duration = Duration::from_secs(3600);
/// A clock that went ahead is believed after as long as it went ahead, this at least …
const DOUBTED_MIN: Duration = Duration::from_secs(3600);
/// … and this at most.
const DOUBTED_MAX: Duration = Duration::from_secs(24 * 3600);
/// The lease whose token is the moment of the last look.
const LEASE: &str = "clock";

/// One job's watch over its clock.
pub struct ClockWatch {
    metastore: Arc<dyn Metastore>,
    steady: Clock,
    last: Mutex<Option<Look>>,
}

/// When the clock was last believed.
#[derive(Clone, Copy)]
struct Look {
    showed: Timestamp,
    /// By the steady clock.
    at: Timestamp,
    /// Whether that was by an earlier process, which ended some time after.
    is_earlier: bool,
    doubt: Option<Doubt>,
}

#[derive(Clone, Copy)]
struct Doubt {
    /// By the steady clock.
    since: Timestamp,
    ahead: Duration,
}

impl Doubt {
    fn lasts(&self) -> Duration {
        self.ahead.clamp(DOUBTED_MIN, DOUBTED_MAX)
    }
}

impl ClockWatch {
    /// A watch that has not looked yet. `steady` shows time as it passes, as [`Clock::steady`] does.
    #[must_use]
    pub fn new(metastore: Arc<dyn Metastore>, steady: Clock) -> Self {
        Self {
            metastore,
            steady,
            last: Mutex::default(),
        }
    }

    /// Whether the round may judge by the clock; if not because no process looked for long, the round
    /// says so.
    ///
    /// # Errors
    /// An alarm while a clock that was watched has gone ahead.
    pub async fn is_believed(&self, round: &Round) -> Result<bool, JobError> {
        let (now, at) = (round.now(), self.steady.now());
        let mut last = self.last.lock().await;
        let mut look = match *last {
            Some(look) => look,
            None => self.earlier(now, at).await?,
        };
        let expected = look.showed.after(passed(look.at, at));
        let ahead = passed(expected, now);
        let grew = |doubt: &Doubt| ahead > doubt.ahead.saturating_add(AHEAD_MAX);
        let doubt = match look.doubt.filter(|doubt| !grew(doubt)) {
            Some(doubt) => doubt,
            None => Doubt { since: at, ahead },
        };
        let was_resumed = round.progress().take_resumed();
        if ahead <= AHEAD_MAX || was_resumed || passed(doubt.since, at) >= doubt.lasts() {
            self.keep(now).await?;
            *last = Some(Look {
                showed: now,
                at,
                is_earlier: false,
                doubt: None,
            });
            return Ok(true);
        }
        look.doubt = Some(doubt);
        *last = Some(look);
        let (days, hours) = (
            doubt.ahead.as_secs() / 86_400,
            doubt.ahead.as_secs() / 3600 % 24,
        );
        let (minutes, job) = (doubt.lasts().as_secs() / 60, &round.fence().job);
        let then = format!(
            "nothing expires by it for {minutes} minutes, unless it goes back or an operator who has looked at it says \
             `gateway admin job resume {job}`"
        );
        if look.is_earlier {
            round.wait_for(format!(
                "the clock shows {days} days and {hours} hours more than when it was last looked at: no gateway ran \
                 meanwhile, or it is wrong; {then}"
            ));
            return Ok(false);
        }
        Err(JobError::Alarm(format!(
            "the clock went ahead by {days} days and {hours} hours; {then}"
        )))
    }

    /// The last look of an earlier process; the present one, if there was none.
    async fn earlier(&self, now: Timestamp, at: Timestamp) -> MetaResult<Look> {
        let fences = self.metastore.newest_fences().await?;
        let kept = fences.iter().find(|fence| fence.job.as_str() == LEASE);
        Ok(Look {
            showed: kept.map_or(now, |fence| Timestamp(fence.token)),
            at,
            is_earlier: true,
            doubt: None,
        })
    }

    /// Keeps the moment of a look.
    async fn keep(&self, now: Timestamp) -> MetaResult<()> {
        let request = LeaseRequest {
            job: LEASE.parse().expect("a job's name"),
            // The same for all, so that nobody waits for anybody.
            holder: Uuid::nil(),
            now,
            until: now,
            token_above: 0,
        };
        self.metastore.acquire_lease(request).await.map(drop)
    }
}

/// Time between two moments; none, if the second one is earlier.
fn passed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(to.0.saturating_sub(from.0))
}
