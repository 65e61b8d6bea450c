//! A node that is heard and cannot be reached for data: it gets nothing new, and after a while it is
//! taken for gone, as a silent one is.

use std::time::Duration;

use gateway::chunks::ChunkTransport;
use gateway::cluster::{NodeState, Probed};
use gateway::jobs::probe;

use crate::kit::World;
use crate::nodes::Fault;

impl World {
    async fn probe(&self, which: Probed) {
        let transport: &dyn ChunkTransport = &self.nodes;
        probe(transport, &self.nodes.membership, which).await;
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "its waits take no real time")]
async fn a_node_that_is_heard_and_not_reached_gets_nothing_and_is_healed_around_until_it_is_back() {
    let down_after = Duration::from_secs(600);
    let world = World::giving_up_after(4, down_after).await;
    let chunk = world.put_chunk("cat", 2).await;
    let (cut_off, membership) = (chunk.replicas[0], world.nodes.membership.clone());
    world.nodes.set_fault(cut_off, Fault::Gone);
    world.probe(Probed::All).await;
    world.nodes.register(cut_off);
    assert_eq!(membership.state(cut_off), NodeState::Suspect);
    assert_eq!(membership.writable_count(), 3);

    world.pass_without(&[], down_after).await;
    assert_eq!(membership.state(cut_off), NodeState::Down);
    world.run(&world.repair(2)).await.unwrap();
    let copies = world.good_copies(&chunk).await;
    assert!(
        copies.len() == 2 && !copies.contains(&cut_off),
        "{copies:?}"
    );

    world.nodes.set_fault(cut_off, Fault::None);
    world.probe(Probed::Doubted).await;
    assert_eq!(membership.state(cut_off), NodeState::Live);
}

#[tokio::test]
async fn one_failed_request_to_a_node_that_can_be_reached_has_no_consequences() {
    let world = World::new(2).await;
    let node = world.nodes.all()[0];
    world.probe(Probed::All).await;
    world.nodes.set_fault(node, Fault::Gone);
    world.probe(Probed::Doubted).await;
    world.nodes.set_fault(node, Fault::None);
    assert!(world.nodes.membership.is_live(node), "nobody doubted it");
    world.nodes.membership.suspect(node);
    world.probe(Probed::Doubted).await;
    world.nodes.register(node);
    assert!(world.nodes.membership.is_live(node));
}
