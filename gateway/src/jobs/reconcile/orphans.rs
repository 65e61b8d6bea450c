//! Orphans: replicas that no row places on their node. Past `--orphan-age` they are quarantined, past
//! `--orphan-quarantine` deleted. A replica its chunk still needs is added to the row instead. If too
//! many look orphaned nothing is deleted: stale metadata is the likelier cause.

use std::time::Duration;

use chunkproto::NodeId;
use metastore::{ChunkRef, MetaError, MetaResult, Orphan, OrphanFate, Timestamp};
use tracing::{info, warn};

use super::compare::info_of;
use crate::jobs::job::Round;
use crate::jobs::replica_mover::{ReplicaMover, ReplicaState};

/// Orphans read at a time.
const PAGE: usize = 1000;
/// Longest rest between two looks at the orphans of a node.
const PERIOD_MAX: Duration = Duration::from_secs(60);
/// So many orphans are few on any node, whatever the percentage says.
pub const FEW_ORPHANS: u64 = 100;

/// When orphans are quarantined and deleted.
#[derive(Debug, Clone, Copy)]
pub struct OrphanLimits {
    /// A chunk must have been an orphan for so long before it goes into quarantine.
    pub age: Duration,
    /// It stays there for so long.
    pub quarantine: Duration,
    /// Percent of a node's chunks above which orphans are left alone.
    pub limit_percent: u8,
}

impl OrphanLimits {
    /// The orphans of a node are looked at again after this, or when it was compared again.
    pub fn period(&self) -> Duration {
        PERIOD_MAX.min(self.age.min(self.quarantine) / 10)
    }
}

/// Outcome of handling a node's orphans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanVerdict {
    /// What was to be done was done.
    Well,
    /// There are so many that none was touched.
    TooMany {
        /// Orphans that were counted until then.
        orphans: u64,
        /// Chunks that rows place on the node.
        placed: u64,
    },
}

/// Handles the orphans of one node.
pub struct OrphanSweep<'a> {
    pub mover: &'a ReplicaMover,
    pub node: NodeId,
    /// Chunks that rows place on it.
    pub placed: u64,
    pub limits: OrphanLimits,
    /// Whether an operator says that all of them are garbage: then they are not too many, and go into
    /// quarantine at once.
    pub are_accepted: bool,
    /// Replicas that each chunk should have.
    pub wanted: u8,
    pub round: &'a Round,
}

/// Orphans of a node.
#[derive(Default)]
struct Counted {
    all: u64,
    /// Of those, the ones that were not put into quarantine yet.
    fresh: u64,
}

impl OrphanSweep<'_> {
    /// Deals with all of them, or with none.
    ///
    /// # Errors
    /// What keeps the metadata from being read or written.
    pub async fn deal(&self) -> MetaResult<OrphanVerdict> {
        let Counted { all, fresh } = self.count().await?;
        if all == 0 || !self.round.goes_on() {
            return Ok(OrphanVerdict::Well);
        }
        if self.are_too_many(fresh) || !self.is_anything_placed().await? {
            let placed = self.placed;
            return Ok(OrphanVerdict::TooMany {
                orphans: all,
                placed,
            });
        }
        let mut after = None;
        while self.round.goes_on() {
            let metastore = &self.mover.metastore;
            let mut page = metastore.orphans(self.node, after, PAGE).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.chunk.id);
            page.retain(|orphan| self.is_due(orphan));
            for (orphan, placed) in self.with_places(page).await? {
                if !self.round.goes_on() {
                    break;
                }
                if !self.is_needed(&orphan, placed.as_ref()).await? {
                    self.send_on(&orphan).await?;
                }
            }
        }
        Ok(OrphanVerdict::Well)
    }

    /// How many are still orphans, counted until there are too many; the others are spared.
    async fn count(&self) -> MetaResult<Counted> {
        let (mut count, mut after) = (Counted::default(), None);
        let metastore = &self.mover.metastore;
        while self.round.goes_on() && !self.are_too_many(count.fresh) {
            let page = metastore.orphans(self.node, after, PAGE).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.chunk.id);
            for (orphan, placed) in self.with_places(page).await? {
                if placed.is_some_and(|placed| placed.replicas.contains(&self.node)) {
                    let (fence, chunk) = (self.round.fence(), orphan.chunk.id);
                    let ended = metastore.end_orphan(fence, self.node, chunk, OrphanFate::Spared);
                    if self.round.unless_fenced(ended.await)?.is_none() {
                        return Ok(count);
                    }
                } else {
                    count.all += 1;
                    count.fresh += u64::from(orphan.quarantined_at.is_none());
                }
            }
        }
        Ok(count)
    }

    /// Whether any row places a chunk anywhere. Metadata that knows of nothing is more likely lost than
    /// right.
    async fn is_anything_placed(&self) -> MetaResult<bool> {
        let metastore = &self.mover.metastore;
        for (node, _) in self.mover.membership.states() {
            if !metastore.chunks_on_node(node, None, 1).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether so many are a reason to doubt the metadata. Those in quarantine passed this already.
    fn are_too_many(&self, fresh: u64) -> bool {
        let all = self.placed.saturating_add(fresh);
        let percent = u64::from(self.limits.limit_percent);
        let most = (all.saturating_mul(percent) / 100).max(FEW_ORPHANS);
        fresh > most && !self.are_accepted
    }

    /// Orphans, each with where its chunk is by the row that names it elsewhere, if one does. Empty if a
    /// row cannot be read: what it names is no orphan.
    async fn with_places(&self, page: Vec<Orphan>) -> MetaResult<Vec<(Orphan, Option<ChunkRef>)>> {
        let ids: Vec<_> = page.iter().map(|orphan| orphan.chunk.id).collect();
        let mut places = self.mover.readable_placements(&ids, self.round).await?;
        let with_place = |orphan: Orphan| {
            let place = places.remove(&orphan.chunk.id)?;
            Some((orphan, place.map(|placed| placed.chunk)))
        };
        Ok(page.into_iter().filter_map(with_place).collect())
    }

    /// Whether it has been what it is for long enough.
    fn is_due(&self, orphan: &Orphan) -> bool {
        let now = self.round.now();
        match orphan.quarantined_at {
            None if self.are_accepted => true,
            None => is_past(orphan.since, self.limits.age, now),
            Some(at) => is_past(at, self.limits.quarantine, now),
        }
    }

    /// Whether the chunk has too few good copies without this one. Then the row comes to name it, or
    /// repair copies from it, and it stays until that is done.
    async fn is_needed(&self, orphan: &Orphan, placed: Option<&ChunkRef>) -> MetaResult<bool> {
        let Some(chunk) = placed.filter(|chunk| info_of(chunk) == orphan.chunk) else {
            return Ok(false);
        };
        let held = self.mover.examine(chunk).await;
        let is_good = |(_, state): &&(NodeId, ReplicaState)| *state == ReplicaState::Good;
        let good = held.iter().filter(is_good).count();
        if good >= usize::from(self.wanted) {
            return Ok(false);
        }
        match self.mover.ask(self.node, chunk).await {
            ReplicaState::Nothing | ReplicaState::Other => return Ok(false),
            ReplicaState::Good if orphan.quarantined_at.is_none() => {
                let mut replicas = chunk.replicas.clone();
                replicas.push(self.node);
                self.mover
                    .commit_replicas(chunk, replicas, self.wanted, self.round)
                    .await?;
            }
            ReplicaState::Good
            | ReplicaState::Unreadable
            | ReplicaState::Awaited
            | ReplicaState::Lost => {}
        }
        self.mover
            .queue_repair(chunk, good, self.wanted, self.round)
            .await?;
        Ok(true)
    }

    /// Into quarantine, or from there into the garbage.
    async fn send_on(&self, orphan: &Orphan) -> MetaResult<()> {
        let (metastore, fence) = (&self.mover.metastore, self.round.fence());
        let (node, chunk, now) = (self.node, orphan.chunk.id, self.round.now());
        if orphan.quarantined_at.is_none() {
            let quarantined = metastore.quarantine_orphan(fence, node, chunk, now).await;
            return match self.round.unless_fenced(quarantined) {
                Ok(Some(())) => {
                    info!(%node, %chunk, "a chunk that no row names is in quarantine");
                    Ok(())
                }
                // A row has come to place it there, or an older copy waits to be deleted.
                Ok(None) | Err(MetaError::Conflict) => Ok(()),
                Err(error) => Err(error),
            };
        }
        let garbage = OrphanFate::Garbage(now);
        let ended = metastore.end_orphan(fence, node, chunk, garbage).await;
        if self.round.unless_fenced(ended)?.is_some() {
            warn!(%node, %chunk, "a chunk that no row names is deleted");
            self.round.progress().done(orphan.chunk.length_bytes);
        }
        Ok(())
    }
}

/// Ends the orphans of a node that was removed: they went with its disks.
///
/// # Errors
/// What keeps the metadata from being read or written.
pub async fn forget_orphans(mover: &ReplicaMover, node: NodeId, round: &Round) -> MetaResult<()> {
    let metastore = &mover.metastore;
    while round.goes_on() {
        let page = metastore.orphans(node, None, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for orphan in page {
            let fate = match orphan.quarantined_at {
                // So that garbage collection forgets the claim of the quarantine.
                Some(_) => OrphanFate::Garbage(round.now()),
                None => OrphanFate::Spared,
            };
            let ended = metastore.end_orphan(round.fence(), node, orphan.chunk.id, fate);
            if round.unless_fenced(ended.await)?.is_none() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn is_past(since: Timestamp, time: Duration, now: Timestamp) -> bool {
    since.after(time) <= now
}
