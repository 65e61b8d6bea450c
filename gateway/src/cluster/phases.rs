//! What operators want of nodes, as the metadata has it: read again and again, since another gateway
//! may have been told.

use std::sync::Arc;
use std::time::Duration;

use metastore::{MetaResult, Metastore};
use tokio::sync::watch;
use tracing::warn;

use super::Membership;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(2);

/// Takes the nodes' phases from the metadata into `membership`.
///
/// # Errors
/// What keeps the metadata from being read.
pub async fn learn_phases(metastore: &dyn Metastore, membership: &Membership) -> MetaResult<()> {
    for (node, phase) in metastore.node_phases().await? {
        membership.set_phase(node, phase);
    }
    Ok(())
}

/// Learns the phases again and again until `stop` closes.
pub async fn follow_phases(
    metastore: Arc<dyn Metastore>,
    membership: Arc<Membership>,
    mut stop: watch::Receiver<()>,
) {
    loop {
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        if let Err(error) = learn_phases(metastore.as_ref(), &membership).await {
            warn!(%error, "cannot read the phases of chunk servers; keeping the ones known");
        }
    }
}
