//! What one measurement saw: operations, time, CPU time, latencies.

use std::future::Future;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;

use crate::Failure;

/// Not counted: the first requests make directories and fill caches.
const WARM_UP: Duration = Duration::from_millis(500);

/// When a measurement counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    counted_from: Instant,
    end: Instant,
}

impl Span {
    /// So long, after a warm-up that begins now.
    pub(crate) fn after_warm_up(span: Duration) -> Self {
        let counted_from = Instant::now() + WARM_UP;
        Self {
            counted_from,
            end: counted_from + span,
        }
    }

    /// Whether a client may begin another request.
    pub(crate) fn is_open(self) -> bool {
        Instant::now() < self.end
    }
}

/// How long the requests of one client took, of those that count.
pub(crate) struct Latencies {
    counted_from: Instant,
    took: Vec<Duration>,
}

impl Latencies {
    /// None yet.
    pub(crate) fn of(span: Span) -> Self {
        Self {
            counted_from: span.counted_from,
            took: Vec::new(),
        }
    }

    /// Notes a request that ends now.
    pub(crate) fn note(&mut self, begun: Instant) {
        if begun >= self.counted_from {
            self.took.push(begun.elapsed());
        }
    }
}

/// The outcome of one measurement, or of several added up.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    bytes: u64,
    elapsed: Duration,
    /// CPU time of this process: store and clients, not the kernel's own threads.
    cpu: Duration,
    took: Vec<Duration>,
}

/// Runs the clients to their end. `bytes_each` is what one request moves. Returns also what the
/// clients return beside their latencies.
///
/// # Errors
/// The first error of any client; also when nothing happened after the warm-up.
pub(crate) async fn measure<F, T>(
    span: Span,
    bytes_each: usize,
    clients: impl Iterator<Item = F>,
) -> Result<(Sample, Vec<T>), Failure>
where
    F: Future<Output = Result<(Latencies, T), Failure>> + Send + 'static,
    T: Send + 'static,
{
    let mut tasks: JoinSet<_> = clients.collect();
    tokio::time::sleep_until(span.counted_from.into()).await;
    let cpu_before = cpu_time()?;
    let mut sample = Sample::default();
    let mut returned = Vec::new();
    while let Some(client) = tasks.join_next().await {
        let (latencies, more) = client??;
        sample.took.extend(latencies.took);
        returned.push(more);
    }
    if sample.took.is_empty() {
        return Err(
            "no request was made after the warm-up; --written-max-mib may be too low".into(),
        );
    }
    sample.elapsed = span.counted_from.elapsed();
    sample.cpu = cpu_time()? - cpu_before;
    sample.bytes = sample.took.len() as u64 * bytes_each as u64;
    Ok((sample, returned))
}

impl Sample {
    /// Adds another measurement of the same kind.
    pub(crate) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.elapsed += other.elapsed;
        self.cpu += other.cpu;
        self.took.extend(other.took);
    }

    /// Requests per second.
    pub(crate) fn rate_per_s(&self) -> f64 {
        self.took.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The columns of the table that [`HEADING`](crate::cell::HEADING) names last.
    pub(crate) fn columns(&mut self) -> String {
        self.took.sort_unstable();
        let mib_per_s = self.bytes as f64 / self.elapsed.as_secs_f64() / f64::from(1 << 20);
        let cpu_us = self.cpu.as_secs_f64() * 1e6 / self.took.len() as f64;
        format!(
            "{:>9.0} {mib_per_s:>8.1} {:>8} {:>8} {cpu_us:>8.1}",
            self.rate_per_s(),
            self.percentile(50).as_micros(),
            self.percentile(99).as_micros(),
        )
    }

    /// Of sorted latencies.
    fn percentile(&self, percent: usize) -> Duration {
        self.took[(self.took.len() * percent / 100).min(self.took.len() - 1)]
    }
}

fn cpu_time() -> Result<Duration, Failure> {
    Ok(clock_gettime(ClockId::ProcessCPUTime).try_into()?)
}
