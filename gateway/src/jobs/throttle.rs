//! A job's rate, which an operator may turn while the job runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two looks whether the rate has changed or the wait is over early.
const LOOK_PERIOD: Duration = Duration::from_millis(200);

/// Lets bytes pass at a rate. A clone is another handle to the same one.
#[derive(Debug, Clone)]
pub struct Throttle {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    rate_bytes_per_s: Option<u64>,
    /// Bytes that passed and were not paid for in time yet.
    owed_bytes: f64,
    paid_until: Instant,
}

impl Throttle {
    /// Lets `rate_bytes_per_s` pass; none: everything, at once.
    #[must_use]
    pub fn new(rate_bytes_per_s: Option<u64>) -> Self {
        let state = State {
            rate_bytes_per_s,
            owed_bytes: 0.0,
            paid_until: Instant::now(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Changes the rate, for those who wait too.
    pub fn set_rate(&self, rate_bytes_per_s: Option<u64>) {
        let mut state = self.lock();
        state.pay(Instant::now());
        state.rate_bytes_per_s = rate_bytes_per_s;
    }

    /// Waits until what passed before has been paid for in time, then lets `bytes` pass; false, and
    /// nothing passes, once `goes_on` says no.
    pub async fn take(&self, bytes: u64, goes_on: impl Fn() -> bool) -> bool {
        loop {
            if !goes_on() {
                return false;
            }
            let Some(wait) = self.try_take(bytes) else {
                return true;
            };
            tokio::time::sleep(wait.min(LOOK_PERIOD)).await;
        }
    }

    /// Takes the bytes, or says how long to wait.
    fn try_take(&self, bytes: u64) -> Option<Duration> {
        let mut state = self.lock();
        state.pay(Instant::now());
        let rate = match state.rate_bytes_per_s {
            Some(rate) if state.owed_bytes > 0.0 => rate.max(1),
            _ => {
                state.owed_bytes += as_f64(bytes);
                return None;
            }
        };
        Some(Duration::from_secs_f64(
            (state.owed_bytes / as_f64(rate)).min(LOOK_PERIOD.as_secs_f64()),
        ))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pay(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.paid_until);
        self.paid_until = now;
        self.owed_bytes = match self.rate_bytes_per_s {
            Some(rate) => (self.owed_bytes - elapsed.as_secs_f64() * as_f64(rate)).max(0.0),
            None => 0.0,
        };
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate need not be exact to the byte"
)]
fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[tokio::test]
    async fn bytes_are_paid_for_in_time() {
        let throttle = Throttle::new(Some(20 * MIB));
        let began = Instant::now();
        for _ in 0..3 {
            assert!(throttle.take(MIB, || true).await);
        }
        assert!(
            began.elapsed() >= Duration::from_millis(90),
            "{:?}",
            began.elapsed()
        );
    }

    #[tokio::test]
    async fn a_rate_that_is_turned_up_frees_those_who_wait() {
        let throttle = Throttle::new(Some(1));
        throttle.take(1 << 40, || true).await;
        let turned = throttle.clone();
        let waiting = tokio::spawn(async move { throttle.take(1, || true).await });
        turned.set_rate(None);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn whoever_is_to_stop_waits_no_longer() {
        let throttle = Throttle::new(Some(1));
        throttle.take(1 << 40, || true).await;
        assert!(!throttle.take(1, || false).await);
    }
}
