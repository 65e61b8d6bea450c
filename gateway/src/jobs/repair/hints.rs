//! What requests noticed, written to the repair queue by every gateway, whoever runs the repair.

use std::sync::Arc;

use metastore::{Metastore, RepairNeed, Timestamp};
use tokio::sync::{Notify, watch};
use tracing::warn;

use crate::chunks::HintQueue;
use crate::clock::Clock;

/// Hints written in one commit.
const BATCH: usize = 256;

/// Writes hints down until `stop` closes, and wakes the repair of this process.
pub async fn write_hints(
    mut hints: HintQueue,
    metastore: Arc<dyn Metastore>,
    wanted: u8,
    clock: Clock,
    wake: Arc<Notify>,
    mut stop: watch::Receiver<()>,
) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            received = hints.recv_many(&mut batch, BATCH) => {
                if received == 0 {
                    return;
                }
            }
        }
        batch.sort_by_key(|chunk| chunk.id);
        batch.dedup_by_key(|chunk| chunk.id);
        let needs = batch
            .drain(..)
            .map(|chunk| need(&chunk, wanted, clock.now()));
        match metastore.queue_repairs(needs.collect()).await {
            Ok(()) => wake.notify_one(),
            Err(error) => warn!(%error, "chunks that need repair could not be queued"),
        }
    }
}

fn need(chunk: &metastore::ChunkRef, wanted: u8, now: Timestamp) -> RepairNeed {
    let others = chunk.replicas.len().saturating_sub(1);
    RepairNeed::new(chunk, wanted, others, now)
}
