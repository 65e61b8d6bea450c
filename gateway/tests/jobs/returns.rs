//! Nodes that were given up and return: what was queued for repair meanwhile is looked at again, and
//! nothing is said of it before.

use gateway::Clock;
use gateway::admin::DataAdmin;
use gateway::jobs::{Job as _, Round, SurveyBoard, Throttle};
use metastore::{Timestamp, Upkeep as _};

use crate::kit::World;
use crate::nodes::Fault;

/// Chunks of a lost node that are queued at a time.
const QUEUED_PAGE: usize = 1000;

#[tokio::test]
async fn a_node_that_returns_while_its_chunks_are_queued_has_no_more_of_them_queued() {
    let world = World::new(2).await;
    let away = world.nodes.all()[0];
    world
        .put_very_many_on("many", 3 * QUEUED_PAGE / 2, &[away])
        .await;
    world.take_down(away);
    let repair = world.repair(1);
    let fence = world.lease(&repair.name()).await;
    let nodes = world.nodes.clone();
    // Somebody asks for the time once for each page.
    let clock = Clock::of(move || {
        nodes.set_fault(away, Fault::None);
        nodes.register(away);
        Timestamp::now()
    });
    let progress = world.board.of(&fence.job);
    let round = Round::new(fence, clock, progress, Throttle::new(None), world.stopped());
    let _ = repair.round(&round).await;
    let counts = world
        .metastore
        .count_repairs(9 * QUEUED_PAGE)
        .await
        .unwrap();
    let queued = counts.chunks.iter().sum::<u64>();
    assert!((1..=QUEUED_PAGE as u64).contains(&queued), "{queued}");
}

#[tokio::test]
async fn a_chunk_is_called_lost_only_after_its_nodes_were_asked() {
    let world = World::new(2).await;
    let node = world.nodes.all()[0];
    let chunk = world.put_chunk_on("cat", &[node]).await;
    let (metastore, survey) = (world.metastore.clone(), SurveyBoard::default());
    let status = DataAdmin::new(metastore, survey, 1).asking(world.replica_mover());
    let is_lost = async || status.look().await.unwrap().unreachable[0].is_lost;
    world.take_down(node);
    world.queue(&chunk, 0, 1).await;
    assert!(!is_lost().await, "its node is away");
    world.bring_back(node);
    assert!(!is_lost().await, "its node is back with it");
    world.nodes.lose(node, chunk.id);
    assert!(is_lost().await);
}
