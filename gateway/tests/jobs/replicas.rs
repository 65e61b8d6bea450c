//! Another number of replicas than chunks were written with: those that are there come to have it too.

use std::time::Duration;

use gateway::admin::NodeOrder;
use metastore::Upkeep as _;

use crate::kit::World;

#[tokio::test]
async fn chunks_get_the_copies_that_a_raised_number_of_replicas_asks_for() {
    let world = World::new(3).await;
    let chunk = world.put_chunk("cat", 2).await;
    world.run(&world.reconcile_seldom(2)).await.unwrap();
    assert_eq!(world.queued().await, []);

    world.run(&world.reconcile_seldom(3)).await.unwrap();
    assert_eq!(world.queued().await, [(2, chunk.id)]);
    world.run(&world.repair(3)).await.unwrap();
    assert_eq!(world.good_copies(&chunk).await.len(), 3);
    assert_eq!(world.queued().await, []);
}

#[tokio::test]
async fn copies_too_many_go_and_wait_out_the_grace_like_all_garbage() {
    let world = World::new(4).await;
    let chunk = world.put_chunk("cat", 4).await;
    world.run(&world.reconcile_seldom(3)).await.unwrap();
    let counts = world.metastore.count_repairs(9).await.unwrap();
    assert_eq!(counts.chunks[4], 1, "status counts it");
    world.run(&world.repair(3)).await.unwrap();
    assert_eq!(world.good_copies(&chunk).await.len(), 3);
    assert_eq!(world.queued().await, []);

    let collector = world.collector(Duration::from_secs(900));
    world.run(&collector).await.unwrap();
    assert_eq!(world.copies(chunk.id), 4);
    world.collect_everything().await;
    assert_eq!(world.copies(chunk.id), 3);
    assert_eq!(world.good_copies(&chunk).await.len(), 3);
}

#[tokio::test]
async fn a_node_with_copies_too_many_is_emptied_though_all_others_have_one() {
    let world = World::new(4).await;
    let chunk = world.put_chunk("cat", 4).await;
    let leaving = chunk.replicas[1];
    world.order(leaving, NodeOrder::Drain).await.unwrap();
    world.run(&world.drain(3)).await.unwrap();
    let copies = world.good_copies(&chunk).await;
    assert!(
        copies.len() == 3 && !copies.contains(&leaving),
        "{copies:?}"
    );
    assert_eq!(world.nodes.copied(), []);
    world.collect_everything().await;
    world.order(leaving, NodeOrder::Remove).await.unwrap();
}

#[tokio::test]
async fn a_copy_is_too_many_only_if_so_many_others_are_good() {
    let world = World::new(4).await;
    let chunk = world.put_chunk("cat", 4).await;
    let [leaving, lost] = chunk.replicas[..2] else {
        panic!("four copies")
    };
    world.nodes.lose(lost, chunk.id);
    world.order(leaving, NodeOrder::Drain).await.unwrap();
    let told = world.run(&world.drain(3)).await;
    assert!(told.is_err(), "all others are named already");
    let found = world.metastore.placements(&[chunk.id]).await.unwrap();
    assert!(found[0].as_ref().unwrap().chunk.replicas.contains(&leaving));
}
