//! The present moment, passed in so that a test can own it.

use std::fmt;
use std::sync::Arc;

use metastore::Timestamp;
use tokio::time::Instant;

/// Tells the time. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::of(Timestamp::now)
    }

    /// A clock that nobody sets: it shows how much time has passed, from an arbitrary moment on. Time that
    /// the machine was suspended for may be missing.
    #[must_use]
    pub fn steady() -> Self {
        let begin = Instant::now();
        Self::of(move || Timestamp(0).after(begin.elapsed()))
    }

    /// A clock that shows what `now` returns.
    #[must_use]
    pub fn of(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}
