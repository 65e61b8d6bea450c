//! Which nodes are due to be compared with their rows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::{ChunkError, JobName, NodeId};
use metastore::MetaError;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::info;

use super::compare::{CompareError, Compared, Comparison};
use super::strays::{Dealt, StrayLimits, StraysOf};
use crate::cluster::Episode;
use crate::jobs::copies::Copies;
use crate::jobs::job::{Job, JobError, Round};

/// Rest between two looks at which nodes are due.
const PERIOD: Duration = Duration::from_secs(2);

/// What an operator may set.
#[derive(Debug, Clone, Copy)]
pub struct ReconcileSettings {
    /// Replicas that each chunk should have.
    pub replicas: u8,
    /// A node is compared again after this.
    pub every: Duration,
    /// What happens to strays.
    pub strays: StrayLimits,
}

/// Compares nodes with their rows.
pub struct ReconcileJob {
    copies: Copies,
    settings: ReconcileSettings,
    /// Wakes the repair when there is something for it.
    repair: Arc<Notify>,
    compared: Mutex<HashMap<NodeId, Last>>,
}

/// The last comparison of a node.
#[derive(Debug, Clone, Copy)]
struct Last {
    episode: Episode,
    at: Instant,
    compared: Compared,
    /// What became of its strays, and when.
    strays: Option<(Instant, Dealt)>,
}

impl ReconcileJob {
    /// A job that wakes the repair by `repair`.
    #[must_use]
    pub fn new(copies: Copies, settings: ReconcileSettings, repair: Arc<Notify>) -> Self {
        Self {
            copies,
            settings,
            repair,
            compared: Mutex::default(),
        }
    }

    /// The live nodes that are due, each with the episode it is in.
    fn due(&self) -> Vec<(NodeId, Episode)> {
        let membership = &self.copies.membership;
        let states = membership.states();
        let episodes = states
            .iter()
            .filter_map(|(node, _)| Some((*node, membership.episode(*node)?)));
        let last = self.last();
        let is_due = |(node, episode): &(NodeId, Episode)| {
            last.get(node).is_none_or(|last| {
                last.episode != *episode || last.at.elapsed() >= self.settings.every
            })
        };
        episodes.filter(is_due).collect()
    }

    /// Compares a node, unless the round ends before that.
    ///
    /// # Errors
    /// What keeps the metadata from being read or written, or the node from saying what it holds.
    async fn compare(&self, node: NodeId, episode: Episode, round: &Round) -> Result<(), JobError> {
        let began = Instant::now();
        let comparison = Comparison {
            copies: &self.copies,
            node,
            round,
            wanted: self.settings.replicas,
            stray_age_ms: u64::try_from(self.settings.strays.age.as_millis()).unwrap_or(u64::MAX),
        };
        let compared = match comparison.run().await {
            Ok(compared) => compared,
            Err(CompareError::Metadata(error)) => return Err(error.into()),
            Err(CompareError::Over) => return Ok(()),
            Err(CompareError::Node(error)) => {
                if matches!(error, ChunkError::Unreachable(_)) {
                    self.copies.membership.suspect(node);
                }
                return Err(JobError::Node { node, error });
            }
        };
        let Compared { placed, missing } = compared;
        info!(%node, placed, missing, took = ?began.elapsed(), "a chunk server was compared with its rows");
        if missing > 0 {
            self.repair.notify_one();
        }
        let last = Last {
            episode,
            at: began,
            compared,
            strays: None,
        };
        self.last().insert(node, last);
        Ok(())
    }

    /// Deals with the strays of all nodes that were compared; tells of nodes that have too many.
    async fn deal_with_strays(&self, round: &Round) -> Result<Option<String>, MetaError> {
        let compared: Vec<_> = self
            .last()
            .iter()
            .map(|(node, last)| (*node, *last))
            .collect();
        let mut alarms = Vec::new();
        for (node, last) in compared {
            let dealt = match last.strays {
                Some((at, dealt)) if at.elapsed() < self.settings.strays.period() => dealt,
                _ => {
                    self.deal_with_strays_of(node, last.compared.placed, round)
                        .await?
                }
            };
            if let Dealt::TooMany { strays, placed } = dealt {
                alarms.push(format!(
                    "{strays} chunks or more on the chunk server {node} are named by no row, beside \
                     {placed} that are"
                ));
            }
        }
        Ok((!alarms.is_empty()).then(|| alarms.join("; ")))
    }

    async fn deal_with_strays_of(
        &self,
        node: NodeId,
        placed: u64,
        round: &Round,
    ) -> Result<Dealt, MetaError> {
        let began = Instant::now();
        let strays = StraysOf {
            copies: &self.copies,
            node,
            placed,
            limits: self.settings.strays,
            wanted: self.settings.replicas,
            round,
        };
        let dealt = strays.deal().await?;
        if let Some(last) = self.last().get_mut(&node).filter(|_| round.goes_on()) {
            last.strays = Some((began, dealt));
        }
        Ok(dealt)
    }

    fn last(&self) -> MutexGuard<'_, HashMap<NodeId, Last>> {
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
        let status = self.copies.membership.status();
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
        match self.deal_with_strays(round).await? {
            None => failed,
            Some(which) => Err(JobError::Alarm(format!(
                "{which}. None of them is touched. If the metadata was restored from an older state, \
                 restore a newer one; if the chunks are really garbage, start with a higher \
                 --orphan-limit"
            ))),
        }
    }
}
