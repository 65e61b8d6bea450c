//! A row under another key: what comes along, what stays behind, and who wins.

use chunkproto::NodeId;
use metastore::{
    BucketId, ChunkOwner, ClientToken, CommitObject, DeleteOutcome, GcItem, InlineBody, MetaError,
    ObjectData, ObjectVersion, RENAME_TOKEN_KEPT_MS, RenameObject, Renamed, ReplicaChange,
    Sequence, StoredVersion, Timestamp, VersionId, Versioning, WriteCondition,
};

use crate::fixtures::{
    Store, bucket, chunk, chunk_on, commit, completed, garbage, key, object, put, query, shown,
};
use crate::placement::fence;
use crate::versions::set_versioning;

crate::on_every_store! {
    a_row_keeps_all_but_its_key_and_its_revision,
    its_chunks_are_found_under_the_new_key_and_are_no_garbage,
    its_inline_body_comes_along,
    its_parts_come_along_and_go_with_it,
    what_stood_at_the_destination_is_garbage,
    a_source_that_is_missing_or_another_revision_changes_nothing,
    a_condition_on_the_destination_is_held,
    in_a_bucket_with_versions_a_marker_stays_and_a_version_comes,
    where_versioning_is_suspended_null_versions_are_replaced,
    a_token_carries_a_rename_out_once,
    a_token_of_another_request_is_refused,
    old_tokens_are_forgotten,
    a_bucket_that_is_gone_has_no_renames,
    of_many_renames_of_one_source_exactly_one_wins,
    renames_in_a_ring_lose_and_double_nothing,
    a_chunk_is_moved_and_renamed_at_once,
}

/// A rename of the revision `seen`.
fn rename(bucket: BucketId, source: &str, destination: &str, seen: Sequence) -> RenameObject {
    RenameObject {
        bucket,
        source: key(source),
        seen,
        destination: key(destination),
        sequence: Sequence::generate(),
        condition: WriteCondition::Always,
        token: None,
        now: Timestamp(70),
    }
}

fn token(name: &str, asked: u8) -> Option<ClientToken> {
    Some(ClientToken {
        name: name.into(),
        asked: [asked; 32],
    })
}

async fn keys_in(store: &Store, bucket: BucketId) -> Vec<String> {
    shown(&store.list_objects(query(bucket, "", "")).await.unwrap())
}

async fn a_row_keeps_all_but_its_key_and_its_revision(store: Store) {
    let id = bucket(&store, "photos").await;
    let cat = put(&store, id, "cat").await;
    let asked = rename(id, "cat", "dog", cat.sequence);
    let sequence = asked.sequence;
    let renamed = store.rename_object(asked).await.unwrap();
    assert_eq!(renamed, Renamed::Now(VersionId::Null));
    assert_eq!(keys_in(&store, id).await, ["dog"]);
    let dog = store.object(id, &key("dog")).await.unwrap();
    assert_eq!(dog, ObjectVersion { sequence, ..cat });
    let gone = store.object(id, &key("cat")).await;
    assert!(matches!(gone, Err(MetaError::NoSuchKey(_))), "{gone:?}");
}

async fn its_chunks_are_found_under_the_new_key_and_are_no_garbage(store: Store) {
    let id = bucket(&store, "photos").await;
    let chunks = [chunk(), chunk()];
    let cat = object(&chunks);
    let seen = cat.sequence;
    store.commit_object(commit(id, "cat", cat)).await.unwrap();
    let asked = rename(id, "cat", "dog", seen);
    store.rename_object(asked).await.unwrap();
    let ids = chunks.each_ref().map(|chunk| chunk.id);
    let placed = store.placements(&ids).await.unwrap();
    let owner = ChunkOwner::Object {
        bucket: id,
        key: key("dog"),
        version: VersionId::Null,
    };
    for (placed, chunk) in placed.into_iter().zip(chunks) {
        let placed = placed.expect("a row names the chunk");
        assert_eq!((placed.owner, placed.chunk), (owner.clone(), chunk));
    }
    assert_eq!(garbage(&store).await, []);
    // The old key is free: what is written there takes nothing along.
    put(&store, id, "cat").await;
    assert_eq!(garbage(&store).await, []);
}

async fn its_inline_body_comes_along(store: Store) {
    let id = bucket(&store, "photos").await;
    let body = metastore::BodyId::generate();
    let cat = ObjectVersion {
        data: ObjectData::Inline(body),
        ..object(&[])
    };
    let seen = cat.sequence;
    let row = CommitObject {
        inline_body: Some(InlineBody(b"meow".to_vec())),
        ..commit(id, "cat", cat)
    };
    store.commit_object(row).await.unwrap();
    let asked = rename(id, "cat", "dog", seen);
    store.rename_object(asked).await.unwrap();
    assert_eq!(store.inline_body(body).await.unwrap().0, b"meow");
    put(&store, id, "dog").await;
    let gone = store.inline_body(body).await;
    assert!(matches!(gone, Err(MetaError::NoSuchBody(_))), "{gone:?}");
}

async fn its_parts_come_along_and_go_with_it(store: Store) {
    let (id, upload, part) = completed(&store, "cat").await;
    let seen = store.object(id, &key("cat")).await.unwrap().sequence;
    let asked = rename(id, "cat", "dog", seen);
    store.rename_object(asked).await.unwrap();
    assert_eq!(store.part_set(upload).await.unwrap().key, key("dog"));
    assert_eq!(store.part(upload, part.number).await.unwrap(), part);
    put(&store, id, "cat").await;
    assert_eq!(garbage(&store).await, []);
    put(&store, id, "dog").await;
    let items: Vec<_> = garbage(&store)
        .await
        .into_iter()
        .map(|entry| entry.item)
        .collect();
    assert_eq!(items, [GcItem::Parts(upload)]);
}

async fn what_stood_at_the_destination_is_garbage(store: Store) {
    let id = bucket(&store, "photos").await;
    let (cat, dog) = (put(&store, id, "cat").await, put(&store, id, "dog").await);
    let asked = rename(id, "cat", "dog", cat.sequence);
    store.rename_object(asked).await.unwrap();
    let [entry] = &garbage(&store).await[..] else {
        panic!("one body is garbage");
    };
    let ObjectData::Chunks(layout) = dog.data else {
        panic!("the fixture has chunks");
    };
    assert_eq!(entry.item, GcItem::Chunks(layout.chunks));
    assert_eq!(entry.unlinked_at, Timestamp(70));
}

async fn a_source_that_is_missing_or_another_revision_changes_nothing(store: Store) {
    let id = bucket(&store, "photos").await;
    let (cat, dog) = (put(&store, id, "cat").await, put(&store, id, "dog").await);
    let stale = rename(id, "cat", "dog", dog.sequence);
    let refused = store.rename_object(stale).await;
    assert!(matches!(refused, Err(MetaError::Conflict)), "{refused:?}");
    let missing = rename(id, "cow", "dog", cat.sequence);
    let refused = store.rename_object(missing).await;
    assert!(
        matches!(&refused, Err(MetaError::NoSuchKey(missing)) if *missing == key("cow")),
        "{refused:?}"
    );
    assert_eq!(store.object(id, &key("cat")).await.unwrap(), cat);
    assert_eq!(store.object(id, &key("dog")).await.unwrap(), dog);
    assert_eq!(garbage(&store).await, []);
}

async fn a_condition_on_the_destination_is_held(store: Store) {
    let id = bucket(&store, "photos").await;
    let (cat, dog) = (put(&store, id, "cat").await, put(&store, id, "dog").await);
    for condition in [
        WriteCondition::Absent,
        WriteCondition::Etag(cat.etag.clone()),
        WriteCondition::Revision(cat.sequence),
    ] {
        let asked = RenameObject {
            condition: condition.clone(),
            ..rename(id, "cat", "dog", cat.sequence)
        };
        let refused = store.rename_object(asked).await;
        assert!(refused.is_err(), "{condition:?}");
        assert_eq!(keys_in(&store, id).await, ["cat", "dog"]);
    }
    let asked = RenameObject {
        condition: WriteCondition::Etag(dog.etag),
        ..rename(id, "cat", "dog", cat.sequence)
    };
    store.rename_object(asked).await.unwrap();
    assert_eq!(keys_in(&store, id).await, ["dog"]);
}

async fn in_a_bucket_with_versions_a_marker_stays_and_a_version_comes(store: Store) {
    let id = bucket(&store, "photos").await;
    let oldest = put(&store, id, "cat").await;
    set_versioning(&store, "photos", Versioning::Enabled).await;
    put(&store, id, "cat").await;
    put(&store, id, "dog").await;
    let cat = store.object(id, &key("cat")).await.unwrap();
    let dog = store.object(id, &key("dog")).await.unwrap();
    let asked = rename(id, "cat", "dog", cat.sequence);
    let Renamed::Now(version) = store.rename_object(asked).await.unwrap() else {
        panic!("it was not done before");
    };
    let moved = store.object(id, &key("dog")).await.unwrap();
    assert_eq!((moved.version, &moved.data), (version, &cat.data));
    assert!(moved.order > dog.order);
    let before = store.object_version(id, &key("dog"), dog.version).await;
    assert_eq!(before.unwrap(), StoredVersion::Object(dog));
    let newest = store.newest_version(id, &key("cat")).await.unwrap();
    assert!(matches!(newest, Some(StoredVersion::DeleteMarker(_))));
    let left = store
        .object_version(id, &key("cat"), VersionId::Null)
        .await
        .unwrap();
    assert_eq!(left.object().unwrap().data, oldest.data);
    let gone = store.object_version(id, &key("cat"), cat.version).await;
    assert!(matches!(gone, Err(MetaError::NoSuchVersion(..))));
    assert_eq!(garbage(&store).await, []);

    // Without the marker, what stood behind the renamed version is current.
    let marker = newest.unwrap().version();
    store
        .delete_version(
            id,
            &key("cat"),
            marker,
            WriteCondition::Always,
            Timestamp(80),
        )
        .await
        .unwrap();
    let current = store.object(id, &key("cat")).await.unwrap();
    assert_eq!(current.data, oldest.data);
}

async fn where_versioning_is_suspended_null_versions_are_replaced(store: Store) {
    let id = bucket(&store, "photos").await;
    set_versioning(&store, "photos", Versioning::Enabled).await;
    put(&store, id, "dog").await;
    set_versioning(&store, "photos", Versioning::Suspended).await;
    let cat = put(&store, id, "cat").await;
    put(&store, id, "dog").await;
    let asked = rename(id, "cat", "dog", cat.sequence);
    let renamed = store.rename_object(asked).await.unwrap();
    assert_eq!(renamed, Renamed::Now(VersionId::Null));
    assert_eq!(garbage(&store).await.len(), 1, "dog's null version alone");
    let dog = store.object(id, &key("dog")).await.unwrap();
    assert_eq!((dog.version, dog.data), (VersionId::Null, cat.data));
    let marker = store
        .newest_version(id, &key("cat"))
        .await
        .unwrap()
        .unwrap();
    assert!(marker.object().is_none());
    assert_eq!(marker.version(), VersionId::Null);
}

async fn a_token_carries_a_rename_out_once(store: Store) {
    let id = bucket(&store, "photos").await;
    let cat = put(&store, id, "cat").await;
    let asked = RenameObject {
        token: token("t", 1),
        ..rename(id, "cat", "dog", cat.sequence)
    };
    let wanted = token("t", 1).unwrap();
    assert!(!store.was_renamed(id, &wanted).await.unwrap());
    store.rename_object(asked.clone()).await.unwrap();
    assert!(store.was_renamed(id, &wanted).await.unwrap());
    // There may be another cat by the time that the request comes again.
    let other = put(&store, id, "cat").await;
    let again = RenameObject {
        seen: other.sequence,
        ..asked
    };
    let renamed = store.rename_object(again).await.unwrap();
    assert_eq!(renamed, Renamed::Before);
    assert_eq!(keys_in(&store, id).await, ["cat", "dog"]);
}

async fn a_token_of_another_request_is_refused(store: Store) {
    let id = bucket(&store, "photos").await;
    let cat = put(&store, id, "cat").await;
    let asked = RenameObject {
        token: token("t", 1),
        ..rename(id, "cat", "dog", cat.sequence)
    };
    store.rename_object(asked).await.unwrap();
    let dog = store.object(id, &key("dog")).await.unwrap();
    let other = RenameObject {
        token: token("t", 2),
        ..rename(id, "dog", "cow", dog.sequence)
    };
    let refused = store.rename_object(other.clone()).await;
    assert!(
        matches!(refused, Err(MetaError::TokenReused)),
        "{refused:?}"
    );
    let refused = store.was_renamed(id, &token("t", 2).unwrap()).await;
    assert!(
        matches!(refused, Err(MetaError::TokenReused)),
        "{refused:?}"
    );
    // Tokens of other buckets are others.
    let elsewhere = bucket(&store, "videos").await;
    assert!(
        !store
            .was_renamed(elsewhere, &token("t", 2).unwrap())
            .await
            .unwrap()
    );
}

async fn old_tokens_are_forgotten(store: Store) {
    let id = bucket(&store, "photos").await;
    let later = 70 + RENAME_TOKEN_KEPT_MS;
    for (name, at) in [("a", 70), ("b", 71), ("c", later), ("d", later + 10)] {
        let cat = put(&store, id, "cat").await;
        let asked = RenameObject {
            token: token(name, 1),
            now: Timestamp(at),
            ..rename(id, "cat", "dog", cat.sequence)
        };
        store.rename_object(asked).await.unwrap();
    }
    for (name, kept) in [("a", false), ("b", false), ("c", true), ("d", true)] {
        let found = store.was_renamed(id, &token(name, 1).unwrap()).await;
        assert_eq!(found.unwrap(), kept, "{name}");
    }
}

async fn a_bucket_that_is_gone_has_no_renames(store: Store) {
    let asked = rename(BucketId::generate(), "cat", "dog", Sequence::generate());
    let refused = store.rename_object(asked).await;
    assert!(
        matches!(refused, Err(MetaError::NoSuchBucket)),
        "{refused:?}"
    );
}

/// Runs `act` for each of `count` at the same time, in tasks of their own.
async fn together<F, T>(count: usize, act: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|at| tokio::spawn(act(at))).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

async fn of_many_renames_of_one_source_exactly_one_wins(store: Store) {
    let id = bucket(&store, "photos").await;
    for round in 0..20 {
        let cat = put(&store, id, "cat").await;
        let results = together(8, |at| {
            let store = store.clone();
            let asked = rename(id, "cat", &format!("{round}-{at}"), cat.sequence);
            async move { store.rename_object(asked).await }
        })
        .await;
        let won: Vec<_> = (0..8).filter(|at| results[*at].is_ok()).collect();
        let [winner] = won[..] else {
            panic!("{won:?} of {results:?}");
        };
        let prefix = format!("{round}-");
        let page = store.list_objects(query(id, &prefix, "")).await.unwrap();
        assert_eq!(shown(&page), [format!("{round}-{winner}")]);
    }
    assert_eq!(garbage(&store).await, []);
}

/// Keys in a ring, each renamed onto its neighbour at the same time as all others: whatever the
/// order, each body is under one key or garbage, and no two renames wait for each other for ever.
async fn renames_in_a_ring_lose_and_double_nothing(store: Store) {
    const KEYS: usize = 6;
    let id = bucket(&store, "photos").await;
    for round in 0..20 {
        let mut seen = Vec::new();
        for at in 0..KEYS {
            seen.push(put(&store, id, &at.to_string()).await);
        }
        let before = garbage(&store).await.len();
        let results = together(KEYS, |at| {
            let store = store.clone();
            let next = ((at + 1) % KEYS).to_string();
            let asked = rename(id, &at.to_string(), &next, seen[at].sequence);
            async move { store.rename_object(asked).await }
        })
        .await;
        let replaced = garbage(&store).await.len() - before;
        let left = keys_in(&store, id).await.len();
        assert_eq!(left + replaced, KEYS, "round {round}: {results:?}");
        for chunk in seen.iter().flat_map(|object| match &object.data {
            ObjectData::Chunks(layout) => layout.chunks.clone(),
            _ => Vec::new(),
        }) {
            let placed = store.placements(&[chunk.id]).await.unwrap();
            let owner = store.chunk_owner(chunk.id).await.unwrap();
            assert_eq!(
                placed[0].is_some(),
                owner.is_some(),
                "a name that leads nowhere"
            );
        }
        for name in keys_in(&store, id).await {
            let outcome = store
                .delete_object(id, &key(&name), WriteCondition::Always, Timestamp(90))
                .await;
            assert_eq!(outcome.unwrap(), DeleteOutcome::Deleted);
        }
    }
}

async fn a_chunk_is_moved_and_renamed_at_once(store: Store) {
    let id = bucket(&store, "photos").await;
    let fence = fence(&store).await;
    for round in 0..30 {
        let nodes = [(); 2].map(|()| NodeId::generate());
        let chunk = chunk_on(&nodes[..1]);
        let (source, destination) = (format!("{round}-cat"), format!("{round}-dog"));
        let cat = object(std::slice::from_ref(&chunk));
        let asked = rename(id, &source, &destination, cat.sequence);
        store.commit_object(commit(id, &source, cat)).await.unwrap();
        let change = ReplicaChange {
            chunk: chunk.id,
            expected: vec![nodes[0]],
            replicas: vec![nodes[1]],
            now: Timestamp(50),
        };
        let (moving, fence) = (store.clone(), fence.clone());
        let moved = tokio::spawn(async move { moving.change_replicas(&fence, change).await });
        store.rename_object(asked).await.unwrap();
        let moved = moved.await.unwrap();
        // A job that is told "no such chunk" forgets the chunk, so that must not be said.
        assert!(
            matches!(moved, Ok(()) | Err(MetaError::Conflict)),
            "{moved:?}"
        );
        let placed = store.placements(&[chunk.id]).await.unwrap();
        let placed = placed[0].as_ref().expect("the chunk has its row");
        let expected = nodes[usize::from(moved.is_ok())];
        assert_eq!(placed.chunk.replicas, [expected]);
    }
}
