//! Queues abandoned chunks for garbage collection. Runs on every gateway, whoever holds the gc lease.

use std::sync::Arc;

use metastore::Metastore;
use tokio::sync::watch;
use tracing::warn;

use crate::chunks::AbandonedQueue;
use crate::clock::Clock;

/// Queues abandoned chunks until `stop` closes.
pub async fn queue_abandoned(
    mut abandoned: AbandonedQueue,
    metastore: Arc<dyn Metastore>,
    clock: Clock,
    mut stop: watch::Receiver<()>,
) {
    loop {
        let chunks = tokio::select! {
            biased;
            _ = stop.changed() => return,
            chunks = abandoned.recv() => chunks,
        };
        let Some(chunks) = chunks else {
            return;
        };
        let count = chunks.len();
        if let Err(error) = metastore.queue_garbage(chunks, clock.now()).await {
            warn!(count, %error, "cannot queue the chunks of an abandoned body for deletion; reconciliation will find them");
        }
    }
}
