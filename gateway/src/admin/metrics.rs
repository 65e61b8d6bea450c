//! Nodes and jobs in Prometheus's text format, version 0.0.4:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{Display, Write as _};

use chunkproto::ScrubReport;
use metastore::Timestamp;

use super::data::DataReport;
use crate::cluster::{NodeState, NodeStatus};
use crate::jobs::{BackupReport, JobReport, JobState};

/// The metrics of this gateway.
pub fn metrics(
    nodes: &[NodeStatus],
    jobs: &[JobReport],
    backup: Option<&BackupReport>,
    data: Option<&DataReport>,
) -> String {
    let mut text = String::new();
    of_nodes(&mut text, nodes);
    of_scrubs(&mut text, nodes);
    of_jobs(&mut text, jobs);
    if let Some(data) = data {
        of_data(&mut text, data);
    }
    if let Some(backup) = backup {
        of_backup(&mut text, backup);
    }
    text
}

fn of_nodes(text: &mut String, nodes: &[NodeStatus]) {
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&NodeStatus) -> u64| {
        head(text, name, "gauge", help);
        for node in nodes {
            line(text, name, "node", node.registration.node_id, value(node));
        }
    };
    gauge(
        "sextant_node_live",
        "1 while the chunk server is heard from.",
        &|node| u64::from(node.state == NodeState::Live),
    );
    gauge(
        "sextant_node_writable",
        "1 while the chunk server takes new chunks.",
        &|node| u64::from(node.registration.state.writable),
    );
    gauge(
        "sextant_node_used_bytes",
        "Bytes of chunk data on the chunk server.",
        &|node| node.registration.state.used_bytes,
    );
    gauge(
        "sextant_node_free_bytes",
        "Bytes free on the chunk server's disk.",
        &|node| node.registration.state.free_bytes,
    );
    gauge(
        "sextant_node_chunks",
        "Chunks on the chunk server.",
        &|node| node.registration.state.chunk_count,
    );
    gauge(
        "sextant_node_fenced_disks",
        "Disks that the chunk server has fenced off.",
        &|node| node.registration.state.fenced_disks.len() as u64,
    );
    gauge(
        "sextant_node_in_flight",
        "This gateway's requests under way on it.",
        &|node| u64::from(node.in_flight),
    );
}

fn of_scrubs(text: &mut String, nodes: &[NodeStatus]) {
    let now_ms = Timestamp::now().0;
    let mut each = |name: &str, kind: &str, help: &str, value: &dyn Fn(&ScrubReport) -> u64| {
        head(text, name, kind, help);
        for node in nodes {
            if let Some(scrub) = &node.registration.state.scrub {
                line(text, name, "node", node.registration.node_id, value(scrub));
            }
        }
    };
    each(
        "sextant_node_unverified_seconds",
        "gauge",
        "Since the chunk that waits longest was verified or written.",
        &|scrub| now_ms.saturating_sub(scrub.oldest_verified_at_ms) / 1000,
    );
    each(
        "sextant_node_scrub_late",
        "gauge",
        "1 while a chunk waits for longer than the scrub period.",
        &|scrub| u64::from(scrub.late),
    );
    each(
        "sextant_node_scrubbed_chunks_total",
        "counter",
        "Chunks that scrubbing has verified.",
        &|scrub| scrub.verified_chunks,
    );
    each(
        "sextant_node_damaged_chunks_total",
        "counter",
        "Chunks that scrubbing has found damaged.",
        &|scrub| scrub.damaged_chunks,
    );
}

fn of_data(text: &mut String, data: &DataReport) {
    let mut by_copies = |name: &str, help: &str, chunks: &[u64]| {
        head(text, name, "gauge", help);
        for (copies, count) in chunks.iter().enumerate() {
            line(text, name, "copies", copies, *count);
        }
    };
    by_copies(
        "sextant_chunks_awaiting_repair",
        "Chunks that wait for repair, by the good copies that were found.",
        &data.chunks_by_copies,
    );
    let none = Vec::new();
    by_copies(
        "sextant_chunks_awaiting_nodes",
        "Chunks on silent chunk servers, by the good copies that were found elsewhere.",
        data.awaited
            .as_ref()
            .map_or(&none, |awaited| &awaited.chunks_by_copies),
    );
}

fn of_jobs(text: &mut String, jobs: &[JobReport]) {
    let mut each = |name: &str, kind: &str, help: &str, value: &dyn Fn(&JobReport) -> u64| {
        head(text, name, kind, help);
        for job in jobs {
            line(text, name, "job", &job.job, value(job));
        }
    };
    each(
        "sextant_job_running",
        "gauge",
        "1 while this gateway runs a round of the job.",
        &|job| u64::from(job.state == JobState::Running),
    );
    each(
        "sextant_job_alarmed",
        "gauge",
        "1 while the job refuses to go on until somebody has looked.",
        &|job| u64::from(job.state == JobState::Alarmed),
    );
    each(
        "sextant_job_done_total",
        "counter",
        "Units that the job has done.",
        &|job| job.done_units,
    );
    each(
        "sextant_job_done_bytes_total",
        "counter",
        "Bytes that the job has moved or deleted.",
        &|job| job.done_bytes,
    );
    each(
        "sextant_job_left",
        "gauge",
        "Units that wait, as of the job's last look.",
        &|job| job.left_units.unwrap_or(0),
    );
    each(
        "sextant_job_left_bytes",
        "gauge",
        "Bytes that wait, as of the job's last look.",
        &|job| job.left_bytes.unwrap_or(0),
    );
    each(
        "sextant_job_errors_total",
        "counter",
        "Rounds that failed.",
        &|job| job.errors,
    );
}

fn of_backup(text: &mut String, backup: &BackupReport) {
    let mut gauge = |name: &str, help: &str, value: u64| {
        head(text, name, "gauge", help);
        writeln!(text, "{name} {value}").expect("a string takes all text");
    };
    gauge(
        "sextant_metadata_backup_restorable",
        "1 once the metadata of this run could be restored.",
        u64::from(backup.behind_s.is_some()),
    );
    if let Some(behind_s) = backup.behind_s {
        gauge(
            "sextant_metadata_backup_behind_seconds",
            "How much a restored database would lack.",
            behind_s,
        );
    }
    gauge(
        "sextant_metadata_backup_checkpoint_bytes",
        "Length of the newest checkpoint.",
        backup.checkpoint_bytes,
    );
    gauge(
        "sextant_metadata_backup_log_bytes",
        "Log shipped since the newest checkpoint.",
        backup.log_bytes,
    );
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a string takes all text");
}

fn line(text: &mut String, name: &str, label: &str, value: impl Display, number: u64) {
    writeln!(text, "{name}{{{label}=\"{value}\"}} {number}").expect("a string takes all text");
}
