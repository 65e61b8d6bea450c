//! Garbage collection: what no row names goes, and nothing else does.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use gateway::chunks::{AbandonedChunks, WriteError};
use gateway::jobs::{Job as _, JobError, queue_abandoned};
use metastore::NodePhase;

use crate::kit::World;
use crate::nodes::{Fault, body_of, owner, payload};

const SECOND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(900);

#[tokio::test]
async fn what_was_deleted_goes_after_its_grace() {
    let world = World::new(3).await;
    let gone = world.put_chunk("gone", 2).await;
    let kept = world.put_chunk("kept", 2).await;
    world.delete("gone").await;
    world.wait(GRACE);
    world.run(&world.collector(GRACE)).await.unwrap();
    assert_eq!(world.copies(gone.id), 2, "within its grace");

    world.wait(Duration::from_millis(1));
    world.run(&world.collector(GRACE)).await.unwrap();
    assert_eq!((world.copies(gone.id), world.copies(kept.id)), (0, 2));
    assert_eq!(world.garbage().await, []);
}

#[tokio::test]
async fn a_running_read_keeps_what_it_may_need() {
    let world = World::new(3).await;
    let chunk = world.put_chunk("cat", 2).await;
    let read = world.reads.begin(world.now());
    world.delete("cat").await;
    world.wait(10 * GRACE);
    world.run(&world.collector(GRACE)).await.unwrap();
    assert_eq!(world.copies(chunk.id), 2);
    drop(read);
    world.run(&world.collector(GRACE)).await.unwrap();
    assert_eq!(world.copies(chunk.id), 0);
}

#[tokio::test]
async fn a_read_that_keeps_garbage_for_hours_is_told_of() {
    let world = World::new(3).await;
    let chunk = world.put_chunk("cat", 2).await;
    let _read = world.reads.begin(world.now());
    world.wait(GRACE);
    world.delete("cat").await;
    world.wait(30 * GRACE);
    let told = world.run(&world.collector(GRACE)).await;
    assert!(matches!(told, Err(JobError::Alarm(_))), "{told:?}");
    assert_eq!(world.copies(chunk.id), 2);
}

#[tokio::test]
async fn the_queue_waits_for_a_node_that_is_away_and_for_no_other() {
    let world = World::new(2).await;
    let chunk = world.put_chunk("cat", 2).await;
    world.delete("cat").await;
    world.wait(2 * GRACE);
    let [away, there] = chunk.replicas[..] else {
        panic!("two replicas")
    };
    world.take_down(away);
    world.run(&world.collector(GRACE)).await.unwrap();
    assert!(!world.nodes.has(there, chunk.id));
    assert_eq!(world.garbage().await.len(), 1);

    world.bring_back(away);
    world.run(&world.collector(GRACE)).await.unwrap();
    assert_eq!(world.copies(chunk.id), 0);
    assert_eq!(world.garbage().await, []);
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing_on_the_nodes() {
    let world = World::new(3).await;
    let (abandoned, queue) = AbandonedChunks::new();
    let writer = world.nodes.writer(2).with_abandoned(abandoned);
    let mut pieces: Vec<_> = (0..30).map(|_| Ok(payload(100_000))).collect();
    pieces.push(Err("the connection broke".into()));
    let body = stream::iter(pieces).boxed();
    let written = writer.write(owner(), 5_000_000, body).await;
    assert!(matches!(written, Err(WriteError::Body(_))), "{written:?}");
    drop(writer);
    queue_abandoned(
        queue,
        world.metastore.clone(),
        world.clock(),
        world.stopped(),
    )
    .await;
    assert_eq!(world.garbage().await.len(), 1);
    world.collect_everything().await;
    for node in world.nodes.all() {
        assert_eq!(world.nodes.chunks_on(node), 0);
    }
}

#[tokio::test]
async fn a_body_that_came_to_its_end_leaves_nothing_to_discard() {
    let world = World::new(3).await;
    let (abandoned, mut queue) = AbandonedChunks::new();
    let writer = world.nodes.writer(2).with_abandoned(abandoned);
    let bytes = payload(3_000_000);
    let written = writer.write(owner(), 3_000_000, body_of(&bytes)).await;
    assert!(written.is_ok(), "{written:?}");
    assert!(queue.try_recv().is_err());
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_asked_once_and_the_others_lose_nothing_by_it() {
    let world = World::new(2).await;
    let [away, there] = world.nodes.all()[..] else {
        panic!("two nodes")
    };
    for number in 0..20 {
        let key = number.to_string();
        world.put_chunk(&key, 2).await;
        world.delete(&key).await;
    }
    world.wait(2 * GRACE);
    // Heard from, and not to be reached: as behind a broken link.
    world.nodes.set_fault(away, Fault::Gone);
    let collector = world.collector(GRACE);
    world.run(&collector).await.unwrap();
    assert_eq!(world.nodes.chunks_on(there), 0);
    // Entries that were begun at the same time may each have asked.
    assert!(world.nodes.deletes_on(away) <= 16);
    world.run(&collector).await.unwrap();
    assert!(world.nodes.deletes_on(away) <= 32);
}

#[tokio::test]
async fn garbage_of_a_clock_that_was_ahead_is_told_of() {
    let world = World::new(1).await;
    world.wait(100 * 86_400 * SECOND);
    let chunk = world.put_chunk("cat", 1).await;
    world.delete("cat").await;
    world.turn_back(100 * 86_400 * SECOND);
    let told = world.run(&world.collector(GRACE)).await;
    assert!(matches!(told, Err(JobError::Alarm(_))), "{told:?}");
    assert_eq!(world.copies(chunk.id), 1);
}

#[tokio::test]
async fn a_node_that_was_removed_is_not_waited_for() {
    let world = World::new(2).await;
    let chunk = world.put_chunk("cat", 2).await;
    world.delete("cat").await;
    world.wait(2 * GRACE);
    let removed = chunk.replicas[0];
    world.take_down(removed);
    world
        .nodes
        .membership
        .set_phase(removed, NodePhase::Removed);
    world.run(&world.collector(GRACE)).await.unwrap();
    assert_eq!(world.garbage().await, []);
}

#[tokio::test]
async fn a_collector_that_was_overtaken_deletes_nothing() {
    let world = World::new(2).await;
    let chunk = world.put_chunk("cat", 2).await;
    world.delete("cat").await;
    world.wait(2 * GRACE);
    let collector = world.collector(GRACE);
    let stale = world.round(world.lease(&collector.name()).await);
    let newest = world.lease(&collector.name()).await;
    world.nodes.show_fence(&newest).await;

    collector.round(&stale).await.unwrap();
    assert_eq!(world.copies(chunk.id), 2);
    assert_eq!(world.garbage().await.len(), 1);
    assert!(!stale.goes_on(), "its round is over");
}

#[tokio::test]
async fn a_delete_without_an_answer_is_repeated_with_a_new_token() {
    let world = World::new(1).await;
    let chunk = world.put_chunk("cat", 1).await;
    world.delete("cat").await;
    world.wait(2 * GRACE);
    world.nodes.set_fault(chunk.replicas[0], Fault::Gone);
    let collector = world.collector(GRACE);
    let round = world.round(world.lease(&collector.name()).await);
    collector.round(&round).await.unwrap();
    assert!(round.has_unknown_outcome());
}
