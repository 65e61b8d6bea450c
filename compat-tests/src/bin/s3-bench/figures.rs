//! The figures of one line of the report.

use serde_json::{Value, json};

use crate::measure::{Case, Measured};
use crate::requests::Operation;

const MIB: f64 = 1_048_576.0;

/// What a measurement says.
pub(crate) struct Figures {
    requests: usize,
    failures: u64,
    ops_per_s: f64,
    /// `None` for operations that move no objects.
    mib_per_s: Option<f64>,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// CPU time of the server's processes; `None` if they are not known, as the next.
    server_cpu_us_per_op: Option<f64>,
    server_peak_mib: Option<f64>,
    /// Share of one core that this program used.
    client_cpu_share: f64,
    /// Rate, compared with the first server's.
    ratio: f64,
}

impl Figures {
    /// Of one measurement, compared with another one's rate.
    pub(crate) fn of(case: &Case, measured: &Measured, reference_per_s: f64) -> Self {
        let mut took_ms: Vec<f64> = measured
            .seen
            .took
            .iter()
            .map(|took| took.as_secs_f64() * 1e3)
            .collect();
        took_ms.sort_unstable_by(f64::total_cmp);
        let ops_per_s = measured.rate_per_s();
        let moves = matches!(case.operation, Operation::Put | Operation::Get);
        let per_op = |usage: f64| usage * 1e6 / took_ms.len().max(1) as f64;
        let server = measured.server;
        Self {
            requests: took_ms.len(),
            failures: measured.seen.failures.values().sum(),
            ops_per_s,
            mib_per_s: moves.then(|| ops_per_s * case.size_bytes as f64 / MIB),
            p50_ms: percentile(&took_ms, 50),
            p99_ms: percentile(&took_ms, 99),
            max_ms: percentile(&took_ms, 100),
            server_cpu_us_per_op: server.map(|usage| per_op(usage.cpu.as_secs_f64())),
            server_peak_mib: server.map(|usage| usage.peak_memory_kib as f64 / 1024.0),
            client_cpu_share: measured.client_cpu.as_secs_f64() / measured.elapsed.as_secs_f64(),
            ratio: ops_per_s / reference_per_s,
        }
    }

    /// What [`columns`](Self::columns) gives.
    pub(crate) const HEADING: &str =
        "    ops/s    MiB/s   p50 ms   p99 ms   cpu us  mem MiB  client  failed  ratio";

    /// The figures of the table.
    pub(crate) fn columns(&self) -> String {
        format!(
            "{:>9.0} {} {:>8.2} {:>8.2} {} {} {:>6.0}% {:>7} {:>6.2}",
            self.ops_per_s,
            or_dash(self.mib_per_s, 8),
            self.p50_ms,
            self.p99_ms,
            or_dash(self.server_cpu_us_per_op, 8),
            or_dash(self.server_peak_mib, 8),
            self.client_cpu_share * 100.0,
            self.failures,
            self.ratio,
        )
    }

    /// All of them, with their units in their names.
    pub(crate) fn json(&self) -> Value {
        json!({
            "requests": self.requests,
            "failures": self.failures,
            "ops_per_s": self.ops_per_s,
            "mib_per_s": self.mib_per_s,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "max_ms": self.max_ms,
            "server_cpu_us_per_op": self.server_cpu_us_per_op,
            "server_peak_mib": self.server_peak_mib,
            "client_cpu_share": self.client_cpu_share,
            "ratio": self.ratio,
        })
    }
}

fn or_dash(figure: Option<f64>, width: usize) -> String {
    figure.map_or_else(
        || format!("{:>width$}", "-"),
        |figure| format!("{figure:>width$.1}"),
    )
}

/// Of sorted figures; 0 if there are none.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((sorted.len() * percent / 100).min(last))
        .copied()
        .unwrap_or(0.0)
}
