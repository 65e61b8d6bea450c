//! Rebalancing: newcomers get their share, nobody has fewer good copies for it, and it ends.

use std::collections::HashSet;

use chunkproto::{ChunkId, NodeId};
use futures::FutureExt as _;
use gateway::jobs::{Job as _, JobState};
use metastore::{ChunkRef, Metastore as _, NodePhase, ObjectKey, Upkeep as _};

use crate::kit::{CHUNK_BYTES, World, lease_of};
use crate::leases::{report, runner};
use crate::nodes::Fault;

/// Room for two hundred chunks on each node.
const CAPACITY_BYTES: u64 = 200 * CHUNK_BYTES as u64;
/// Entries of the garbage queue that are added up.
const GARBAGE_ADDED_UP_MAX: usize = 100_000;

impl World {
    /// Sixty chunks with two copies each, on the first two of the nodes.
    async fn fill_two(&self) -> Vec<ChunkRef> {
        let mut chunks = Vec::new();
        for number in 0..60 {
            let key = number.to_string();
            chunks.push(self.put_chunk_on(&key, &self.nodes.all()[..2]).await);
        }
        self.nodes.report(CAPACITY_BYTES);
        chunks
    }

    /// An upload of that many chunks on two nodes that was aborted, and waits to be deleted.
    async fn put_aborted_upload(&self, parts: i64, nodes: &[NodeId]) {
        let others = self.nodes.all().into_iter();
        let others: Vec<_> = others.filter(|node| !nodes.contains(node)).collect();
        others.iter().for_each(|node| self.take_down(*node));
        let upload = self.begin_upload("film").await;
        for number in 1..=parts {
            self.upload_part("film", upload, number).await;
        }
        others.iter().for_each(|node| self.bring_back(*node));
        let key = ObjectKey::parse("film").unwrap();
        let aborted = self
            .metastore
            .abort_upload(self.bucket, &key, upload, self.now());
        aborted.await.unwrap();
    }

    async fn assert_two_good_copies(&self, chunks: &[ChunkRef]) {
        let ids: Vec<_> = chunks.iter().map(|chunk| chunk.id).collect();
        let placements = self.metastore.placements(&ids).await.unwrap();
        for (chunk, placed) in chunks.iter().zip(placements) {
            let nodes: HashSet<NodeId> = placed.unwrap().chunk.replicas.into_iter().collect();
            assert_eq!(nodes.len(), 2);
            for node in nodes {
                assert_eq!(self.nodes.crc64(node, chunk.id), Some(chunk.crc64));
            }
        }
    }
}

#[tokio::test]
async fn newcomers_get_their_share_and_then_nothing_moves_any_more() {
    let world = World::new(4).await;
    let chunks = world.fill_two().await;
    world.run(&world.rebalance(2)).await.unwrap();
    world.collect_everything().await;
    world.assert_two_good_copies(&chunks).await;
    let counts: Vec<_> = world
        .nodes
        .all()
        .iter()
        .map(|node| world.nodes.chunks_on(*node))
        .collect();
    assert!(
        counts.iter().all(|count| (24..=36).contains(count)),
        "{counts:?}"
    );

    world.nodes.report(CAPACITY_BYTES);
    let moved = world.nodes.copied().len();
    world.run(&world.rebalance(2)).await.unwrap();
    assert_eq!(world.nodes.copied().len(), moved, "it is even");
}

#[tokio::test]
async fn copies_that_wait_to_be_deleted_are_not_taken_for_load() {
    let world = World::new(4).await;
    world.fill_two().await;
    world.run(&world.rebalance(2)).await.unwrap();
    let moved = world.nodes.copied().len();
    // The old copies are still there, and the nodes say so.
    world.nodes.report(CAPACITY_BYTES);
    world.run(&world.rebalance(2)).await.unwrap();
    assert_eq!(world.nodes.copied().len(), moved);
}

#[tokio::test]
async fn a_newcomer_that_takes_nothing_costs_nothing() {
    let world = World::new(3).await;
    let chunks = world.fill_two().await;
    world
        .nodes
        .set_fault(world.nodes.all()[2], Fault::DiesAtSync);
    world.run(&world.rebalance(2)).await.unwrap();
    world.assert_two_good_copies(&chunks).await;
    assert_eq!(world.garbage().await, []);
}

#[tokio::test]
async fn copies_do_not_crowd_into_one_zone() {
    let world = World::new(3).await;
    let chunks = world.fill_two().await;
    let [a, b, newcomer] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    let zones = [(a, "a"), (b, "b"), (newcomer, "b")];
    world.nodes.report_in_zones(CAPACITY_BYTES, &zones);
    world.run(&world.rebalance(2)).await.unwrap();
    world.assert_two_good_copies(&chunks).await;
    assert!(world.nodes.chunks_on(newcomer) > 0);
    let ids: Vec<_> = chunks.iter().map(|chunk| chunk.id).collect();
    for placed in world.metastore.placements(&ids).await.unwrap() {
        assert!(
            placed.unwrap().chunk.replicas.contains(&a),
            "zone a keeps its copy"
        );
    }
}

#[tokio::test]
async fn a_move_that_is_not_committed_costs_no_copy() {
    let world = World::new(4).await;
    let chunks = world.fill_two().await;
    let rebalance = world.rebalance(2);
    let stale = world.round(world.lease(&rebalance.name()).await);
    // Another gateway takes over while the first copies are under way; the nodes have not heard of it.
    let (metastore, job) = (world.metastore.clone(), rebalance.name());
    world.nodes.before_copies(move || {
        let (metastore, job) = (metastore.clone(), job.clone());
        async move { drop(lease_of(metastore.as_ref(), &job).await) }.boxed()
    });
    rebalance.round(&stale).await.unwrap();
    assert!(!world.nodes.copied().is_empty(), "something was to move");
    world.assert_two_good_copies(&chunks).await;
    for chunk in &chunks {
        let holders = &world.nodes.all()[..2];
        assert!(holders.iter().all(|node| world.nodes.has(*node, chunk.id)));
    }
}

#[tokio::test]
async fn an_upload_that_waits_to_be_deleted_stops_nothing_and_is_not_taken_for_load() {
    let world = World::new(4).await;
    let newcomers = &world.nodes.all()[2..];
    world.put_aborted_upload(30, newcomers).await;
    let chunks = world.fill_two().await;
    world.run(&world.rebalance(2)).await.unwrap();
    world.assert_two_good_copies(&chunks).await;
    let moved = world.nodes.copied().len();
    assert!(
        (48..=72).contains(&moved),
        "{moved} moved; half of 120 should"
    );
}

#[tokio::test]
async fn while_there_is_too_much_garbage_to_add_up_the_status_says_that_it_waits() {
    let world = World::new(3).await;
    let chunks = world.fill_two().await;
    let garbage = ChunkRef {
        id: ChunkId::generate(),
        ..chunks[0].clone()
    };
    for _ in 0..=GARBAGE_ADDED_UP_MAX {
        let discarded = world
            .metastore
            .queue_garbage(vec![garbage.clone()], world.now());
        discarded.await.unwrap();
    }
    let running = runner(&world, &world.board, world.stopped()).run(world.rebalance(2));
    tokio::spawn(running);
    let waiting = report(&world.board, JobState::Waiting).await;
    assert!(waiting.detail.contains("--gc-grace"), "{waiting:?}");
    assert_eq!(world.nodes.copied(), []);
}

#[tokio::test]
async fn a_node_that_is_to_leave_in_mid_round_gets_no_more() {
    let world = World::new(3).await;
    let chunks = world.fill_two().await;
    let leaving = world.nodes.all()[2];
    let membership = world.nodes.membership.clone();
    world.nodes.before_copies(move || {
        let membership = membership.clone();
        async move { membership.set_phase(leaving, NodePhase::Draining) }.boxed()
    });
    world.run(&world.rebalance(2)).await.unwrap();
    world.assert_two_good_copies(&chunks).await;
    let got = world.nodes.chunks_on(leaving);
    assert!((1..=4).contains(&got), "{got} chunks went to it");
}
