//! Buckets: made once, found, listed in order, deleted only when empty.

use metastore::{DeleteOutcome, GcItem, MetaError, Timestamp, WriteCondition};

use crate::fixtures::{
    self, Store, begin, bucket, bucket_row, commit, garbage, key, name, object, put,
};

crate::on_every_store! {
    a_created_bucket_is_found,
    an_unknown_bucket_is_not_found,
    a_taken_name_is_refused_with_its_owner,
    an_empty_bucket_can_be_deleted_and_made_again,
    deleting_an_unknown_bucket_fails,
    a_bucket_with_an_object_stays,
    deleting_a_bucket_aborts_its_uploads,
    a_bucket_beside_a_full_one_can_be_deleted,
    nothing_enters_a_deleted_bucket,
    a_bucket_made_again_is_empty,
    buckets_are_listed_in_order_page_by_page,
    buckets_are_listed_by_prefix,
    a_bucket_cursor_before_the_prefix_is_no_end,
    a_bucket_page_of_zero_is_empty_and_complete,
}

async fn a_created_bucket_is_found(store: Store) {
    let row = bucket_row("photos");
    store.create_bucket(row.clone()).await.unwrap();
    assert_eq!(store.bucket(&row.name).await.unwrap(), row);
}

async fn an_unknown_bucket_is_not_found(store: Store) {
    let result = store.bucket(&name("photos")).await;
    assert!(matches!(result, Err(MetaError::NoSuchBucket)));
}

async fn a_taken_name_is_refused_with_its_owner(store: Store) {
    bucket(&store, "photos").await;
    let mut second = bucket_row("photos");
    second.owner = "bob".into();
    match store.create_bucket(second).await {
        Err(MetaError::BucketExists { owner, .. }) => assert_eq!(owner, "alice"),
        other => panic!("{other:?}"),
    }
}

async fn an_empty_bucket_can_be_deleted_and_made_again(store: Store) {
    let first = bucket(&store, "photos").await;
    store
        .delete_bucket(&name("photos"), Timestamp(40))
        .await
        .unwrap();
    assert!(matches!(
        store.bucket(&name("photos")).await,
        Err(MetaError::NoSuchBucket)
    ));
    assert_ne!(bucket(&store, "photos").await, first);
}

async fn deleting_an_unknown_bucket_fails(store: Store) {
    let result = store.delete_bucket(&name("photos"), Timestamp(40)).await;
    assert!(matches!(result, Err(MetaError::NoSuchBucket)));
}

async fn a_bucket_with_an_object_stays(store: Store) {
    let id = bucket(&store, "photos").await;
    put(&store, id, "cat").await;
    let refused = store.delete_bucket(&name("photos"), Timestamp(40)).await;
    assert!(matches!(refused, Err(MetaError::BucketNotEmpty)));
    let now = Timestamp(30);
    let outcome = store
        .delete_object(id, &key("cat"), WriteCondition::Always, now)
        .await
        .unwrap();
    assert_eq!(outcome, DeleteOutcome::Deleted);
    store
        .delete_bucket(&name("photos"), Timestamp(40))
        .await
        .unwrap();
}

async fn deleting_a_bucket_aborts_its_uploads(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    store
        .delete_bucket(&name("photos"), Timestamp(40))
        .await
        .unwrap();
    let gone = store.upload(id, &key("cat"), upload).await;
    assert!(matches!(gone, Err(MetaError::NoSuchUpload(_))));
    let [entry] = &garbage(&store).await[..] else {
        panic!("one entry")
    };
    assert_eq!(entry.item, GcItem::Parts(upload));
}

async fn a_bucket_beside_a_full_one_can_be_deleted(store: Store) {
    for full in ["aaa", "ccc"] {
        let id = bucket(&store, full).await;
        put(&store, id, "\u{10ffff}").await;
        begin(&store, id, "\u{10ffff}").await;
        bucket(&store, "bbb").await;
        store
            .delete_bucket(&name("bbb"), Timestamp(40))
            .await
            .unwrap();
    }
}

async fn nothing_enters_a_deleted_bucket(store: Store) {
    let id = bucket(&store, "photos").await;
    store
        .delete_bucket(&name("photos"), Timestamp(40))
        .await
        .unwrap();
    let committed = store.commit_object(commit(id, "cat", object(&[]))).await;
    let always = WriteCondition::Always;
    let deleted = store
        .delete_object(id, &key("cat"), always, Timestamp(30))
        .await;
    let begun = store
        .create_upload(id, &key("cat"), fixtures::upload_row())
        .await;
    assert!(matches!(committed, Err(MetaError::NoSuchBucket)));
    assert!(matches!(deleted, Err(MetaError::NoSuchBucket)));
    assert!(matches!(begun, Err(MetaError::NoSuchBucket)));
}

async fn a_bucket_made_again_is_empty(store: Store) {
    let old = bucket(&store, "photos").await;
    put(&store, old, "cat").await;
    store
        .delete_object(old, &key("cat"), WriteCondition::Always, Timestamp(30))
        .await
        .unwrap();
    store
        .delete_bucket(&name("photos"), Timestamp(40))
        .await
        .unwrap();
    let new = bucket(&store, "photos").await;
    put(&store, new, "dog").await;
    assert!(matches!(
        store.object(old, &key("dog")).await,
        Err(MetaError::NoSuchKey(_))
    ));
    assert!(matches!(
        store.object(new, &key("cat")).await,
        Err(MetaError::NoSuchKey(_))
    ));
}

async fn names_in(store: &Store, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let page = store.list_buckets(prefix, after, limit).await.unwrap();
    let more = page.truncated.then(|| "…".to_owned());
    page.buckets
        .iter()
        .map(|bucket| bucket.name.to_string())
        .chain(more)
        .collect()
}

async fn buckets_are_listed_in_order_page_by_page(store: Store) {
    for text in ["ccc", "aaa", "bbb"] {
        bucket(&store, text).await;
    }
    assert_eq!(names_in(&store, "", None, 2).await, ["aaa", "bbb", "…"]);
    assert_eq!(names_in(&store, "", Some("bbb"), 2).await, ["ccc"]);
    assert_eq!(names_in(&store, "", None, 3).await, ["aaa", "bbb", "ccc"]);
}

async fn buckets_are_listed_by_prefix(store: Store) {
    for text in ["cat", "cats", "dog"] {
        bucket(&store, text).await;
    }
    assert_eq!(names_in(&store, "cat", None, 9).await, ["cat", "cats"]);
    assert_eq!(names_in(&store, "cat", Some("cat"), 9).await, ["cats"]);
    assert_eq!(
        names_in(&store, "cat", Some("dog"), 9).await,
        [] as [&str; 0]
    );
}

async fn a_bucket_cursor_before_the_prefix_is_no_end(store: Store) {
    bucket(&store, "cat").await;
    assert_eq!(names_in(&store, "c", Some("a"), 9).await, ["cat"]);
}

async fn a_bucket_page_of_zero_is_empty_and_complete(store: Store) {
    bucket(&store, "photos").await;
    assert_eq!(names_in(&store, "", None, 0).await, [] as [&str; 0]);
}
