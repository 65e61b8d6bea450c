//! Uploads: begun, completed, completed again, aborted.

use metastore::{
    Completed, MetaError, ObjectData, PartEntry, Sequence, Timestamp, UploadId, VersionId,
};

use crate::fixtures::{
    Store, begin, bucket, chunk, completed, completion, garbage, key, number, part_at, put,
    put_part, upload_row,
};

crate::on_every_store! {
    an_upload_under_way_is_found_under_its_own_key_only,
    a_completed_upload_is_the_current_object,
    a_completed_upload_is_under_way_no_longer,
    a_part_set_lists_the_chosen_parts,
    completing_twice_finds_the_first_completion,
    completing_twice_after_a_change_of_metadata_finds_the_first_completion,
    completing_again_after_the_object_was_replaced_fails,
    completing_again_under_another_key_fails,
    an_unknown_upload_cannot_be_completed,
    a_part_that_is_missing_is_named,
    a_part_that_was_replaced_is_named,
    a_refused_completion_leaves_the_upload_under_way,
    an_aborted_upload_is_gone,
    a_completed_upload_cannot_be_aborted,
    an_upload_is_aborted_under_its_own_key_only,
}

async fn an_upload_under_way_is_found_under_its_own_key_only(store: Store) {
    let (id, other) = (
        bucket(&store, "photos").await,
        bucket(&store, "videos").await,
    );
    let row = upload_row();
    store
        .create_upload(id, &key("cat"), row.clone())
        .await
        .unwrap();
    assert_eq!(store.upload(id, &key("cat"), row.id).await.unwrap(), row);
    let elsewhere = [(id, "cat\0"), (id, "ca"), (other, "cat")];
    for (bucket, text) in elsewhere {
        let result = store.upload(bucket, &key(text), row.id).await;
        assert!(
            matches!(result, Err(MetaError::NoSuchUpload(_))),
            "{text:?}"
        );
    }
}

async fn a_completed_upload_is_the_current_object(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    let part = put_part(&store, id, "cat", upload, 1).await;
    let complete = completion(id, "cat", upload, &[&part]);
    let outcome = store.complete_upload(complete.clone()).await.unwrap();
    assert_eq!(outcome, Completed::Now(VersionId::Null));
    let current = store.object(id, &key("cat")).await.unwrap();
    assert_eq!(current, complete.object);
    assert_eq!(current.data, ObjectData::Parts(upload));
}

async fn a_completed_upload_is_under_way_no_longer(store: Store) {
    let (id, upload, part) = completed(&store, "cat").await;
    let found = store.upload(id, &key("cat"), upload).await;
    let late = store
        .put_part(id, &key("cat"), upload, part_at(30, 2, &[chunk()]), 1)
        .await;
    assert!(matches!(found, Err(MetaError::NoSuchUpload(_))));
    assert!(matches!(late, Err(MetaError::NoSuchUpload(_))));
    assert_eq!(
        store.list_parts(upload, None, 9).await.unwrap().parts,
        [part]
    );
}

async fn a_part_set_lists_the_chosen_parts(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    let first = put_part(&store, id, "cat", upload, 2).await;
    put_part(&store, id, "cat", upload, 3).await;
    let last = put_part(&store, id, "cat", upload, 700).await;
    let complete = completion(id, "cat", upload, &[&first, &last]);
    store.complete_upload(complete.clone()).await.unwrap();
    let set = store.part_set(upload).await.unwrap();
    let entry = |at| PartEntry {
        number: number(at),
        size_bytes: 1 << 20,
    };
    assert_eq!(set.parts, [entry(2), entry(700)]);
    assert_eq!((set.bucket, set.key), (id, key("cat")));
    assert_eq!(
        (set.sequence, set.etag),
        (complete.object.sequence, complete.object.etag)
    );
}

async fn completing_twice_finds_the_first_completion(store: Store) {
    let (id, upload, part) = completed(&store, "cat").await;
    let first = store.object(id, &key("cat")).await.unwrap();
    let again = store
        .complete_upload(completion(id, "cat", upload, &[&part]))
        .await
        .unwrap();
    assert_eq!(
        again,
        Completed::Before(store.part_set(upload).await.unwrap())
    );
    assert_eq!(store.object(id, &key("cat")).await.unwrap(), first);
    assert_eq!(garbage(&store).await, []);
}

async fn completing_twice_after_a_change_of_metadata_finds_the_first_completion(store: Store) {
    let (id, upload, part) = completed(&store, "cat").await;
    let mut changed = store.object(id, &key("cat")).await.unwrap();
    changed.sequence = Sequence::generate();
    store
        .commit_object(crate::fixtures::commit(id, "cat", changed))
        .await
        .unwrap();
    let again = store
        .complete_upload(completion(id, "cat", upload, &[&part]))
        .await
        .unwrap();
    assert!(matches!(again, Completed::Before(_)));
}

async fn completing_again_after_the_object_was_replaced_fails(store: Store) {
    let (id, upload, part) = completed(&store, "cat").await;
    put(&store, id, "cat").await;
    let again = store
        .complete_upload(completion(id, "cat", upload, &[&part]))
        .await;
    assert!(matches!(again, Err(MetaError::NoSuchUpload(_))));
}

async fn completing_again_under_another_key_fails(store: Store) {
    let (id, upload, part) = completed(&store, "cat").await;
    let again = store
        .complete_upload(completion(id, "dog", upload, &[&part]))
        .await;
    assert!(matches!(again, Err(MetaError::NoSuchUpload(_))));
}

async fn an_unknown_upload_cannot_be_completed(store: Store) {
    let (id, unknown) = (bucket(&store, "photos").await, UploadId::generate());
    let result = store
        .complete_upload(completion(id, "cat", unknown, &[]))
        .await;
    assert!(matches!(result, Err(MetaError::NoSuchUpload(upload)) if upload == unknown));
    assert!(matches!(
        store.part_set(unknown).await,
        Err(MetaError::NoSuchUpload(_))
    ));
}

async fn a_part_that_is_missing_is_named(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    let part = put_part(&store, id, "cat", upload, 1).await;
    let missing = part_at(6, 2, &[]);
    let result = store
        .complete_upload(completion(id, "cat", upload, &[&part, &missing]))
        .await;
    assert!(matches!(result, Err(MetaError::InvalidPart(at)) if at == number(2)));
}

async fn a_part_that_was_replaced_is_named(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    let seen = put_part(&store, id, "cat", upload, 1).await;
    put_part(&store, id, "cat", upload, 1).await;
    let result = store
        .complete_upload(completion(id, "cat", upload, &[&seen]))
        .await;
    assert!(matches!(result, Err(MetaError::InvalidPart(at)) if at == number(1)));
}

async fn a_refused_completion_leaves_the_upload_under_way(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    let part = put_part(&store, id, "cat", upload, 1).await;
    let missing = part_at(6, 2, &[]);
    store
        .complete_upload(completion(id, "cat", upload, &[&missing]))
        .await
        .unwrap_err();
    assert!(matches!(
        store.object(id, &key("cat")).await,
        Err(MetaError::NoSuchKey(_))
    ));
    assert_eq!(store.part(upload, number(1)).await.unwrap(), part);
    store
        .complete_upload(completion(id, "cat", upload, &[&part]))
        .await
        .unwrap();
}

async fn an_aborted_upload_is_gone(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    let part = put_part(&store, id, "cat", upload, 1).await;
    store
        .abort_upload(id, &key("cat"), upload, Timestamp(30))
        .await
        .unwrap();
    let found = store.upload(id, &key("cat"), upload).await;
    let aborted = store
        .abort_upload(id, &key("cat"), upload, Timestamp(31))
        .await;
    let finished = store
        .complete_upload(completion(id, "cat", upload, &[&part]))
        .await;
    assert!(matches!(found, Err(MetaError::NoSuchUpload(_))));
    assert!(matches!(aborted, Err(MetaError::NoSuchUpload(_))));
    assert!(matches!(finished, Err(MetaError::NoSuchUpload(_))));
}

async fn a_completed_upload_cannot_be_aborted(store: Store) {
    let (id, upload, _) = completed(&store, "cat").await;
    let result = store
        .abort_upload(id, &key("cat"), upload, Timestamp(30))
        .await;
    assert!(matches!(result, Err(MetaError::NoSuchUpload(_))));
    assert_eq!(garbage(&store).await, []);
}

async fn an_upload_is_aborted_under_its_own_key_only(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    let result = store
        .abort_upload(id, &key("dog"), upload, Timestamp(30))
        .await;
    assert!(matches!(result, Err(MetaError::NoSuchUpload(_))));
    assert!(store.upload(id, &key("cat"), upload).await.is_ok());
}
