//! Counters of the chunk API, and their text in the Prometheus exposition format, version 0.0.4:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use super::disk_metrics;
use crate::node::NodeState;
use crate::store::StoreState;

/// What a request did, as a label. The order is that of [`Operation::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Put,
    Get,
    Head,
    Delete,
    List,
    Copy,
    Other,
}

impl Operation {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Put, "put"),
        (Self::Get, "get"),
        (Self::Head, "head"),
        (Self::Delete, "delete"),
        (Self::List, "list"),
        (Self::Copy, "copy"),
        (Self::Other, "other"),
    ];
}

/// A number that grows.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds to it.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one server.
#[derive(Default)]
pub(super) struct Metrics {
    operations: [OperationMetrics; Operation::ALL.len()],
    received_bytes: Counter,
    sent_bytes: Counter,
}

/// The counters of one operation: answers by status class (2xx to 5xx), and their time.
#[derive(Default)]
struct OperationMetrics {
    answers: [Counter; 4],
    micros: Counter,
}

impl Metrics {
    /// Counts an answer whose head was ready `elapsed` after its request's head.
    pub fn count(&self, operation: Operation, status: StatusCode, elapsed: Duration) {
        let metrics = &self.operations[operation as usize];
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        metrics.answers[class].add(1);
        metrics
            .micros
            .add(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts chunk data that became durable.
    pub fn count_received(&self, bytes: u64) {
        self.received_bytes.add(bytes);
    }

    /// Counts chunk data as it is sent.
    pub fn sent_bytes(&self) -> Counter {
        self.sent_bytes.clone()
    }

    /// All counters and the node's state as text.
    pub fn render(&self, node: &NodeState) -> String {
        let mut text = String::new();
        self.render_operations(&mut text);
        self.render_node(&mut text, &node.total);
        disk_metrics::render(&mut text, &node.disks);
        text
    }

    fn render_operations(&self, text: &mut String) {
        let requests = "sextant_chunkd_requests_total";
        head(
            text,
            requests,
            "counter",
            "Answers by operation and status class.",
        );
        for (operation, name) in Operation::ALL {
            for (class, counter) in (2..).zip(&self.operations[operation as usize].answers) {
                let labels = format!("{{operation=\"{name}\",status=\"{class}xx\"}}");
                line(text, requests, &labels, &counter.get().to_string());
            }
        }
        let seconds = "sextant_chunkd_request_seconds_total";
        head(
            text,
            seconds,
            "counter",
            "Time from a request's head to its answer's head.",
        );
        for (operation, name) in Operation::ALL {
            let micros = self.operations[operation as usize].micros.get();
            let value = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            line(text, seconds, &format!("{{operation=\"{name}\"}}"), &value);
        }
    }

    fn render_node(&self, text: &mut String, state: &StoreState) {
        let single = [
            (
                "received_bytes_total",
                "counter",
                "Chunk data made durable.",
                self.received_bytes.get(),
            ),
            (
                "sent_bytes_total",
                "counter",
                "Chunk data sent.",
                self.sent_bytes.get(),
            ),
            (
                "disk_errors_total",
                "counter",
                "Input/output errors since start, and disks fenced off.",
                state.disk_errors,
            ),
            (
                "quarantined_total",
                "counter",
                "Damaged chunks set aside since start.",
                state.quarantined,
            ),
            ("chunks", "gauge", "Chunks held.", state.chunk_count),
            (
                "used_bytes",
                "gauge",
                "Bytes of chunk data held.",
                state.used_bytes,
            ),
            (
                "free_bytes",
                "gauge",
                "Bytes free on the filesystems.",
                state.free_bytes,
            ),
            (
                "capacity_bytes",
                "gauge",
                "Size of the filesystems.",
                state.capacity_bytes,
            ),
            (
                "in_flight",
                "gauge",
                "Reads and writes under way.",
                state.in_flight.into(),
            ),
            (
                "writable",
                "gauge",
                "1 while new chunks are accepted.",
                state.writable.into(),
            ),
        ];
        for (name, kind, help, value) in single {
            let name = format!("sextant_chunkd_{name}");
            head(text, &name, kind, help);
            line(text, &name, "", &value.to_string());
        }
    }
}

/// Begins a metric.
pub(super) fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a string takes all text");
}

/// One value of a metric.
pub(super) fn line(text: &mut String, name: &str, labels: &str, value: &str) {
    writeln!(text, "{name}{labels} {value}").expect("a string takes all text");
}
