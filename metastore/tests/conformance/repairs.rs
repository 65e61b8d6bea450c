//! The repair queue: the most endangered first, each chunk once, nothing that is gone.

use chunkproto::{ChunkId, NodeId};
use metastore::{
    ChunkRef, CommitObject, MetaError, RepairCounts, RepairEntry, RepairNeed, Timestamp,
    WriteCondition,
};

use crate::fixtures::{LATER, Store, bucket, chunk_on, collect, commit, garbage, key, object};
use crate::placement::fence;

crate::on_every_store! {
    the_most_endangered_come_first,
    a_chunk_is_queued_once_and_as_the_worst_that_was_said,
    what_no_row_names_is_not_queued,
    a_finished_repair_is_gone,
    what_is_left_of_a_repair_is_put_where_it_belongs,
    finishing_an_old_entry_spares_a_newer_one,
    an_overtaken_job_finishes_nothing,
    the_queue_is_counted,
    an_entry_of_a_collected_chunk_can_be_finished,
}

/// A bucket with an object of one chunk for each of `haves`, which says how many replicas it has of
/// three that it should have.
async fn short_chunks(store: &Store, haves: &[usize]) -> Vec<ChunkRef> {
    let id = bucket(store, "photos").await;
    let mut chunks = Vec::new();
    for (name, &have) in haves.iter().enumerate() {
        let nodes: Vec<_> = (0..have).map(|_| NodeId::generate()).collect();
        let chunk = chunk_on(&nodes);
        let row = object(std::slice::from_ref(&chunk));
        let commit = CommitObject {
            replicas_wanted: 3,
            ..commit(id, &name.to_string(), row)
        };
        store.commit_object(commit).await.unwrap();
        chunks.push(chunk);
    }
    chunks
}

fn need(chunk: &ChunkRef, have: u8) -> RepairNeed {
    RepairNeed {
        chunk: chunk.id,
        length_bytes: chunk.length_bytes,
        wanted: 3,
        have,
        since: Timestamp(77),
    }
}

/// The whole queue, as pairs of good replicas and chunk.
async fn queue(store: &Store) -> Vec<(u8, ChunkId)> {
    let entries = store.repairs_by_danger(None, 99).await.unwrap();
    entries
        .iter()
        .map(|entry| (entry.have, entry.chunk))
        .collect()
}

async fn the_most_endangered_come_first(store: Store) {
    let chunks = short_chunks(&store, &[2, 1, 3, 1]).await;
    let expected = [(1, chunks[1].id), (1, chunks[3].id), (2, chunks[0].id)];
    assert_eq!(queue(&store).await, expected);
    let behind = store.repairs_by_danger(Some(expected[0]), 1).await.unwrap();
    let second = RepairEntry {
        have: 1,
        chunk: chunks[3].id,
        missing_bytes: 2 * chunks[3].length_bytes,
    };
    assert_eq!(behind, [second]);
}

async fn a_chunk_is_queued_once_and_as_the_worst_that_was_said(store: Store) {
    let chunks = short_chunks(&store, &[3]).await;
    for (said, expected) in [(2, 2), (1, 1), (2, 1)] {
        let needs = vec![need(&chunks[0], said)];
        store.queue_repairs(needs).await.unwrap();
        assert_eq!(queue(&store).await, [(expected, chunks[0].id)]);
    }
}

async fn what_no_row_names_is_not_queued(store: Store) {
    let stranger = chunk_on(&[NodeId::generate()]);
    store.queue_repairs(vec![need(&stranger, 0)]).await.unwrap();
    assert_eq!(queue(&store).await, []);
}

async fn a_finished_repair_is_gone(store: Store) {
    short_chunks(&store, &[1]).await;
    let entries = store.repairs_by_danger(None, 9).await.unwrap();
    let fence = fence(&store).await;
    store
        .finish_repair(&fence, &entries[0], None)
        .await
        .unwrap();
    assert_eq!(queue(&store).await, []);
}

async fn what_is_left_of_a_repair_is_put_where_it_belongs(store: Store) {
    let chunks = short_chunks(&store, &[1]).await;
    let entries = store.repairs_by_danger(None, 9).await.unwrap();
    let (fence, left) = (fence(&store).await, need(&chunks[0], 2));
    let finished = store.finish_repair(&fence, &entries[0], Some(left));
    finished.await.unwrap();
    assert_eq!(queue(&store).await, [(2, chunks[0].id)]);
}

async fn finishing_an_old_entry_spares_a_newer_one(store: Store) {
    let chunks = short_chunks(&store, &[2]).await;
    let old = store.repairs_by_danger(None, 9).await.unwrap();
    store
        .queue_repairs(vec![need(&chunks[0], 1)])
        .await
        .unwrap();
    let fence = fence(&store).await;
    store.finish_repair(&fence, &old[0], None).await.unwrap();
    assert_eq!(queue(&store).await, [(1, chunks[0].id)]);
}

async fn an_overtaken_job_finishes_nothing(store: Store) {
    short_chunks(&store, &[1]).await;
    let entries = store.repairs_by_danger(None, 9).await.unwrap();
    let stale = fence(&store).await;
    fence(&store).await;
    let refused = store.finish_repair(&stale, &entries[0], None).await;
    assert!(matches!(refused, Err(MetaError::Fenced(_))), "{refused:?}");
    assert_eq!(queue(&store).await.len(), 1);
}

async fn the_queue_is_counted(store: Store) {
    assert_eq!(
        store.count_repairs(9).await.unwrap(),
        RepairCounts::default()
    );
    let chunks = short_chunks(&store, &[1, 2, 1]).await;
    let counts = store.count_repairs(9).await.unwrap();
    assert_eq!(counts.chunks, [0, 2, 1, 0, 0, 0, 0, 0]);
    assert_eq!(counts.missing_bytes, 5 * chunks[0].length_bytes);
    assert!(!counts.truncated);
    let worst = store.count_repairs(2).await.unwrap();
    assert_eq!((worst.chunks[1], worst.chunks[2]), (2, 0));
    assert!(worst.truncated);
}

async fn an_entry_of_a_collected_chunk_can_be_finished(store: Store) {
    short_chunks(&store, &[1]).await;
    let id = store
        .bucket(&crate::fixtures::name("photos"))
        .await
        .unwrap()
        .id;
    let always = WriteCondition::Always;
    store
        .delete_object(id, &key("0"), always, Timestamp(30))
        .await
        .unwrap();
    for entry in garbage(&store).await {
        collect(&store, &entry).await;
    }
    let fence = fence(&store).await;
    for entry in store.repairs_by_danger(None, 9).await.unwrap() {
        store.finish_repair(&fence, &entry, None).await.unwrap();
    }
    assert_eq!(queue(&store).await, []);
    assert_eq!(store.gc_due(LATER, None, 9).await.unwrap(), []);
}
