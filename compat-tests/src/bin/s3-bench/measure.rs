//! One measurement: fill in the objects that it needs, load the server, count.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use tokio::time::sleep_until;

use crate::Failure;
use crate::load::{Clock, Load, Seen};
use crate::processes::Usage;
use crate::requests::{Objects, Operation, Requests};
use crate::targets::Server;

/// Not counted: connections are made and caches filled.
const WARM_UP: Duration = Duration::from_millis(500);
/// Objects of one size add up to so much at most,
const OBJECTS_BYTES: u64 = 512 << 20;
/// but there are at least so many.
const OBJECTS_MIN: u64 = 16;
/// A slow server gets so long to take the objects; what it took by then is worked with.
const FILL_MAX: Duration = Duration::from_secs(20);
const FILL_CONNECTIONS: usize = 32;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// The operation.
    pub(crate) operation: Operation,
    /// Size of each object.
    pub(crate) size_bytes: u64,
    /// Connections at a time.
    pub(crate) connections: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operation, size) = (self.operation, ByteSize(self.size_bytes));
        write!(f, "{operation} {size}, {} connections", self.connections)
    }
}

/// The outcome of one measurement, or of several added up.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Latencies and failures.
    pub(crate) seen: Seen,
    /// The counted time.
    pub(crate) elapsed: Duration,
    /// Of the server's processes, if they are known.
    pub(crate) server: Option<Usage>,
    /// CPU time of this program.
    pub(crate) client_cpu: Duration,
}

impl Measured {
    /// Good requests per second.
    pub(crate) fn rate_per_s(&self) -> f64 {
        self.seen.took.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Adds another measurement of the same case.
    pub(crate) fn add(&mut self, other: Self) {
        self.seen.add(other.seen);
        self.elapsed += other.elapsed;
        self.server = match (self.server, other.server) {
            (Some(one), Some(more)) => Some(one.plus(more)),
            (one, more) => one.or(more),
        };
        self.client_cpu += other.client_cpu;
    }
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// The counted time.
    pub(crate) span: Duration,
    /// Different objects, at most.
    pub(crate) objects_max: u64,
}

/// Measures one case.
///
/// # Errors
/// Objects that could not be filled in, and processes that ended.
pub(crate) async fn measure(
    case: &Case,
    server: &Server,
    bucket: &str,
    extent: Extent,
) -> Result<Measured, Failure> {
    let fitting = (OBJECTS_BYTES / case.size_bytes.max(1)).max(OBJECTS_MIN);
    let count = fitting.min(extent.objects_max);
    let mut objects = Objects {
        endpoint: server.endpoint(),
        bucket,
        size_bytes: case.size_bytes,
        count: usize::try_from(count)?,
    };
    if case.operation != Operation::Put {
        objects.count = fill(&objects).await?;
    }
    // What was deleted cannot be deleted again: such a load ends when nothing is left, and counts
    // from its beginning.
    let once = case.operation == Operation::Delete;
    let requests = Arc::new(Requests::new(&objects, case.operation, !once)?);
    let warm_up = if once { Duration::ZERO } else { WARM_UP };
    let clock = Clock::start(warm_up, extent.span);
    let mut load = Load::begin(objects.endpoint, &requests, case.connections, clock);
    sleep_until(clock.counted_from.into()).await;
    let (server_before, client_before) = (server.usage()?, Usage::of_this_process()?);
    let until = load.counted().await?;
    let (server_after, client_after) = (server.usage()?, Usage::of_this_process()?);
    Ok(Measured {
        seen: load.finish().await?,
        elapsed: until - clock.counted_from,
        server: server_after
            .zip(server_before)
            .map(|(after, before)| after.since(before)),
        client_cpu: client_after.since(client_before).cpu,
    })
}

/// Puts the objects, as many as the time allows. Returns how many there are.
async fn fill(objects: &Objects<'_>) -> Result<usize, Failure> {
    let requests = Arc::new(Requests::new(objects, Operation::Put, false)?);
    let clock = Clock::start(Duration::ZERO, FILL_MAX);
    let load = Load::begin(objects.endpoint, &requests, FILL_CONNECTIONS, clock);
    let seen = load.finish().await?;
    if seen.failures.is_empty() {
        return Ok(requests.used());
    }
    Err(format!(
        "the objects to measure with could not be put: {:?}",
        seen.failures
    )
    .into())
}
