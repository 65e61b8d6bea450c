//! What is at risk while nodes are silent: counted by copies that were looked at, and named.

use gateway::jobs::{Survey, SurveyBoard, survey};
use metastore::ChunkOwner;

use crate::kit::World;

async fn surveyed(world: &World) -> Survey {
    let board = SurveyBoard::default();
    survey(&world.replica_mover(), &board).await.unwrap();
    board.latest().expect("a node is silent")
}

fn keys(survey: &Survey) -> Vec<(&str, u8)> {
    let named = survey.worst.iter().map(|chunk| match &chunk.owner {
        ChunkOwner::Object { key, .. } => (key.as_str(), chunk.copies),
        ChunkOwner::Part { .. } => panic!("no part was stored"),
    });
    let mut named: Vec<_> = named.collect();
    let is_worst_first = named.is_sorted_by_key(|(_, copies)| *copies);
    assert!(is_worst_first, "{named:?}");
    // Chunks that are equally endangered come in any order.
    named.sort_by_key(|(key, copies)| (*copies, *key));
    named
}

#[tokio::test]
async fn chunks_on_a_silent_node_are_counted_by_the_copies_that_others_really_hold() {
    let world = World::patient(3).await;
    let [a, b, c] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    world.put_chunk_on("alone", &[a]).await;
    let lost = world.put_chunk_on("lost elsewhere", &[a, b]).await;
    world.put_chunk_on("one left", &[a, b]).await;
    world.put_chunk_on("two left", &[a, b, c]).await;
    world.put_chunk_on("not there", &[b, c]).await;
    // The row still says that b has it.
    world.nodes.lose(b, lost.id);
    world.take_down(a);

    let found = surveyed(&world).await;
    assert!(found.is_complete && found.nodes == [a], "{found:?}");
    assert_eq!(
        (found.looked_at, &found.chunks[..4]),
        (4, &[2, 1, 1, 0][..])
    );
    let expected = [
        ("alone", 0),
        ("lost elsewhere", 0),
        ("one left", 1),
        ("two left", 2),
    ];
    assert_eq!(keys(&found), expected);
}

#[tokio::test]
async fn a_chunk_on_two_silent_nodes_is_one_chunk() {
    let world = World::patient(4).await;
    let [a, b, c, d] = world.nodes.all()[..] else {
        panic!("four nodes")
    };
    world.put_chunk_on("none left", &[a, b]).await;
    world.put_chunk_on("one left", &[b, c]).await;
    world.put_chunk_on("safe", &[c, d]).await;
    world.take_down(a);
    world.take_down(b);
    let found = surveyed(&world).await;
    assert_eq!(found.chunks[..3], [1, 1, 0]);
    assert_eq!(keys(&found), [("none left", 0), ("one left", 1)]);
}

#[tokio::test]
async fn of_many_chunks_those_with_fewest_copies_are_named() {
    let world = World::patient(3).await;
    let [a, b, c] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    for number in 0..20 {
        world
            .put_chunk_on(&format!("safe {number}"), &[a, b, c])
            .await;
    }
    world.put_chunk_on("alone", &[a]).await;
    world.take_down(a);
    let found = surveyed(&world).await;
    assert_eq!(found.chunks[..3], [1, 0, 20]);
    assert_eq!(keys(&found)[0], ("alone", 0));
    assert!(found.worst.len() <= 10, "a few are enough");
}

#[tokio::test]
async fn what_a_node_held_that_is_given_up_is_for_repair_to_count() {
    let world = World::new(2).await;
    let node = world.nodes.all()[0];
    world.put_chunk_on("alone", &[node]).await;
    world.take_down(node);
    assert_eq!(
        surveyed(&world).await,
        Survey {
            is_complete: true,
            ..Survey::default()
        }
    );
}
