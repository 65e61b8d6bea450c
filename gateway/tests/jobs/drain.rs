//! Draining and removing nodes: everything on them moves, at no moment with fewer good copies, and
//! nobody is let go who is still needed.

use std::sync::Arc;

use chunkproto::{ChunkId, NodeId};
use futures::FutureExt as _;
use gateway::admin::{NodeAdmin, NodeOrder, OrderError};
use gateway::jobs::{Job as _, JobError};
use metastore::{
    ChunkRef, Metastore as _, NodePhase, ObjectKey, ReplicaChange, RocksMetastore, Timestamp,
    Upkeep as _, WriteCondition,
};

use crate::kit::{CHUNK_BYTES, World, lease_of};
use crate::nodes::{Fault, payload};

impl World {
    async fn named(&self, chunk: &ChunkRef) -> Vec<NodeId> {
        let found = self.metastore.placements(&[chunk.id]).await.unwrap();
        found[0].clone().unwrap().chunk.replicas
    }

    /// Asserts that a chunk has two good copies, none on `node`.
    async fn assert_moved_off(&self, node: NodeId, chunk: &ChunkRef) {
        let named = self.named(chunk).await;
        assert!(named.len() == 2 && !named.contains(&node), "{named:?}");
        for holder in named {
            assert_eq!(self.nodes.crc64(holder, chunk.id), Some(chunk.crc64));
        }
    }
}

#[tokio::test]
async fn a_draining_node_gives_everything_to_others_and_may_go_then() {
    let world = World::new(4).await;
    let mut chunks = Vec::new();
    for number in 0..20 {
        chunks.push(world.put_chunk(&number.to_string(), 2).await);
    }
    let leaving = world.nodes.all()[0];
    world.order(leaving, NodeOrder::Drain).await.unwrap();
    world.run(&world.drain(2)).await.unwrap();
    for chunk in &chunks {
        world.assert_moved_off(leaving, chunk).await;
    }
    let early = world.order(leaving, NodeOrder::Remove).await;
    assert!(
        matches!(early, Err(OrderError::AwaitsGarbage(_))),
        "{early:?}"
    );
    world.collect_everything().await;
    assert_eq!(world.nodes.chunks_on(leaving), 0);
    world.order(leaving, NodeOrder::Remove).await.unwrap();
    assert_eq!(
        world.metastore.node_phases().await.unwrap(),
        [(leaving, NodePhase::Removed)]
    );
}

#[tokio::test]
async fn a_chunk_moves_though_other_nodes_cannot_reach_the_one_it_leaves() {
    let world = World::new(4).await;
    let chunk = world.put_chunk("cat", 2).await;
    let leaving = chunk.replicas[0];
    world.nodes.set_fault(leaving, Fault::CutOffFromNodes);
    world.order(leaving, NodeOrder::Drain).await.unwrap();
    world.run(&world.drain(2)).await.unwrap();
    world.assert_moved_off(leaving, &chunk).await;
}

#[tokio::test]
async fn a_copy_that_waits_to_be_deleted_is_not_moved_to() {
    let world = World::new(3).await;
    let [stays, leaving, waits] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    let chunk = world.put_chunk_on("cat", &[stays, leaving, waits]).await;
    world.drop_copy(&chunk, waits).await;
    world.order(leaving, NodeOrder::Drain).await.unwrap();
    world.run(&world.drain(2)).await.unwrap();
    assert_eq!(world.nodes.copied(), []);
    world.collect_everything().await;
    world.run(&world.drain(2)).await.unwrap();
    world.assert_moved_off(leaving, &chunk).await;
}

#[tokio::test]
async fn a_copy_that_was_made_while_another_job_changed_the_row_is_not_forgotten() {
    let world = World::new(4).await;
    let [stays, leaving, ..] = world.nodes.all()[..] else {
        panic!("four nodes")
    };
    let chunk = world.put_chunk_on("cat", &[stays, leaving]).await;
    world.order(leaving, NodeOrder::Drain).await.unwrap();
    let (metastore, seen) = (world.metastore.clone(), chunk.clone());
    world.nodes.before_copies(move || {
        let (metastore, seen) = (metastore.clone(), seen.clone());
        async move {
            let fence = lease_of(metastore.as_ref(), &"repair".parse().unwrap()).await;
            let change = ReplicaChange {
                chunk: seen.id,
                expected: seen.replicas,
                replicas: vec![stays],
                now: Timestamp::now(),
            };
            metastore.change_replicas(&fence, change).await.unwrap();
        }
        .boxed()
    });

    world.run(&world.drain(2)).await.unwrap();

    world.assert_moved_off(leaving, &chunk).await;
    world.collect_everything().await;
    assert_eq!(world.copies(chunk.id), 2);
}

#[tokio::test]
async fn servers_that_drain_already_need_their_room_too() {
    let world = World::new(3).await;
    let [first, second, ..] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    world.put_chunk_on("cat", &[first, second]).await;
    world.nodes.report(2 * CHUNK_BYTES as u64);
    let admin = NodeAdmin::new(world.nodes.membership.clone(), world.metastore.clone(), 1);
    admin.carry_out(first, NodeOrder::Drain).await.unwrap();
    let refused = admin.carry_out(second, NodeOrder::Drain).await;
    assert!(
        matches!(
            refused,
            Err(OrderError::NoRoom {
                needed_bytes: 2000,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_dead_node_whose_chunks_were_copied_needs_no_room_to_be_drained() {
    let world = World::new(4).await;
    let [dead, other, ..] = world.nodes.all()[..] else {
        panic!("four nodes")
    };
    world.put_chunk_on("cat", &[dead, other]).await;
    world.nodes.report(2 * CHUNK_BYTES as u64 - 200);
    world.take_down(dead);
    world.run(&world.repair(2)).await.unwrap();
    world.order(dead, NodeOrder::Drain).await.unwrap();
    world.order(dead, NodeOrder::Remove).await.unwrap();
}

#[tokio::test]
async fn a_node_that_running_writes_may_come_to_name_is_not_let_go() {
    let world = World::new(3).await;
    let leaving = world.nodes.all()[0];
    world.order(leaving, NodeOrder::Drain).await.unwrap();
    let chunk = ChunkId::generate();
    world.nodes.replace(leaving, chunk, payload(10));
    let early = world.order(leaving, NodeOrder::Remove).await;
    assert!(
        matches!(early, Err(OrderError::StillWritten { chunks: 1 })),
        "{early:?}"
    );
    world.nodes.lose(leaving, chunk);
    world.order(leaving, NodeOrder::Remove).await.unwrap();
}

#[tokio::test]
async fn a_row_that_cannot_be_read_keeps_nothing_else_on_a_draining_node() {
    let world = World::new(4).await;
    let leaving = world.nodes.all()[0];
    let on = [leaving, world.nodes.all()[1]];
    let damaged = world.put_chunk_on("damaged", &on).await;
    let other = world.put_chunk_on("other", &on).await;
    world.metastore.damage(damaged.id);
    world.order(leaving, NodeOrder::Drain).await.unwrap();
    let drain = world.drain(2);
    let round = world.round(world.lease(&drain.name()).await);
    drain.round(&round).await.unwrap();
    world.assert_moved_off(leaving, &other).await;
    assert!(round.verdict().is_err());
    let refused = world.order(leaving, NodeOrder::Remove).await;
    assert!(
        matches!(refused, Err(OrderError::Metadata(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_draining_node_takes_no_new_chunks_until_it_is_undrained() {
    let world = World::new(3).await;
    let node = world.nodes.all()[0];
    world.order(node, NodeOrder::Drain).await.unwrap();
    for number in 0..10 {
        world.put_chunk(&number.to_string(), 2).await;
    }
    assert_eq!(world.nodes.chunks_on(node), 0);
    world.order(node, NodeOrder::Undrain).await.unwrap();
    assert_eq!(world.nodes.membership.writable_count(), 3);
}

#[tokio::test]
async fn copies_that_arrive_changed_are_not_named() {
    let world = World::new(3).await;
    let [a, b, _] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    let chunk = world.put_chunk_on("cat", &[a, b]).await;
    world.order(a, NodeOrder::Drain).await.unwrap();
    world.nodes.set_fault(a, Fault::SendsGarbage);
    world.nodes.set_fault(b, Fault::SendsGarbage);
    world.run(&world.drain(2)).await.unwrap();
    assert_eq!(world.named(&chunk).await, chunk.replicas);
}

#[tokio::test]
async fn one_bad_source_is_no_obstacle_while_another_copy_is_good() {
    let world = World::new(3).await;
    let [a, b, _] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    let chunk = world.put_chunk_on("cat", &[a, b]).await;
    world.order(a, NodeOrder::Drain).await.unwrap();
    world.nodes.set_fault(a, Fault::RotsAfter(0));
    world.run(&world.drain(2)).await.unwrap();
    world.assert_moved_off(a, &chunk).await;
}

#[tokio::test]
async fn chunks_that_find_no_other_node_stay_and_raise_an_alarm() {
    let world = World::new(2).await;
    let chunk = world.put_chunk("cat", 2).await;
    let node = chunk.replicas[0];
    world.nodes.membership.set_phase(node, NodePhase::Draining);
    let outcome = world.run(&world.drain(2)).await;
    assert!(matches!(outcome, Err(JobError::Alarm(_))), "{outcome:?}");
    assert_eq!(world.named(&chunk).await, chunk.replicas);
    assert_eq!(world.copies(chunk.id), 2);
}

#[tokio::test]
async fn a_copy_that_the_leaving_node_lost_is_made_anew_by_repair() {
    let world = World::new(3).await;
    let chunk = world.put_chunk("cat", 2).await;
    let leaving = chunk.replicas[0];
    world.order(leaving, NodeOrder::Drain).await.unwrap();
    world.nodes.lose(leaving, chunk.id);
    world.run(&world.drain(2)).await.unwrap();
    world.run(&world.repair(2)).await.unwrap();
    world.assert_moved_off(leaving, &chunk).await;
}

#[tokio::test]
async fn a_chunk_that_is_deleted_while_it_moves_leaves_nothing_behind() {
    let world = World::new(3).await;
    let chunk = world.put_chunk("cat", 2).await;
    world
        .order(chunk.replicas[0], NodeOrder::Drain)
        .await
        .unwrap();
    let (metastore, bucket, now) = (world.metastore.clone(), world.bucket, world.now());
    world.nodes.before_copies(move || {
        let metastore = metastore.clone();
        async move {
            let key = ObjectKey::parse("cat").unwrap();
            let always = WriteCondition::Always;
            let deleted = metastore.delete_object(bucket, &key, always, now);
            deleted.await.unwrap();
        }
        .boxed()
    });
    world.run(&world.drain(2)).await.unwrap();
    world.collect_everything().await;
    assert_eq!(world.copies(chunk.id), 0);
}

#[tokio::test]
async fn an_overtaken_drain_moves_nothing() {
    let world = World::new(3).await;
    let chunk = world.put_chunk("cat", 2).await;
    world
        .order(chunk.replicas[0], NodeOrder::Drain)
        .await
        .unwrap();
    let drain = world.drain(2);
    let stale = world.round(world.lease(&drain.name()).await);
    world
        .nodes
        .show_fence(&world.lease(&drain.name()).await)
        .await;
    drain.round(&stale).await.unwrap();
    assert_eq!(world.named(&chunk).await, chunk.replicas);
    assert!(!stale.goes_on(), "its round is over");
}

#[tokio::test]
async fn a_node_with_the_only_copy_is_not_let_go_even_if_it_is_dead() {
    let world = World::new(4).await;
    let node = world.nodes.all()[0];
    world.put_chunk_on("only", &[node]).await;
    world.put_chunk_on("both", &world.nodes.all()[..2]).await;
    world.order(node, NodeOrder::Drain).await.unwrap();
    world.take_down(node);
    let refused = world.order(node, NodeOrder::Remove).await.unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("2 chunks (2000 bytes)"), "{said}");
    assert!(said.contains("1 of them with no other copy"), "{said}");
}

#[tokio::test]
async fn a_node_that_was_not_drained_is_not_let_go() {
    let world = World::new(4).await;
    let refused = world.order(world.nodes.all()[0], NodeOrder::Remove).await;
    assert!(matches!(refused, Err(OrderError::NotDraining(_))));
}

#[tokio::test]
async fn a_write_that_names_a_node_after_it_was_removed_is_mended() {
    let world = World::new(3).await;
    let chunk = world.put_chunk("cat", 2).await;
    let removed = chunk.replicas[0];
    world.take_down(removed);
    world
        .nodes
        .membership
        .set_phase(removed, NodePhase::Removed);
    let repair = world.repair(2);
    world.run(&repair).await.unwrap();
    world.run(&repair).await.unwrap();
    world.assert_moved_off(removed, &chunk).await;
}

#[tokio::test]
async fn a_copy_that_leaves_a_zone_goes_to_another_node_of_that_zone() {
    let world = World::new(6).await;
    let [a1, a2, b1, b2, c1, c2] = world.nodes.all()[..] else {
        panic!("six nodes")
    };
    let mut chunks = Vec::new();
    for number in 0..20 {
        let key = number.to_string();
        chunks.push(world.put_chunk_on(&key, &[a1, b1]).await);
    }
    let zones = [
        (a1, "a"),
        (a2, "a"),
        (b1, "b"),
        (b2, "b"),
        (c1, "b"),
        (c2, "b"),
    ];
    for (node, zone) in zones {
        world.nodes.put_in_zone(node, zone);
    }
    world.order(a1, NodeOrder::Drain).await.unwrap();
    world.run(&world.drain(2)).await.unwrap();
    for chunk in &chunks {
        assert!(
            world.named(chunk).await.contains(&a2),
            "zone a keeps a copy"
        );
    }
}

#[tokio::test]
async fn of_two_drains_at_once_that_leave_too_few_servers_one_is_refused() {
    let world = World::new(3).await;
    let dir = tempfile::tempdir().unwrap();
    // Its commits take a moment, unlike those in memory.
    let metastore = RocksMetastore::open(dir.path()).unwrap();
    let membership = world.nodes.membership.clone();
    let admin = NodeAdmin::new(membership, Arc::new(metastore), 2);
    let [a, b, _] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    let (first, second) = tokio::join!(
        admin.carry_out(a, NodeOrder::Drain),
        admin.carry_out(b, NodeOrder::Drain)
    );
    let refused = first.and(second);
    assert!(
        matches!(refused, Err(OrderError::TooFewLeft { left: 1, .. })),
        "{refused:?}"
    );
}
