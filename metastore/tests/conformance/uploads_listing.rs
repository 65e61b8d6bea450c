//! Pages of uploads: by key and then by upload, with the rules of objects for all else.

use metastore::{BucketId, ListEntry, UploadId, UploadQuery};

use crate::fixtures::{Store, begin, bucket, completion, key, put_part};

crate::on_every_store! {
    uploads_are_listed_by_key_and_then_in_the_order_they_were_begun,
    an_upload_that_ended_is_not_listed,
    uploads_fold_at_the_delimiter,
    uploads_of_one_key_are_parted_by_the_page,
    a_cursor_without_upload_skips_the_whole_key,
    a_cursor_inside_a_common_prefix_skips_all_of_it,
    a_cursor_before_the_prefix_is_no_end,
    keys_with_nul_keep_their_order,
    a_page_of_zero_is_empty_and_complete,
}

fn query(bucket: BucketId, prefix: &str, delimiter: Option<&str>) -> UploadQuery {
    let (prefix, delimiter) = (prefix.into(), delimiter.map(str::to_owned));
    UploadQuery {
        bucket,
        prefix,
        delimiter,
        after: None,
        limit: 1000,
    }
}

fn after(key: &str, upload: Option<UploadId>, query: UploadQuery) -> UploadQuery {
    UploadQuery {
        after: Some((key.into(), upload)),
        ..query
    }
}

/// Keys and common prefixes in brackets, with `…` behind them where the page is truncated.
async fn list(store: &Store, query: UploadQuery) -> Vec<String> {
    let page = store.list_uploads(query).await.unwrap();
    let more = page.truncated.then(|| "…".to_owned());
    let shown = page.entries.iter().map(|entry| match entry {
        ListEntry::Item(item) => item.key.to_string(),
        ListEntry::CommonPrefix(prefix) => format!("[{prefix}]"),
    });
    shown.chain(more).collect()
}

/// The ids of the uploads of a page.
async fn ids(store: &Store, query: UploadQuery) -> Vec<UploadId> {
    let page = store.list_uploads(query).await.unwrap();
    let id = |entry: &_| match entry {
        ListEntry::Item(metastore::ListedUpload { upload, .. }) => Some(upload.id),
        ListEntry::CommonPrefix(_) => None,
    };
    page.entries.iter().filter_map(id).collect()
}

/// A bucket with an upload under each of `texts`.
async fn with(store: &Store, texts: &[&str]) -> (BucketId, Vec<UploadId>) {
    let id = bucket(store, "photos").await;
    let mut uploads = Vec::new();
    for text in texts {
        uploads.push(begin(store, id, text).await);
    }
    (id, uploads)
}

async fn uploads_are_listed_by_key_and_then_in_the_order_they_were_begun(store: Store) {
    let (id, begun) = with(&store, &["b", "a", "b", "a\0"]).await;
    let other = bucket(&store, "videos").await;
    begin(&store, other, "a").await;
    let expected = [begun[1], begun[3], begun[0], begun[2]];
    assert_eq!(ids(&store, query(id, "", None)).await, expected);
}

async fn an_upload_that_ended_is_not_listed(store: Store) {
    let (id, begun) = with(&store, &["a", "b", "c"]).await;
    let part = put_part(&store, id, "a", begun[0], 1).await;
    store
        .complete_upload(completion(id, "a", begun[0], &[&part]))
        .await
        .unwrap();
    store
        .abort_upload(id, &key("b"), begun[1], metastore::Timestamp(30))
        .await
        .unwrap();
    assert_eq!(list(&store, query(id, "", None)).await, ["c"]);
}

async fn uploads_fold_at_the_delimiter(store: Store) {
    let (id, _) = with(&store, &["a", "p/1", "p/1", "p/q/2", "z"]).await;
    assert_eq!(
        list(&store, query(id, "", Some("/"))).await,
        ["a", "[p/]", "z"]
    );
    assert_eq!(
        list(&store, query(id, "p/", Some("/"))).await,
        ["p/1", "p/1", "[p/q/]"]
    );
}

async fn uploads_of_one_key_are_parted_by_the_page(store: Store) {
    let (id, begun) = with(&store, &["a", "a", "a", "b"]).await;
    let page = UploadQuery {
        limit: 2,
        ..query(id, "", None)
    };
    assert_eq!(list(&store, page.clone()).await, ["a", "a", "…"]);
    let next = after("a", Some(begun[1]), page);
    assert_eq!(ids(&store, next.clone()).await, begun[2..]);
    assert_eq!(list(&store, next).await, ["a", "b"]);
}

async fn a_cursor_without_upload_skips_the_whole_key(store: Store) {
    let (id, _) = with(&store, &["a", "a", "a\0", "b"]).await;
    assert_eq!(
        list(&store, after("a", None, query(id, "", None))).await,
        ["a\0", "b"]
    );
}

async fn a_cursor_inside_a_common_prefix_skips_all_of_it(store: Store) {
    let (id, begun) = with(&store, &["p/1", "p/1", "p/2", "q"]).await;
    for upload in [None, Some(begun[0])] {
        let folded = after("p/1", upload, query(id, "", Some("/")));
        assert_eq!(list(&store, folded).await, ["q"]);
    }
}

async fn a_cursor_before_the_prefix_is_no_end(store: Store) {
    let (id, begun) = with(&store, &["a", "m/1"]).await;
    for upload in [None, Some(begun[0])] {
        let prefixed = after("a", upload, query(id, "m/", Some("/")));
        assert_eq!(list(&store, prefixed).await, ["m/1"]);
    }
}

async fn keys_with_nul_keep_their_order(store: Store) {
    let texts = [
        "\0",
        "\0\0",
        "\0\u{1}",
        "a",
        "a\0",
        "a\0\0",
        "a\0b",
        "a\u{1}",
        "\u{10ffff}",
    ];
    let (id, _) = with(&store, &texts).await;
    assert_eq!(list(&store, query(id, "", None)).await, texts);
    assert_eq!(
        list(&store, query(id, "a\0", None)).await,
        ["a\0", "a\0\0", "a\0b"]
    );
    assert_eq!(
        list(&store, query(id, "", Some("\0"))).await[..2],
        ["[\0]", "a"]
    );
}

async fn a_page_of_zero_is_empty_and_complete(store: Store) {
    let (id, _) = with(&store, &["a"]).await;
    let none = UploadQuery {
        limit: 0,
        ..query(id, "", None)
    };
    assert_eq!(list(&store, none).await, [] as [&str; 0]);
}
