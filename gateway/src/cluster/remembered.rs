//! Nodes that are known from the metadata before they are heard from.

use chunkproto::{Heartbeat, Registration};
use metastore::{MetaResult, Metastore, NodeRow};
use uuid::Uuid;

use super::Membership;

/// Takes all nodes that the metadata knows into `membership`, and returns their rows.
///
/// # Errors
/// What keeps the metadata from being read.
pub async fn remember_nodes(
    metastore: &dyn Metastore,
    membership: &Membership,
) -> MetaResult<Vec<NodeRow>> {
    let rows = metastore.nodes().await?;
    for row in &rows {
        // A node that registers meanwhile is at least as new as its row; one that was removed stays out.
        let _ = membership.remember(unheard(row));
    }
    Ok(rows)
}

/// A node as its row remembers it, before it was heard from.
fn unheard(node: &NodeRow) -> Registration {
    let incarnation = Uuid::nil();
    Registration {
        node_id: node.id,
        incarnation,
        address: node.address.clone(),
        zone: node.zone.clone(),
        state: Heartbeat {
            incarnation,
            capacity_bytes: node.capacity_bytes,
            used_bytes: 0,
            free_bytes: 0,
            chunk_count: 0,
            in_flight: 0,
            disk_errors: 0,
            quarantined: 0,
            writable: false,
            fenced_disks: Vec::new(),
            scrub: None,
        },
    }
}
