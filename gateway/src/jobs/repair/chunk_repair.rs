//! Mending one chunk: until it has as many good copies as it should, in as many zones as there are for
//! them, and its row names those.

use chunkproto::NodeId;
use metastore::{ChunkRef, MetaResult};
use tracing::{debug, warn};

use crate::jobs::copy_sources::CopySources;
use crate::jobs::job::Round;
use crate::jobs::replica_mover::{CopyFailure, ReplicaMover, ReplicaState};
use crate::jobs::rows::RowUpdate;

/// Nodes tried for one chunk in one round.
const ATTEMPTS_MAX: usize = 6;

/// What is known of a chunk once it was looked at or worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkHealth {
    /// No row names it.
    Gone,
    /// It has as many good copies as it should, counting nodes that are about to return, and its row
    /// names these.
    Whole(Vec<NodeId>),
    /// It has this many good copies, and lacks more.
    Short(usize),
    /// It has this many good copies, enough of them, and several are in one zone while another zone
    /// takes one.
    Crowded(usize),
}

/// A chunk that is being mended.
struct ChunkRepair<'a> {
    chunk: &'a ChunkRef,
    held: Vec<(NodeId, ReplicaState)>,
    /// Nodes with a good copy that cannot be named, since it waits to be deleted.
    sources: Vec<NodeId>,
    /// Nodes that did not take a copy.
    refused: Vec<NodeId>,
    /// Which copies failed for their source.
    tried: CopySources,
}

/// Sees that `chunk` has `wanted_copies` good copies. Where several share a zone and another zone takes
/// one, a copy is made there, and one of those that share goes. With `only_last_copies`, leaves chunks alone that have
/// more than one. A copy that is missing or bad is taken out of the row only once there are so many
/// good ones (I7); so are good ones beyond that. Where no node that the row names has a good copy, all
/// others are asked: whoever has one comes to be named, or is copied from.
///
/// # Errors
/// What keeps the metadata from being read or written.
pub async fn mend(
    mover: &ReplicaMover,
    chunk: &ChunkRef,
    wanted_copies: u8,
    only_last_copies: bool,
    round: &Round,
) -> MetaResult<ChunkHealth> {
    let wanted = usize::from(wanted_copies);
    let mut repair = ChunkRepair {
        chunk,
        held: mover.examine(chunk).await,
        sources: Vec::new(),
        refused: Vec::new(),
        tried: CopySources::default(),
    };
    if repair.kept().is_empty() {
        repair.look_elsewhere(mover).await?;
    }
    let may_copy = !only_last_copies || repair.good().len() <= 1;
    if may_copy {
        repair.copy_until(wanted, mover, round).await?;
    }
    let mut replicas = repair.replicas(wanted);
    // A node that was given up and returned brings its copies back.
    let surplus = mover.surplus(&repair.good(), wanted);
    replicas.retain(|node| !surplus.contains(node));
    match mover
        .commit_replicas(chunk, replicas.clone(), wanted_copies, round)
        .await?
    {
        RowUpdate::Gone => return Ok(ChunkHealth::Gone),
        RowUpdate::NotNow => debug!(chunk = %chunk.id, "its row changed while it was mended"),
        RowUpdate::Done if repair.is_whole(wanted) => {
            let apart = mover.choose_apart(chunk, &replicas, wanted, &[]);
            return Ok(match apart {
                Some(_) => ChunkHealth::Crowded(replicas.len()),
                None => ChunkHealth::Whole(replicas),
            });
        }
        RowUpdate::Done => {}
    }
    Ok(ChunkHealth::Short(repair.good().len()))
}

impl ChunkRepair<'_> {
    async fn look_elsewhere(&mut self, mover: &ReplicaMover) -> MetaResult<()> {
        for node in mover.elsewhere(self.chunk).await {
            warn!(chunk = %self.chunk.id, %node, "the only good copy is on a node that its row does not name");
            match mover.may_name(self.chunk, node).await? {
                true => self.set(node, ReplicaState::Good),
                false => self.sources.push(node),
            }
        }
        Ok(())
    }

    async fn copy_until(
        &mut self,
        wanted: usize,
        mover: &ReplicaMover,
        round: &Round,
    ) -> MetaResult<()> {
        for _ in 0..ATTEMPTS_MAX {
            if !round.goes_on() {
                break;
            }
            let readable = self.readable();
            let Some(target) = self.target(wanted, mover) else {
                break;
            };
            let Some(source) = self.tried.choose(&readable, target) else {
                break;
            };
            if !mover.may_name(self.chunk, target).await?
                || !self.make_room(target, mover, round).await
            {
                self.refused.push(target);
                continue;
            }
            match mover.copy(self.chunk, source, target, round).await {
                Ok(()) => self.set(target, ReplicaState::Good),
                Err(CopyFailure::Source) if self.sources.contains(&source) => {
                    self.sources.retain(|other| *other != source);
                }
                Err(CopyFailure::Source) => self.set(source, ReplicaState::Nothing),
                Err(CopyFailure::SourceUnavailable) => {
                    self.tried.note_unavailable(source, target);
                }
                Err(CopyFailure::Target) => self.refused.push(target),
                Err(CopyFailure::Over) => break,
            }
        }
        Ok(())
    }

    /// The node for another copy; none if there are enough of them, in as many zones as there are for
    /// them, and if no node takes one.
    fn target(&self, wanted: usize, mover: &ReplicaMover) -> Option<NodeId> {
        let (good, kept) = (self.good(), self.kept());
        if kept.len() < wanted {
            return mover.choose(self.chunk, &kept, &self.shunned());
        }
        // While a node is awaited, nobody knows which copies will be too many.
        let is_settled = good.len() >= wanted;
        let apart =
            is_settled.then(|| mover.choose_apart(self.chunk, &good, wanted, &self.shunned()));
        apart.flatten()
    }

    /// Deletes what stands under the chunk's id on a node and is not the chunk. There is a good copy
    /// elsewhere, or this would not be asked.
    async fn make_room(&self, target: NodeId, mover: &ReplicaMover, round: &Round) -> bool {
        if !self.held.contains(&(target, ReplicaState::Other)) {
            return true;
        }
        mover.delete(self.chunk, target, round).await
    }

    /// Nodes whose copies stay.
    fn kept(&self) -> Vec<NodeId> {
        let awaited = self.with(ReplicaState::Awaited);
        self.good().into_iter().chain(awaited).collect()
    }

    /// Nodes to copy from, the best first.
    fn readable(&self) -> Vec<NodeId> {
        let good = self.good().into_iter();
        good.chain(self.sources.iter().copied()).collect()
    }

    /// Further nodes that are not asked to take a copy.
    fn shunned(&self) -> Vec<NodeId> {
        let unreadable = self.with(ReplicaState::Unreadable).into_iter();
        let out = unreadable.chain(self.with(ReplicaState::Lost));
        let out = out.chain(self.tried.cut_off(&self.readable()));
        out.chain(self.refused.iter().copied()).collect()
    }

    /// What the row is to name: all good copies, and the others as long as there are too few good
    /// ones.
    fn replicas(&self, wanted: usize) -> Vec<NodeId> {
        let is_enough = self.good().len() >= wanted;
        let stays = |state: ReplicaState| state == ReplicaState::Good || !is_enough;
        let named = self.held.iter().filter(|(_, state)| stays(*state));
        named.map(|(node, _)| *node).collect()
    }

    fn is_whole(&self, wanted: usize) -> bool {
        let is_bad =
            |state: ReplicaState| !matches!(state, ReplicaState::Good | ReplicaState::Awaited);
        let good = self.good().len();
        let has_bad = self.held.iter().any(|(_, state)| is_bad(*state));
        // One more may turn out to be one too many once all have returned.
        good >= wanted || (good + self.with(ReplicaState::Awaited).len() == wanted && !has_bad)
    }

    fn good(&self) -> Vec<NodeId> {
        self.with(ReplicaState::Good)
    }

    fn with(&self, wanted: ReplicaState) -> Vec<NodeId> {
        let with = self.held.iter().filter(|(_, state)| *state == wanted);
        with.map(|(node, _)| *node).collect()
    }

    fn set(&mut self, node: NodeId, state: ReplicaState) {
        match self.held.iter_mut().find(|(held, _)| *held == node) {
            Some(entry) => entry.1 = state,
            None => self.held.push((node, state)),
        }
    }
}
