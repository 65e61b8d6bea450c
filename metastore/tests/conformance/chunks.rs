//! The reverse indexes and the repair queue: which row names a chunk, what stands on a node, what
//! has too few replicas.

use chunkproto::{ChunkId, NodeId};
use metastore::{ChunkOwner, CommitObject, NodeRow, RepairEntry, Timestamp, VersionId};
use uuid::Uuid;

use crate::fixtures::{
    Store, begin, bucket, chunk, chunk_on, commit, key, number, object, object_at, part_at,
};

crate::on_every_store! {
    a_chunk_knows_its_object,
    a_chunk_knows_its_part_before_and_after_completion,
    an_unknown_chunk_has_no_owner,
    a_node_lists_its_chunks_page_by_page,
    chunks_with_too_few_replicas_are_queued_for_repair,
    a_short_part_is_queued_for_repair,
    the_repair_queue_is_read_page_by_page,
    nodes_are_remembered_in_order_of_their_ids,
}

async fn a_chunk_knows_its_object(store: Store) {
    let (id, body) = (bucket(&store, "photos").await, [chunk()]);
    store
        .commit_object(commit(id, "cat", object(&body)))
        .await
        .unwrap();
    let owner = ChunkOwner::Object {
        bucket: id,
        key: key("cat"),
        version: VersionId::Null,
    };
    assert_eq!(store.chunk_owner(body[0].id).await.unwrap(), Some(owner));
}

async fn a_chunk_knows_its_part_before_and_after_completion(store: Store) {
    let (_, upload, part) = crate::fixtures::completed(&store, "cat").await;
    let owner = ChunkOwner::Part {
        upload,
        number: number(1),
    };
    let named = store.chunk_owner(part.layout.chunks[0].id).await.unwrap();
    assert_eq!(named, Some(owner));
}

async fn an_unknown_chunk_has_no_owner(store: Store) {
    assert_eq!(store.chunk_owner(ChunkId::generate()).await.unwrap(), None);
}

async fn a_node_lists_its_chunks_page_by_page(store: Store) {
    let (id, node, other) = (
        bucket(&store, "photos").await,
        NodeId::generate(),
        NodeId::generate(),
    );
    let chunks: Vec<_> = (0..3).map(|_| chunk_on(&[node, other])).collect();
    let ids: Vec<_> = chunks.iter().map(|chunk| chunk.id).collect();
    store
        .commit_object(commit(id, "cat", object(&chunks)))
        .await
        .unwrap();
    store
        .commit_object(commit(id, "dog", object(&[chunk_on(&[other])])))
        .await
        .unwrap();
    assert_eq!(store.chunks_on_node(node, None, 2).await.unwrap(), ids[..2]);
    assert_eq!(
        store.chunks_on_node(node, Some(ids[1]), 2).await.unwrap(),
        ids[2..]
    );
    assert_eq!(store.chunks_on_node(other, None, 9).await.unwrap().len(), 4);
    assert_eq!(
        store
            .chunks_on_node(NodeId::generate(), None, 9)
            .await
            .unwrap(),
        []
    );
}

async fn chunks_with_too_few_replicas_are_queued_for_repair(store: Store) {
    let id = bucket(&store, "photos").await;
    let nodes = [(); 3].map(|()| NodeId::generate());
    let (short, whole) = (chunk_on(&nodes[..2]), chunk_on(&nodes));
    let unconditional = commit(id, "cat", object_at(10, &[short.clone(), whole]));
    store
        .commit_object(CommitObject {
            inline_body: None,
            replicas_wanted: 3,
            ..unconditional
        })
        .await
        .unwrap();
    let entry = RepairEntry {
        have: 2,
        chunk: short.id,
        missing_bytes: short.length_bytes,
    };
    assert_eq!(store.repairs_by_danger(None, 9).await.unwrap(), [entry]);
}

async fn a_short_part_is_queued_for_repair(store: Store) {
    let (id, body) = (bucket(&store, "photos").await, [chunk()]);
    let upload = begin(&store, id, "cat").await;
    let part = part_at(6, 1, &body);
    store
        .put_part(id, &key("cat"), upload, part, 2)
        .await
        .unwrap();
    let entry = RepairEntry {
        have: 1,
        chunk: body[0].id,
        missing_bytes: body[0].length_bytes,
    };
    assert_eq!(store.repairs_by_danger(None, 9).await.unwrap(), [entry]);
}

async fn the_repair_queue_is_read_page_by_page(store: Store) {
    let id = bucket(&store, "photos").await;
    let chunks: Vec<_> = (0..3).map(|_| chunk()).collect();
    let unconditional = commit(id, "cat", object(&chunks));
    store
        .commit_object(CommitObject {
            inline_body: None,
            replicas_wanted: 2,
            ..unconditional
        })
        .await
        .unwrap();
    let first = store.repairs_by_danger(None, 2).await.unwrap();
    let behind = (first[1].have, first[1].chunk);
    let rest = store.repairs_by_danger(Some(behind), 2).await.unwrap();
    let queued = [first, rest].concat();
    assert_eq!(
        queued.iter().map(|entry| entry.chunk).collect::<Vec<_>>(),
        chunks.iter().map(|chunk| chunk.id).collect::<Vec<_>>()
    );
}

async fn nodes_are_remembered_in_order_of_their_ids(store: Store) {
    let node = |id: u128, address: &str| NodeRow {
        id: Uuid::from_u128(id).into(),
        incarnation: Uuid::nil(),
        address: address.into(),
        zone: "rack-1".into(),
        capacity_bytes: 1 << 40,
        first_seen_at: Timestamp(1),
    };
    store.put_node(node(u128::MAX, "http://z:1")).await.unwrap();
    store.put_node(node(0, "http://a:1")).await.unwrap();
    store.put_node(node(0, "http://a:2")).await.unwrap();
    let expected = [node(0, "http://a:2"), node(u128::MAX, "http://z:1")];
    assert_eq!(store.nodes().await.unwrap(), expected);
}
