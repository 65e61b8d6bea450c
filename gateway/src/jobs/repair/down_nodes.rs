//! Nodes that are taken for gone: what they held is queued for repair, exactly, from the index of
//! what stands on which node.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chunkproto::{ChunkId, NodeId};
use metastore::{MetaResult, NodeChunk, NodePhase, RepairNeed, Timestamp};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use crate::cluster::{Membership, NodeState};
use crate::jobs::job::Round;
use crate::jobs::replica_mover::ReplicaMover;

/// Chunks looked at and queued in one unit.
const PAGE: usize = 1000;
/// Between two looks at which nodes are down, or at what came to be queued.
const LOOK_PERIOD: Duration = Duration::from_millis(200);
/// A node that stays down is looked at again after this: a long upload may have named it late.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// The walks over what down nodes held.
#[derive(Default)]
pub struct DownNodes {
    walks: Mutex<HashMap<NodeId, Walk>>,
}

/// Progress of queueing the chunks of down nodes for repair.
#[derive(Default)]
pub struct QueueingProgress {
    is_at_its_end: AtomicBool,
    changed: Notify,
}

impl QueueingProgress {
    pub fn is_at_its_end(&self) -> bool {
        self.is_at_its_end.load(Ordering::Relaxed)
    }

    /// Returns when more may be queued than at the last call, or nothing more will be.
    pub async fn goes_on(&self) {
        let _ = timeout(LOOK_PERIOD, self.changed.notified()).await;
    }

    fn begin(&self) {
        self.is_at_its_end.store(false, Ordering::Relaxed);
    }

    fn end(&self) {
        self.is_at_its_end.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }
}

/// How far the walk over one node's chunks is.
#[derive(Debug, Clone, Copy)]
enum Walk {
    /// Behind this chunk; whether rows named the node for any so far.
    Under { after: Option<ChunkId>, named: bool },
    /// At its end at that moment.
    Ended { at: Instant, named: bool },
}

impl DownNodes {
    /// Whether more than a third of the nodes that hold anything are missing. Then something greater
    /// than a disk has failed, and copying everything could make it worse.
    #[must_use]
    pub fn are_too_many(&self, membership: &Membership) -> bool {
        let walks = self.walks();
        // A node that went long ago and was emptied since is no longer missed.
        let is_empty =
            |node: &NodeId| matches!(walks.get(node), Some(Walk::Ended { named: false, .. }));
        // Of one that is to leave an operator said so: nobody waits for its return.
        let is_written_off = |node: &NodeId, state: NodeState| {
            state == NodeState::Down && membership.phase(*node) == NodePhase::Draining
        };
        let mut counted = membership.states();
        counted.retain(|(node, state)| !is_empty(node) && !is_written_off(node, *state));
        let missing = counted
            .iter()
            .filter(|(node, _)| membership.is_missing(*node));
        missing.count() * 3 > counted.len()
    }

    /// Queues what nodes held that are down, those too that go down meanwhile; says in `queueing` how far
    /// that is. Between two pages it may be left.
    ///
    /// # Errors
    /// What keeps the metadata from being read or written.
    pub async fn keep_queueing(
        &self,
        mover: &ReplicaMover,
        wanted: u8,
        queueing: &QueueingProgress,
        round: &Round,
    ) -> MetaResult<Infallible> {
        loop {
            queueing.begin();
            self.queue(mover, wanted, round).await?;
            queueing.end();
            sleep(LOOK_PERIOD).await;
        }
    }

    /// Queues what nodes held that are down and were not gone through lately.
    ///
    /// # Errors
    /// What keeps the metadata from being read or written.
    pub async fn queue(&self, mover: &ReplicaMover, wanted: u8, round: &Round) -> MetaResult<()> {
        let gone = gone_nodes(&mover.membership);
        self.walks().retain(|node, _| gone.contains(node));
        for node in &gone {
            // It may return in the middle of its chunks; the rest is not missed then.
            while mover.membership.state(*node) == NodeState::Down
                && let Some((after, named)) = self.next_page(*node)
            {
                if !round.goes_on() {
                    return Ok(());
                }
                let metastore = &mover.metastore;
                let page = mover.node_chunks(*node, (after, PAGE), round).await?;
                let needs = needs_of(*node, &page, wanted, round.now(), &mover.membership);
                let named = named || !needs.is_empty();
                if !needs.is_empty() {
                    metastore.queue_repairs(needs).await?;
                }
                self.advance(*node, page.last().map(|chunk| chunk.id), named);
            }
        }
        Ok(())
    }

    /// Where to go on with a node's chunks; `None` if its walk has ended.
    fn next_page(&self, node: NodeId) -> Option<(Option<ChunkId>, bool)> {
        let mut walks = self.walks();
        let walk = walks.entry(node).or_insert_with(|| {
            info!(%node, "a chunk server is gone; what rows still place on it is queued for repair");
            Walk::START
        });
        match *walk {
            Walk::Under { after, named } => Some((after, named)),
            Walk::Ended { at, .. } if at.elapsed() < AGAIN_AFTER => None,
            Walk::Ended { .. } => {
                *walk = Walk::START;
                Some((None, false))
            }
        }
    }

    fn advance(&self, node: NodeId, last: Option<ChunkId>, named: bool) {
        let walk = match last {
            Some(last) => Walk::Under {
                after: Some(last),
                named,
            },
            None => {
                info!(%node, named, "all chunks of a lost chunk server were looked at");
                let at = Instant::now();
                Walk::Ended { at, named }
            }
        };
        self.walks().insert(node, walk);
    }

    fn walks(&self) -> MutexGuard<'_, HashMap<NodeId, Walk>> {
        self.walks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Walk {
    const START: Self = Self::Under {
        after: None,
        named: false,
    };
}

/// Nodes that are down, and those that were removed: a write that began before may name one after.
fn gone_nodes(membership: &Membership) -> Vec<NodeId> {
    let states = membership.states().into_iter();
    let is_down = |(node, state)| (state == NodeState::Down).then_some(node);
    let mut gone: Vec<_> = states.filter_map(is_down).collect();
    gone.extend(membership.removed());
    gone
}

/// What must be repaired of a page of a lost node's chunks: those that rows still place on it.
fn needs_of(
    node: NodeId,
    page: &[NodeChunk],
    wanted: u8,
    now: Timestamp,
    membership: &Membership,
) -> Vec<RepairNeed> {
    let placed = page.iter().filter_map(|chunk| chunk.placement.as_ref());
    let here = placed.filter(|placed| placed.chunk.replicas.contains(&node));
    here.map(|placed| {
        let replicas = placed.chunk.replicas.iter();
        let left = replicas.filter(|node| membership.state(**node) != NodeState::Down);
        RepairNeed::new(&placed.chunk, wanted, left.count(), now)
    })
    .collect()
}
