//! What of a cluster's state needs a person's attention, and what that person can do.

mod data;
mod jobs;
mod nodes;
mod units;

pub use units::{bytes, span};

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::data::DataReport;
use super::status::NodeReport;
use crate::cluster::Refusal;
use crate::jobs::{BackupReport, JobReport};

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
    let mut found = Vec::new();
    data::of_data(&mut found, seen.data, seen.nodes);
    if let Some(awaited) = &seen.data.awaited {
        data::of_awaited(&mut found, awaited, seen.data.replicas);
    }
    if seen.data.damaged_rows > 0 {
        data::of_damaged_rows(&mut found, seen.data.damaged_rows);
    }
    data::of_short_chunks(&mut found, seen.data, seen.jobs);
    data::of_misplaced(&mut found, seen.data, seen.jobs);
    nodes::of_room(&mut found, seen.nodes, seen.data.replicas);
    for node in seen.nodes {
        match nodes::successor(node, seen.nodes) {
            Some(successor) => nodes::of_replaced(&mut found, node, successor),
            None => nodes::of_node(&mut found, node, seen.down_after),
        }
    }
    for refusal in seen.refused {
        nodes::of_refusal(&mut found, refusal, seen.nodes);
    }
    for job in seen.jobs {
        jobs::of_job(&mut found, job);
    }
    if let Some(backup) = seen.backup {
        data::of_backup(&mut found, backup);
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

/// Names in one line, each once.
fn list(names: impl Iterator<Item = impl Into<String>>) -> String {
    let mut names: Vec<String> = names.map(Into::into).collect();
    names.dedup();
    names.join(", ")
}
