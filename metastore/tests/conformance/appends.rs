//! Bytes put behind an object: what the rows say then, and who wins.

use chunkproto::NodeId;
use metastore::{
    AppendObject, BodyId, BucketId, ChunkOwner, ChunkRef, CommitObject, GcItem, InlineBody,
    MetaError, ObjectData, ObjectVersion, Part, PartEntry, PartNumber, Quota, RenameObject,
    ReplicaChange, Sequence, Timestamp, UploadId, Usage, Versioning, WriteCondition,
};

use crate::fixtures::{
    Store, begin, bucket, chunk, chunk_on, commit, completed, completion, garbage, key, number,
    object, part_at, put,
};
use crate::placement::fence;
use crate::versions::set_versioning;

crate::on_every_store! {
    one_body_becomes_the_first_of_two_parts,
    an_inline_body_becomes_chunks,
    an_empty_object_has_no_first_part,
    an_object_of_parts_gets_one_more,
    all_parts_go_with_the_object,
    a_row_that_the_caller_did_not_see_is_left_alone,
    what_does_not_fit_the_object_changes_nothing,
    versions_are_never_appended_to,
    there_is_a_highest_part,
    an_append_counts_what_it_adds_and_no_more_than_the_quota,
    a_move_before_the_append_is_kept,
    an_appended_object_is_renamed_with_all_its_parts,
    of_many_appends_at_one_place_exactly_one_wins,
    appends_one_after_the_other_lose_nothing_whoever_makes_them,
}

/// The append of one chunk as part `at` behind the row `seen`.
fn append(
    bucket: BucketId,
    text: &str,
    (seen, data): (&ObjectVersion, ObjectData),
    at: i64,
) -> AppendObject {
    let part = part_at(30, at, &[chunk()]);
    AppendObject {
        bucket,
        key: key(text),
        seen: seen.sequence,
        object: ObjectVersion {
            sequence: Sequence::generate(),
            modified_at: Timestamp(30),
            size_bytes: seen.size_bytes + part.size_bytes,
            etag: format!("etag-{at}"),
            data,
            ..seen.clone()
        },
        first: None,
        part,
        replicas_wanted: 1,
    }
}

/// The body of a row of chunks as a first part.
fn first_of(row: &ObjectVersion) -> Option<Part> {
    let ObjectData::Chunks(layout) = &row.data else {
        return None;
    };
    Some(part_at(10, 1, &layout.chunks))
}

fn new_parts() -> ObjectData {
    ObjectData::Parts(UploadId::generate())
}

/// An append behind one body.
fn append_first(bucket: BucketId, text: &str, row: &ObjectVersion) -> AppendObject {
    AppendObject {
        first: first_of(row),
        ..append(bucket, text, (row, new_parts()), 2)
    }
}

fn upload_of(append: &AppendObject) -> UploadId {
    match append.object.data {
        ObjectData::Parts(upload) => upload,
        _ => panic!("an append makes parts"),
    }
}

async fn owner_of(store: &Store, chunk: &ChunkRef) -> Option<ChunkOwner> {
    store.chunk_owner(chunk.id).await.unwrap()
}

fn in_part(upload: UploadId, at: i64) -> Option<ChunkOwner> {
    let number = number(at);
    Some(ChunkOwner::Part { upload, number })
}

async fn one_body_becomes_the_first_of_two_parts(store: Store) {
    let id = bucket(&store, "logs").await;
    let row = put(&store, id, "log").await;
    let asked = append_first(id, "log", &row);
    store.append_object(asked.clone()).await.unwrap();

    let now = store.object(id, &key("log")).await.unwrap();
    assert_eq!(now, asked.object);
    let upload = upload_of(&asked);
    let first = asked.first.unwrap();
    let set = store.part_set(upload).await.unwrap();
    let entry = |part: &Part| PartEntry {
        number: part.number,
        size_bytes: part.size_bytes,
    };
    assert_eq!(set.parts, [entry(&first), entry(&asked.part)]);
    assert_eq!((set.bucket, set.key), (id, key("log")));
    let parts = store.list_parts(upload, None, 9).await.unwrap().parts;
    assert_eq!(parts, [first.clone(), asked.part.clone()]);
    for (part, at) in [(&first, 1), (&asked.part, 2)] {
        let chunk = &part.layout.chunks[0];
        assert_eq!(owner_of(&store, chunk).await, in_part(upload, at));
        let placed = store.placements(&[chunk.id]).await.unwrap();
        assert_eq!(&placed[0].as_ref().unwrap().chunk, chunk);
    }
    assert_eq!(garbage(&store).await, []);
}

async fn an_inline_body_becomes_chunks(store: Store) {
    let id = bucket(&store, "logs").await;
    let body = BodyId::generate();
    let row = ObjectVersion {
        size_bytes: 4,
        data: ObjectData::Inline(body),
        ..object(&[])
    };
    let inline = CommitObject {
        inline_body: Some(InlineBody(b"meow".to_vec())),
        ..commit(id, "log", row.clone())
    };
    store.commit_object(inline).await.unwrap();
    let asked = AppendObject {
        first: Some(part_at(10, 1, &[chunk()])),
        ..append(id, "log", (&row, new_parts()), 2)
    };
    store.append_object(asked.clone()).await.unwrap();
    let gone = store.inline_body(body).await;
    assert!(matches!(gone, Err(MetaError::NoSuchBody(_))), "{gone:?}");
    let chunk = &asked.first.as_ref().unwrap().layout.chunks[0];
    let upload = upload_of(&asked);
    assert_eq!(owner_of(&store, chunk).await, in_part(upload, 1));
    assert_eq!(store.part_set(upload).await.unwrap().parts.len(), 2);
}

async fn an_empty_object_has_no_first_part(store: Store) {
    let id = bucket(&store, "logs").await;
    let row = object(&[]);
    let empty = commit(id, "log", row.clone());
    store.commit_object(empty).await.unwrap();
    let asked = append(id, "log", (&row, new_parts()), 1);
    store.append_object(asked.clone()).await.unwrap();
    let set = store.part_set(upload_of(&asked)).await.unwrap();
    assert_eq!(set.parts.len(), 1);
}

async fn an_object_of_parts_gets_one_more(store: Store) {
    let (id, upload, part) = completed(&store, "log").await;
    let row = store.object(id, &key("log")).await.unwrap();
    let asked = append(id, "log", (&row, row.data.clone()), 2);
    store.append_object(asked.clone()).await.unwrap();
    let parts = store.list_parts(upload, None, 9).await.unwrap().parts;
    assert_eq!(parts, [part, asked.part]);
    let row = store.object(id, &key("log")).await.unwrap();
    let next = append(id, "log", (&row, row.data.clone()), 3);
    store.append_object(next).await.unwrap();
    assert_eq!(store.part_set(upload).await.unwrap().parts.len(), 3);
}

async fn all_parts_go_with_the_object(store: Store) {
    let id = bucket(&store, "logs").await;
    let row = put(&store, id, "log").await;
    let asked = append_first(id, "log", &row);
    store.append_object(asked.clone()).await.unwrap();
    put(&store, id, "log").await;
    let [entry] = &garbage(&store).await[..] else {
        panic!("one object is garbage");
    };
    assert_eq!(entry.item, GcItem::Parts(upload_of(&asked)));
    store.gc_expand(entry, 9).await.unwrap();
    let chunks: usize = garbage(&store)
        .await
        .iter()
        .map(|entry| match &entry.item {
            GcItem::Chunks(chunks) => chunks.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(chunks, 2);
    let placed = asked.first.unwrap().layout.chunks[0].id;
    assert_eq!(store.chunk_owner(placed).await.unwrap(), None);
}

async fn a_row_that_the_caller_did_not_see_is_left_alone(store: Store) {
    let id = bucket(&store, "logs").await;
    let row = put(&store, id, "log").await;
    let stale = append_first(id, "log", &row);
    let now = put(&store, id, "log").await;
    let refused = store.append_object(stale.clone()).await;
    assert!(matches!(refused, Err(MetaError::Conflict)), "{refused:?}");
    assert_eq!(store.object(id, &key("log")).await.unwrap(), now);
    assert_eq!(owner_of(&store, &stale.part.layout.chunks[0]).await, None);
    let missing = append_first(id, "other", &row);
    let refused = store.append_object(missing).await;
    assert!(
        matches!(refused, Err(MetaError::NoSuchKey(_))),
        "{refused:?}"
    );
}

async fn what_does_not_fit_the_object_changes_nothing(store: Store) {
    let (id, _, _) = completed(&store, "parts").await;
    let parts = store.object(id, &key("parts")).await.unwrap();
    let body = put(&store, id, "body").await;
    for (text, asked) in [
        (
            "another list",
            append(id, "parts", (&parts, new_parts()), 2),
        ),
        (
            "a gap",
            append(id, "parts", (&parts, parts.data.clone()), 3),
        ),
        (
            "a part again",
            append(id, "parts", (&parts, parts.data.clone()), 1),
        ),
        ("no first part", append(id, "body", (&body, new_parts()), 1)),
        (
            "no parts",
            append(id, "body", (&body, body.data.clone()), 2),
        ),
        (
            "a first part of parts",
            AppendObject {
                first: Some(part_at(10, 1, &[chunk()])),
                ..append(id, "parts", (&parts, parts.data.clone()), 2)
            },
        ),
    ] {
        let refused = store.append_object(asked).await;
        assert!(
            matches!(refused, Err(MetaError::Conflict)),
            "{text}: {refused:?}"
        );
    }
    assert_eq!(store.object(id, &key("parts")).await.unwrap(), parts);
    assert_eq!(store.object(id, &key("body")).await.unwrap(), body);
}

async fn versions_are_never_appended_to(store: Store) {
    let id = bucket(&store, "logs").await;
    let row = put(&store, id, "log").await;
    for versioning in [Versioning::Enabled, Versioning::Suspended] {
        set_versioning(&store, "logs", versioning).await;
        let refused = store.append_object(append_first(id, "log", &row)).await;
        assert!(matches!(refused, Err(MetaError::Conflict)), "{refused:?}");
    }
}

async fn there_is_a_highest_part(store: Store) {
    let id = bucket(&store, "logs").await;
    let upload = begin(&store, id, "log").await;
    let last = part_at(6, i64::from(PartNumber::MAX), &[chunk()]);
    store
        .put_part(id, &key("log"), upload, last.clone(), 1)
        .await
        .unwrap();
    let complete = completion(id, "log", upload, &[&last]);
    store.complete_upload(complete).await.unwrap();
    let row = store.object(id, &key("log")).await.unwrap();
    let asked = append(id, "log", (&row, row.data.clone()), 1);
    let refused = store.append_object(asked).await;
    assert!(
        matches!(refused, Err(MetaError::TooManyParts)),
        "{refused:?}"
    );
}

async fn an_append_counts_what_it_adds_and_no_more_than_the_quota(store: Store) {
    let id = bucket(&store, "logs").await;
    let row = put(&store, id, "log").await;
    let quota = Quota {
        bytes_max: Some(2 * row.size_bytes),
        objects_max: Some(1),
    };
    store.set_quota(id, quota).await.unwrap();
    store
        .append_object(append_first(id, "log", &row))
        .await
        .unwrap();
    let used = store.bucket_usage(id).await.unwrap().unwrap().used;
    let full = Usage {
        bytes: 2 * row.size_bytes,
        objects: 1,
    };
    assert_eq!(used, full);
    let row = store.object(id, &key("log")).await.unwrap();
    let beyond = append(id, "log", (&row, row.data.clone()), 3);
    let refused = store.append_object(beyond).await;
    assert!(
        matches!(refused, Err(MetaError::QuotaExceeded { .. })),
        "{refused:?}"
    );
    assert_eq!(store.object(id, &key("log")).await.unwrap(), row);
}

async fn a_move_before_the_append_is_kept(store: Store) {
    let id = bucket(&store, "logs").await;
    let nodes = [(); 2].map(|()| NodeId::generate());
    let chunk = chunk_on(&nodes[..1]);
    let row = object(std::slice::from_ref(&chunk));
    store
        .commit_object(commit(id, "log", row.clone()))
        .await
        .unwrap();
    let asked = append_first(id, "log", &row);
    let change = ReplicaChange {
        chunk: chunk.id,
        expected: vec![nodes[0]],
        replicas: vec![nodes[1]],
        now: Timestamp(20),
    };
    let fence = fence(&store).await;
    store.change_replicas(&fence, change).await.unwrap();
    store.append_object(asked).await.unwrap();
    let placed = store.placements(&[chunk.id]).await.unwrap();
    assert_eq!(placed[0].as_ref().unwrap().chunk.replicas, [nodes[1]]);
}

async fn an_appended_object_is_renamed_with_all_its_parts(store: Store) {
    let id = bucket(&store, "logs").await;
    let row = put(&store, id, "log").await;
    let asked = append_first(id, "log", &row);
    store.append_object(asked.clone()).await.unwrap();
    let rename = RenameObject {
        bucket: id,
        source: key("log"),
        seen: asked.object.sequence,
        destination: key("old"),
        sequence: Sequence::generate(),
        condition: WriteCondition::Always,
        token: None,
        now: Timestamp(40),
    };
    store.rename_object(rename).await.unwrap();
    let set = store.part_set(upload_of(&asked)).await.unwrap();
    assert_eq!((set.key, set.parts.len()), (key("old"), 2));
    let row = store.object(id, &key("old")).await.unwrap();
    let next = append(id, "old", (&row, row.data.clone()), 3);
    store.append_object(next).await.unwrap();
}

async fn of_many_appends_at_one_place_exactly_one_wins(store: Store) {
    let id = bucket(&store, "logs").await;
    for round in 0..20 {
        let text = format!("log-{round}");
        let row = put(&store, id, &text).await;
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (store, asked) = (store.clone(), append_first(id, &text, &row));
                tokio::spawn(async move {
                    let won = store.append_object(asked.clone()).await;
                    (asked, won)
                })
            })
            .collect();
        let mut winners = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                (asked, Ok(())) => winners.push(asked),
                (asked, Err(MetaError::Conflict)) => {
                    let chunk = &asked.part.layout.chunks[0];
                    assert_eq!(owner_of(&store, chunk).await, None);
                }
                (_, Err(error)) => panic!("{error}"),
            }
        }
        let [winner] = &winners[..] else {
            panic!("{} of 8 won", winners.len());
        };
        assert_eq!(store.object(id, &key(&text)).await.unwrap(), winner.object);
    }
}

async fn appends_one_after_the_other_lose_nothing_whoever_makes_them(store: Store) {
    const WRITERS: usize = 4;
    const EACH: usize = 10;
    let (id, upload, _) = completed(&store, "log").await;
    let tasks: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut done = 0;
                while done < EACH {
                    let row = store.object(id, &key("log")).await.unwrap();
                    let parts = store.part_set(upload).await.unwrap().parts;
                    let at = i64::from(parts.last().unwrap().number.get()) + 1;
                    let asked = append(id, "log", (&row, row.data.clone()), at);
                    match store.append_object(asked).await {
                        Ok(()) => done += 1,
                        Err(MetaError::Conflict) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let set = store.part_set(upload).await.unwrap();
    let numbers: Vec<_> = set.parts.iter().map(|part| part.number.get()).collect();
    let expected: Vec<_> = (1..).take(1 + WRITERS * EACH).collect();
    assert_eq!(numbers, expected);
    let row = store.object(id, &key("log")).await.unwrap();
    let added: u64 = set.parts[1..].iter().map(|part| part.size_bytes).sum();
    assert_eq!(
        row.size_bytes, added,
        "the fixture's completed object is of no length"
    );
}
