//! Repair: what lost copies gets them back, the most endangered first, and nothing is made worse.

use std::sync::Arc;
use std::time::Duration;

use chunkproto::NodeId;
use gateway::admin::NodeOrder;
use gateway::chunks::slices_of;
use gateway::cluster::NodeState;
use gateway::jobs::{Job as _, JobError};
use metastore::{ChunkRef, Metastore as _, RepairNeed, ReplicaChange, Upkeep as _};

use crate::kit::{CHUNK_BYTES, World};
use crate::nodes::{Fault, payload};

impl World {
    /// Queues a chunk as one with `have` good copies of `wanted`.
    pub async fn queue(&self, chunk: &ChunkRef, have: u8, wanted: u8) {
        let need = RepairNeed {
            chunk: chunk.id,
            length_bytes: chunk.length_bytes,
            wanted,
            have,
            since: self.now(),
        };
        self.metastore.queue_repairs(vec![need]).await.unwrap();
    }

    /// The queue, as good copies and chunk.
    pub async fn queued(&self) -> Vec<(u8, chunkproto::ChunkId)> {
        let entries = self.metastore.repairs_by_danger(None, 99).await.unwrap();
        entries
            .iter()
            .map(|entry| (entry.have, entry.chunk))
            .collect()
    }

    /// Makes the row name a node less, whose copy waits to be deleted from then on.
    pub async fn drop_copy(&self, chunk: &ChunkRef, node: NodeId) {
        let replicas = chunk.replicas.iter().copied();
        let change = ReplicaChange {
            chunk: chunk.id,
            expected: chunk.replicas.clone(),
            replicas: replicas.filter(|other| *other != node).collect(),
            now: self.now(),
        };
        let fence = self.lease(&"drain".parse().unwrap()).await;
        let changed = self.metastore.change_replicas(&fence, change);
        changed.await.unwrap();
    }

    /// Where the chunk is by its row, and asserts that each of those nodes has it.
    pub async fn good_copies(&self, chunk: &ChunkRef) -> Vec<NodeId> {
        let found = self.metastore.placements(&[chunk.id]).await.unwrap();
        let named = found[0].clone().unwrap().chunk.replicas;
        for node in &named {
            assert!(self.nodes.has(*node, chunk.id), "{node} lacks the chunk");
        }
        named
    }
}

#[tokio::test]
async fn a_missing_copy_is_made_anew() {
    let world = World::new(4).await;
    let chunk = world.put_chunk("cat", 3).await;
    world.nodes.lose(chunk.replicas[1], chunk.id);
    world.queue(&chunk, 2, 3).await;
    world.run(&world.repair(3)).await.unwrap();
    assert_eq!(world.good_copies(&chunk).await.len(), 3);
    assert_eq!(world.queued().await, []);
}

#[tokio::test]
async fn a_write_that_found_too_few_nodes_is_completed_when_others_join() {
    let world = World::new(3).await;
    world.take_down(world.nodes.all()[0]);
    let chunk = world.put_chunk("cat", 3).await;
    assert_eq!(chunk.replicas.len(), 2);
    assert_eq!(world.queued().await, [(2, chunk.id)]);
    world.run(&world.repair(3)).await.unwrap();
    assert_eq!(
        world.queued().await,
        [(2, chunk.id)],
        "there is no node for it"
    );

    world.bring_back(world.nodes.all()[0]);
    world.run(&world.repair(3)).await.unwrap();
    assert_eq!(world.good_copies(&chunk).await.len(), 3);
    assert_eq!(world.queued().await, []);
}

#[tokio::test]
async fn a_read_that_met_a_missing_or_damaged_copy_asks_for_repair() {
    for fault in [Fault::None, Fault::RotsAfter(0), Fault::SendsGarbage] {
        let world = World::new(4).await;
        let chunk = world.put_chunk("cat", 2).await;
        let bad = chunk.replicas[0];
        world.nodes.set_fault(bad, fault);
        if fault == Fault::None {
            world.nodes.lose(bad, chunk.id);
        }
        // Whichever copy is asked first: two reads meet the bad one.
        for first in [bad, chunk.replicas[1]] {
            let mut chunk = chunk.clone();
            chunk.replicas = vec![first, chunk.replicas[1]];
            let layout = metastore::ChunkLayout {
                scheme: metastore::Scheme::Replicated,
                chunks: vec![chunk],
            };
            world.read(slices_of(&layout, world.whole())).await;
        }
        let hinted = world.nodes.hinted.lock().unwrap().try_recv();
        assert_eq!(hinted.map(|hint| hint.id), Ok(chunk.id), "{fault:?}");
    }
}

#[tokio::test]
async fn what_a_lost_node_held_is_copied_elsewhere() {
    let world = World::new(4).await;
    let mut chunks = Vec::new();
    for number in 0..12 {
        chunks.push(world.put_chunk(&format!("{number}"), 2).await);
    }
    let lost = chunks[0].replicas[0];
    world.take_down(lost);
    let repair = world.repair(2);
    world.run(&repair).await.unwrap();
    world.run(&repair).await.unwrap();
    for chunk in &chunks {
        let copies = world.good_copies(chunk).await;
        assert_eq!(copies.len(), 2);
        assert!(!copies.contains(&lost));
    }
    assert_eq!(world.queued().await, []);
}

#[tokio::test]
async fn a_copy_on_a_node_that_was_given_up_is_garbage_when_it_returns() {
    let world = World::new(4).await;
    let chunk = world.put_chunk("cat", 2).await;
    let lost = chunk.replicas[0];
    world.take_down(lost);
    let repair = world.repair(2);
    world.run(&repair).await.unwrap();
    world.run(&repair).await.unwrap();
    assert!(world.nodes.has(lost, chunk.id));
    world.bring_back(lost);
    world.collect_everything().await;
    assert_eq!(world.copies(chunk.id), 2);
    assert_eq!(world.good_copies(&chunk).await.len(), 2);
    assert!(!world.nodes.has(lost, chunk.id));
}

#[tokio::test]
async fn a_copy_too_many_goes_even_if_its_node_is_awaited() {
    let world = World::patient(3).await;
    let chunk = world.put_chunk_on("cat", &world.nodes.all()).await;
    let need = RepairNeed {
        chunk: chunk.id,
        length_bytes: chunk.length_bytes,
        wanted: 2,
        have: 2,
        since: world.now(),
    };
    world.metastore.queue_repairs(vec![need]).await.unwrap();
    let awaited = world.nodes.all()[0];
    world.take_down(awaited);
    world.run(&world.repair(2)).await.unwrap();
    world.bring_back(awaited);
    world.collect_everything().await;
    assert!(!world.nodes.has(awaited, chunk.id));
    assert_eq!(world.copies(chunk.id), 2);
}

#[tokio::test]
async fn a_node_that_is_about_to_return_is_waited_for() {
    let world = World::patient(4).await;
    let chunk = world.put_chunk("cat", 2).await;
    world.take_down(chunk.replicas[0]);
    world.queue(&chunk, 1, 2).await;
    world.run(&world.repair(2)).await.unwrap();
    assert_eq!(world.copies(chunk.id), 2, "nothing was copied");
    world.bring_back(chunk.replicas[0]);
    world.run(&world.repair(2)).await.unwrap();
    assert_eq!(world.good_copies(&chunk).await, chunk.replicas);
    assert_eq!(world.queued().await, []);
}

#[tokio::test]
async fn the_chunk_with_fewest_copies_is_mended_first() {
    let world = World::new(6).await;
    let three = world.put_chunk("three", 4).await;
    let one = world.put_chunk("one", 4).await;
    let two = world.put_chunk("two", 4).await;
    for (chunk, left) in [(&three, 3), (&one, 1), (&two, 2)] {
        for node in &chunk.replicas[left..] {
            world.nodes.lose(*node, chunk.id);
        }
        world.queue(chunk, u8::try_from(left).unwrap(), 4).await;
    }
    world.run(&world.repair(4)).await.unwrap();
    let order = world.nodes.copied();
    assert_eq!(order[..3], [one.id; 3]);
    assert_eq!(order[3..5], [two.id; 2]);
    assert_eq!(order[5..], [three.id]);
}

#[tokio::test]
async fn a_bad_copy_stays_named_until_there_are_enough_good_ones() {
    let world = World::new(3).await;
    let chunk = world.put_chunk("cat", 3).await;
    let bad = chunk.replicas[2];
    world.nodes.lose(bad, chunk.id);
    world.nodes.set_fault(bad, Fault::DiesAtSync);
    world.queue(&chunk, 2, 3).await;
    world.run(&world.repair(3)).await.unwrap();
    let found = world.metastore.placements(&[chunk.id]).await.unwrap();
    assert_eq!(found[0].as_ref().unwrap().chunk, chunk);
    assert_eq!(world.queued().await, [(2, chunk.id)]);
    assert_eq!(world.garbage().await, []);
}

#[tokio::test]
async fn other_bytes_under_a_chunks_id_are_replaced() {
    let world = World::new(2).await;
    let chunk = world.put_chunk("cat", 2).await;
    let bad = chunk.replicas[1];
    world.nodes.replace(bad, chunk.id, payload(77));
    world.queue(&chunk, 1, 2).await;
    world.run(&world.repair(2)).await.unwrap();
    assert_eq!(world.good_copies(&chunk).await, chunk.replicas);
    assert_eq!(world.nodes.length(bad, chunk.id), Some(chunk.length_bytes));
}

#[tokio::test]
async fn a_damaged_source_is_not_copied_from() {
    let world = World::new(4).await;
    let chunk = world.put_chunk("cat", 3).await;
    world
        .nodes
        .set_fault(chunk.replicas[0], Fault::SendsGarbage);
    world.nodes.lose(chunk.replicas[2], chunk.id);
    world.queue(&chunk, 2, 3).await;
    world.run(&world.repair(3)).await.unwrap();
    for node in world.nodes.all() {
        if node != chunk.replicas[0] && world.nodes.has(node, chunk.id) {
            assert_eq!(world.nodes.crc64(node, chunk.id), Some(chunk.crc64));
        }
    }
}

#[tokio::test]
async fn a_source_that_other_nodes_cannot_reach_is_passed_over_for_the_next_one() {
    let world = World::new(6).await;
    let chunk = world.put_chunk("cat", 3).await;
    world
        .nodes
        .set_fault(chunk.replicas[0], Fault::CutOffFromNodes);
    world.nodes.lose(chunk.replicas[2], chunk.id);
    world.queue(&chunk, 2, 3).await;
    world.run(&world.repair(3)).await.unwrap();
    let copies = world.good_copies(&chunk).await;
    assert!(copies.len() == 3 && copies.contains(&chunk.replicas[0]));
    assert_eq!(world.queued().await, []);
}

#[tokio::test]
async fn while_too_many_nodes_are_missing_only_last_copies_are_mended() {
    let world = World::new(6).await;
    let mut nodes = world.nodes.all().into_iter();
    let (left, right): (Vec<_>, Vec<_>) = (nodes.by_ref().take(3).collect(), nodes.collect());
    let last = world.put_chunk_on("last", &[left[0], right[0]]).await;
    let safe = world
        .put_chunk_on("safe", &[left[0], left[1], right[1]])
        .await;
    right.iter().for_each(|node| world.take_down(*node));
    let repair = world.repair(3);
    for _ in 0..2 {
        let alarm = world.run(&repair).await;
        assert!(matches!(alarm, Err(JobError::Alarm(_))), "{alarm:?}");
    }
    assert_eq!(
        world
            .nodes
            .copied()
            .iter()
            .filter(|id| **id == safe.id)
            .count(),
        0
    );
    assert!(world.nodes.copied().contains(&last.id));

    right.iter().for_each(|node| world.bring_back(*node));
    world.run(&repair).await.unwrap();
    assert!(world.good_copies(&last).await.len() >= 3);
    assert_eq!(world.good_copies(&safe).await.len(), 3);
}

#[tokio::test]
async fn nobody_waits_for_missing_nodes_that_an_operator_drains() {
    let world = World::new(6).await;
    let (left, right) = (&world.nodes.all()[..3], &world.nodes.all()[3..]);
    let chunk = world
        .put_chunk_on("cat", &[left[0], left[1], right[0]])
        .await;
    right.iter().for_each(|node| world.take_down(*node));
    for node in right {
        world.order(*node, NodeOrder::Drain).await.unwrap();
    }
    world.run(&world.repair(3)).await.unwrap();
    assert_eq!(world.good_copies(&chunk).await.len(), 3);
}

#[tokio::test]
async fn a_chunk_without_a_good_copy_stays_in_the_queue_until_its_node_returns() {
    let world = World::new(3).await;
    let chunk = world.put_chunk("cat", 1).await;
    world.take_down(chunk.replicas[0]);
    let repair = world.repair(1);
    world.run(&repair).await.unwrap();
    world.run(&repair).await.unwrap();
    assert_eq!(world.queued().await, [(0, chunk.id)]);
    world.bring_back(chunk.replicas[0]);
    world.run(&repair).await.unwrap();
    assert_eq!(world.queued().await, []);
    assert_eq!(world.good_copies(&chunk).await, chunk.replicas);
}

#[tokio::test]
async fn a_copy_for_an_object_that_was_deleted_meanwhile_is_garbage() {
    let world = World::new(3).await;
    let chunk = world.put_chunk("cat", 2).await;
    world.nodes.lose(chunk.replicas[1], chunk.id);
    world.queue(&chunk, 1, 2).await;
    let (key, metastore, bucket) = ("cat", world.metastore.clone(), world.bucket);
    world.nodes.before_copies(move || {
        let metastore = metastore.clone();
        Box::pin(async move {
            let key = metastore::ObjectKey::parse(key).unwrap();
            let (always, now) = (metastore::WriteCondition::Always, metastore::Timestamp(5));
            let _ = metastore.delete_object(bucket, &key, always, now).await;
        })
    });
    world.run(&world.repair(2)).await.unwrap();
    world.collect_everything().await;
    assert_eq!(world.copies(chunk.id), 0);
    assert_eq!(world.queued().await, []);
}

#[tokio::test]
async fn a_copy_that_waits_to_be_deleted_is_not_taken_for_a_new_one() {
    let world = World::new(3).await;
    let [a, b, c] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    let chunk = world.put_chunk_on("cat", &[a, b]).await;
    world.drop_copy(&chunk, b).await;
    // So that b would be chosen before c.
    for (node, zone) in [(a, "east"), (b, "west"), (c, "east")] {
        world.nodes.put_in_zone(node, zone);
    }
    world.wait(Duration::from_secs(1));
    let garbage = Arc::new(world.collector(Duration::ZERO));
    let round = Arc::new(world.round(world.lease(&garbage.name()).await));
    let nodes = world.nodes.clone();
    world.nodes.before_copies(move || {
        let (garbage, round, nodes) = (Arc::clone(&garbage), Arc::clone(&round), nodes.clone());
        Box::pin(async move {
            if !nodes.copied().is_empty() {
                garbage.round(&round).await.unwrap();
            }
        })
    });
    world.queue(&chunk, 1, 3).await;
    world.run(&world.repair(3)).await.unwrap();
    assert_eq!(world.good_copies(&chunk).await.len(), 2);

    world.collect_everything().await;
    world.run(&world.repair(3)).await.unwrap();
    assert_eq!(world.good_copies(&chunk).await.len(), 3);
}

#[tokio::test]
async fn a_good_copy_that_the_row_does_not_name_saves_a_chunk() {
    let world = World::new(3).await;
    let [a, b, _] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    let chunk = world.put_chunk_on("cat", &[a]).await;
    // As after a copy whose commit did not come about.
    world.nodes.replace(b, chunk.id, payload(CHUNK_BYTES));
    world.nodes.lose(a, chunk.id);
    world.queue(&chunk, 0, 2).await;
    world.run(&world.repair(2)).await.unwrap();
    let copies = world.good_copies(&chunk).await;
    assert!(copies.contains(&b) && copies.len() == 2, "{copies:?}");
    assert_eq!(world.queued().await, []);
}

#[tokio::test]
async fn a_good_copy_that_waits_to_be_deleted_is_copied_from_when_it_is_the_last() {
    let world = World::new(3).await;
    let [a, b, _] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    let chunk = world.put_chunk_on("cat", &[a, b]).await;
    world.drop_copy(&chunk, b).await;
    world.nodes.lose(a, chunk.id);
    world.queue(&chunk, 0, 2).await;
    world.run(&world.repair(2)).await.unwrap();
    let copies = world.good_copies(&chunk).await;
    assert!(!copies.contains(&b) && copies.len() == 2, "{copies:?}");
    world.collect_everything().await;
    assert_eq!(world.good_copies(&chunk).await.len(), 2);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_no_repair_but_its_own() {
    let world = World::new(4).await;
    let (damaged, other) = (
        world.put_chunk("damaged", 2).await,
        world.put_chunk("other", 2).await,
    );
    for chunk in [&damaged, &other] {
        world.nodes.lose(chunk.replicas[0], chunk.id);
    }
    world.queue(&damaged, 0, 2).await;
    world.queue(&other, 1, 2).await;
    world.metastore.damage(damaged.id);
    let repair = world.repair(2);
    let round = world.round(world.lease(&repair.name()).await);
    repair.round(&round).await.unwrap();
    assert_eq!(world.good_copies(&other).await.len(), 2);
    assert_eq!(world.queued().await, [(0, damaged.id)]);
    let verdict = round.verdict();
    assert!(matches!(verdict, Err(JobError::Alarm(_))), "{verdict:?}");
}

#[tokio::test]
async fn a_copy_without_an_answer_is_repeated_with_a_new_token() {
    let world = World::new(2).await;
    let [a, b] = world.nodes.all()[..] else {
        panic!("two nodes")
    };
    let chunk = world.put_chunk_on("cat", &[a]).await;
    world.nodes.set_fault(b, Fault::DiesAtSync);
    world.queue(&chunk, 1, 2).await;
    let repair = world.repair(2);
    let round = world.round(world.lease(&repair.name()).await);
    repair.round(&round).await.unwrap();
    assert!(round.has_unknown_outcome());
}

#[tokio::test]
async fn an_overtaken_repair_changes_nothing() {
    let world = World::new(3).await;
    let chunk = world.put_chunk("cat", 2).await;
    world.nodes.lose(chunk.replicas[1], chunk.id);
    world.queue(&chunk, 1, 2).await;
    let repair = world.repair(2);
    let stale = world.round(world.lease(&repair.name()).await);
    world.lease(&repair.name()).await;
    let outcome = repair.round(&stale).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    let found = world.metastore.placements(&[chunk.id]).await.unwrap();
    assert_eq!(found[0].as_ref().unwrap().chunk, chunk);
    assert_eq!(world.queued().await, [(1, chunk.id)]);
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "its waits take no real time")]
async fn chunks_that_waited_for_a_node_are_copied_as_soon_as_it_is_given_up() {
    let down_after = Duration::from_secs(600);
    let world = World::giving_up_after(4, down_after).await;
    let chunk = world.put_chunk("cat", 3).await;
    let away = &chunk.replicas[1..];
    away.iter().for_each(|node| world.take_down(*node));
    world.queue(&chunk, 1, 3).await;
    let repair = world.repair(3);
    let _ = world.run(&repair).await;
    assert_eq!(world.nodes.copied(), [], "they may return");

    world.pass_without(away, down_after).await;
    let membership = &world.nodes.membership;
    let is_down = |node: &NodeId| membership.state(*node) == NodeState::Down;
    assert!(away.iter().all(is_down));
    let _ = world.run(&repair).await;
    assert_eq!(world.nodes.copied(), [chunk.id]);
}

#[tokio::test]
async fn a_copy_too_many_on_nodes_that_are_awaited_goes_when_they_return() {
    let world = World::patient(7).await;
    let chunk = world.put_chunk("cat", 4).await;
    let away = &chunk.replicas[..2];
    away.iter().for_each(|node| world.take_down(*node));
    world.queue(&chunk, 2, 3).await;
    world.run(&world.repair(3)).await.unwrap();
    assert_eq!(world.good_copies(&chunk).await, chunk.replicas);

    away.iter().for_each(|node| world.bring_back(*node));
    world.run(&world.repair(3)).await.unwrap();
    assert_eq!(world.good_copies(&chunk).await.len(), 3);
    assert_eq!(world.queued().await, []);
}
