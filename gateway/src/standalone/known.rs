//! The chunk stores that the metadata knows, against those that are there: an unmounted disk must not
//! be mistaken for a new one.

use std::path::Path;

use chunkproto::NodeId;
use metastore::{Metastore, NodePhase};
use tracing::error;

use crate::cluster::{Membership, learn_phases, remember_nodes};
use crate::process::StartError;

/// Takes what the metadata knows into `membership`: stores that are missing are down for it after a
/// while, and what they held is copied from others.
///
/// # Errors
/// `Unfit` where not one of the known stores is among those that are `present`.
pub async fn remember(
    present: &[NodeId],
    data: &Path,
    membership: &Membership,
    metastore: &dyn Metastore,
) -> Result<(), StartError> {
    learn_phases(metastore, membership).await?;
    let mut known = remember_nodes(metastore, membership).await?;
    known.retain(|row| membership.phase(row.id) != NodePhase::Removed);
    let (here, missing): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|row| present.contains(&row.id));
    if here.is_empty() && !missing.is_empty() {
        return Err(StartError::Unfit(format!(
            "none of the {} chunk stores that the metadata knows is in {}: mount their disks and start \
             again; if they are lost for good, move {} away to begin anew",
            missing.len(),
            data.join("nodes").display(),
            data.join("metadata").display(),
        )));
    }
    for row in missing {
        error!(
            node = %row.id, last_seen_at = row.address,
            "a chunk store is missing: what only it held cannot be read; is its disk not mounted?"
        );
    }
    Ok(())
}
