//! Waiting for what another process does: look again and again, up to a deadline.

use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// Calls `look` until it finds something, and returns that.
///
/// # Panics
/// When nothing is found within `deadline`; the message names `what`.
pub async fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            began.elapsed() < deadline,
            "{what}: not within {deadline:?}"
        );
        tokio::time::sleep(LOOK_PERIOD).await;
    }
}
