//! Orphans, and copies on nodes that are away.

use chunkproto::{ChunkInfo, NodeId};
use metastore::{
    ChunkRef, GcItem, MetaError, NodePhase, Orphan, OrphanFate, ReplicaChange, Timestamp,
    WriteCondition,
};

use crate::fixtures::{Store, bucket, chunk_on, collect, commit, garbage, key, object};
use crate::placement::fence;

crate::on_every_store! {
    an_orphan_is_noted_once_and_keeps_its_age,
    a_nodes_orphans_are_read_page_by_page,
    an_orphan_becomes_garbage_only_from_quarantine,
    what_a_row_places_on_the_node_is_not_put_into_quarantine,
    a_copy_in_quarantine_is_never_named,
    an_orphan_that_is_none_is_spared,
    an_overtaken_job_touches_no_orphan,
    garbage_waits_only_for_the_nodes_that_are_away,
    garbage_without_a_node_left_is_done,
    an_overtaken_collector_takes_nothing_off_the_queue,
    what_operators_want_of_nodes_is_remembered,
}

fn info(chunk: &ChunkRef) -> ChunkInfo {
    ChunkInfo {
        id: chunk.id,
        length_bytes: chunk.length_bytes,
        crc64: chunk.crc64,
    }
}

async fn note(store: &Store, node: NodeId, chunk: &ChunkRef, now: u64) {
    let fence = fence(store).await;
    let chunks = [info(chunk)];
    let noted = store.note_orphans(&fence, node, &chunks, Timestamp(now));
    noted.await.unwrap();
}

async fn quarantine(store: &Store, node: NodeId, chunk: &ChunkRef) -> Result<(), MetaError> {
    let fence = fence(store).await;
    store
        .quarantine_orphan(&fence, node, chunk.id, Timestamp(60))
        .await
}

async fn end(store: &Store, node: NodeId, chunk: &ChunkRef, fate: OrphanFate) {
    let fence = fence(store).await;
    store
        .end_orphan(&fence, node, chunk.id, fate)
        .await
        .unwrap();
}

async fn an_orphan_is_noted_once_and_keeps_its_age(store: Store) {
    let (node, chunk) = (NodeId::generate(), chunk_on(&[]));
    note(&store, node, &chunk, 50).await;
    note(&store, node, &chunk, 99).await;
    let noted = Orphan {
        chunk: info(&chunk),
        since: Timestamp(50),
        quarantined_at: None,
    };
    assert_eq!(store.orphans(node, None, 9).await.unwrap(), [noted]);
}

async fn a_nodes_orphans_are_read_page_by_page(store: Store) {
    let (node, other) = (NodeId::generate(), NodeId::generate());
    let chunks = [(); 3].map(|()| chunk_on(&[]));
    for chunk in &chunks {
        note(&store, node, chunk, 50).await;
    }
    note(&store, other, &chunks[0], 50).await;
    let page = async |after, limit| {
        let page = store.orphans(node, after, limit).await.unwrap();
        page.iter()
            .map(|orphan| orphan.chunk.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(page(None, 2).await, [chunks[0].id, chunks[1].id]);
    assert_eq!(page(Some(chunks[1].id), 2).await, [chunks[2].id]);
}

async fn an_orphan_becomes_garbage_only_from_quarantine(store: Store) {
    let (node, chunk) = (NodeId::generate(), chunk_on(&[]));
    note(&store, node, &chunk, 50).await;
    let garbage_at = OrphanFate::Garbage(Timestamp(70));
    end(&store, node, &chunk, garbage_at).await;
    assert_eq!(garbage(&store).await, []);
    assert_eq!(store.orphans(node, None, 9).await.unwrap().len(), 1);

    quarantine(&store, node, &chunk).await.unwrap();
    end(&store, node, &chunk, garbage_at).await;
    assert_eq!(store.orphans(node, None, 9).await.unwrap(), []);
    let [entry] = &garbage(&store).await[..] else {
        panic!("one entry")
    };
    let copy = ChunkRef {
        replicas: vec![node],
        ..chunk
    };
    assert_eq!(entry.item, GcItem::Copies(copy));
    assert_eq!(entry.unlinked_at, Timestamp(70));
    collect(&store, entry).await;
    assert_eq!(store.chunks_on_node(node, None, 9).await.unwrap(), []);
}

async fn what_a_row_places_on_the_node_is_not_put_into_quarantine(store: Store) {
    let (id, node) = (bucket(&store, "photos").await, NodeId::generate());
    let chunk = chunk_on(&[node]);
    note(&store, node, &chunk, 50).await;
    let row = object(std::slice::from_ref(&chunk));
    store.commit_object(commit(id, "cat", row)).await.unwrap();
    let refused = quarantine(&store, node, &chunk).await;
    assert!(matches!(refused, Err(MetaError::Conflict)), "{refused:?}");
    let orphans = store.orphans(node, None, 9).await.unwrap();
    assert_eq!(orphans[0].quarantined_at, None);
}

async fn a_copy_in_quarantine_is_never_named(store: Store) {
    let id = bucket(&store, "photos").await;
    let nodes = [(); 2].map(|()| NodeId::generate());
    let chunk = chunk_on(&nodes[..1]);
    let row = object(std::slice::from_ref(&chunk));
    store.commit_object(commit(id, "cat", row)).await.unwrap();
    note(&store, nodes[1], &chunk, 50).await;
    quarantine(&store, nodes[1], &chunk).await.unwrap();
    let change = ReplicaChange {
        chunk: chunk.id,
        expected: nodes[..1].to_vec(),
        replicas: nodes.to_vec(),
        now: Timestamp(70),
    };
    let refused = store.change_replicas(&fence(&store).await, change).await;
    assert!(matches!(refused, Err(MetaError::Conflict)), "{refused:?}");
}

async fn an_orphan_that_is_none_is_spared(store: Store) {
    let (node, chunk) = (NodeId::generate(), chunk_on(&[]));
    note(&store, node, &chunk, 50).await;
    end(&store, node, &chunk, OrphanFate::Spared).await;
    assert_eq!(store.orphans(node, None, 9).await.unwrap(), []);
    assert_eq!(garbage(&store).await, []);
}

async fn an_overtaken_job_touches_no_orphan(store: Store) {
    let (node, chunk) = (NodeId::generate(), chunk_on(&[]));
    let stale = fence(&store).await;
    note(&store, node, &chunk, 50).await;
    let now = Timestamp(60);
    let others = [info(&chunk_on(&[]))];
    let noted = store.note_orphans(&stale, node, &others, now).await;
    let quarantined = store.quarantine_orphan(&stale, node, chunk.id, now).await;
    let ended = store.end_orphan(&stale, node, chunk.id, OrphanFate::Spared);
    assert!(noted.is_err() && quarantined.is_err() && ended.await.is_err());
    assert_eq!(store.orphans(node, None, 9).await.unwrap().len(), 1);
}

/// An object of two chunks that was deleted, and the three nodes they were on.
async fn deleted(store: &Store) -> ([NodeId; 3], [ChunkRef; 2]) {
    let id = bucket(store, "photos").await;
    let nodes = [(); 3].map(|()| NodeId::generate());
    let chunks = [chunk_on(&nodes[..2]), chunk_on(&nodes[1..])];
    store
        .commit_object(commit(id, "cat", object(&chunks)))
        .await
        .unwrap();
    let always = WriteCondition::Always;
    store
        .delete_object(id, &key("cat"), always, Timestamp(30))
        .await
        .unwrap();
    (nodes, chunks)
}

async fn garbage_waits_only_for_the_nodes_that_are_away(store: Store) {
    let (nodes, chunks) = deleted(&store).await;
    let (before, fence) = (garbage(&store).await, fence(&store).await);
    let narrowed = store.gc_narrow(&fence, &before[0], &nodes[1..]);
    narrowed.await.unwrap();
    let [entry] = &garbage(&store).await[..] else {
        panic!("one entry")
    };
    let moment = (before[0].unlinked_at, before[0].id);
    assert_eq!((entry.unlinked_at, entry.id), moment);
    let left = ChunkRef {
        replicas: vec![nodes[0]],
        ..chunks[0].clone()
    };
    assert_eq!(entry.item, GcItem::Chunks(vec![left]));
    let on = async |node| store.chunks_on_node(node, None, 9).await.unwrap();
    assert_eq!(on(nodes[0]).await, [chunks[0].id]);
    assert_eq!(on(nodes[1]).await, []);
    collect(&store, entry).await;
    assert_eq!(on(nodes[0]).await, []);
}

async fn garbage_without_a_node_left_is_done(store: Store) {
    let (nodes, _) = deleted(&store).await;
    let (before, fence) = (garbage(&store).await, fence(&store).await);
    for _ in 0..2 {
        let narrowed = store.gc_narrow(&fence, &before[0], &nodes);
        narrowed.await.unwrap();
        assert_eq!(garbage(&store).await, []);
    }
    // An entry that is gone does not come back narrower.
    let narrowed = store.gc_narrow(&fence, &before[0], &nodes[..1]);
    narrowed.await.unwrap();
    assert_eq!(garbage(&store).await, []);
}

async fn an_overtaken_collector_takes_nothing_off_the_queue(store: Store) {
    let (nodes, _) = deleted(&store).await;
    let before = garbage(&store).await;
    let stale = fence(&store).await;
    fence(&store).await;
    let refused = store.gc_narrow(&stale, &before[0], &nodes).await;
    assert!(matches!(refused, Err(MetaError::Fenced(_))), "{refused:?}");
    assert_eq!(garbage(&store).await, before);
}

async fn what_operators_want_of_nodes_is_remembered(store: Store) {
    let (a, b) = (NodeId::from_bytes([1; 16]), NodeId::from_bytes([2; 16]));
    assert_eq!(store.node_phases().await.unwrap(), []);
    store.set_node_phase(b, NodePhase::Removed).await.unwrap();
    store.set_node_phase(a, NodePhase::Draining).await.unwrap();
    let phases = [(a, NodePhase::Draining), (b, NodePhase::Removed)];
    assert_eq!(store.node_phases().await.unwrap(), phases);
}
