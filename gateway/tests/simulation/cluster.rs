//! What outlives gateways, and where they take time and chance from.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use chunkproto::ChunkId;
use gateway::{Chance, Clock};
use metastore::{BucketId, MemoryMetastore, Timestamp};
use tokio::time::Instant;
use uuid::Builder;

use crate::dice::Dice;
use crate::history::History;
use crate::network::Network;
use crate::witness::Witness;

/// When simulations begin, in milliseconds since 1970.
const BEGINNING_MS: u64 = 1_800_000_000_000;

/// What outlives gateways.
pub struct Cluster {
    pub dice: Dice,
    pub history: Arc<History>,
    pub metastore: Arc<MemoryMetastore>,
    pub bucket: BucketId,
    pub network: Arc<Network>,
    pub witness: Arc<Witness>,
    began: Instant,
    ids: AtomicU64,
}

impl Cluster {
    pub fn new(
        dice: Dice,
        history: Arc<History>,
        (metastore, bucket): (Arc<MemoryMetastore>, BucketId),
        network: Arc<Network>,
        witness: Arc<Witness>,
    ) -> Arc<Self> {
        Arc::new(Self {
            dice,
            history,
            metastore,
            bucket,
            network,
            witness,
            began: Instant::now(),
            ids: AtomicU64::new(0),
        })
    }

    pub fn clock(self: &Arc<Self>, ahead_ms: &Arc<AtomicI64>) -> Clock {
        let (began, ahead_ms) = (self.began, Arc::clone(ahead_ms));
        Clock::of(move || {
            let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap();
            let right = BEGINNING_MS + elapsed;
            Timestamp(right.saturating_add_signed(ahead_ms.load(Ordering::Relaxed)))
        })
    }

    /// Ids that follow from the seed and say when they were born, as all ids of chunks do.
    pub fn chance(self: &Arc<Self>, clock: &Clock) -> Chance {
        let (cluster, clock, dice) = (Arc::clone(self), clock.clone(), self.dice.clone());
        let id = move || {
            let number = cluster.ids.fetch_add(1, Ordering::Relaxed);
            let mut rest = [0; 10];
            rest[2..].copy_from_slice(&number.to_be_bytes());
            let id = Builder::from_unix_timestamp_millis(clock.now().0, &rest);
            ChunkId::from(id.into_uuid())
        };
        Chance::of(id, move || dice.throw())
    }
}
