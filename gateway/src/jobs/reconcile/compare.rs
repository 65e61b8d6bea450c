//! Comparing a node with its rows: by digest, range by range, and chunk by chunk where the digests
//! differ. What looks different is looked at again before anything follows from it, since writes and
//! deletes go on meanwhile.

use std::collections::HashSet;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chunkproto::{ChunkError, ChunkId, ChunkInfo, IdRange, InventoryDigest, NodeId};
use metastore::{ChunkRef, MetaError, MetaResult, NodeChunk, RepairNeed};

use crate::chunks::share_a_zone;
use crate::jobs::job::Round;
use crate::jobs::replica_mover::{ReplicaMover, ReplicaState};

/// Chunks of a node whose rows are read at a time, and compared by one digest.
const PAGE: usize = 4096;
/// Chunks of a node that are listed at a time.
const LIST_PAGE: usize = 4096;

/// Missing chunks of one node that the log names; of all others their number is told.
const NAMED_MAX: u64 = 10;

/// A node whose chunks are compared.
pub struct Comparison<'a> {
    pub mover: &'a ReplicaMover,
    pub node: NodeId,
    pub round: &'a Round,
    /// Replicas that each chunk should have.
    pub wanted: u8,
    /// Chunks younger than this may belong to writes under way.
    pub orphan_age: Duration,
    /// How many missing chunks the log names so far.
    pub named: AtomicU64,
}

/// What a comparison came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ComparisonSummary {
    /// Chunks that rows place on the node.
    pub placed: u64,
    /// Of those, the ones that it does not hold as they should be; queued for repair.
    pub missing: u64,
    /// … and those with another number of copies than they should have, or with several in one zone while
    /// another zone takes one; queued too.
    pub misplaced: u64,
}

/// Why a comparison did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The metadata cannot be read or written.
    #[error(transparent)]
    Metadata(#[from] MetaError),
    /// The node does not say what it holds.
    #[error(transparent)]
    Node(#[from] ChunkError),
    /// The round is over.
    #[error("the round is over")]
    Over,
}

/// Where a page of rows and the node's own list differ.
#[derive(Default)]
struct Differences {
    /// Placed there, and not held as it should be.
    suspects: Vec<ChunkRef>,
    /// Held, and not placed there.
    unplaced: Vec<ChunkInfo>,
}

impl Comparison<'_> {
    /// Goes through all chunks of the node once.
    pub async fn run(&self) -> Result<ComparisonSummary, CompareError> {
        let (mut compared, mut after) = (ComparisonSummary::default(), None);
        loop {
            if !self.round.goes_on() {
                return Err(CompareError::Over);
            }
            let (from, round) = ((after, PAGE), self.round);
            let page = self.mover.node_chunks(self.node, from, round).await?;
            let is_last = page.len() < PAGE;
            // No row names the metadata's own chunks, which stand behind all others.
            let through = match page.last() {
                Some(last) if !is_last => last.id,
                _ => ChunkId::LAST_OF_OBJECTS,
            };
            let range = IdRange {
                after,
                through: Some(through),
            };
            let differences = self.differences(range, &page).await?;
            compared.placed += page.len() as u64;
            compared.missing += self.queue_missing(differences.suspects).await?;
            compared.misplaced += self.queue_misplaced(&page).await?;
            self.note_orphans(differences.unplaced).await?;
            self.round.progress().done_some(page.len() as u64, 0);
            if is_last {
                return Ok(compared);
            }
            after = range.through;
        }
    }

    async fn differences(
        &self,
        range: IdRange,
        page: &[NodeChunk],
    ) -> Result<Differences, CompareError> {
        let placed: Vec<_> = page
            .iter()
            .filter_map(|chunk| self.placed_here(chunk))
            .collect();
        // Copies that wait to be deleted may be there or not, so only a list will do.
        if placed.len() == page.len() {
            let expected: Vec<_> = placed.iter().map(|chunk| info_of(chunk)).collect();
            match self.mover.transport.digest(self.node, range).await {
                Ok(held) if held == InventoryDigest::of(&expected) => {
                    return Ok(Differences::default());
                }
                // It cannot see all of its disks; a list shows the others.
                Ok(_) | Err(ChunkError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.listed_differences(range, page, &placed).await
    }

    async fn listed_differences(
        &self,
        range: IdRange,
        page: &[NodeChunk],
        placed: &[&ChunkRef],
    ) -> Result<Differences, CompareError> {
        let known: HashSet<ChunkId> = page.iter().map(|chunk| chunk.id).collect();
        let mut good = HashSet::with_capacity(placed.len());
        let (mut differences, mut after) = (Differences::default(), range.after);
        loop {
            let transport = &self.mover.transport;
            let listed = transport.list(self.node, after, LIST_PAGE).await?;
            let inside = listed
                .chunks
                .iter()
                .take_while(|chunk| !range.is_behind(chunk.id));
            for held in inside {
                let row = placed.binary_search_by_key(&held.id, |chunk| chunk.id);
                if row.is_ok_and(|at| info_of(placed[at]) == *held) {
                    good.insert(held.id);
                } else if !known.contains(&held.id) {
                    differences.unplaced.push(*held);
                }
            }
            if differences.unplaced.len() > PAGE {
                self.note_orphans(mem::take(&mut differences.unplaced))
                    .await?;
            }
            after = listed.chunks.last().map(|chunk| chunk.id);
            let is_past = after.is_some_and(|last| range.is_behind(last));
            if !listed.truncated || is_past {
                break;
            }
            if !self.round.goes_on() {
                return Err(CompareError::Over);
            }
        }
        let is_bad = |chunk: &&&ChunkRef| !good.contains(&chunk.id);
        differences.suspects = placed
            .iter()
            .filter(is_bad)
            .map(|chunk| (*chunk).clone())
            .collect();
        Ok(differences)
    }

    /// The chunk as its row places it on this node, if it does.
    fn placed_here<'c>(&self, chunk: &'c NodeChunk) -> Option<&'c ChunkRef> {
        let placed = &chunk.placement.as_ref()?.chunk;
        placed.replicas.contains(&self.node).then_some(placed)
    }

    /// Looks again at chunks that seem to be missing, and queues those that are; returns how many.
    async fn queue_missing(&self, suspects: Vec<ChunkRef>) -> MetaResult<u64> {
        let mut needs = Vec::new();
        for suspect in suspects {
            let placement = self.mover.placement(suspect.id).await;
            let Some(chunk) = self.round.readable(suspect.id, placement)?.flatten() else {
                continue;
            };
            if !chunk.replicas.contains(&self.node) {
                continue;
            }
            match self.mover.ask(self.node, &chunk).await {
                ReplicaState::Good | ReplicaState::Awaited | ReplicaState::Lost => {}
                ReplicaState::Nothing | ReplicaState::Other | ReplicaState::Unreadable => {
                    if self.named.fetch_add(1, Ordering::Relaxed) < NAMED_MAX {
                        self.report(&chunk);
                    }
                    needs.push(self.need(&chunk));
                }
            }
        }
        let missing = needs.len() as u64;
        if missing > 0 {
            self.mover.metastore.queue_repairs(needs).await?;
        }
        Ok(missing)
    }

    /// Queues chunks whose rows name too few nodes, too many (both after a change of `--replicas`), or
    /// several in one zone while another takes a copy; returns how many.
    async fn queue_misplaced(&self, page: &[NodeChunk]) -> MetaResult<u64> {
        let (view, wanted) = (self.mover.membership.view(), usize::from(self.wanted));
        let is_crowded = |chunk: &ChunkRef| {
            let apart = || {
                let replicas = &chunk.replicas;
                self.mover.choose_apart(chunk, replicas, wanted, &[])
            };
            share_a_zone(&view, &chunk.replicas) && apart().is_some()
        };
        let placed = page.iter().filter_map(|chunk| self.placed_here(chunk));
        let misplaced = placed.filter(|chunk| chunk.replicas.len() != wanted || is_crowded(chunk));
        let have = |chunk: &ChunkRef| chunk.replicas.len();
        let need = |chunk| RepairNeed::new(chunk, self.wanted, have(chunk), self.round.now());
        let needs: Vec<_> = misplaced.map(need).collect();
        let count = needs.len() as u64;
        if count > 0 {
            self.mover.metastore.queue_repairs(needs).await?;
        }
        Ok(count)
    }

    fn report(&self, chunk: &ChunkRef) {
        let (chunk, node, is_only) = (chunk.id, self.node, chunk.replicas.len() == 1);
        if is_only {
            tracing::error!(%chunk, %node, "the only copy of a chunk is missing or bad: its object cannot be read");
        } else {
            tracing::warn!(%chunk, %node, "a replica is missing or bad");
        }
    }

    fn need(&self, chunk: &ChunkRef) -> RepairNeed {
        let others = chunk.replicas.len().saturating_sub(1);
        RepairNeed::new(chunk, self.wanted, others, self.round.now())
    }

    /// Notes chunks that no row places here, unless they are so young that a row may yet come.
    async fn note_orphans(&self, mut unplaced: Vec<ChunkInfo>) -> Result<(), CompareError> {
        let now = self.round.now();
        let born_before = now.before(self.orphan_age);
        unplaced.retain(|chunk| chunk.id.born_at_ms() < born_before.0);
        for page in unplaced.chunks(PAGE) {
            let ids: Vec<_> = page.iter().map(|chunk| chunk.id).collect();
            let places = self.mover.readable_placements(&ids, self.round).await?;
            let is_orphan = |chunk: &&ChunkInfo| {
                let place = places.get(&chunk.id).map(Option::as_ref);
                place.is_some_and(|placed| {
                    placed.is_none_or(|placed| !placed.chunk.replicas.contains(&self.node))
                })
            };
            let orphans: Vec<_> = page.iter().filter(is_orphan).copied().collect();
            if !orphans.is_empty() {
                let (metastore, fence) = (&self.mover.metastore, self.round.fence());
                let noted = metastore.note_orphans(fence, self.node, &orphans, now);
                if self.round.unless_fenced(noted.await)?.is_none() {
                    return Err(CompareError::Over);
                }
            }
        }
        Ok(())
    }
}

pub fn info_of(chunk: &ChunkRef) -> ChunkInfo {
    ChunkInfo {
        id: chunk.id,
        length_bytes: chunk.length_bytes,
        crc64: chunk.crc64,
    }
}
