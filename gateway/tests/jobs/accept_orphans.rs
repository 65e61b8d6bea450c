//! An operator says that a chunk server's orphans are garbage.

use std::time::Duration;

use chunkproto::NodeId;
use gateway::admin::{NodeAdmin, OrderError};
use gateway::jobs::JobError;
use metastore::Upkeep as _;

use crate::kit::World;

const DAY: Duration = Duration::from_secs(86_400);
/// More orphans than are few on any node.
const MANY: u8 = 101;

impl World {
    async fn accept_orphans(&self, node: NodeId) -> Result<u64, OrderError> {
        let membership = self.nodes.membership.clone();
        let admin = NodeAdmin::new(membership, self.metastore.clone(), 1);
        admin.accept_orphans(node).await
    }

    async fn in_quarantine(&self, node: NodeId) -> usize {
        let orphans = self.metastore.orphans(node, None, 999).await.unwrap();
        let orphans = orphans.iter();
        orphans
            .filter(|orphan| orphan.quarantined_at.is_some())
            .count()
    }
}

#[tokio::test]
async fn too_many_orphans_go_by_way_of_quarantine_once_an_operator_says_so() {
    let world = World::new(2).await;
    let [old, other] = world.nodes.all()[..] else {
        panic!("two nodes")
    };
    let kept = world.put_chunk_on("cat", &[other]).await;
    world.put_old_orphans(old, MANY);
    let reconcile = world.reconcile_every(1, Duration::ZERO);
    let told = world.run(&reconcile).await;
    assert!(matches!(told, Err(JobError::Alarm(_))), "{told:?}");

    assert_eq!(world.accept_orphans(old).await.unwrap(), u64::from(MANY));
    world.run(&reconcile).await.unwrap();
    assert_eq!(world.in_quarantine(old).await, usize::from(MANY));
    world.collect_everything().await;
    assert_eq!(world.nodes.chunks_on(old), usize::from(MANY));

    world.wait(2 * DAY);
    world.run(&reconcile).await.unwrap();
    world.collect_everything().await;
    assert_eq!(world.nodes.chunks_on(old), 0);
    assert!(world.nodes.has(other, kept.id));
}

#[tokio::test]
async fn what_an_operator_said_holds_once() {
    let world = World::new(2).await;
    let [old, other] = world.nodes.all()[..] else {
        panic!("two nodes")
    };
    world.put_chunk_on("cat", &[other]).await;
    let reconcile = world.reconcile_every(1, Duration::ZERO);
    world.put_old_orphans(old, MANY);
    let _ = world.run(&reconcile).await;
    world.accept_orphans(old).await.unwrap();
    world.run(&reconcile).await.unwrap();

    world.wait(DAY / 2);
    world.put_old_orphans(old, MANY);
    let told = world.run(&reconcile).await;
    assert!(matches!(told, Err(JobError::Alarm(_))), "{told:?}");
}

#[tokio::test]
async fn orphans_are_not_accepted_where_all_nodes_have_so_many() {
    let world = World::new(2).await;
    world.put_chunk("cat", 1).await;
    for node in world.nodes.all() {
        world.put_old_orphans(node, MANY);
    }
    let reconcile = world.reconcile_every(1, Duration::ZERO);
    let _ = world.run(&reconcile).await;
    let refused = world.accept_orphans(world.nodes.all()[0]).await;
    let said = refused.unwrap_err().to_string();
    assert!(
        said.contains("101 orphans") && said.contains("2 of 2"),
        "{said}"
    );
    let told = world.run(&reconcile).await;
    assert!(matches!(told, Err(JobError::Alarm(_))), "{told:?}");
    assert_eq!(world.in_quarantine(world.nodes.all()[0]).await, 0);
}

#[tokio::test]
async fn orphans_are_not_accepted_where_rows_place_nothing_anywhere() {
    let world = World::new(2).await;
    let node = world.nodes.all()[0];
    world.put_old_orphans(node, 3);
    let _ = world.run(&world.reconcile_every(1, Duration::ZERO)).await;
    let refused = world.accept_orphans(node).await;
    assert!(
        matches!(refused, Err(OrderError::MetadataInDoubt { placing: 0, .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn nothing_is_accepted_where_nothing_was_found() {
    let world = World::new(2).await;
    world.put_chunk("cat", 2).await;
    let refused = world.accept_orphans(world.nodes.all()[0]).await;
    assert!(
        matches!(refused, Err(OrderError::NoOrphans(_))),
        "{refused:?}"
    );
}
