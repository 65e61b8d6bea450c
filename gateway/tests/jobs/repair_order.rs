//! What is mended next while a round goes on for hours: whatever comes in meanwhile and is more
//! endangered, and nothing in bulk once too many nodes are missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chunkproto::{ChunkId, NodeId};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use gateway::jobs::JobError;
use metastore::ChunkRef;
use tokio::time::{sleep, timeout};

use crate::kit::World;

/// Chunks that wait for repair when a round begins.
const MANY: usize = 400;
/// So many of them may be copied before a look at what is more endangered by now.
const FEW: usize = 200;
/// A round here ends in less.
const ROUND_MAX: Duration = Duration::from_secs(30);

impl World {
    async fn put_chunks_on(&self, prefix: &str, count: usize, nodes: &[NodeId]) -> Vec<ChunkRef> {
        let mut chunks = Vec::new();
        for number in 0..count {
            let key = format!("{prefix}{number}");
            chunks.push(self.put_chunk_on(&key, nodes).await);
        }
        chunks
    }

    /// Where in the order of all copies the last one of these chunks was made.
    fn last_copied(&self, chunks: &[ChunkRef]) -> Option<usize> {
        let is_one = |id: &ChunkId| chunks.iter().any(|chunk| chunk.id == *id);
        self.nodes.copied().iter().rposition(is_one)
    }
}

/// Does something before the first copy of a chunk, and lets each of the others take so long.
fn at_first_copy(
    world: &Arc<World>,
    others_take: Duration,
    act: impl Fn(Arc<World>) -> BoxFuture<'static, ()> + Send + Sync + 'static,
) {
    let (acting, is_done) = (Arc::clone(world), AtomicBool::new(false));
    world
        .nodes
        .before_copies(move || match is_done.swap(true, Ordering::Relaxed) {
            true => sleep(others_take).boxed(),
            false => act(Arc::clone(&acting)),
        });
}

#[tokio::test]
async fn a_chunk_that_comes_to_be_more_endangered_in_mid_round_is_mended_before_the_rest() {
    let world = Arc::new(World::new(4).await);
    let nodes = &world.nodes.all()[..3];
    let rest = world.put_chunks_on("rest", MANY, nodes).await;
    for chunk in &rest {
        world.nodes.lose(nodes[2], chunk.id);
        world.queue(chunk, 2, 3).await;
    }
    let urgent = world.put_chunk_on("urgent", nodes).await;
    world.nodes.lose(nodes[1], urgent.id);
    world.nodes.lose(nodes[2], urgent.id);
    let came_in = urgent.clone();
    at_first_copy(&world, Duration::ZERO, move |world| {
        let urgent = came_in.clone();
        async move { world.queue(&urgent, 1, 3).await }.boxed()
    });
    world.run(&world.repair(3)).await.unwrap();
    let at = world.last_copied(std::slice::from_ref(&urgent));
    assert!(at.is_some_and(|at| at < FEW), "{at:?}");
    assert_eq!(world.good_copies(&urgent).await.len(), 3);
    for chunk in &rest {
        assert_eq!(world.good_copies(chunk).await.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "its waits take no real time")]
async fn what_a_second_node_held_that_dies_in_mid_round_does_not_wait_for_the_first_ones_chunks() {
    let world = Arc::new(World::new(7).await);
    let [a, b, c, d, ..] = world.nodes.all()[..] else {
        panic!("seven nodes")
    };
    let of_first = world.put_chunks_on("first", MANY, &[a, c, d]).await;
    let of_both = world.put_chunks_on("both", 5, &[a, b, c]).await;
    let of_second = world.put_chunks_on("second", 5, &[b, c, d]).await;
    world.take_down(a);
    let repair = world.repair(3);
    // A look at which nodes are gone comes several times a second.
    at_first_copy(&world, Duration::from_millis(40), move |world| {
        async move { world.take_down(b) }.boxed()
    });
    timeout(ROUND_MAX, world.run(&repair))
        .await
        .unwrap()
        .unwrap();
    let at = world.last_copied(&of_both);
    assert!(at.is_some_and(|at| at < FEW), "{at:?}");
    for chunk in of_first.iter().chain(&of_both).chain(&of_second) {
        assert_eq!(world.good_copies(chunk).await.len(), 3);
    }
}

#[tokio::test]
async fn when_too_many_nodes_vanish_in_mid_round_copying_in_bulk_ends() {
    let world = Arc::new(World::new(6).await);
    let [a, b, c, d, e, f] = world.nodes.all()[..] else {
        panic!("six nodes")
    };
    // A node that holds nothing is not missed.
    world.put_chunk_on("elsewhere", &[b, e, f]).await;
    let chunks = world.put_chunks_on("cat", MANY, &[a, c, d]).await;
    for chunk in &chunks {
        world.queue(chunk, 2, 3).await;
    }
    world.take_down(a);
    at_first_copy(&world, Duration::ZERO, move |world| {
        async move { [b, e].into_iter().for_each(|node| world.take_down(node)) }.boxed()
    });
    let alarm = world.run(&world.repair(3)).await;
    assert!(matches!(alarm, Err(JobError::Alarm(_))), "{alarm:?}");
    let copied = world.nodes.copied().len();
    assert!((1..FEW).contains(&copied), "{copied} chunks were copied");
}

#[tokio::test]
async fn chunks_that_cannot_be_mended_now_are_looked_at_once_and_hold_up_no_others() {
    let world = Arc::new(World::new(3).await);
    let [a, b, _] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    let lost = world.put_chunks_on("lost", MANY, &[a]).await;
    let others = world.put_chunks_on("other", MANY, &[b]).await;
    for chunk in &lost {
        world.queue(chunk, 0, 2).await;
    }
    for chunk in &others {
        world.queue(chunk, 1, 2).await;
    }
    world.take_down(a);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    world.nodes.on_the_wire(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().boxed()
    });
    timeout(ROUND_MAX, world.run(&world.repair(2)))
        .await
        .unwrap()
        .unwrap();
    for chunk in &others {
        assert_eq!(world.good_copies(chunk).await.len(), 2);
    }
    assert_eq!(
        world.queued().await.len(),
        99,
        "the lost ones wait, the first of them listed"
    );
    // Both nodes are asked for each that is lost; a copy takes a few calls.
    let calls = calls.load(Ordering::Relaxed);
    assert!(calls < MANY * 2 + MANY * 10, "{calls} calls");
}
