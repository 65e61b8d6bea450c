//! Garbage collection: what no row names goes, and nothing else does.

use std::time::Duration;

use gateway::jobs::Job as _;
use metastore::ObjectData;

use crate::kit::World;
use crate::nodes::{Fault, payload};

const GRACE: Duration = Duration::from_secs(900);

fn chunk_of(object: &metastore::ObjectVersion) -> metastore::ChunkRef {
    match &object.data {
        ObjectData::Chunks(layout) => layout.chunks[0].clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_deleted_goes_after_its_grace() {
    let world = World::new(3).await;
    let gone = chunk_of(&world.put("gone", &payload(1000), 2).await);
    let kept = chunk_of(&world.put("kept", &payload(1000), 2).await);
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
    let chunk = chunk_of(&world.put("cat", &payload(1000), 2).await);
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
async fn the_queue_waits_for_a_node_that_is_away() {
    let world = World::new(2).await;
    let chunk = chunk_of(&world.put("cat", &payload(1000), 2).await);
    world.delete("cat").await;
    world.wait(2 * GRACE);
    let away = chunk.replicas[0];
    world.nodes.set_fault(away, Fault::Gone);
    world.run(&world.collector(GRACE)).await.unwrap();
    assert_eq!(world.garbage().await.len(), 1);

    world.nodes.set_fault(away, Fault::None);
    world.run(&world.collector(GRACE)).await.unwrap();
    assert_eq!(world.copies(chunk.id), 0);
    assert_eq!(world.garbage().await, []);
}

#[tokio::test]
async fn a_collector_that_was_overtaken_deletes_nothing() {
    let world = World::new(2).await;
    let chunk = chunk_of(&world.put("cat", &payload(1000), 2).await);
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
    let chunk = chunk_of(&world.put("cat", &payload(1000), 1).await);
    world.delete("cat").await;
    world.wait(2 * GRACE);
    world.nodes.set_fault(chunk.replicas[0], Fault::Gone);
    let collector = world.collector(GRACE);
    let round = world.round(world.lease(&collector.name()).await);
    collector.round(&round).await.unwrap();
    assert!(round.is_unsettled());
}
