//! Reconciliation: a node that returns is compared with its rows, and every difference is dealt with
//! as what it is.

use std::sync::Arc;
use std::time::Duration;

use chunkproto::{ChunkId, NodeId};
use gateway::jobs::{JobError, OrphanLimits, ReconcileJob, ReconcileSettings};
use metastore::{Metastore as _, Upkeep as _};

use crate::kit::{CHUNK_BYTES, World};
use crate::nodes::{Fault, payload};

const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// More orphans than are few on any node.
const MANY: usize = 101;
/// Chunks that a comparison lists at a time.
const PAGE: usize = 4096;

impl World {
    fn reconcile(&self) -> ReconcileJob {
        self.reconcile_with(2)
    }

    fn reconcile_with(&self, replicas: u8) -> ReconcileJob {
        let settings = ReconcileSettings {
            replicas,
            every: Duration::ZERO,
            orphans: OrphanLimits {
                age: DAY,
                quarantine: WEEK,
                limit_percent: 1,
            },
        };
        ReconcileJob::new(self.replica_mover(), settings, Arc::default())
    }

    /// Chunks that wait for repair.
    async fn to_repair(&self) -> Vec<ChunkId> {
        let entries = self.metastore.repairs_by_danger(None, 99).await.unwrap();
        entries.iter().map(|entry| entry.chunk).collect()
    }

    /// Puts a chunk on a node that no row names.
    fn plant(&self, node: NodeId) -> ChunkId {
        let id = ChunkId::generate();
        self.nodes.replace(node, id, payload(10));
        id
    }

    /// How many orphans are noted on a node, and how many of them are in quarantine.
    async fn orphans(&self, node: NodeId) -> (usize, usize) {
        let orphans = self.metastore.orphans(node, None, 999).await.unwrap();
        let quarantined = orphans
            .iter()
            .filter(|orphan| orphan.quarantined_at.is_some());
        (orphans.len(), quarantined.count())
    }
}

#[tokio::test]
async fn a_node_that_holds_what_it_should_is_compared_by_digest_alone() {
    let world = World::new(2).await;
    for number in 0..20 {
        world.put_chunk(&number.to_string(), 2).await;
    }
    world.run(&world.reconcile()).await.unwrap();
    assert_eq!(world.nodes.lists(), 0);
    assert_eq!(world.to_repair().await, []);
}

#[tokio::test]
async fn what_a_node_lost_while_it_was_away_is_repaired() {
    let world = World::new(2).await;
    let mut chunks = Vec::new();
    for number in 0..5 {
        chunks.push(world.put_chunk(&number.to_string(), 2).await);
    }
    let reconcile = world.reconcile();
    world.run(&reconcile).await.unwrap();

    let away = world.nodes.all()[0];
    world.take_down(away);
    world.nodes.lose(away, chunks[1].id);
    world.nodes.replace(away, chunks[3].id, payload(77));
    world.bring_back(away);
    world.run(&reconcile).await.unwrap();
    let mut found = world.to_repair().await;
    found.sort();
    assert_eq!(found, [chunks[1].id, chunks[3].id]);

    world.run(&world.repair(2)).await.unwrap();
    for chunk in &chunks {
        assert_eq!(world.nodes.crc64(away, chunk.id), Some(chunk.crc64));
    }
}

#[tokio::test]
async fn a_chunk_without_a_row_is_first_left_alone_then_quarantined_then_deleted() {
    let world = World::new(1).await;
    let node = world.nodes.all()[0];
    let kept = world.put_chunk("cat", 1).await;
    let orphan = world.plant(node);
    let reconcile = world.reconcile();
    world.run(&reconcile).await.unwrap();
    assert_eq!(world.orphans(node).await, (0, 0), "its row may yet come");

    world.wait(2 * DAY);
    world.run(&reconcile).await.unwrap();
    assert_eq!(world.orphans(node).await, (1, 0));
    world.wait(DAY);
    world.run(&reconcile).await.unwrap();
    assert_eq!(world.orphans(node).await, (1, 1));
    world.collect_everything().await;
    assert!(world.nodes.has(node, orphan), "in quarantine");

    world.wait(WEEK);
    world.run(&reconcile).await.unwrap();
    assert_eq!(world.orphans(node).await, (0, 0));
    world.collect_everything().await;
    assert!(!world.nodes.has(node, orphan));
    assert!(world.nodes.has(node, kept.id));
    let left = world.metastore.chunks_on_node(node, None, 9).await;
    assert_eq!(left.unwrap(), [kept.id]);
}

#[tokio::test]
async fn a_copy_that_a_row_comes_to_name_is_no_orphan() {
    let world = World::new(2).await;
    let chunk = world.put_chunk_on("cat", &world.nodes.all()[..1]).await;
    let other = world.nodes.all()[1];
    // As after a repair that was cut off between its copy and its commit.
    world.nodes.replace(other, chunk.id, payload(CHUNK_BYTES));
    let reconcile = world.reconcile();
    world.wait(2 * DAY);
    world.run(&reconcile).await.unwrap();
    assert_eq!(world.orphans(other).await, (1, 0));

    let need = metastore::RepairNeed {
        chunk: chunk.id,
        length_bytes: chunk.length_bytes,
        wanted: 2,
        have: 1,
        since: world.now(),
    };
    world.metastore.queue_repairs(vec![need]).await.unwrap();
    world.run(&world.repair(2)).await.unwrap();
    world.wait(DAY);
    world.run(&reconcile).await.unwrap();
    assert_eq!(world.orphans(other).await, (0, 0));
    assert_eq!(world.copies(chunk.id), 2);
}

#[tokio::test]
async fn the_last_good_copy_of_a_chunk_is_no_orphan() {
    let world = World::new(2).await;
    let [named, other] = world.nodes.all()[..] else {
        panic!("two nodes")
    };
    let chunk = world.put_chunk_on("cat", &[named]).await;
    world.nodes.replace(other, chunk.id, payload(CHUNK_BYTES));
    let reconcile = world.reconcile();
    world.wait(2 * DAY);
    world.run(&reconcile).await.unwrap();
    world.nodes.lose(named, chunk.id);
    for _ in 0..2 {
        world.wait(2 * WEEK);
        world.run(&reconcile).await.unwrap();
        world.collect_everything().await;
    }
    world.run(&world.repair(2)).await.unwrap();
    assert_eq!(world.orphans(other).await, (0, 0));
    assert!(world.good_copies(&chunk).await.contains(&other));
}

#[tokio::test]
async fn a_copy_in_quarantine_is_not_deleted_while_its_chunk_lacks_others() {
    let world = World::new(2).await;
    let [named, other] = world.nodes.all()[..] else {
        panic!("two nodes")
    };
    // A row that is complete, with a copy too many.
    let chunk = world.put_chunk_on("cat", &[named]).await;
    world.nodes.replace(other, chunk.id, payload(CHUNK_BYTES));
    let reconcile = world.reconcile_with(1);
    for time in [2 * DAY, 2 * DAY] {
        world.wait(time);
        world.run(&reconcile).await.unwrap();
    }
    assert_eq!(world.orphans(other).await, (1, 1));

    world.nodes.lose(named, chunk.id);
    world.wait(2 * WEEK);
    world.run(&reconcile).await.unwrap();
    assert_eq!(world.orphans(other).await, (1, 1));
    world.run(&world.repair(1)).await.unwrap();
    assert_eq!(world.good_copies(&chunk).await, [named]);
    world.run(&reconcile).await.unwrap();
    assert_eq!(world.orphans(other).await, (0, 0));
}

#[tokio::test]
async fn copies_that_wait_for_garbage_collection_are_no_orphans() {
    let world = World::new(2).await;
    let chunk = world.put_chunk("cat", 2).await;
    world.delete("cat").await;
    world.wait(2 * DAY);
    world.run(&world.reconcile()).await.unwrap();
    for node in &chunk.replicas {
        assert_eq!(world.orphans(*node).await, (0, 0));
    }
}

#[tokio::test]
async fn where_too_much_looks_orphaned_nothing_is_touched() {
    let world = World::new(2).await;
    let [node, other] = world.nodes.all()[..] else {
        panic!("two nodes")
    };
    world.put_chunk("cat", 1).await;
    for _ in 0..MANY {
        world.plant(node);
    }
    world.plant(other);
    let reconcile = world.reconcile();
    for _ in 0..3 {
        world.wait(2 * WEEK);
        let alarm = world.run(&reconcile).await;
        assert!(matches!(alarm, Err(JobError::Alarm(_))), "{alarm:?}");
    }
    assert_eq!(world.orphans(node).await, (MANY, 0));
    assert_eq!(
        world.orphans(other).await,
        (0, 0),
        "the others are dealt with"
    );
    assert_eq!(world.garbage().await.len(), 1);
}

#[tokio::test]
async fn where_no_row_names_anything_the_metadata_is_doubted_and_not_the_chunks() {
    let world = World::new(1).await;
    let node = world.nodes.all()[0];
    world.plant(node);
    let reconcile = world.reconcile();
    for _ in 0..3 {
        world.wait(2 * WEEK);
        let alarm = world.run(&reconcile).await;
        assert!(matches!(alarm, Err(JobError::Alarm(_))), "{alarm:?}");
    }
    assert_eq!(world.orphans(node).await, (1, 0));
    assert_eq!(world.garbage().await, []);
}

#[tokio::test]
async fn a_chunk_whose_row_cannot_be_read_is_no_orphan_and_hides_none() {
    let world = World::new(1).await;
    let node = world.nodes.all()[0];
    let damaged = world.put_chunk("damaged", 1).await;
    let lost = world.put_chunk("lost", 1).await;
    world.metastore.damage(damaged.id);
    world.nodes.lose(node, lost.id);
    let orphan = world.plant(node);
    world.wait(2 * DAY);
    let reconcile = world.reconcile_with(1);
    world.run(&reconcile).await.unwrap();
    let orphans = world.metastore.orphans(node, None, 999).await.unwrap();
    let orphans: Vec<_> = orphans.iter().map(|orphan| orphan.chunk.id).collect();
    assert_eq!(orphans, [orphan]);
    assert_eq!(world.to_repair().await, [lost.id]);
}

#[tokio::test]
async fn all_orphans_are_found_at_once_however_many_there_are() {
    let world = World::new(1).await;
    let node = world.nodes.all()[0];
    for _ in 0..3 * PAGE {
        world.plant(node);
    }
    world.wait(2 * DAY);
    let told = world.run(&world.reconcile()).await;
    assert!(matches!(told, Err(JobError::Alarm(_))), "{told:?}");
    let orphans = world.metastore.orphans(node, None, 4 * PAGE).await.unwrap();
    assert_eq!(orphans.len(), 3 * PAGE);
}

#[tokio::test]
async fn an_overtaken_comparison_changes_nothing() {
    let world = World::new(1).await;
    let node = world.nodes.all()[0];
    world.plant(node);
    world.wait(2 * DAY);
    let reconcile = world.reconcile();
    let name = gateway::jobs::Job::name(&reconcile);
    let stale = world.round(world.lease(&name).await);
    world.lease(&name).await;
    let outcome = gateway::jobs::Job::round(&reconcile, &stale).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(!stale.goes_on(), "its round is over");
    assert_eq!(world.orphans(node).await, (0, 0));
}

#[tokio::test]
async fn an_overtaken_sweep_deletes_no_orphan() {
    let world = World::new(1).await;
    world.put_chunk("cat", 1).await;
    let node = world.nodes.all()[0];
    world.plant(node);
    world.wait(DAY);
    let settings = ReconcileSettings {
        replicas: 1,
        every: WEEK,
        orphans: OrphanLimits {
            age: Duration::ZERO,
            quarantine: DAY,
            limit_percent: 1,
        },
    };
    let reconcile = ReconcileJob::new(world.replica_mover(), settings, Arc::default());
    world.run(&reconcile).await.unwrap();
    assert_eq!(world.orphans(node).await, (1, 1));

    world.wait(2 * DAY);
    let name = gateway::jobs::Job::name(&reconcile);
    let stale = world.round(world.lease(&name).await);
    world.lease(&name).await;
    let outcome = gateway::jobs::Job::round(&reconcile, &stale).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(!stale.goes_on(), "its round is over");
    assert_eq!(world.orphans(node).await, (1, 1));
}

#[tokio::test]
async fn a_node_that_does_not_say_what_it_holds_is_told_of_and_holds_up_no_other() {
    let world = World::new(2).await;
    let [silent, other] = world.nodes.all()[..] else {
        panic!("two nodes")
    };
    let chunk = world.put_chunk("cat", 2).await;
    world.nodes.lose(other, chunk.id);
    world.nodes.set_fault(silent, Fault::Gone);
    let failed = world.run(&world.reconcile()).await.unwrap_err().to_string();
    assert!(failed.contains(&silent.to_string()), "{failed}");
    assert_eq!(world.to_repair().await, [chunk.id]);
}
