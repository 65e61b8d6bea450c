//! Where chunks are, and how jobs change that.

use chunkproto::{ChunkId, Fence, NodeId};
use metastore::{
    ChunkOwner, ChunkRef, GcItem, LeaseAnswer, LeaseRequest, MetaError, NodeChunk, ObjectData,
    ObjectVersion, Placement, ReplicaChange, StoredVersion, Timestamp, VersionId, Versioning,
    WriteCondition,
};
use uuid::Uuid;

use crate::fixtures::{
    LATER, Store, begin, bucket, chunk_on, collect, commit, completion, garbage, key, number,
    object, object_at, part_at,
};
use crate::versions::set_versioning;

crate::on_every_store! {
    a_chunk_is_found_in_its_object_and_in_its_part,
    a_node_lists_its_chunks_with_where_they_are,
    a_replica_is_added,
    a_replica_is_moved_and_its_old_copy_is_garbage,
    a_copy_that_was_collected_leaves_its_node_and_nothing_else,
    a_chunk_of_a_completed_part_is_moved_too,
    whoever_saw_other_replicas_changes_nothing,
    a_node_whose_copy_waits_to_be_deleted_gets_no_replica,
    a_chunk_is_on_a_node_until_its_copy_there_was_collected,
    a_deleted_chunk_gets_no_replica,
    a_chunk_of_a_noncurrent_version_is_moved_where_it_stands,
    an_overtaken_job_moves_nothing,
    a_change_of_metadata_after_a_move_keeps_the_new_place,
    a_part_that_is_committed_again_after_a_move_keeps_the_new_place,
    completing_an_upload_after_a_move_finds_the_same_parts,
    of_two_moves_at_once_one_wins,
}

/// The lease of a job, taken from whoever has it.
pub async fn fence(store: &Store) -> Fence {
    let request = LeaseRequest {
        job: "repair".parse().unwrap(),
        holder: Uuid::new_v4(),
        now: LATER,
        until: LATER,
        token_above: 0,
    };
    match store.acquire_lease(request).await.unwrap() {
        LeaseAnswer::Granted(fence) => fence,
        held => panic!("{held:?}"),
    }
}

fn change(chunk: &ChunkRef, replicas: &[NodeId]) -> ReplicaChange {
    ReplicaChange {
        chunk: chunk.id,
        expected: chunk.replicas.clone(),
        replicas: replicas.to_vec(),
        now: Timestamp(50),
    }
}

async fn a_chunk_of_a_noncurrent_version_is_moved_where_it_stands(store: Store) {
    let (id, nodes, chunk) = cat(&store).await;
    set_versioning(&store, "photos", Versioning::Enabled).await;
    let newer = object_at(20, &[chunk_on(&nodes[..1])]);
    store.commit_object(commit(id, "cat", newer)).await.unwrap();
    let fence = fence(&store).await;
    let moved = change(&chunk, &nodes[1..]);
    store.change_replicas(&fence, moved).await.unwrap();
    let old = store.object_version(id, &key("cat"), VersionId::Null).await;
    let StoredVersion::Object(old) = old.unwrap() else {
        panic!("the older version is an object");
    };
    let ObjectData::Chunks(layout) = old.data else {
        panic!("it stands in chunks");
    };
    assert_eq!(layout.chunks[0].replicas, nodes[1..]);
    assert_ne!(
        store.object(id, &key("cat")).await.unwrap().version,
        VersionId::Null
    );
}

/// Three nodes, and a chunk on the first two of them under `photos/cat`.
async fn cat(store: &Store) -> (metastore::BucketId, [NodeId; 3], ChunkRef) {
    let nodes = [(); 3].map(|()| NodeId::generate());
    let id = bucket(store, "photos").await;
    let chunk = chunk_on(&nodes[..2]);
    let row = object(std::slice::from_ref(&chunk));
    store.commit_object(commit(id, "cat", row)).await.unwrap();
    (id, nodes, chunk)
}

async fn nodes_of(store: &Store, chunk: ChunkId) -> Vec<NodeId> {
    let found = store.placements(&[chunk]).await.unwrap();
    found[0].as_ref().unwrap().chunk.replicas.clone()
}

/// Chunks that the index places on a node.
async fn on(store: &Store, node: NodeId) -> Vec<ChunkId> {
    store.chunks_on_node(node, None, 9).await.unwrap()
}

async fn a_chunk_is_found_in_its_object_and_in_its_part(store: Store) {
    let (id, _, of_object) = cat(&store).await;
    let of_part = chunk_on(&[NodeId::generate()]);
    let upload = begin(&store, id, "dog").await;
    let part = part_at(6, 1, std::slice::from_ref(&of_part));
    store
        .put_part(id, &key("dog"), upload, part, 1)
        .await
        .unwrap();
    let asked = [ChunkId::generate(), of_part.id, of_object.id];
    let found = store.placements(&asked).await.unwrap();
    let in_object = Placement {
        owner: ChunkOwner::Object {
            bucket: id,
            key: key("cat"),
            version: VersionId::Null,
        },
        chunk: of_object,
    };
    let number = number(1);
    let in_part = Placement {
        owner: ChunkOwner::Part { upload, number },
        chunk: of_part,
    };
    assert_eq!(found, [None, Some(in_part), Some(in_object)]);
}

async fn a_node_lists_its_chunks_with_where_they_are(store: Store) {
    let (id, nodes, gone) = cat(&store).await;
    let kept = chunk_on(&nodes[..1]);
    let row = object(std::slice::from_ref(&kept));
    store.commit_object(commit(id, "dog", row)).await.unwrap();
    let always = WriteCondition::Always;
    store
        .delete_object(id, &key("cat"), always, Timestamp(30))
        .await
        .unwrap();
    let listed = store.node_chunks(nodes[0], None, 9).await.unwrap();
    let [first, second] = &listed[..] else {
        panic!("{listed:?}")
    };
    let unlinked = NodeChunk {
        id: gone.id,
        placement: None,
    };
    assert_eq!(*first, unlinked);
    assert_eq!(second.placement.as_ref().unwrap().chunk, kept);
    let behind = store.node_chunks(nodes[0], Some(gone.id), 9).await.unwrap();
    assert_eq!(behind, listed[1..]);
}

async fn a_replica_is_added(store: Store) {
    let (id, nodes, chunk) = cat(&store).await;
    let before = store.object(id, &key("cat")).await.unwrap();
    let change = change(&chunk, &nodes);
    let fence = fence(&store).await;
    store.change_replicas(&fence, change).await.unwrap();
    assert_eq!(nodes_of(&store, chunk.id).await, nodes);
    assert_eq!(on(&store, nodes[2]).await, [chunk.id]);
    assert_eq!(garbage(&store).await, []);
    let after = store.object(id, &key("cat")).await.unwrap();
    assert_eq!(after.sequence, before.sequence, "the same to clients");
}

async fn a_replica_is_moved_and_its_old_copy_is_garbage(store: Store) {
    let (_, nodes, chunk) = cat(&store).await;
    let change = change(&chunk, &nodes[1..]);
    let fence = fence(&store).await;
    store.change_replicas(&fence, change).await.unwrap();
    assert_eq!(nodes_of(&store, chunk.id).await, nodes[1..]);
    assert_eq!(on(&store, nodes[2]).await, [chunk.id]);
    // Until it is collected, it is there.
    assert_eq!(on(&store, nodes[0]).await, [chunk.id]);
    let [entry] = &garbage(&store).await[..] else {
        panic!("one entry")
    };
    let copy = ChunkRef {
        replicas: vec![nodes[0]],
        ..chunk
    };
    assert_eq!(entry.unlinked_at, Timestamp(50));
    assert_eq!(entry.item, GcItem::Copies(copy));
}

async fn a_copy_that_was_collected_leaves_its_node_and_nothing_else(store: Store) {
    let (_, nodes, chunk) = cat(&store).await;
    let fence = fence(&store).await;
    let moved = change(&chunk, &nodes[1..]);
    store.change_replicas(&fence, moved).await.unwrap();
    let entries = garbage(&store).await;
    collect(&store, &entries[0]).await;
    assert_eq!(garbage(&store).await, []);
    assert_eq!(on(&store, nodes[0]).await, []);
    assert_eq!(on(&store, nodes[1]).await, [chunk.id]);
    // And may come back there.
    let back = ReplicaChange {
        chunk: chunk.id,
        expected: nodes[1..].to_vec(),
        replicas: nodes.to_vec(),
        now: Timestamp(60),
    };
    store.change_replicas(&fence, back).await.unwrap();
    // Whoever ends the entry again knows nothing of that.
    collect(&store, &entries[0]).await;
    let narrowed = store.gc_narrow(&fence, &entries[0], &nodes[..1]);
    narrowed.await.unwrap();
    assert_eq!(on(&store, nodes[0]).await, [chunk.id]);
}

async fn a_chunk_of_a_completed_part_is_moved_too(store: Store) {
    let (_, upload, part) = crate::fixtures::completed(&store, "film").await;
    let (chunk, node) = (&part.layout.chunks[0], NodeId::generate());
    let fence = fence(&store).await;
    let moved = change(chunk, &[node]);
    store.change_replicas(&fence, moved).await.unwrap();
    let now = store.part(upload, number(1)).await.unwrap();
    assert_eq!(now.layout.chunks[0].replicas, [node]);
    assert_eq!(now.sequence, part.sequence);
}

async fn whoever_saw_other_replicas_changes_nothing(store: Store) {
    let (_, nodes, chunk) = cat(&store).await;
    let fence = fence(&store).await;
    let late = ReplicaChange {
        expected: vec![nodes[0]],
        ..change(&chunk, &nodes)
    };
    let refused = store.change_replicas(&fence, late).await;
    assert!(matches!(refused, Err(MetaError::Conflict)), "{refused:?}");
    assert_eq!(nodes_of(&store, chunk.id).await, nodes[..2]);
    assert_eq!(on(&store, nodes[2]).await, []);
}

async fn a_node_whose_copy_waits_to_be_deleted_gets_no_replica(store: Store) {
    let (_, nodes, chunk) = cat(&store).await;
    let fence = fence(&store).await;
    let moved = change(&chunk, &nodes[1..]);
    store.change_replicas(&fence, moved).await.unwrap();
    let back = ReplicaChange {
        expected: nodes[1..].to_vec(),
        ..change(&chunk, &nodes)
    };
    let refused = store.change_replicas(&fence, back).await;
    assert!(matches!(refused, Err(MetaError::Conflict)), "{refused:?}");
    assert_eq!(nodes_of(&store, chunk.id).await, nodes[1..]);
}

async fn a_chunk_is_on_a_node_until_its_copy_there_was_collected(store: Store) {
    let (_, nodes, chunk) = cat(&store).await;
    let is_on = async || {
        let mut found = Vec::new();
        for node in nodes {
            found.push(store.is_on_node(node, chunk.id).await.unwrap());
        }
        found
    };
    assert_eq!(is_on().await, [true, true, false]);
    let fence = fence(&store).await;
    let moved = change(&chunk, &nodes[1..]);
    store.change_replicas(&fence, moved).await.unwrap();
    assert_eq!(is_on().await, [true, true, true]);
    for entry in garbage(&store).await {
        collect(&store, &entry).await;
    }
    assert_eq!(is_on().await, [false, true, true]);
}

async fn a_deleted_chunk_gets_no_replica(store: Store) {
    let (id, nodes, chunk) = cat(&store).await;
    let always = WriteCondition::Always;
    store
        .delete_object(id, &key("cat"), always, Timestamp(30))
        .await
        .unwrap();
    let fence = fence(&store).await;
    let late = store.change_replicas(&fence, change(&chunk, &nodes)).await;
    assert!(matches!(late, Err(MetaError::NoSuchChunk(id)) if id == chunk.id));
    assert_eq!(on(&store, nodes[2]).await, []);
}

async fn an_overtaken_job_moves_nothing(store: Store) {
    let (_, nodes, chunk) = cat(&store).await;
    let stale = fence(&store).await;
    fence(&store).await;
    let refused = store.change_replicas(&stale, change(&chunk, &nodes)).await;
    assert!(matches!(refused, Err(MetaError::Fenced(_))), "{refused:?}");
    assert_eq!(nodes_of(&store, chunk.id).await, nodes[..2]);
}

async fn a_change_of_metadata_after_a_move_keeps_the_new_place(store: Store) {
    let (id, nodes, chunk) = cat(&store).await;
    let seen = store.object(id, &key("cat")).await.unwrap();
    let fence = fence(&store).await;
    let moved = change(&chunk, &nodes[1..]);
    store.change_replicas(&fence, moved).await.unwrap();
    let queued = garbage(&store).await;

    let changed = ObjectVersion {
        user_metadata: Vec::new(),
        ..seen.clone()
    };
    let commit = metastore::CommitObject {
        condition: WriteCondition::Revision(seen.sequence),
        ..commit(id, "cat", changed)
    };
    store.commit_object(commit).await.unwrap();
    let now = store.object(id, &key("cat")).await.unwrap();
    assert_eq!(now.user_metadata, []);
    assert_eq!(nodes_of(&store, chunk.id).await, nodes[1..]);
    assert_eq!(garbage(&store).await, queued);
}

async fn a_part_that_is_committed_again_after_a_move_keeps_the_new_place(store: Store) {
    let (id, nodes) = (
        bucket(&store, "photos").await,
        [(); 2].map(|()| NodeId::generate()),
    );
    let upload = begin(&store, id, "film").await;
    let chunk = chunk_on(&nodes[..1]);
    let part = part_at(6, 1, std::slice::from_ref(&chunk));
    let put = async || {
        let part = part.clone();
        store.put_part(id, &key("film"), upload, part, 1).await
    };
    put().await.unwrap();
    let fence = fence(&store).await;
    let moved = change(&chunk, &nodes[1..]);
    store.change_replicas(&fence, moved).await.unwrap();
    put().await.unwrap();
    assert_eq!(nodes_of(&store, chunk.id).await, nodes[1..]);
}

async fn completing_an_upload_after_a_move_finds_the_same_parts(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "film").await;
    let chunk = chunk_on(&[NodeId::generate()]);
    let part = part_at(6, 1, std::slice::from_ref(&chunk));
    store
        .put_part(id, &key("film"), upload, part.clone(), 1)
        .await
        .unwrap();
    let fence = fence(&store).await;
    let moved = change(&chunk, &[NodeId::generate()]);
    store.change_replicas(&fence, moved).await.unwrap();
    let complete = completion(id, "film", upload, &[&part]);
    store.complete_upload(complete).await.unwrap();
    let object = store.object(id, &key("film")).await.unwrap();
    assert_eq!(object.data, ObjectData::Parts(upload));
}

async fn of_two_moves_at_once_one_wins(store: Store) {
    let id = bucket(&store, "photos").await;
    let fence = fence(&store).await;
    for round in 0..20 {
        let chunk = chunk_on(&[NodeId::generate()]);
        let row = object_at(10, std::slice::from_ref(&chunk));
        let name = format!("{round}");
        store.commit_object(commit(id, &name, row)).await.unwrap();
        let moves: Vec<_> = (0..4)
            .map(|_| {
                let (store, fence) = (store.clone(), fence.clone());
                let change = change(&chunk, &[chunk.replicas[0], NodeId::generate()]);
                tokio::spawn(async move { store.change_replicas(&fence, change).await })
            })
            .collect();
        let mut won = 0;
        for outcome in moves {
            won += usize::from(outcome.await.unwrap().is_ok());
        }
        assert_eq!(won, 1);
        assert_eq!(nodes_of(&store, chunk.id).await.len(), 2);
    }
}
