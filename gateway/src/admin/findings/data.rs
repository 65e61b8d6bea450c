//! Findings about the data: how many copies there are, what is at risk, how far the backup is.

use chunkproto::NodeId;

use super::units::span;
use super::{Finding, Level, add, list};
use crate::admin::data::{AwaitedReport, DataReport, Unreachable};
use crate::admin::status::NodeReport;
use crate::jobs::{BackupReport, JobReport, JobState};

/// A backup of the metadata that is so far behind does not keep up.
const BACKUP_LATE_S: u64 = 300;

pub(super) fn of_data(found: &mut Vec<Finding>, data: &DataReport, nodes: &[NodeReport]) {
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

pub(super) fn of_damaged_rows(found: &mut Vec<Finding>, count: u64) {
    add(
        found,
        Level::Attention,
        format!("{count} rows in the metadata's queues (garbage, repair, orphans) cannot be read"),
        "nothing is lost and nothing waits for them, but the space that they stand for stays taken; the log names \
         each as 'a row is damaged'. After a downgrade, go back to the newer version; else look at the disk of the \
         metadata",
    );
}

pub(super) fn of_unreachable(
    found: &mut Vec<Finding>,
    count: u64,
    data: &DataReport,
    nodes: &[NodeReport],
) {
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
pub(super) fn of_awaited(found: &mut Vec<Finding>, awaited: &AwaitedReport, replicas: u8) {
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

pub(super) fn of_short_chunks(found: &mut Vec<Finding>, data: &DataReport, jobs: &[JobReport]) {
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
pub(super) fn of_misplaced(found: &mut Vec<Finding>, data: &DataReport, jobs: &[JobReport]) {
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

pub(super) fn advice_on_repair(repair: &JobReport) -> String {
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

pub(super) fn of_backup(found: &mut Vec<Finding>, backup: &BackupReport) {
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
