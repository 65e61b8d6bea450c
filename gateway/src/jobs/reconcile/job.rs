//! Which nodes are due to be compared with their rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::{ChunkError, JobName, NodeId};
use metastore::{MetaError, NodePhase};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::info;

use super::compare::{CompareError, Comparison, ComparisonSummary};
use super::orphans::{OrphanLimits, OrphanSweep, OrphanVerdict, forget_orphans};
use crate::cluster::{Episode, NodeState};
use crate::jobs::job::{Job, JobError, Round};
use crate::jobs::replica_mover::ReplicaMover;

/// Rest between two looks at which nodes are due.
const PERIOD: Duration = Duration::from_secs(2);

/// What an operator may set.
#[derive(Debug, Clone, Copy)]
pub struct ReconcileSettings {
    /// Replicas that each chunk should have.
    pub replicas: u8,
    /// A node is compared again after this.
    pub every: Duration,
    /// What happens to orphans.
    pub orphans: OrphanLimits,
}

/// Compares nodes with their rows.
pub struct ReconcileJob {
    mover: ReplicaMover,
    settings: ReconcileSettings,
    /// Wakes the repair when there is something for it.
    repair: Arc<Notify>,
    compared: Mutex<BTreeMap<NodeId, Last>>,
    zones: Mutex<Zones>,
}

/// The failure zones that were seen.
#[derive(Debug, Default)]
struct Zones {
    /// Those that were live and are not given up.
    known: BTreeSet<String>,
    /// How often one came or came back. What is crowded in others may spread into it then.
    arrivals: u64,
}

/// The last comparison of a node.
#[derive(Debug, Clone, Copy)]
struct Last {
    episode: Episode,
    /// Zones that had come until then.
    arrivals: u64,
    at: Instant,
    compared: ComparisonSummary,
    /// Outcome of handling its orphans, and when that was.
    orphans: Option<(Instant, OrphanVerdict)>,
}

impl ReconcileJob {
    /// A job that wakes the repair by `repair`.
    #[must_use]
    pub fn new(mover: ReplicaMover, settings: ReconcileSettings, repair: Arc<Notify>) -> Self {
        Self {
            mover,
            settings,
            repair,
            compared: Mutex::default(),
            zones: Mutex::default(),
        }
    }

    /// The live nodes that are due, each with the episode it is in.
    fn due(&self) -> Vec<(NodeId, Episode)> {
        let membership = &self.mover.membership;
        let states = membership.states();
        let episodes = states
            .iter()
            .filter_map(|(node, _)| Some((*node, membership.episode(*node)?)));
        let (last, arrivals) = (self.last(), self.arrivals());
        let is_due = |(node, episode): &(NodeId, Episode)| {
            last.get(node).is_none_or(|last| {
                let is_other = (last.episode, last.arrivals) != (*episode, arrivals);
                is_other || last.at.elapsed() >= self.settings.every
            })
        };
        episodes.filter(is_due).collect()
    }

    /// How often a failure zone came so far, or came back after all of it was given up.
    fn arrivals(&self) -> u64 {
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        let membership = &self.mover.membership;
        let present = membership.zones(|state| state != NodeState::Down);
        zones.known.retain(|zone| present.contains(zone));
        let live = membership.zones(|state| state == NodeState::Live);
        if !live.is_subset(&zones.known) {
            zones.arrivals += 1;
            zones.known.extend(live);
        }
        zones.arrivals
    }

    /// Compares a node, unless the round ends before that.
    ///
    /// # Errors
    /// What keeps the metadata from being read or written, or the node from saying what it holds.
    async fn compare(&self, node: NodeId, episode: Episode, round: &Round) -> Result<(), JobError> {
        let (began, arrivals) = (Instant::now(), self.arrivals());
        let comparison = Comparison {
            mover: &self.mover,
            node,
            round,
            wanted: self.settings.replicas,
            orphan_age: self.settings.orphans.age,
            named: AtomicU64::new(0),
        };
        let compared = match comparison.run().await {
            Ok(compared) => compared,
            Err(CompareError::Metadata(error)) => return Err(error.into()),
            Err(CompareError::Over) => return Ok(()),
            Err(CompareError::Node(error)) => {
                if matches!(error, ChunkError::Unreachable(_)) {
                    self.mover.membership.suspect(node);
                }
                return Err(JobError::Node { node, error });
            }
        };
        let ComparisonSummary {
            placed,
            missing,
            misplaced,
        } = compared;
        info!(%node, placed, missing, misplaced, took = ?began.elapsed(), "a chunk server was compared with its rows");
        if missing > 0 || misplaced > 0 {
            self.repair.notify_one();
        }
        let last = Last {
            episode,
            arrivals,
            at: began,
            compared,
            orphans: None,
        };
        self.last().insert(node, last);
        Ok(())
    }

    /// Deals with the orphans of all nodes that were compared; tells of nodes that have too many.
    async fn deal_with_orphans(&self, round: &Round) -> Result<Option<String>, MetaError> {
        let membership = &self.mover.membership;
        for removed in membership.removed() {
            self.last().remove(&removed);
            forget_orphans(&self.mover, removed, round).await?;
        }
        let compared: Vec<_> = self
            .last()
            .iter()
            .map(|(node, last)| (*node, *last))
            .collect();
        let mut alarms = Vec::new();
        for (node, last) in compared {
            let is_ordered = membership.are_orphans_accepted(node);
            let dealt = match last.orphans {
                Some((at, dealt))
                    if at.elapsed() < self.settings.orphans.period() && !is_ordered =>
                {
                    dealt
                }
                _ => {
                    self.deal_with_orphans_of(node, last.compared.placed, round)
                        .await?
                }
            };
            // One that is to leave places less and less, and its orphans go with it.
            let is_to_stay = membership.phase(node) == NodePhase::Active;
            if let (OrphanVerdict::TooMany { orphans, placed }, true) = (dealt, is_to_stay) {
                alarms.push(format!(
                    "{orphans} chunks or more on the chunk server {node} are named by no row, beside \
                     {placed} that are"
                ));
            }
        }
        Ok((!alarms.is_empty()).then(|| alarms.join("; ")))
    }

    async fn deal_with_orphans_of(
        &self,
        node: NodeId,
        placed: u64,
        round: &Round,
    ) -> Result<OrphanVerdict, MetaError> {
        let began = Instant::now();
        let membership = &self.mover.membership;
        let are_accepted = membership.are_orphans_accepted(node);
        let orphans = OrphanSweep {
            mover: &self.mover,
            node,
            placed,
            limits: self.settings.orphans,
            are_accepted,
            wanted: self.settings.replicas,
            round,
        };
        let dealt = orphans.deal().await?;
        if let Some(last) = self.last().get_mut(&node).filter(|_| round.goes_on()) {
            last.orphans = Some((began, dealt));
            if are_accepted {
                membership.accept_orphans(node, false);
            }
        }
        Ok(dealt)
    }

    fn last(&self) -> MutexGuard<'_, BTreeMap<NodeId, Last>> {
        self.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Job for ReconcileJob {
    fn name(&self) -> JobName {
        "reconcile".parse().expect("a job's name")
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn round(&self, round: &Round) -> Result<(), JobError> {
        let due = self.due();
        let status = self.mover.membership.status();
        let chunks_on = |node: NodeId| {
            let known = status
                .iter()
                .find(|known| known.registration.node_id == node);
            known.map_or(0, |known| known.registration.state.chunk_count)
        };
        let left = due.iter().map(|(node, _)| chunks_on(*node)).sum();
        round.progress().expect(left, 0);
        let mut failed = Ok(());
        for (node, episode) in due {
            if !round.goes_on() {
                return Ok(());
            }
            match self.compare(node, episode, round).await {
                // It is due again in the next round; the others do not wait for it.
                Err(failure @ JobError::Node { .. }) => failed = Err(failure),
                compared => compared?,
            }
        }
        round.progress().expect(0, 0);
        match self.deal_with_orphans(round).await? {
            None => failed,
            Some(which) => Err(JobError::Alarm(format!(
                "{which}. None of them is touched. If it is one chunk server alone, it may have come back \
                 with older data directories, or was cut off for long: then they are garbage, and gateway \
                 admin node accept-orphans NODE lets them go. If it is all of them, the metadata may be \
                 older than they are, as after a restore: restore a newer state first"
            ))),
        }
    }
}
