//! The least pace of a client, on its way in or out: one that sends or takes next to nothing must not
//! hold memory, and garbage from being collected, for ever. Only the time spent waiting for the client
//! counts.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// Within so much waiting for it …
const WINDOW: Duration = Duration::from_secs(60);
/// … a client must send or take this many bytes: 1 KiB/s.
const WINDOW_BYTES_MIN: u64 = 64 * 1024;

/// A client was slower than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client moved {bytes} bytes in {WINDOW:?}, and {WINDOW_BYTES_MIN} are the least")]
pub struct TooSlow {
    bytes: u64,
}

/// What a client moved in the present window.
#[derive(Debug, Default)]
pub struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Waits for the client's next bytes, or until it is too slow. What comes is noted by
    /// [`note`](Self::note), without a wait.
    ///
    /// # Errors
    /// [`TooSlow`].
    pub async fn wait<T>(&mut self, next: impl Future<Output = T>) -> Result<T, TooSlow> {
        let mut next = pin!(next);
        loop {
            let (began, left) = (Instant::now(), WINDOW.saturating_sub(self.waited));
            match timeout(left, next.as_mut()).await {
                Ok(next) => {
                    self.waited += began.elapsed();
                    return Ok(next);
                }
                Err(_) => self.note(left, 0)?,
            }
        }
    }

    /// Notes that the client was waited for, and moved so many bytes then.
    ///
    /// # Errors
    /// [`TooSlow`].
    pub fn note(&mut self, waited: Duration, bytes: u64) -> Result<(), TooSlow> {
        self.waited = self.waited.saturating_add(waited);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.waited < WINDOW {
            return Ok(());
        }
        let bytes = std::mem::take(self).bytes;
        if bytes < WINDOW_BYTES_MIN {
            return Err(TooSlow { bytes });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_client_that_moves_too_little_in_a_window_is_too_slow() {
        let mut pace = Pace::default();
        assert_eq!(pace.note(59 * SECOND, WINDOW_BYTES_MIN - 1), Ok(()));
        assert!(pace.note(SECOND, 0).is_err());
    }

    #[test]
    fn every_window_is_looked_at_by_itself() {
        let mut pace = Pace::default();
        for _ in 0..3 {
            assert_eq!(pace.note(WINDOW, WINDOW_BYTES_MIN), Ok(()));
        }
        assert!(pace.note(WINDOW, 0).is_err());
    }

    #[test]
    fn time_in_which_nobody_waits_for_the_client_does_not_count() {
        let mut pace = Pace::default();
        for _ in 0..1000 {
            assert_eq!(pace.note(Duration::ZERO, 1), Ok(()));
        }
    }
}
