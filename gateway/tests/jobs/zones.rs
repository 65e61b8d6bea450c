//! Failure zones: copies that came to share one spread again as soon as another zone takes them.

use std::time::Duration;

use chunkproto::NodeId;
use gateway::jobs::{JobError, OrphanLimits, ReconcileJob, ReconcileSettings};
use metastore::{ChunkRef, Upkeep as _};

use crate::kit::{CHUNK_BYTES, World};
use crate::nodes::Fault;

/// Longer than every scenario: no comparison is due for its age.
const LONG: Duration = Duration::from_secs(86_400);
const ZONES: [&str; 6] = ["a", "a", "b", "b", "c", "c"];

impl World {
    /// Six nodes, two in each of three zones, and a chunk on the first of each zone.
    async fn in_zones() -> (Self, ChunkRef) {
        let world = Self::new(6).await;
        let all = world.nodes.all();
        let chunk = world.put_chunk_on("cat", &[all[0], all[2], all[4]]).await;
        all.iter().for_each(|node| world.return_to_zone(*node));
        (world, chunk)
    }

    fn zone_of(&self, node: NodeId) -> &'static str {
        let at = self.nodes.all().iter().position(|known| *known == node);
        ZONES[at.unwrap()]
    }

    fn return_to_zone(&self, node: NodeId) {
        self.nodes.set_fault(node, Fault::None);
        self.nodes.put_in_zone(node, self.zone_of(node));
    }

    /// The zones of the copies that the chunk's row names, each of which is there.
    async fn zones(&self, chunk: &ChunkRef) -> Vec<&'static str> {
        let copies = self.good_copies(chunk).await;
        let mut zones: Vec<_> = copies.iter().map(|node| self.zone_of(*node)).collect();
        zones.sort_unstable();
        zones
    }

    /// A job that compares nodes when something speaks for it.
    pub fn reconcile_seldom(&self, replicas: u8) -> ReconcileJob {
        self.reconcile_every(replicas, LONG)
    }

    pub fn reconcile_every(&self, replicas: u8, every: Duration) -> ReconcileJob {
        let settings = ReconcileSettings {
            replicas,
            every,
            orphans: OrphanLimits {
                age: LONG,
                quarantine: LONG,
                limit_percent: 1,
            },
        };
        ReconcileJob::new(self.replica_mover(), settings, std::sync::Arc::default())
    }

    /// The third zone goes for so long that it is given up, and what it held is copied to the others.
    async fn lose_third_zone(&self) {
        self.nodes.all()[4..]
            .iter()
            .for_each(|node| self.take_down(*node));
        for _ in 0..2 {
            self.run(&self.repair(3)).await.unwrap();
        }
    }

    fn return_third_zone(&self) {
        self.nodes.all()[4..]
            .iter()
            .for_each(|node| self.return_to_zone(*node));
    }
}

#[tokio::test]
async fn copies_that_crowd_while_a_zone_is_away_spread_when_it_returns() {
    let (world, chunk) = World::in_zones().await;
    let reconcile = world.reconcile_seldom(3);
    world.run(&reconcile).await.unwrap();
    world.lose_third_zone().await;
    world.run(&reconcile).await.unwrap();
    assert!(!world.zones(&chunk).await.contains(&"c"));
    assert_eq!(world.queued().await, [], "there is no zone for it");

    world.return_third_zone();
    world.run(&reconcile).await.unwrap();
    assert_eq!(world.queued().await, [(3, chunk.id)]);
    let counts = world.metastore.count_repairs(9).await.unwrap();
    assert_eq!(counts.chunks[3], 1, "status counts it");
    world.run(&world.repair(3)).await.unwrap();
    assert_eq!(world.zones(&chunk).await, ["a", "b", "c"]);
    assert_eq!(world.queued().await, []);
    world.collect_everything().await;
    assert_eq!(world.zones(&chunk).await, ["a", "b", "c"]);
    assert_eq!(world.copies(chunk.id), 3);
}

#[tokio::test]
async fn what_has_spread_is_not_crowded_again_and_moving_ends() {
    let (world, cat) = World::in_zones().await;
    let all = world.nodes.all();
    let mut chunks = vec![cat];
    for number in 0..7 {
        let on = [all[0], all[2], all[4]];
        chunks.push(world.put_chunk_on(&number.to_string(), &on).await);
    }
    all.iter().for_each(|node| world.return_to_zone(*node));
    world.lose_third_zone().await;
    world.return_third_zone();
    let (repair, rebalance) = (world.repair(3), world.rebalance(3));
    world.run(&world.reconcile_seldom(3)).await.unwrap();
    world.run(&repair).await.unwrap();
    let mut copied = 0;
    for _ in 0..6 {
        world.collect_everything().await;
        let zoned: Vec<_> = all.iter().copied().zip(ZONES).collect();
        world.nodes.report_in_zones(40 * CHUNK_BYTES as u64, &zoned);
        copied = world.nodes.copied().len();
        world.run(&rebalance).await.unwrap();
        world.run(&world.reconcile_seldom(3)).await.unwrap();
        world.run(&repair).await.unwrap();
        for chunk in &chunks {
            assert_eq!(world.zones(chunk).await, ["a", "b", "c"]);
        }
    }
    assert_eq!(world.nodes.copied().len(), copied);
}

#[tokio::test]
async fn a_crowded_copy_stays_while_no_node_of_another_zone_takes_it() {
    let (world, chunk) = World::in_zones().await;
    world.lose_third_zone().await;
    world.return_third_zone();
    for node in &world.nodes.all()[4..] {
        world.nodes.set_fault(*node, Fault::Full);
    }
    world.run(&world.reconcile_seldom(3)).await.unwrap();
    world.run(&world.repair(3)).await.unwrap();
    assert_eq!(world.zones(&chunk).await.len(), 3);
    assert_eq!(world.queued().await, [(3, chunk.id)]);
}

#[tokio::test]
async fn copies_that_return_to_an_empty_zone_are_kept_before_those_that_share_one() {
    let (world, chunk) = World::in_zones().await;
    let all = world.nodes.all();
    // A row with a copy too many, as when a node returns while its copies are made anew.
    let named = [all[2], all[0], all[4], all[1]];
    let chunk = {
        world.delete("cat").await;
        drop(chunk);
        let chunk = world.put_chunk_on("dog", &named).await;
        all.iter().for_each(|node| world.return_to_zone(*node));
        chunk
    };
    world.queue(&chunk, 3, 3).await;
    world.run(&world.repair(3)).await.unwrap();
    assert_eq!(world.zones(&chunk).await, ["a", "b", "c"]);
    assert_eq!(world.nodes.copied(), []);
}

#[tokio::test]
async fn while_too_many_nodes_are_missing_nothing_spreads() {
    let (world, _) = World::in_zones().await;
    let all = world.nodes.all();
    let chunk = world.put_chunk_on("dog", &all[..2]).await;
    // A node that holds nothing is not missed.
    for (number, node) in all[2..].iter().enumerate() {
        let key = number.to_string();
        world.put_chunk_on(&key, &[all[0], *node]).await;
    }
    all.iter().for_each(|node| world.return_to_zone(*node));
    world.queue(&chunk, 2, 2).await;
    let missing = [all[2], all[3], all[5]];
    missing.iter().for_each(|node| world.take_down(*node));
    let told = world.run(&world.repair(2)).await;
    assert!(matches!(told, Err(JobError::Alarm(_))), "{told:?}");
    assert!(!world.nodes.copied().contains(&chunk.id));

    missing.iter().for_each(|node| world.return_to_zone(*node));
    world.run(&world.repair(2)).await.unwrap();
    assert_ne!(world.zones(&chunk).await, ["a", "a"]);
}

#[tokio::test]
async fn a_move_does_not_crowd_a_zone_whose_node_is_silent() {
    let world = World::patient(3).await;
    let [a1, b1, b2] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    for number in 0..6 {
        world.put_chunk_on(&number.to_string(), &[a1, b1]).await;
    }
    // So that the second one of zone b is the emptiest by far.
    let zones = [(a1, "a"), (b1, "b"), (b2, "b")];
    world.nodes.report_in_zones(20 * CHUNK_BYTES as u64, &zones);
    world.take_down(b1);
    world.run(&world.rebalance(2)).await.unwrap();
    assert_eq!(world.nodes.copied(), []);
    assert_eq!(world.nodes.chunks_on(b2), 0);
}
