//! Whether the nodes that make themselves heard can be reached for data. A firewall, or a wrong
//! advertised address, lets heartbeats through and nothing else; such a node is as good as gone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chunkproto::{ChunkError, ChunkId, IdRange, NodeId};
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use crate::chunks::ChunkTransport;
use crate::cluster::{Membership, Probed};

/// Between two calls to nodes that were not reached, or failed a request.
const PERIOD: Duration = Duration::from_secs(1);
/// Between two calls to all others.
const PERIOD_OF_ALL: Duration = Duration::from_secs(10);
/// A node that does not answer in this time was not reached. Its disks may be very busy: all nodes may
/// be at once, and should go on taking chunks.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Calls nodes again and again until `stop` closes. One that takes its time holds up no other.
pub async fn watch_reach(
    transport: Arc<dyn ChunkTransport>,
    membership: Arc<Membership>,
    mut stop: watch::Receiver<()>,
) {
    let (mut called, mut calls) = (HashSet::new(), FuturesUnordered::new());
    let (mut ticks, mut all_at) = (interval(PERIOD), None::<Instant>);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            Some(node) = calls.next() => {
                called.remove(&node);
            }
            _ = ticks.tick() => {
                let which = match all_at {
                    Some(at) if at.elapsed() < PERIOD_OF_ALL => Probed::Doubted,
                    _ => Probed::All,
                };
                if which == Probed::All {
                    all_at = Some(Instant::now());
                }
                let nodes = membership.heard(which).into_iter();
                let nodes = nodes.filter(|node| called.insert(*node));
                calls.extend(nodes.map(|node| probe_one(transport.as_ref(), &membership, node)));
            }
        }
    }
}

/// Calls the nodes that are heard, and notes which of them were reached.
pub async fn probe(transport: &dyn ChunkTransport, membership: &Membership, which: Probed) {
    let nodes = membership.heard(which).into_iter();
    join_all(nodes.map(|node| probe_one(transport, membership, node))).await;
}

async fn probe_one(
    transport: &dyn ChunkTransport,
    membership: &Membership,
    node: NodeId,
) -> NodeId {
    let failed = call(transport, node).await;
    let is_news = membership.note_reach(node, failed.is_none());
    match failed {
        Some(reason) if is_news => {
            warn!(%node, reason, "a chunk server is heard and cannot be reached for data");
        }
        None if is_news => info!(%node, "a chunk server can be reached again"),
        _ => {}
    }
    node
}

/// Why a node was not reached; `None` if it was.
async fn call(transport: &dyn ChunkTransport, node: NodeId) -> Option<String> {
    // No chunk has an id so low, so it costs the node next to nothing.
    let nothing = IdRange {
        after: None,
        through: Some(ChunkId::from_bytes([0; 16])),
    };
    match timeout(ANSWER_MAX, transport.digest(node, nothing)).await {
        Err(_) => Some(format!("no answer in {ANSWER_MAX:?}")),
        // What is no chunk server answers so.
        Ok(Err(
            error @ (ChunkError::Unreachable(_)
            | ChunkError::Unauthorized
            | ChunkError::NotFound(_)
            | ChunkError::Invalid(_)),
        )) => Some(error.to_string()),
        // Whatever else it says of its disks, it said.
        Ok(_) => None,
    }
}
