//! Removing nodes: what keeps one, and what only looks as if it did.

use std::time::Duration;

use chunkproto::{ChunkId, Crc64, NodeId};
use gateway::admin::{NodeOrder, OrderError};
use gateway::jobs::JobError;
use metastore::{
    ChunkLayout, ChunkRef, CommitObject, Metastore as _, NodePhase, ObjectData, ObjectKey, Scheme,
    Upkeep as _, WriteCondition,
};

use uuid::Builder;

use crate::kit::{CHUNK_BYTES, World};
use crate::nodes::payload;

/// So many chunks of a node are counted.
const COUNTED_MAX: usize = 100_000;
const DAY: Duration = Duration::from_secs(86_400);

impl World {
    /// Metadata says that an object of very many chunks was on these nodes, and was deleted.
    async fn delete_very_many_on(&self, nodes: &[NodeId]) {
        self.put_very_many_on("many", COUNTED_MAX + 1, nodes).await;
        self.delete("many").await;
    }

    /// Makes the metadata say that an object of so many chunks is on these nodes.
    pub async fn put_very_many_on(&self, key: &str, count: usize, nodes: &[NodeId]) {
        let mut object = self.put(key, &payload(10), 1).await;
        let chunk = |_| ChunkRef {
            id: ChunkId::generate(),
            length_bytes: 1,
            crc64: Crc64::of(b"x"),
            replicas: nodes.to_vec(),
        };
        object.data = ObjectData::Chunks(ChunkLayout {
            scheme: Scheme::Replicated,
            chunks: (0..count).map(chunk).collect(),
        });
        let commit = CommitObject {
            bucket: self.bucket,
            key: ObjectKey::parse(key).unwrap(),
            object,
            inline_body: None,
            condition: WriteCondition::Always,
            replicas_wanted: 1,
        };
        self.metastore.commit_object(commit).await.unwrap();
    }

    /// Chunks that no row names, of last month.
    pub fn put_old_orphans(&self, node: NodeId, count: u8) {
        for number in 0..count {
            let born_at_ms = self.now().before(30 * DAY).0;
            let id = Builder::from_unix_timestamp_millis(born_at_ms, &[number; 10]);
            let id = ChunkId::from(id.into_uuid());
            self.nodes.replace(node, id, payload(10));
        }
    }

    /// Asserts that the metadata knows of nothing more on a node, once the jobs have run.
    async fn assert_nothing_left_of(&self, node: NodeId) {
        let reconcile = self.reconcile_every(1, Duration::ZERO);
        self.run(&reconcile).await.unwrap();
        self.collect_everything().await;
        let left = self.metastore.chunks_on_node(node, None, 9).await;
        assert_eq!(left.unwrap(), []);
        assert_eq!(self.metastore.orphans(node, None, 9).await.unwrap(), []);
    }

    async fn remove(&self, node: NodeId) -> Result<(), OrderError> {
        self.order(node, NodeOrder::Remove).await
    }

    /// A copy on a node that its chunk's row does not name, as of a write that lost a hedge.
    async fn put_copy_too_many(&self, on: NodeId, node: NodeId) -> ChunkRef {
        let chunk = self.put_chunk_on("cat", &[on]).await;
        self.nodes.replace(node, chunk.id, payload(CHUNK_BYTES));
        chunk
    }
}

#[tokio::test]
async fn a_dead_node_may_go_however_much_of_it_waits_to_be_deleted() {
    let world = World::new(4).await;
    let dead = world.nodes.all()[0];
    world.delete_very_many_on(&[dead]).await;
    world.take_down(dead);
    world.order(dead, NodeOrder::Drain).await.unwrap();
    world.remove(dead).await.unwrap();
    world.collect_everything().await;
    let left = world.metastore.chunks_on_node(dead, None, 9).await.unwrap();
    assert_eq!(left, [], "its garbage is forgotten");
}

#[tokio::test]
async fn one_chunk_behind_very_much_garbage_keeps_a_dead_node() {
    let world = World::new(4).await;
    let [dead, other, ..] = world.nodes.all()[..] else {
        panic!("four nodes")
    };
    world.delete_very_many_on(&[dead]).await;
    world.put_chunk_on("cat", &[dead, other]).await;
    world.take_down(dead);
    world.order(dead, NodeOrder::Drain).await.unwrap();
    let refused = world.remove(dead).await;
    assert!(
        matches!(refused, Err(OrderError::StillHolds(holds)) if holds.placed_chunks == 1),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_suspect_node_is_not_let_go_since_it_may_be_read_from() {
    let world = World::patient(3).await;
    let leaving = world.nodes.all()[0];
    world.order(leaving, NodeOrder::Drain).await.unwrap();
    world
        .nodes
        .replace(leaving, ChunkId::generate(), payload(10));
    // One request failed; it lives.
    world.nodes.membership.suspect(leaving);
    let early = world.remove(leaving).await;
    assert!(matches!(early, Err(OrderError::Suspect)), "{early:?}");
    assert_eq!(world.nodes.membership.phase(leaving), NodePhase::Draining);
}

#[tokio::test]
async fn orphans_in_quarantine_keep_no_node_and_are_forgotten_with_it() {
    let world = World::new(3).await;
    let [stays, _, leaving] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    world.put_chunk_on("cat", &[stays]).await;
    world.put_old_orphans(leaving, 3);
    let reconcile = world.reconcile_every(1, Duration::ZERO);
    for _ in 0..2 {
        world.run(&reconcile).await.unwrap();
        world.wait(2 * DAY);
    }
    let quarantined = world.metastore.chunks_on_node(leaving, None, 9).await;
    assert_eq!(quarantined.unwrap().len(), 3);

    world.order(leaving, NodeOrder::Drain).await.unwrap();
    world.remove(leaving).await.unwrap();
    world.assert_nothing_left_of(leaving).await;
}

#[tokio::test]
async fn very_many_orphans_alarm_nobody_once_their_node_is_to_leave() {
    let world = World::new(3).await;
    let [stays, _, leaving] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    world.put_chunk_on("cat", &[stays]).await;
    world.put_old_orphans(leaving, 101);
    let reconcile = world.reconcile_every(1, Duration::ZERO);
    let told = world.run(&reconcile).await;
    assert!(matches!(told, Err(JobError::Alarm(_))), "{told:?}");

    world.order(leaving, NodeOrder::Drain).await.unwrap();
    world.run(&reconcile).await.unwrap();
    world.remove(leaving).await.unwrap();
    world.assert_nothing_left_of(leaving).await;
}

#[tokio::test]
async fn a_copy_whose_row_names_others_belongs_to_no_running_write() {
    let world = World::new(3).await;
    let [stays, _, leaving] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    world.put_copy_too_many(stays, leaving).await;
    world.order(leaving, NodeOrder::Drain).await.unwrap();
    world.remove(leaving).await.unwrap();
}

#[tokio::test]
async fn a_copy_that_its_chunk_cannot_do_without_keeps_its_node_until_it_was_moved() {
    let world = World::new(3).await;
    let [stays, _, leaving] = world.nodes.all()[..] else {
        panic!("three nodes")
    };
    let chunk = world.put_copy_too_many(stays, leaving).await;
    world.nodes.lose(stays, chunk.id);
    world.order(leaving, NodeOrder::Drain).await.unwrap();
    let early = world.remove(leaving).await;
    assert!(
        matches!(early, Err(OrderError::StillNeeded { chunks: 1 })),
        "{early:?}"
    );
    world.run(&world.repair(1)).await.unwrap();
    world.run(&world.drain(1)).await.unwrap();
    world.collect_everything().await;
    world.remove(leaving).await.unwrap();
    assert!(!world.good_copies(&chunk).await.contains(&leaving));
}
