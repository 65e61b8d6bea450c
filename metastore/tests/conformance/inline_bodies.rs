//! Short bodies that stand in the metadata: committed with their row, gone with it.

use metastore::{
    BodyId, BucketId, CommitObject, InlineBody, MetaError, ObjectData, ObjectVersion, Timestamp,
    WriteCondition,
};

use crate::fixtures::{Store, bucket, chunk, commit, garbage, key, object, put};

crate::on_every_store! {
    an_inline_body_is_committed_with_its_row,
    a_replaced_inline_body_is_gone,
    a_deleted_inline_body_is_gone,
    an_inline_body_replaces_chunks,
    a_change_of_metadata_keeps_the_inline_body,
    a_row_without_its_inline_body_is_refused,
    a_refused_commit_leaves_no_inline_body,
}

fn inline_object(body: BodyId) -> ObjectVersion {
    ObjectVersion {
        data: ObjectData::Inline(body),
        ..object(&[])
    }
}

fn inline_commit(bucket: BucketId, text: &str, body: BodyId, bytes: &[u8]) -> CommitObject {
    CommitObject {
        inline_body: Some(InlineBody(bytes.to_vec())),
        ..commit(bucket, text, inline_object(body))
    }
}

async fn put_inline(store: &Store, bucket: BucketId, text: &str, bytes: &[u8]) -> BodyId {
    let body = BodyId::generate();
    store
        .commit_object(inline_commit(bucket, text, body, bytes))
        .await
        .unwrap();
    body
}

async fn is_gone(store: &Store, body: BodyId) -> bool {
    matches!(store.inline_body(body).await, Err(MetaError::NoSuchBody(missing)) if missing == body)
}

async fn an_inline_body_is_committed_with_its_row(store: Store) {
    let id = bucket(&store, "photos").await;
    let body = put_inline(&store, id, "cat", b"meow").await;
    let row = store.object(id, &key("cat")).await.unwrap();
    assert_eq!(row.data, ObjectData::Inline(body));
    assert_eq!(store.inline_body(body).await.unwrap().0, b"meow");
}

async fn a_replaced_inline_body_is_gone(store: Store) {
    let id = bucket(&store, "photos").await;
    let first = put_inline(&store, id, "cat", b"meow").await;
    let second = put_inline(&store, id, "cat", b"purr").await;
    assert!(is_gone(&store, first).await);
    put(&store, id, "cat").await;
    assert!(is_gone(&store, second).await);
    assert_eq!(garbage(&store).await, []);
}

async fn a_deleted_inline_body_is_gone(store: Store) {
    let id = bucket(&store, "photos").await;
    let body = put_inline(&store, id, "cat", b"meow").await;
    let always = WriteCondition::Always;
    store
        .delete_object(id, &key("cat"), always, Timestamp(30))
        .await
        .unwrap();
    assert!(is_gone(&store, body).await);
}

async fn an_inline_body_replaces_chunks(store: Store) {
    let id = bucket(&store, "photos").await;
    let old = object(&[chunk()]);
    store.commit_object(commit(id, "cat", old)).await.unwrap();
    put_inline(&store, id, "cat", b"meow").await;
    assert_eq!(garbage(&store).await.len(), 1);
}

async fn a_change_of_metadata_keeps_the_inline_body(store: Store) {
    let id = bucket(&store, "photos").await;
    let body = put_inline(&store, id, "cat", b"meow").await;
    let again = commit(id, "cat", inline_object(body));
    store.commit_object(again).await.unwrap();
    assert_eq!(store.inline_body(body).await.unwrap().0, b"meow");
}

async fn a_row_without_its_inline_body_is_refused(store: Store) {
    let id = bucket(&store, "photos").await;
    let bare = commit(id, "cat", inline_object(BodyId::generate()));
    let refused = store.commit_object(bare).await;
    assert!(matches!(refused, Err(MetaError::Conflict)));
}

async fn a_refused_commit_leaves_no_inline_body(store: Store) {
    let id = bucket(&store, "photos").await;
    put(&store, id, "cat").await;
    let body = BodyId::generate();
    let refused = store
        .commit_object(CommitObject {
            condition: WriteCondition::Absent,
            ..inline_commit(id, "cat", body, b"meow")
        })
        .await;
    assert!(matches!(refused, Err(MetaError::PreconditionFailed)));
    assert!(is_gone(&store, body).await);
}
