//! What is queued for garbage collection, when, and what remains until it is done.

use chunkproto::NodeId;
use metastore::{
    BucketId, GcEntry, GcItem, MetaError, ObjectVersion, Timestamp, UploadId, WriteCondition,
};

use crate::fixtures::{
    Store, begin, bucket, chunk, chunk_on, collect, commit, completed, completion, garbage, key,
    number, object, object_at, part_at, put, put_part,
};

crate::on_every_store! {
    a_replaced_body_is_queued_at_the_moment_of_its_successor,
    a_deleted_body_is_queued_at_the_moment_of_its_deletion,
    an_unlinked_chunk_is_named_by_no_row_but_still_on_its_node,
    a_chunk_that_stands_in_the_new_row_is_kept,
    a_change_of_metadata_keeps_the_bytes,
    a_change_of_metadata_keeps_the_parts,
    the_queue_is_read_oldest_first_and_up_to_a_moment,
    the_queue_is_read_on_behind_an_entry,
    a_replaced_part_is_queued,
    a_part_that_is_committed_twice_keeps_its_bytes,
    parts_that_were_not_chosen_are_queued,
    an_aborted_upload_is_queued_as_a_whole,
    a_deleted_multipart_object_is_queued_as_a_whole,
    a_replaced_multipart_object_is_queued_as_a_whole,
    completing_over_an_object_queues_it,
    parts_expand_a_few_at_a_time_at_their_own_moment,
    expanding_a_finished_entry_again_changes_nothing,
    an_upload_without_parts_expands_to_nothing,
    a_finished_entry_leaves_no_trace,
    discarded_chunks_are_queued,
    chunks_that_a_row_names_are_never_discarded,
}

fn chunks_of(entry: &GcEntry) -> Vec<chunkproto::ChunkId> {
    match &entry.item {
        GcItem::Chunks(chunks) => chunks.iter().map(|chunk| chunk.id).collect(),
        other => panic!("{other:?} where chunks were expected"),
    }
}

async fn delete(store: &Store, bucket: BucketId, text: &str, now: u64) {
    let always = WriteCondition::Always;
    store
        .delete_object(bucket, &key(text), always, Timestamp(now))
        .await
        .unwrap();
}

async fn a_replaced_body_is_queued_at_the_moment_of_its_successor(store: Store) {
    let (id, old) = (bucket(&store, "photos").await, [chunk(), chunk()]);
    store
        .commit_object(commit(id, "cat", object_at(10, &old)))
        .await
        .unwrap();
    store
        .commit_object(commit(id, "cat", object_at(25, &[chunk()])))
        .await
        .unwrap();
    let [entry] = &garbage(&store).await[..] else {
        panic!("one entry")
    };
    assert_eq!(entry.unlinked_at, Timestamp(25));
    assert_eq!(entry.item, GcItem::Chunks(old.to_vec()));
}

async fn a_deleted_body_is_queued_at_the_moment_of_its_deletion(store: Store) {
    let (id, body) = (bucket(&store, "photos").await, [chunk()]);
    store
        .commit_object(commit(id, "cat", object(&body)))
        .await
        .unwrap();
    delete(&store, id, "cat", 30).await;
    let [entry] = &garbage(&store).await[..] else {
        panic!("one entry")
    };
    assert_eq!(entry.unlinked_at, Timestamp(30));
    assert_eq!(chunks_of(entry), [body[0].id]);
}

async fn an_unlinked_chunk_is_named_by_no_row_but_still_on_its_node(store: Store) {
    let (id, node) = (bucket(&store, "photos").await, NodeId::generate());
    let body = [chunk_on(&[node])];
    store
        .commit_object(commit(id, "cat", object(&body)))
        .await
        .unwrap();
    delete(&store, id, "cat", 30).await;
    assert_eq!(store.chunk_owner(body[0].id).await.unwrap(), None);
    assert_eq!(
        store.chunks_on_node(node, None, 9).await.unwrap(),
        [body[0].id]
    );
}

async fn a_chunk_that_stands_in_the_new_row_is_kept(store: Store) {
    let (id, [kept, old, new]) = (bucket(&store, "photos").await, [chunk(), chunk(), chunk()]);
    let first = object(&[kept.clone(), old.clone()]);
    store.commit_object(commit(id, "cat", first)).await.unwrap();
    let second = object(&[kept.clone(), new]);
    store
        .commit_object(commit(id, "cat", second))
        .await
        .unwrap();
    let [entry] = &garbage(&store).await[..] else {
        panic!("one entry")
    };
    assert_eq!(chunks_of(entry), [old.id]);
    assert!(store.chunk_owner(kept.id).await.unwrap().is_some());
}

async fn a_change_of_metadata_keeps_the_bytes(store: Store) {
    let (id, body) = (bucket(&store, "photos").await, [chunk()]);
    store
        .commit_object(commit(id, "cat", object(&body)))
        .await
        .unwrap();
    let changed = ObjectVersion {
        user_metadata: Vec::new(),
        ..object(&body)
    };
    store
        .commit_object(commit(id, "cat", changed.clone()))
        .await
        .unwrap();
    assert_eq!(store.object(id, &key("cat")).await.unwrap(), changed);
    assert_eq!(garbage(&store).await, []);
    assert!(store.chunk_owner(body[0].id).await.unwrap().is_some());
}

async fn a_change_of_metadata_keeps_the_parts(store: Store) {
    let (id, upload, part) = completed(&store, "cat").await;
    let current = store.object(id, &key("cat")).await.unwrap();
    let changed = ObjectVersion {
        user_metadata: Vec::new(),
        ..current
    };
    store
        .commit_object(commit(id, "cat", changed))
        .await
        .unwrap();
    assert_eq!(garbage(&store).await, []);
    assert!(store.part_set(upload).await.is_ok());
    assert_eq!(store.part(upload, number(1)).await.unwrap(), part);
}

async fn the_queue_is_read_oldest_first_and_up_to_a_moment(store: Store) {
    let id = bucket(&store, "photos").await;
    for text in ["a", "b", "c"] {
        put(&store, id, text).await;
    }
    for (text, now) in [("a", 300), ("b", 100), ("c", 200)] {
        delete(&store, id, text, now).await;
    }
    let moments = async |before, limit| {
        let due = store.gc_due(Timestamp(before), None, limit).await.unwrap();
        due.iter()
            .map(|entry| entry.unlinked_at.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(moments(300, 9).await, [100, 200]);
    assert_eq!(moments(301, 9).await, [100, 200, 300]);
    assert_eq!(moments(301, 1).await, [100]);
    assert_eq!(moments(0, 9).await, [] as [u64; 0]);
}

async fn the_queue_is_read_on_behind_an_entry(store: Store) {
    let id = bucket(&store, "photos").await;
    for text in ["a", "b", "c"] {
        put(&store, id, text).await;
        delete(&store, id, text, 100).await;
    }
    let all = garbage(&store).await;
    let behind = Some((all[0].unlinked_at, all[0].id));
    let rest = store.gc_due(Timestamp(101), behind, 9).await.unwrap();
    assert_eq!(rest, all[1..]);
}

async fn a_replaced_part_is_queued(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    let old = put_part(&store, id, "cat", upload, 1).await;
    let new = part_at(9, 1, &[chunk()]);
    store
        .put_part(id, &key("cat"), upload, new, 1)
        .await
        .unwrap();
    let [entry] = &garbage(&store).await[..] else {
        panic!("one entry")
    };
    assert_eq!(entry.unlinked_at, Timestamp(9));
    assert_eq!(chunks_of(entry), [old.layout.chunks[0].id]);
    assert_eq!(
        store.chunk_owner(old.layout.chunks[0].id).await.unwrap(),
        None
    );
}

async fn a_part_that_is_committed_twice_keeps_its_bytes(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    let part = put_part(&store, id, "cat", upload, 1).await;
    store
        .put_part(id, &key("cat"), upload, part.clone(), 1)
        .await
        .unwrap();
    assert_eq!(garbage(&store).await, []);
    assert!(
        store
            .chunk_owner(part.layout.chunks[0].id)
            .await
            .unwrap()
            .is_some()
    );
}

async fn parts_that_were_not_chosen_are_queued(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    let chosen = put_part(&store, id, "cat", upload, 1).await;
    let left_out = put_part(&store, id, "cat", upload, 2).await;
    store
        .complete_upload(completion(id, "cat", upload, &[&chosen]))
        .await
        .unwrap();
    let [entry] = &garbage(&store).await[..] else {
        panic!("one entry")
    };
    assert_eq!(entry.unlinked_at, Timestamp(20));
    assert_eq!(chunks_of(entry), [left_out.layout.chunks[0].id]);
    let gone = store.part(upload, number(2)).await;
    assert!(matches!(gone, Err(MetaError::InvalidPart(_))));
}

/// The one entry in the queue, which is the upload's at that moment.
async fn whole_upload(store: &Store, upload: UploadId, unlinked_at: u64) -> GcEntry {
    let [entry] = &garbage(store).await[..] else {
        panic!("one entry")
    };
    assert_eq!(entry.unlinked_at, Timestamp(unlinked_at));
    assert_eq!(entry.item, GcItem::Parts(upload));
    entry.clone()
}

async fn an_aborted_upload_is_queued_as_a_whole(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    put_part(&store, id, "cat", upload, 1).await;
    store
        .abort_upload(id, &key("cat"), upload, Timestamp(30))
        .await
        .unwrap();
    whole_upload(&store, upload, 30).await;
}

async fn a_deleted_multipart_object_is_queued_as_a_whole(store: Store) {
    let (id, upload, part) = completed(&store, "cat").await;
    delete(&store, id, "cat", 30).await;
    whole_upload(&store, upload, 30).await;
    assert!(matches!(
        store.part_set(upload).await,
        Err(MetaError::NoSuchUpload(_))
    ));
    // A read that began before may still ask for its next part.
    assert_eq!(store.part(upload, number(1)).await.unwrap(), part);
}

async fn a_replaced_multipart_object_is_queued_as_a_whole(store: Store) {
    let (id, upload, _) = completed(&store, "cat").await;
    store
        .commit_object(commit(id, "cat", object_at(40, &[chunk()])))
        .await
        .unwrap();
    whole_upload(&store, upload, 40).await;
}

async fn completing_over_an_object_queues_it(store: Store) {
    let id = bucket(&store, "photos").await;
    put(&store, id, "cat").await;
    let upload = begin(&store, id, "cat").await;
    let part = put_part(&store, id, "cat", upload, 1).await;
    store
        .complete_upload(completion(id, "cat", upload, &[&part]))
        .await
        .unwrap();
    let [entry] = &garbage(&store).await[..] else {
        panic!("one entry")
    };
    assert_eq!(entry.unlinked_at, Timestamp(20));
    assert!(matches!(entry.item, GcItem::Chunks(_)));
}

async fn parts_expand_a_few_at_a_time_at_their_own_moment(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    let mut bodies = Vec::new();
    for at in 1..=3 {
        bodies.extend(put_part(&store, id, "cat", upload, at).await.layout.chunks);
    }
    store
        .abort_upload(id, &key("cat"), upload, Timestamp(30))
        .await
        .unwrap();
    let entry = whole_upload(&store, upload, 30).await;

    store.gc_expand(&entry, 2).await.unwrap();
    assert_eq!(
        garbage(&store).await.len(),
        3,
        "two parts and what is left of the upload"
    );
    assert_eq!(
        store.list_parts(upload, None, 9).await.unwrap().parts.len(),
        1
    );

    store.gc_expand(&entry, 2).await.unwrap();
    let expanded = garbage(&store).await;
    assert!(
        expanded
            .iter()
            .all(|entry| entry.unlinked_at == Timestamp(30))
    );
    let mut collected: Vec<_> = expanded.iter().flat_map(chunks_of).collect();
    collected.sort();
    assert_eq!(
        collected,
        bodies.iter().map(|chunk| chunk.id).collect::<Vec<_>>()
    );
    for chunk in bodies {
        assert_eq!(store.chunk_owner(chunk.id).await.unwrap(), None);
    }
}

async fn expanding_a_finished_entry_again_changes_nothing(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    put_part(&store, id, "cat", upload, 1).await;
    store
        .abort_upload(id, &key("cat"), upload, Timestamp(30))
        .await
        .unwrap();
    let entry = whole_upload(&store, upload, 30).await;
    store.gc_expand(&entry, 1).await.unwrap();
    let expanded = garbage(&store).await;
    store.gc_expand(&entry, 1).await.unwrap();
    assert_eq!(garbage(&store).await, expanded);
}

async fn an_upload_without_parts_expands_to_nothing(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    store
        .abort_upload(id, &key("cat"), upload, Timestamp(30))
        .await
        .unwrap();
    let entry = whole_upload(&store, upload, 30).await;
    store.gc_expand(&entry, 5).await.unwrap();
    assert_eq!(garbage(&store).await, []);
}

async fn a_finished_entry_leaves_no_trace(store: Store) {
    let (id, node) = (bucket(&store, "photos").await, NodeId::generate());
    let kept = [chunk_on(&[node])];
    store
        .commit_object(commit(id, "dog", object(&kept)))
        .await
        .unwrap();
    store
        .commit_object(commit(id, "cat", object(&[chunk_on(&[node])])))
        .await
        .unwrap();
    delete(&store, id, "cat", 30).await;
    let entries = garbage(&store).await;
    collect(&store, &entries[0]).await;
    collect(&store, &entries[0]).await;
    assert_eq!(garbage(&store).await, []);
    assert_eq!(
        store.chunks_on_node(node, None, 9).await.unwrap(),
        [kept[0].id]
    );
}

async fn discarded_chunks_are_queued(store: Store) {
    let chunks = vec![chunk(), chunk()];
    store
        .queue_garbage(chunks.clone(), Timestamp(7))
        .await
        .unwrap();
    let [entry] = &garbage(&store).await[..] else {
        panic!("one entry")
    };
    assert_eq!(entry.unlinked_at, Timestamp(7));
    assert_eq!(entry.item, GcItem::Chunks(chunks));
}

async fn chunks_that_a_row_names_are_never_discarded(store: Store) {
    let id = bucket(&store, "photos").await;
    let named = chunk();
    let row = object(std::slice::from_ref(&named));
    store.commit_object(commit(id, "cat", row)).await.unwrap();
    let refused = store
        .queue_garbage(vec![chunk(), named], Timestamp(7))
        .await;
    assert!(matches!(refused, Err(MetaError::Conflict)));
    assert_eq!(garbage(&store).await, []);
}
