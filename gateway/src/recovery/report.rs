//! Result of a rebuild: counters, and notes for the operator.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytesize::ByteSize;

/// A number that several tasks count.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// What was counted.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Result of a rebuild.
#[derive(Debug, Default)]
pub struct Report {
    pub nodes: Count,
    pub chunks: Count,
    pub replicas: Count,
    pub unreadable: Count,
    pub differing: Count,
    pub buckets: Count,
    pub objects: Count,
    pub object_bytes: Count,
    pub assembled: Count,
    pub uploads: Count,
    pub older: Count,
    pub incomplete: Count,
    pub undescribed: Count,
    lines: Mutex<Vec<String>>,
}

impl Report {
    /// Notes something that an operator should look at.
    pub fn note(&self, line: String) {
        tracing::warn!("{line}");
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }

    /// All notes, in order.
    pub fn notes(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = lines.clone();
        lines.sort();
        lines
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |count: &Count, what: &str| writeln!(f, "{:>12}  {what}", count.get());
        line(&self.nodes, "chunk servers gone through")?;
        line(&self.chunks, "chunks found")?;
        line(&self.replicas, "replicas of them")?;
        line(
            &self.unreadable,
            "chunks that do not say what they belong to",
        )?;
        line(
            &self.differing,
            "replicas left out because one found before has other bytes",
        )?;
        line(&self.buckets, "buckets rebuilt")?;
        line(&self.objects, "objects and versions rebuilt")?;
        line(
            &self.assembled,
            "of them put together from the parts of an upload",
        )?;
        line(
            &self.undescribed,
            "of them without headers and user metadata, written by an earlier release",
        )?;
        line(&self.uploads, "uploads left as they were found, under way")?;
        line(&self.older, "older revisions left out")?;
        line(
            &self.incomplete,
            "bodies left out because chunks are missing or damaged",
        )?;
        let bytes = ByteSize::b(self.object_bytes.get());
        writeln!(f, "{:>12}  in the objects rebuilt", bytes.to_string())
    }
}
