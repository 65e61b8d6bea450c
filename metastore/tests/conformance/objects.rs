//! Current versions: committed, read back, replaced, deleted.

use metastore::{DeleteOutcome, MetaError, ObjectData, ObjectVersion, Timestamp, WriteCondition};

use crate::fixtures::{Store, bucket, chunk, commit, completed, garbage, key, object, put};

crate::on_every_store! {
    a_committed_object_is_read_back_whole,
    an_unknown_key_is_not_found,
    an_object_of_an_unknown_bucket_is_not_found,
    the_latest_commit_is_current,
    keys_that_differ_by_a_byte_are_different_objects,
    the_same_key_in_two_buckets_is_two_objects,
    a_deleted_object_is_gone,
    deleting_an_absent_key_changes_nothing,
    an_empty_object_leaves_no_garbage,
    parts_cannot_be_committed_but_over_themselves,
}

async fn a_committed_object_is_read_back_whole(store: Store) {
    let id = bucket(&store, "photos").await;
    let row = put(&store, id, "cat").await;
    assert_eq!(store.object(id, &key("cat")).await.unwrap(), row);
}

async fn an_unknown_key_is_not_found(store: Store) {
    let id = bucket(&store, "photos").await;
    match store.object(id, &key("cat")).await {
        Err(MetaError::NoSuchKey(missing)) => assert_eq!(missing, key("cat")),
        other => panic!("{other:?}"),
    }
}

async fn an_object_of_an_unknown_bucket_is_not_found(store: Store) {
    let result = store
        .object(metastore::BucketId::generate(), &key("cat"))
        .await;
    assert!(matches!(result, Err(MetaError::NoSuchKey(_))));
}

async fn the_latest_commit_is_current(store: Store) {
    let id = bucket(&store, "photos").await;
    put(&store, id, "cat").await;
    let second = put(&store, id, "cat").await;
    assert_eq!(store.object(id, &key("cat")).await.unwrap(), second);
}

async fn keys_that_differ_by_a_byte_are_different_objects(store: Store) {
    let id = bucket(&store, "photos").await;
    let texts = [
        "a",
        "a/",
        "a//",
        "/a",
        "a\0",
        "a\0\0",
        "a\0\u{1}",
        "\0",
        "a\u{10ffff}",
        "é",
        "e\u{301}",
    ];
    let mut rows = Vec::new();
    for text in texts {
        rows.push(put(&store, id, text).await);
    }
    for (text, row) in texts.iter().zip(&rows) {
        assert_eq!(
            store.object(id, &key(text)).await.unwrap(),
            *row,
            "{text:?}"
        );
    }
}

async fn the_same_key_in_two_buckets_is_two_objects(store: Store) {
    let (photos, videos) = (
        bucket(&store, "photos").await,
        bucket(&store, "videos").await,
    );
    let row = put(&store, photos, "cat").await;
    put(&store, videos, "cat").await;
    assert_eq!(store.object(photos, &key("cat")).await.unwrap(), row);
}

async fn a_deleted_object_is_gone(store: Store) {
    let id = bucket(&store, "photos").await;
    put(&store, id, "cat").await;
    let always = WriteCondition::Always;
    let outcome = store
        .delete_object(id, &key("cat"), always, Timestamp(30))
        .await
        .unwrap();
    assert_eq!(outcome, DeleteOutcome::Deleted);
    assert!(matches!(
        store.object(id, &key("cat")).await,
        Err(MetaError::NoSuchKey(_))
    ));
}

async fn deleting_an_absent_key_changes_nothing(store: Store) {
    let id = bucket(&store, "photos").await;
    let always = WriteCondition::Always;
    let outcome = store
        .delete_object(id, &key("cat"), always, Timestamp(30))
        .await
        .unwrap();
    assert_eq!(outcome, DeleteOutcome::Absent);
    assert_eq!(garbage(&store).await, []);
}

async fn an_empty_object_leaves_no_garbage(store: Store) {
    let id = bucket(&store, "photos").await;
    store
        .commit_object(commit(id, "cat", object(&[])))
        .await
        .unwrap();
    store
        .commit_object(commit(id, "cat", object(&[chunk()])))
        .await
        .unwrap();
    assert_eq!(garbage(&store).await, []);
}

async fn parts_cannot_be_committed_but_over_themselves(store: Store) {
    let (id, upload, _) = completed(&store, "cat").await;
    let row = ObjectVersion {
        data: ObjectData::Parts(upload),
        ..object(&[])
    };
    store
        .commit_object(commit(id, "cat", row.clone()))
        .await
        .unwrap();
    put(&store, id, "cat").await;
    let late = store.commit_object(commit(id, "cat", row)).await;
    assert!(matches!(late, Err(MetaError::Conflict)));
}
