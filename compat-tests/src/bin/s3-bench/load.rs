//! A load: connections that send one request after the other, and what they saw in the counted time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compat_tests::Endpoint;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use crate::Failure;
use crate::connection::Connection;
use crate::requests::Requests;

/// A server that is gone or refuses is not asked again at once.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// When requests may begin and which count: those that end in this time, since as many were under
/// way at its beginning as are at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// From here on.
    pub(crate) counted_from: Instant,
    /// Until here.
    pub(crate) end: Instant,
}

impl Clock {
    /// Starts now; counts for `span` after `warm_up`.
    pub(crate) fn start(warm_up: Duration, span: Duration) -> Self {
        let counted_from = Instant::now() + warm_up;
        Self {
            counted_from,
            end: counted_from + span,
        }
    }
}

/// What connections saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How long each good request took.
    pub(crate) took: Vec<Duration>,
    /// How often each failure came, whenever it came.
    pub(crate) failures: BTreeMap<String, u64>,
}

impl Seen {
    /// Adds what others saw.
    pub(crate) fn add(&mut self, other: Self) {
        self.took.extend(other.took);
        for (reason, count) in other.failures {
            *self.failures.entry(reason).or_default() += count;
        }
    }
}

/// A load under way.
pub(crate) struct Load {
    tasks: JoinSet<Seen>,
    clock: Clock,
    seen: Seen,
}

impl Load {
    /// Lets this many connections begin.
    pub(crate) fn begin(
        endpoint: &Endpoint,
        requests: &Arc<Requests>,
        connections: usize,
        clock: Clock,
    ) -> Self {
        let connection = |_| send_in_turn(Connection::to(endpoint), Arc::clone(requests), clock);
        Self {
            tasks: (0..connections).map(connection).collect(),
            clock,
            seen: Seen::default(),
        }
    }

    /// Waits until the counted time is over, or before that until the requests are. Requests may
    /// still be under way then. Returns that moment.
    ///
    /// # Errors
    /// A bug in this program.
    pub(crate) async fn counted(&mut self) -> Result<Instant, Failure> {
        if let Ok(ended) = timeout_at(
            self.clock.end.into(),
            drain(&mut self.tasks, &mut self.seen),
        )
        .await
        {
            ended?;
        }
        Ok(Instant::now().min(self.clock.end))
    }

    /// Waits for the requests that are under way; no new ones begin.
    ///
    /// # Errors
    /// A bug in this program.
    pub(crate) async fn finish(mut self) -> Result<Seen, Failure> {
        drain(&mut self.tasks, &mut self.seen).await?;
        Ok(self.seen)
    }
}

async fn drain(tasks: &mut JoinSet<Seen>, seen: &mut Seen) -> Result<(), Failure> {
    while let Some(ended) = tasks.join_next().await {
        seen.add(ended?);
    }
    Ok(())
}

async fn send_in_turn(mut connection: Connection, requests: Arc<Requests>, clock: Clock) -> Seen {
    let mut seen = Seen::default();
    loop {
        let begun = Instant::now();
        let Some(request) = (begun < clock.end).then(|| requests.next()).flatten() else {
            return seen;
        };
        let replied = connection.exchange(request).await;
        let ended = Instant::now();
        match replied.and_then(|reply| requests.check(&reply)) {
            Ok(()) if ended >= clock.counted_from && ended <= clock.end => {
                seen.took.push(ended - begun);
            }
            Ok(()) => {}
            Err(reason) => {
                *seen.failures.entry(reason).or_default() += 1;
                sleep(AFTER_FAILURE).await;
            }
        }
    }
}
