//! What of a cluster's state needs a person's attention, and what that person can do.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use chunkproto::NodeId;
use serde::{Deserialize, Serialize};

use super::data::{AwaitedReport, DataReport, Unreachable};
use super::status::NodeReport;
use crate::cluster::Refusal;
use crate::jobs::{BackupReport, JobReport, JobState};

/// Percent of all disks in use from which more room is called for.
const NEARLY_FULL_PERCENT: u64 = 85;

/// A backup of the metadata that is so far behind does not keep up.
const BACKUP_LATE_S: u64 = 300;

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

/// What there is to see of a cluster.
pub struct Seen<'a> {
    pub data: &'a DataReport,
    pub nodes: &'a [NodeReport],
    pub refused: &'a [Refusal],
    pub jobs: &'a [JobReport],
    pub backup: Option<&'a BackupReport>,
    /// When a silent node is given up.
    pub down_after: Duration,
}

/// Everything that needs attention, the worst first.
pub fn findings(seen: &Seen<'_>) -> Vec<Finding> {
    let (mut found, data) = (Vec::new(), seen.data);
    of_data(&mut found, data, seen.nodes);
    if let Some(awaited) = &data.awaited {
        of_awaited(&mut found, awaited, data.replicas);
    }
    if data.damaged_rows > 0 {
        of_damaged_rows(&mut found, data.damaged_rows);
    }
    of_short_chunks(&mut found, data, seen.jobs);
    of_misplaced(&mut found, data, seen.jobs);
    of_room(&mut found, seen.nodes, data.replicas);
    for node in seen.nodes {
        match successor(node, seen.nodes) {
            Some(successor) => of_replaced(&mut found, node, successor),
            None => of_node(&mut found, node, seen.down_after),
        }
    }
    for refusal in seen.refused {
        of_refusal(&mut found, refusal, seen.nodes);
    }
    for job in seen.jobs {
        of_job(&mut found, job);
    }
    if let Some(backup) = seen.backup {
        of_backup(&mut found, backup);
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

fn of_data(found: &mut Vec<Finding>, data: &DataReport, nodes: &[NodeReport]) {
    let with = |copies: usize| data.chunks_by_copies.get(copies).copied().unwrap_or(0);
    if with(0) > 0 {
        of_unreachable(found, with(0), data, nodes);
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

fn of_damaged_rows(found: &mut Vec<Finding>, count: u64) {
    add(
        found,
        Level::Attention,
        format!("{count} rows in the metadata's queues (garbage, repair, orphans) cannot be read"),
        "nothing is lost and nothing waits for them, but the space that they stand for stays taken; the log names \
         each as 'a row is damaged'. After a downgrade, go back to the newer version; else look at the disk of the \
         metadata",
    );
}

fn of_unreachable(found: &mut Vec<Finding>, count: u64, data: &DataReport, nodes: &[NodeReport]) {
    let objects = |some: &dyn Fn(&Unreachable) -> bool| {
        let some = data.unreachable.iter().filter(|one| some(one));
        list(some.map(|one| &*one.object))
    };
    let can_be_read = |id: &NodeId| {
        let node = nodes.iter().find(|node| node.id == *id);
        node.is_some_and(|node| node.state == "live" && node.fenced_disks.is_empty())
    };
    let mut away: Vec<_> = data.unreachable.iter().flat_map(|one| &one.nodes).collect();
    away.retain(|node| !can_be_read(node));
    away.sort_unstable();
    away.dedup();
    if !away.is_empty() {
        let nodes = list(away.iter().map(ToString::to_string));
        let objects = objects(&|_| true);
        add(
            found,
            Level::Danger,
            format!("{count} chunks have no copy that can be reached now"),
            format!(
                "bring back the chunk servers that hold them: {nodes}. Some of the objects: {objects}"
            ),
        );
    } else if data.unreachable.iter().any(|one| one.is_lost) {
        let objects = objects(&|one| one.is_lost);
        add(
            found,
            Level::Danger,
            format!("{count} chunks have no good copy: damaged or lost wherever they were"),
            format!(
                "nothing can repair them: write these objects again from elsewhere, or delete them. Some \
                 of the objects, whose chunks were looked for just now: {objects}"
            ),
        );
    } else {
        add(
            found,
            Level::Attention,
            format!(
                "{count} chunks had no copy that could be reached, and wait to be looked at again"
            ),
            "nothing: the chunk servers that hold them are back, and the job repair looks at each",
        );
    }
}

/// What is at risk as long as chunk servers are silent.
fn of_awaited(found: &mut Vec<Finding>, awaited: &AwaitedReport, replicas: u8) {
    let with = |copies: usize| awaited.chunks_by_copies.get(copies).copied().unwrap_or(0);
    let so_far = match awaited.is_complete {
        true => String::new(),
        false => format!(" ({} chunks looked at so far)", awaited.looked_at),
    };
    let nodes = list(awaited.nodes.iter().map(ToString::to_string));
    let objects = |copies: u8| {
        let some = awaited.endangered.iter();
        list(
            some.filter(|one| one.copies == copies)
                .map(|one| &*one.object),
        )
    };
    if with(0) > 0 {
        add(
            found,
            Level::Danger,
            format!(
                "{} chunks cannot be read while chunk servers are silent{so_far}",
                with(0)
            ),
            format!(
                "bring them back: {nodes}. Some of the objects: {}",
                objects(0)
            ),
        );
    }
    if with(1) > 0 && replicas > 1 {
        add(
            found,
            Level::Danger,
            format!(
                "{} chunks have one good copy while chunk servers are silent{so_far}",
                with(1)
            ),
            format!(
                "bring them back: {nodes}; until then do not stop or reboot others. Some of the \
                 objects: {}",
                objects(1)
            ),
        );
    }
}

/// Names in one line, each once.
fn list(names: impl Iterator<Item = impl Into<String>>) -> String {
    let mut names: Vec<String> = names.map(Into::into).collect();
    names.dedup();
    names.join(", ")
}

fn of_short_chunks(found: &mut Vec<Finding>, data: &DataReport, jobs: &[JobReport]) {
    // Chunks with enough copies may be in the queue as well, to be looked at.
    let with = data.chunks_by_copies.iter().take(data.replicas.into());
    let some: u64 = with.skip(2).sum();
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

/// Chunks with copies enough that repair is to move or to take some from.
fn of_misplaced(found: &mut Vec<Finding>, data: &DataReport, jobs: &[JobReport]) {
    let with = data.chunks_by_copies.iter().skip(data.replicas.into());
    let some: u64 = with.sum();
    if some > 0 {
        let repair = jobs.iter().find(|job| job.job.as_str() == "repair");
        add(
            found,
            Level::Attention,
            format!(
                "{some} chunks have copies enough, but more than {}, or several in one failure zone",
                data.replicas
            ),
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
    of_state(found, node, &name, down_after);
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
            "it catches up by itself; if it does not, raise --scrub-rate-mib or --scrub-period where it runs",
        );
    }
    of_disks(found, node, &name);
}

/// Whether a node is there, and takes chunks.
fn of_state(found: &mut Vec<Finding>, node: &NodeReport, name: &str, down_after: Duration) {
    let silent = span(node.silent_s);
    match node.state.as_str() {
        "down" | "suspect" if node.unreached_s.is_some() => {
            of_unreached(found, node, name, down_after);
        }
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
}

fn of_disks(found: &mut Vec<Finding>, node: &NodeReport, name: &str) {
    for disk in &node.fenced_disks {
        add(
            found,
            Level::Attention,
            format!(
                "{name} serves without its disk {}: {}",
                disk.path, disk.reason
            ),
            format!(
                "mount or mend it and restart what serves it; if it is dead, replace it and start its \
                 chunkd with --forget-disk {}",
                disk.disk_id
            ),
        );
    }
}

/// The node that serves where a lost one did.
fn successor<'a>(node: &NodeReport, nodes: &'a [NodeReport]) -> Option<&'a NodeReport> {
    let is_there = |other: &&NodeReport| {
        other.id != node.id && other.state == "live" && other.address == node.address
    };
    nodes.iter().find(is_there).filter(|_| node.state != "live")
}

fn of_replaced(found: &mut Vec<Finding>, node: &NodeReport, successor: &NodeReport) {
    let (id, address) = (node.id, &node.address);
    add(
        found,
        Level::Attention,
        format!(
            "chunk server {id} is gone ({}); {} serves at {address} now, on other data directories",
            span(node.silent_s),
            successor.id
        ),
        format!(
            "if its directories were lost or replaced: gateway admin node drain {id}, and when status \
             shows no repair any more, gateway admin node remove {id}. If they are only not mounted: \
             stop what serves there, mount them and start it again"
        ),
    );
}

fn of_refusal(found: &mut Vec<Finding>, refusal: &Refusal, nodes: &[NodeReport]) {
    let Refusal {
        node,
        address,
        reason,
    } = refusal;
    let served = nodes.iter().find(|known| known.id == *node);
    let served = served.map_or(String::new(), |known| {
        format!("; {} is the one that is used", known.address)
    });
    add(
        found,
        Level::Attention,
        format!("a chunk server at {address} is refused{served}"),
        reason,
    );
}

fn of_backup(found: &mut Vec<Finding>, backup: &BackupReport) {
    if let Some(behind_s) = backup
        .behind_s
        .filter(|behind_s| *behind_s >= BACKUP_LATE_S)
    {
        add(
            found,
            Level::Attention,
            format!(
                "the metadata's backup is {} behind: what was written since would be lost with the \
                 database, and what was deleted since takes room",
                span(behind_s)
            ),
            "see what the job metadata-backup waits for, and the gateway's log",
        );
    }
}

/// A node that sends heartbeats, and that this gateway does not reach.
fn of_unreached(found: &mut Vec<Finding>, node: &NodeReport, name: &str, down_after: Duration) {
    let unreached_s = node.unreached_s.unwrap_or(0);
    let then = match node.state.as_str() {
        "down" => "its chunks are copied elsewhere meanwhile".to_owned(),
        _ => format!(
            "after {} its chunks are copied elsewhere",
            span(down_after.as_secs())
        ),
    };
    add(
        found,
        Level::Attention,
        format!(
            "{name} sends heartbeats from there, but has been unreachable for data for {}",
            span(unreached_s)
        ),
        format!(
            "see that gateways and chunk servers can connect to that address: look at firewalls, and at \
             its --advertise; {then}"
        ),
    );
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
        JobState::Waiting => add(
            found,
            Level::Note,
            format!("the job {} waits", job.job),
            &job.detail,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of one chunk without a copy that was found, on nodes that are all live.
    fn said_of(is_lost: bool) -> Finding {
        let unreachable = Unreachable {
            object: "photos/cat".into(),
            nodes: Vec::new(),
            is_lost,
        };
        let data = DataReport {
            unreachable: vec![unreachable],
            ..DataReport::default()
        };
        let mut found = Vec::new();
        of_unreachable(&mut found, 1, &data, &[]);
        found.remove(0)
    }

    #[test]
    fn nobody_is_told_to_delete_what_was_not_looked_for_since_its_servers_returned() {
        let finding = said_of(false);
        assert_eq!(finding.level, Level::Attention);
        assert!(!finding.advice.contains("delete"), "{}", finding.advice);
        let lost = said_of(true);
        assert_eq!(lost.level, Level::Danger);
        assert!(lost.advice.contains("photos/cat"), "{}", lost.advice);
    }

    #[test]
    fn chunks_with_copies_too_many_or_crowded_ones_are_told_of() {
        let data = DataReport {
            replicas: 3,
            chunks_by_copies: vec![0, 0, 0, 4, 1, 0, 0, 0],
            ..DataReport::default()
        };
        let mut found = Vec::new();
        of_misplaced(&mut found, &data, &[]);
        assert!(found[0].what.starts_with("5 chunks"), "{}", found[0].what);
    }
}
