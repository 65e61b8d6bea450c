//! Parts: written, replaced, read, listed.

use metastore::{MetaError, Timestamp, UploadId};

use crate::fixtures::{Store, begin, bucket, chunk, key, number, part_at, put_part};

crate::on_every_store! {
    a_part_is_read_back_whole,
    a_part_uploaded_again_replaces_the_first,
    a_missing_part_is_invalid,
    a_part_needs_its_upload,
    a_part_needs_its_uploads_own_key,
    a_part_of_an_aborted_upload_is_refused,
    parts_are_listed_in_order_page_by_page,
    parts_of_other_uploads_are_not_listed,
    an_unknown_upload_has_no_parts,
    a_part_page_of_zero_is_empty_and_complete,
}

async fn a_part_is_read_back_whole(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    let part = put_part(&store, id, "cat", upload, 10_000).await;
    assert_eq!(store.part(upload, number(10_000)).await.unwrap(), part);
}

async fn a_part_uploaded_again_replaces_the_first(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    put_part(&store, id, "cat", upload, 1).await;
    let second = put_part(&store, id, "cat", upload, 1).await;
    assert_eq!(
        store.list_parts(upload, None, 9).await.unwrap().parts,
        [second]
    );
}

async fn a_missing_part_is_invalid(store: Store) {
    match store.part(UploadId::generate(), number(3)).await {
        Err(MetaError::InvalidPart(missing)) => assert_eq!(missing, number(3)),
        other => panic!("{other:?}"),
    }
}

async fn a_part_needs_its_upload(store: Store) {
    let id = bucket(&store, "photos").await;
    let part = part_at(6, 1, &[chunk()]);
    let result = store
        .put_part(id, &key("cat"), UploadId::generate(), part, 1)
        .await;
    assert!(matches!(result, Err(MetaError::NoSuchUpload(_))));
}

async fn a_part_needs_its_uploads_own_key(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    let part = part_at(6, 1, &[chunk()]);
    let result = store.put_part(id, &key("dog"), upload, part, 1).await;
    assert!(matches!(result, Err(MetaError::NoSuchUpload(_))));
}

async fn a_part_of_an_aborted_upload_is_refused(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    store
        .abort_upload(id, &key("cat"), upload, Timestamp(30))
        .await
        .unwrap();
    let result = store
        .put_part(id, &key("cat"), upload, part_at(6, 1, &[chunk()]), 1)
        .await;
    assert!(matches!(result, Err(MetaError::NoSuchUpload(_))));
}

async fn parts_are_listed_in_order_page_by_page(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    for at in [300, 1, 256, 2] {
        put_part(&store, id, "cat", upload, at).await;
    }
    let page = async |after: Option<i64>, limit| {
        let page = store
            .list_parts(upload, after.map(number), limit)
            .await
            .unwrap();
        let numbers: Vec<_> = page.parts.iter().map(|part| part.number.get()).collect();
        (numbers, page.truncated)
    };
    assert_eq!(page(None, 3).await, (vec![1, 2, 256], true));
    assert_eq!(page(Some(256), 3).await, (vec![300], false));
    assert_eq!(page(None, 4).await, (vec![1, 2, 256, 300], false));
}

async fn parts_of_other_uploads_are_not_listed(store: Store) {
    let id = bucket(&store, "photos").await;
    let uploads = [
        begin(&store, id, "cat").await,
        begin(&store, id, "cat").await,
    ];
    for upload in uploads {
        put_part(&store, id, "cat", upload, 1).await;
    }
    for upload in uploads {
        assert_eq!(
            store.list_parts(upload, None, 9).await.unwrap().parts.len(),
            1
        );
    }
}

async fn an_unknown_upload_has_no_parts(store: Store) {
    let page = store
        .list_parts(UploadId::generate(), None, 9)
        .await
        .unwrap();
    assert!(page.parts.is_empty() && !page.truncated);
}

async fn a_part_page_of_zero_is_empty_and_complete(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    put_part(&store, id, "cat", upload, 1).await;
    let page = store.list_parts(upload, None, 0).await.unwrap();
    assert!(page.parts.is_empty() && !page.truncated);
}
