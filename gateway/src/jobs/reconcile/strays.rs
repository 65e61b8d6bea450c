//! Chunks that no row places on their node: old enough they go into quarantine, later they become
//! garbage. A copy that its chunk cannot do without is no stray: the row comes to name it. Where too
//! many of a node's chunks look like strays, nothing is touched: then the metadata is the likelier
//! culprit.

use std::time::Duration;

use chunkproto::NodeId;
use metastore::{ChunkRef, MetaError, MetaResult, Stray, StrayFate, Timestamp};
use tracing::{info, warn};

use super::compare::info_of;
use crate::jobs::copies::{Copies, Holding};
use crate::jobs::job::Round;

/// Strays read at a time.
const PAGE: usize = 1000;
/// Longest rest between two looks at the strays of a node.
const PERIOD_MAX: Duration = Duration::from_secs(60);
/// So many strays are few on any node, whatever the percentage says.
const FEW: u64 = 100;

/// When strays are dealt with.
#[derive(Debug, Clone, Copy)]
pub struct StrayLimits {
    /// A chunk must have been a stray for so long before it goes into quarantine.
    pub age: Duration,
    /// It stays there for so long.
    pub quarantine: Duration,
    /// Percent of a node's chunks above which strays are left alone.
    pub limit_percent: u8,
}

impl StrayLimits {
    /// The strays of a node are looked at again after this, or when it was compared again.
    pub fn period(&self) -> Duration {
        PERIOD_MAX.min(self.age.min(self.quarantine) / 10)
    }
}

/// What became of a node's strays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dealt {
    /// What was to be done was done.
    Well,
    /// There are so many that none was touched.
    TooMany {
        /// Strays that were counted until then.
        strays: u64,
        /// Chunks that rows place on the node.
        placed: u64,
    },
}

/// A node whose strays are dealt with.
pub struct StraysOf<'a> {
    pub copies: &'a Copies,
    pub node: NodeId,
    /// Chunks that rows place on it.
    pub placed: u64,
    pub limits: StrayLimits,
    /// Replicas that each chunk should have.
    pub wanted: u8,
    pub round: &'a Round,
}

impl StraysOf<'_> {
    /// Deals with all of them, or with none.
    ///
    /// # Errors
    /// What keeps the metadata from being read or written.
    pub async fn deal(&self) -> MetaResult<Dealt> {
        let strays = self.count().await?;
        if strays == 0 {
            return Ok(Dealt::Well);
        }
        if strays > self.most(strays) || !self.is_anything_placed().await? {
            let placed = self.placed;
            return Ok(Dealt::TooMany { strays, placed });
        }
        let mut after = None;
        while self.round.goes_on() {
            let metastore = &self.copies.metastore;
            let mut page = metastore.strays(self.node, after, PAGE).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.chunk.id);
            page.retain(|stray| self.is_due(stray));
            for (stray, placed) in self.with_places(page).await? {
                if !self.round.goes_on() {
                    break;
                }
                if !self.is_needed(&stray, placed.as_ref()).await? {
                    self.send_on(&stray).await?;
                }
            }
        }
        Ok(Dealt::Well)
    }

    /// How many are still strays, counted until there are too many; the others are spared.
    async fn count(&self) -> MetaResult<u64> {
        let (mut count, mut after) = (0, None);
        let metastore = &self.copies.metastore;
        while self.round.goes_on() && count <= self.most(count) {
            let page = metastore.strays(self.node, after, PAGE).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.chunk.id);
            for (stray, placed) in self.with_places(page).await? {
                if placed.is_some_and(|placed| placed.replicas.contains(&self.node)) {
                    let spared = StrayFate::Spared;
                    metastore
                        .end_stray(self.round.fence(), self.node, stray.chunk.id, spared)
                        .await?;
                } else {
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    /// Whether any row places a chunk anywhere. Metadata that knows of nothing is more likely lost than
    /// right.
    async fn is_anything_placed(&self) -> MetaResult<bool> {
        let metastore = &self.copies.metastore;
        for (node, _) in self.copies.membership.states() {
            if !metastore.chunks_on_node(node, None, 1).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// So many of `count` strays are no reason to doubt the metadata.
    fn most(&self, count: u64) -> u64 {
        let all = self.placed.saturating_add(count);
        let percent = u64::from(self.limits.limit_percent);
        (all.saturating_mul(percent) / 100).max(FEW)
    }

    /// Strays, each with where its chunk is by the row that names it elsewhere, if one does. None where a
    /// row cannot be read: what it names is no stray.
    async fn with_places(&self, page: Vec<Stray>) -> MetaResult<Vec<(Stray, Option<ChunkRef>)>> {
        let ids: Vec<_> = page.iter().map(|stray| stray.chunk.id).collect();
        let placements = self.copies.metastore.placements(&ids).await;
        let placements = self.round.readable(self.node, placements)?;
        let Some(placements) = placements else {
            return Ok(Vec::new());
        };
        let chunks = placements.into_iter().map(|placed| Some(placed?.chunk));
        Ok(page.into_iter().zip(chunks).collect())
    }

    /// Whether it has been what it is for long enough.
    fn is_due(&self, stray: &Stray) -> bool {
        let now = self.round.now();
        match stray.quarantined_at {
            None => is_past(stray.since, self.limits.age, now),
            Some(at) => is_past(at, self.limits.quarantine, now),
        }
    }

    /// Whether the chunk has too few good copies without this one. Then the row comes to name it, or
    /// repair copies from it, and it stays until that is done.
    async fn is_needed(&self, stray: &Stray, placed: Option<&ChunkRef>) -> MetaResult<bool> {
        let Some(chunk) = placed.filter(|chunk| info_of(chunk) == stray.chunk) else {
            return Ok(false);
        };
        let held = self.copies.examine(chunk).await;
        let is_good = |(_, holding): &&(NodeId, Holding)| *holding == Holding::Good;
        let good = held.iter().filter(is_good).count();
        if good >= usize::from(self.wanted) {
            return Ok(false);
        }
        match self.copies.ask(self.node, chunk).await {
            Holding::Nothing | Holding::Other => return Ok(false),
            Holding::Good if stray.quarantined_at.is_none() => {
                let mut replicas = chunk.replicas.clone();
                replicas.push(self.node);
                self.copies
                    .name(chunk, replicas, self.wanted, self.round)
                    .await?;
            }
            Holding::Good | Holding::Unreadable | Holding::Awaited | Holding::Lost => {}
        }
        self.copies
            .queue_repair(chunk, good, self.wanted, self.round)
            .await?;
        Ok(true)
    }

    /// Into quarantine, or from there into the garbage.
    async fn send_on(&self, stray: &Stray) -> MetaResult<()> {
        let (metastore, fence) = (&self.copies.metastore, self.round.fence());
        let (node, chunk, now) = (self.node, stray.chunk.id, self.round.now());
        if stray.quarantined_at.is_none() {
            return match metastore.quarantine_stray(fence, node, chunk, now).await {
                Ok(()) => {
                    info!(%node, %chunk, "a chunk that no row names is in quarantine");
                    Ok(())
                }
                // A row has come to place it there, or an older copy waits to be deleted.
                Err(MetaError::Conflict) => Ok(()),
                Err(error) => Err(error),
            };
        }
        warn!(%node, %chunk, "a chunk that no row names is deleted");
        let garbage = StrayFate::Garbage(now);
        metastore.end_stray(fence, node, chunk, garbage).await?;
        self.round.progress().done(stray.chunk.length_bytes);
        Ok(())
    }
}

fn is_past(since: Timestamp, time: Duration, now: Timestamp) -> bool {
    let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    since.0.saturating_add(time_ms) <= now.0
}
