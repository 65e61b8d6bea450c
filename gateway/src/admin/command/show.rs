//! Answers in words and tables, for a person who was woken up for them.

use std::fmt::Write as _;

use crate::admin::bucket_orders::ShownBucket;
use crate::admin::data::AwaitedReport;
use crate::admin::findings::{Level, bytes, span};
use crate::admin::node_holds::NodeHolds;
use crate::admin::status::{NodeReport, Status};
use crate::jobs::{JobReport, JobState};

/// All that there is to know at a glance.
pub fn status(status: &Status) -> String {
    let mut text = verdict(status);
    for finding in &status.findings {
        let mark = match finding.level {
            Level::Danger => "DANGER   ",
            Level::Attention => "attention",
            Level::Note => "note     ",
        };
        write(&mut text, format_args!("{mark}  {}\n", finding.what));
        write(
            &mut text,
            format_args!("           -> {}\n", finding.advice),
        );
    }
    write(&mut text, format_args!("\n{}", copies(status)));
    write(&mut text, format_args!("\n{}", nodes(status)));
    write(&mut text, format_args!("\n{}", jobs(&status.jobs)));
    text
}

fn verdict(status: &Status) -> String {
    let worst = status.findings.iter().map(|finding| finding.level).min();
    let line = match worst {
        Some(Level::Danger) => "Data is in DANGER, or cannot be read or written.",
        Some(Level::Attention) => "The cluster copes, and needs attention.",
        Some(Level::Note) | None => "All is well.",
    };
    format!("{line}\n")
}

fn copies(status: &Status) -> String {
    let data = &status.data;
    let short: u64 = data.chunks_by_copies.iter().sum();
    let silent = awaited(data.awaited.as_ref());
    if short == 0 && status.nodes.iter().any(|node| node.state != "live") {
        return format!("chunks: none waits for repair\n{silent}");
    }
    if short == 0 {
        return format!("chunks: all have {} copies\n{silent}", data.replicas);
    }
    let more = if data.truncated { " (and more)" } else { "" };
    let mut text = format!(
        "chunks that wait for repair: {short}{more}; {} to copy\n",
        bytes(data.repair_bytes)
    );
    for (copies, count) in data.chunks_by_copies.iter().enumerate() {
        if *count > 0 {
            write(
                &mut text,
                format_args!("  with {copies} good copies: {count}\n"),
            );
        }
    }
    text + &silent
}

/// What is left of chunks on silent chunk servers.
fn awaited(awaited: Option<&AwaitedReport>) -> String {
    let Some(awaited) = awaited else {
        return String::new();
    };
    let more = if awaited.is_complete { "" } else { " so far" };
    let mut text = format!(
        "chunks on silent chunk servers, by the good copies elsewhere ({} looked at{more}):\n",
        awaited.looked_at
    );
    for (copies, count) in awaited.chunks_by_copies.iter().enumerate() {
        if *count > 0 {
            write(&mut text, format_args!("  with {copies}: {count}\n"));
        }
    }
    for one in &awaited.endangered {
        write(
            &mut text,
            format_args!("  {} has a chunk with {}\n", one.object, one.copies),
        );
    }
    text
}

/// The chunk servers, one in a line.
pub fn nodes(status: &Status) -> String {
    let mut rows = vec![
        [
            "NODE", "ADDRESS", "ZONE", "STATE", "CHUNKS", "DATA", "FREE", "DISKS", "VERIFIED",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    rows.extend(status.nodes.iter().map(node_row));
    let mut text = table(&rows);
    for node in &status.removed_nodes {
        write(&mut text, format_args!("{node}  removed\n"));
    }
    text
}

fn node_row(node: &NodeReport) -> Vec<String> {
    let mut state = node.state.clone();
    if node.state != "live" {
        write(
            &mut state,
            format_args!(" {}", span(node.unreached_s.unwrap_or(node.silent_s))),
        );
    }
    if node.phase != "active" {
        write(&mut state, format_args!(", {}", node.phase));
    } else if !node.writable && node.state == "live" {
        state.push_str(", takes nothing");
    }
    let percent = node.free_bytes / (node.capacity_bytes / 100).max(1);
    let disks = match node.fenced_disks.len() {
        0 => "ok".to_owned(),
        fenced => format!("{fenced} fenced off"),
    };
    vec![
        node.id.to_string(),
        node.address.trim_start_matches("http://").to_owned(),
        if node.zone.is_empty() {
            "-".into()
        } else {
            node.zone.clone()
        },
        state,
        node.chunk_count.to_string(),
        bytes(node.used_bytes),
        format!("{} ({percent} %)", bytes(node.free_bytes)),
        disks,
        verified(node),
    ]
}

/// How long ago the chunk that waits longest was verified, and how far the present pass is.
fn verified(node: &NodeReport) -> String {
    match (&node.scrub, node.oldest_unverified_s) {
        (Some(scrub), Some(oldest_s)) => {
            format!("within {} (pass: {} %)", span(oldest_s), scrub.done_percent)
        }
        _ => "-".into(),
    }
}

/// The jobs, one in a line, with what went wrong below.
pub fn jobs(jobs: &[JobReport]) -> String {
    let mut rows = vec![
        [
            "JOB",
            "STATE",
            "DONE",
            "LEFT",
            "RATE",
            "TIME LEFT",
            "LAST ERROR",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    rows.extend(jobs.iter().map(job_row));
    table(&rows)
}

fn job_row(job: &JobReport) -> Vec<String> {
    let state = match job.state {
        JobState::Resting => "resting",
        JobState::Waiting => "waiting",
        JobState::Running => "running",
        JobState::Elsewhere => "elsewhere",
        JobState::Paused => "paused",
        JobState::Alarmed => "ALARMED",
    };
    let amount = |units: u64, of_bytes: u64| match of_bytes {
        0 => units.to_string(),
        _ => format!("{units} ({})", bytes(of_bytes)),
    };
    let left = job.left_units.map_or_else(
        || "-".to_owned(),
        |units| amount(units, job.left_bytes.unwrap_or(0)),
    );
    vec![
        job.job.to_string(),
        state.into(),
        amount(job.done_units, job.done_bytes),
        left,
        rate(job),
        job.left_s.map_or_else(|| "-".into(), span),
        job.last_error.clone().unwrap_or_else(|| "-".into()),
    ]
}

fn rate(job: &JobReport) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive, and shown with two digits"
    )]
    let whole = job.bytes_per_s as u64;
    match whole {
        0 if job.units_per_s > 0.0 => format!("{:.0}/s", job.units_per_s),
        0 => "-".into(),
        _ => format!("{}/s", bytes(whole)),
    }
}

/// The buckets, one in a line.
pub fn buckets(buckets: &[ShownBucket]) -> String {
    let head = ["BUCKET", "OBJECTS", "OF", "DATA", "OF", "OWNER"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(buckets.iter().map(bucket_row));
    let mut text = table(&rows);
    if let Some(unknown) = buckets.iter().find(|bucket| bucket.holds.is_none()) {
        let name = &unknown.name;
        write(
            &mut text,
            format_args!("- was not counted yet: gateway admin bucket show {name}\n"),
        );
    }
    text
}

fn bucket_row(bucket: &ShownBucket) -> Vec<String> {
    let dash = || "-".to_owned();
    let holds = bucket.holds;
    let no_limit = || "no limit".to_owned();
    vec![
        bucket.name.clone(),
        holds.map_or_else(dash, |holds| holds.objects.to_string()),
        bucket
            .objects_max
            .map_or_else(no_limit, |most| most.to_string()),
        holds.map_or_else(dash, |holds| bytes(holds.bytes)),
        bucket.bytes_max.map_or_else(no_limit, bytes),
        bucket.owner.clone(),
    ]
}

/// How far a drain is.
pub fn drain_progress(holds: &NodeHolds, jobs: &[JobReport]) -> String {
    let more = if holds.truncated { "more than " } else { "" };
    if holds.placed_chunks == 0 {
        return format!(
            "All chunks were moved; {} copies wait out --gc-grace for reads that began earlier.\n",
            holds.garbage_chunks
        );
    }
    let drain = jobs.iter().find(|job| job.job.as_str() == "drain");
    let mut text = format!(
        "{more}{} chunks ({}) are left",
        holds.placed_chunks,
        bytes(holds.placed_bytes)
    );
    if let Some(drain) = drain {
        write(&mut text, format_args!("; {}", rate(drain)));
        match drain.state {
            JobState::Alarmed => write(&mut text, format_args!("; {}", drain.detail)),
            JobState::Paused => text.push_str("; the job drain is paused"),
            JobState::Resting | JobState::Waiting | JobState::Running | JobState::Elsewhere => {}
        }
    }
    text.push_str(".\n");
    text
}

/// Rows in columns that are as wide as they need to be.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        write(&mut text, format_args!("{}\n", cells.join("  ").trim_end()));
    }
    text
}

fn write(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes all text");
}
