//! What of a cluster's state needs a person's attention, and what that person can do.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::status::{DataReport, NodeReport};
use crate::jobs::{JobReport, JobState};

/// Percent of all disks in use from which more room is called for.
const NEARLY_FULL_PERCENT: u64 = 85;

/// How bad it is. The order is the one in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Data cannot be read, or one more failure loses some.
    Danger,
    /// Something failed; the cluster copes, for now.
    Attention,
    /// Somebody wanted it so, and should not forget it.
    Note,
}

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What there is.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// Everything that needs attention, the worst first.
pub fn findings(
    data: &DataReport,
    nodes: &[NodeReport],
    jobs: &[JobReport],
    down_after: Duration,
) -> Vec<Finding> {
    let mut found = Vec::new();
    of_data(&mut found, data);
    of_short_chunks(&mut found, data, jobs);
    of_room(&mut found, nodes, data.replicas);
    for node in nodes {
        of_node(&mut found, node, down_after);
    }
    for job in jobs {
        of_job(&mut found, job);
    }
    found.sort_by_key(|finding| finding.level);
    found
}

fn add(found: &mut Vec<Finding>, level: Level, what: impl fmt::Display, advice: impl fmt::Display) {
    let (what, advice) = (what.to_string(), advice.to_string());
    found.push(Finding {
        level,
        what,
        advice,
    });
}

fn of_data(found: &mut Vec<Finding>, data: &DataReport) {
    let with = |copies: usize| data.chunks_by_copies.get(copies).copied().unwrap_or(0);
    if with(0) > 0 {
        let mut objects: Vec<_> = data.unreachable.iter().map(|one| &*one.object).collect();
        objects.dedup();
        let mut nodes: Vec<_> = data.unreachable.iter().flat_map(|one| &one.nodes).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
        add(
            found,
            Level::Danger,
            format!("{} chunks have no copy that can be reached now", with(0)),
            format!(
                "bring back the chunk servers that hold them: {}. Some of the objects: {}",
                nodes.join(", "),
                objects.join(", ")
            ),
        );
    }
    if with(1) > 0 && data.replicas > 1 {
        add(
            found,
            Level::Danger,
            format!("{} chunks have one copy left", with(1)),
            "they are the first to be copied; until then do not stop or reboot chunk servers",
        );
    }
}

fn of_short_chunks(found: &mut Vec<Finding>, data: &DataReport, jobs: &[JobReport]) {
    let some: u64 = data.chunks_by_copies.iter().skip(2).sum();
    if some > 0 {
        let repair = jobs.iter().find(|job| job.job.as_str() == "repair");
        add(
            found,
            Level::Attention,
            format!("{some} chunks have fewer than {} copies", data.replicas),
            repair.map_or_else(String::new, advice_on_repair),
        );
    }
}

fn advice_on_repair(repair: &JobReport) -> String {
    match (repair.state, repair.left_s) {
        (JobState::Paused, _) => "they wait: the job repair is paused".into(),
        (JobState::Alarmed, _) => "they wait: see below why the job repair does not go on".into(),
        (_, Some(left_s)) => format!(
            "nothing: they are being copied, about {} at the present rate",
            span(left_s)
        ),
        (_, None) => "nothing: they are copied as soon as enough chunk servers take chunks".into(),
    }
}

fn of_room(found: &mut Vec<Finding>, nodes: &[NodeReport], replicas: u8) {
    let writable: Vec<_> = nodes.iter().filter(|node| node.writable).collect();
    if writable.len() < usize::from(replicas) {
        add(
            found,
            Level::Danger,
            format!(
                "{} chunk servers take new chunks, and each chunk should have {replicas} copies",
                writable.len()
            ),
            "start chunk servers, or free space; below the write quorum, writes fail",
        );
    }
    let sum = |of: fn(&NodeReport) -> u64| writable.iter().map(|node| of(node)).sum::<u64>();
    let (capacity, free) = (sum(|node| node.capacity_bytes), sum(|node| node.free_bytes));
    let percent = capacity.saturating_sub(free) / (capacity / 100).max(1);
    if capacity > 0 && percent >= NEARLY_FULL_PERCENT {
        add(
            found,
            Level::Attention,
            format!("the disks are {percent} % full; {} are free", bytes(free)),
            "add chunk servers or disks; at 95 % a chunk server takes no more",
        );
    }
}

fn of_node(found: &mut Vec<Finding>, node: &NodeReport, down_after: Duration) {
    let name = format!("chunk server {} at {}", node.id, node.address);
    let silent = span(node.silent_s);
    match node.state.as_str() {
        "down" => add(
            found,
            Level::Attention,
            format!("{name} is gone ({silent})"),
            format!(
                "start it again. What it held is copied elsewhere meanwhile; if it will not return: \
                 gateway admin node drain {id}, and when status shows no repair any more, \
                 gateway admin node remove {id}",
                id = node.id
            ),
        ),
        "suspect" => add(
            found,
            Level::Attention,
            format!(
                "{name} has been silent for {silent}: its {} chunks have a copy less now",
                node.chunk_count
            ),
            format!(
                "look whether it runs; after {} its chunks are copied elsewhere",
                span(down_after.as_secs())
            ),
        ),
        _ if !node.writable && node.phase == "active" => add(
            found,
            Level::Attention,
            format!("{name} takes no new chunks: its disks are full or failed"),
            "see its /health and its log",
        ),
        _ => {}
    }
    if node.phase == "draining" {
        add(
            found,
            Level::Note,
            format!("{name} is draining; {} chunks are on it", node.chunk_count),
            format!(
                "when it is empty: gateway admin node remove {id}; to keep it: gateway admin node \
                 undrain {id}",
                id = node.id
            ),
        );
    }
    if node.scrub.as_ref().is_some_and(|scrub| scrub.late) {
        add(
            found,
            Level::Attention,
            format!(
                "{name} is late with scrubbing: a chunk was last verified {} ago",
                span(node.oldest_unverified_s.unwrap_or(0))
            ),
            "it catches up by itself; if it does not, raise --scrub-rate-mib or --scrub-period of chunkd",
        );
    }
    for disk in &node.fenced_disks {
        add(
            found,
            Level::Attention,
            format!(
                "{name} serves without its disk {}: {}",
                disk.path, disk.reason
            ),
            format!(
                "mount or mend it and restart that chunkd; if it is dead, replace it and start with \
                 --forget-disk {}",
                disk.disk_id
            ),
        );
    }
}

fn of_job(found: &mut Vec<Finding>, job: &JobReport) {
    match job.state {
        JobState::Alarmed => add(
            found,
            Level::Attention,
            format!("the job {} refuses to go on", job.job),
            &job.detail,
        ),
        JobState::Paused => add(
            found,
            Level::Note,
            format!("the job {} is paused", job.job),
            format!("to let it go on: gateway admin job resume {}", job.job),
        ),
        JobState::Resting if !job.detail.is_empty() => add(
            found,
            Level::Attention,
            format!(
                "the last round of the job {} failed: {}",
                job.job, job.detail
            ),
            "it is tried again; if this stays, see the gateway's log",
        ),
        JobState::Resting | JobState::Running | JobState::Elsewhere => {}
    }
}

/// A number of bytes, for people.
pub fn bytes(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// A span of time, for people.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
