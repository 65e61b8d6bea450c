//! What a survey found, for those who ask.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunkproto::{ChunkId, NodeId};
use metastore::ChunkOwner;

/// Chunks that are named.
const NAMED_MAX: usize = 10;

/// Good copies that are told apart; more count as so many.
const COPIES_MAX: usize = 5;

/// What of the chunks on silent nodes is left elsewhere, by copies that were looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The silent nodes.
    pub nodes: Vec<NodeId>,
    /// Chunks that were looked at so far.
    pub looked_at: u64,
    /// Whether that is all of them.
    pub is_complete: bool,
    /// Of those that cannot be read on a silent node, how many have 0, 1, 2 … good copies elsewhere.
    pub chunks: [u64; COPIES_MAX + 1],
    /// Some of those with fewest good copies, these first.
    pub worst: Vec<Endangered>,
}

/// A chunk with fewer good copies than it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endangered {
    /// The chunk.
    pub chunk: ChunkId,
    /// The row that names it.
    pub owner: ChunkOwner,
    /// The bucket and key that a good copy says it belongs to.
    pub hint: Option<(String, String)>,
    /// Good copies that can be read now.
    pub copies: u8,
}

impl Survey {
    /// Whether a chunk with so many good copies would be among the named ones.
    pub(super) fn would_name(&self, copies: u8) -> bool {
        let last = self.worst.last().filter(|_| self.worst.len() == NAMED_MAX);
        last.is_none_or(|last| copies < last.copies)
    }

    /// Takes a chunk in.
    pub(super) fn count(&mut self, copies: u8) {
        self.chunks[usize::from(copies).min(COPIES_MAX)] += 1;
    }

    /// Names a chunk.
    pub(super) fn name(&mut self, chunk: Endangered) {
        let at = self
            .worst
            .partition_point(|other| other.copies <= chunk.copies);
        self.worst.insert(at, chunk);
        self.worst.truncate(NAMED_MAX);
    }
}

/// The latest survey; `None` while no node is silent. A clone is another handle to the same one.
#[derive(Debug, Clone, Default)]
pub struct SurveyBoard(Arc<Mutex<Option<Survey>>>);

impl SurveyBoard {
    /// The latest survey.
    #[must_use]
    pub fn latest(&self) -> Option<Survey> {
        self.lock().clone()
    }

    /// Shows a survey. One under way does not hide a complete one of the same nodes.
    pub(super) fn show(&self, survey: &Survey) {
        let mut shown = self.lock();
        let is_newer = |before: &Survey| !before.is_complete || before.nodes != survey.nodes;
        if survey.is_complete || shown.as_ref().is_none_or(is_newer) {
            *shown = Some(survey.clone());
        }
    }

    /// No node is silent.
    pub(super) fn clear(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Survey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
