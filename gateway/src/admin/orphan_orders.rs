//! What operators order of orphans: that all those of one chunk server are garbage, as when it came back with
//! older data directories. Refused where the metadata looks like the culprit.

use chunkproto::NodeId;
use metastore::MetaResult;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::node_orders::{NodeAdmin, OrderError};
use crate::cluster::{NodeState, NodeStatus};
use crate::jobs::FEW_ORPHANS;

/// Orphans read at a time.
const PAGE: usize = 1000;
/// Orphans of one node that are counted.
const COUNTED_MAX: u64 = 1_000_000;
/// A node with more orphans than this percentage of its chunks looks older, or newer, than the metadata.
const DOUBTFUL_PERCENT: u64 = 1;

/// How many orphans were accepted.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct AcceptedOrphans {
    /// Those that were noted then.
    pub orphans: u64,
}

impl NodeAdmin {
    /// Has reconciliation put all orphans of a node into quarantine, however many they are; returns
    /// their number. They are deleted when that is over, as all others; a copy that its chunk needs comes
    /// to be named instead.
    ///
    /// # Errors
    /// See [`OrderError`]; then nothing has changed.
    pub async fn accept_orphans(&self, node: NodeId) -> Result<u64, OrderError> {
        let mut nodes = self.membership.status();
        let is_it = |known: &NodeStatus| known.registration.node_id == node;
        if !nodes.iter().any(is_it) {
            return Err(OrderError::Unknown(node));
        }
        nodes.retain(|known| known.state != NodeState::Down || is_it(known));
        let orphans = self.fresh_orphans(node).await?;
        if orphans == 0 {
            return Err(OrderError::NoOrphans(node));
        }
        let (mut doubtful, mut placing) = (0, 0);
        for known in &nodes {
            let id = known.registration.node_id;
            let chunks = known.registration.state.chunk_count;
            let most = (chunks.saturating_mul(DOUBTFUL_PERCENT) / 100).max(FEW_ORPHANS);
            doubtful += usize::from(id == node || self.fresh_orphans(id).await? > most);
            let on_it = self.metastore.chunks_on_node(id, None, 1).await?;
            placing += usize::from(!on_it.is_empty());
        }
        let all = nodes.len();
        if placing == 0 || doubtful >= all {
            return Err(OrderError::MetadataInDoubt {
                orphans,
                doubtful,
                placing,
                all,
            });
        }
        self.membership.accept_orphans(node, true);
        info!(%node, orphans, "an operator said that a chunk server's orphans are garbage");
        Ok(orphans)
    }

    /// How many orphans of a node are noted and not in quarantine.
    async fn fresh_orphans(&self, node: NodeId) -> MetaResult<u64> {
        let (mut count, mut after) = (0, None);
        while count < COUNTED_MAX {
            let page = self.metastore.orphans(node, after, PAGE).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.chunk.id);
            let fresh = page.iter().filter(|orphan| orphan.quarantined_at.is_none());
            count += fresh.count() as u64;
        }
        Ok(count)
    }
}
