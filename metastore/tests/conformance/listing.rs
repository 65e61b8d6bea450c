//! Pages of objects: order, prefixes, delimiters, cursors, limits (I6).

use metastore::{
    BucketId, ChecksumAlgorithm, ChecksumKind, ListEntry, ListQuery, ListedObject, ObjectChecksum,
    ObjectVersion, SystemHeaders, Timestamp, WriteCondition,
};

use crate::fixtures::{Store, bucket, chunk, commit, key, object, put, query, shown};

crate::on_every_store! {
    an_empty_bucket_lists_nothing,
    a_listing_shows_what_was_committed_and_not_what_was_deleted,
    a_listing_shows_of_an_object_what_it_should,
    keys_are_listed_in_byte_order,
    only_keys_of_the_bucket_are_listed,
    a_prefix_may_equal_a_key_and_may_be_longer_than_one,
    keys_fold_at_the_first_delimiter_behind_the_prefix,
    empty_segments_fold_like_any_other,
    a_delimiter_may_have_several_characters,
    a_delimiter_may_be_any_character,
    an_empty_delimiter_folds_nothing,
    a_prefix_may_end_inside_a_segment,
    the_cursor_itself_is_not_listed,
    a_cursor_need_not_be_a_key,
    a_cursor_before_the_prefix_is_no_end,
    a_cursor_behind_the_prefix_is_the_end,
    a_cursor_inside_a_common_prefix_skips_all_of_it,
    a_cursor_before_a_common_prefix_shows_it,
    keys_and_common_prefixes_count_alike,
    a_full_page_is_truncated_only_if_another_entry_follows,
    the_rest_of_a_common_prefix_is_no_further_entry,
    a_page_of_zero_is_empty_and_complete,
    nul_and_the_highest_characters_are_ordinary,
}

/// A bucket with an object under each of `texts`.
async fn with(store: &Store, texts: &[&str]) -> BucketId {
    let id = bucket(store, "photos").await;
    for text in texts {
        put(store, id, text).await;
    }
    id
}

/// The entries of a page, with `…` behind them where the page is truncated.
async fn list(store: &Store, query: ListQuery) -> Vec<String> {
    let page = store.list_objects(query).await.unwrap();
    let more = page.truncated.then(|| "…".to_owned());
    shown(&page).into_iter().chain(more).collect()
}

fn all(bucket: BucketId) -> ListQuery {
    ListQuery {
        delimiter: None,
        ..query(bucket, "", "")
    }
}

fn after(cursor: &str, query: ListQuery) -> ListQuery {
    ListQuery {
        after: Some(cursor.into()),
        ..query
    }
}

fn first(limit: usize, query: ListQuery) -> ListQuery {
    ListQuery { limit, ..query }
}

async fn an_empty_bucket_lists_nothing(store: Store) {
    let id = with(&store, &[]).await;
    assert_eq!(list(&store, all(id)).await, [] as [&str; 0]);
}

async fn a_listing_shows_what_was_committed_and_not_what_was_deleted(store: Store) {
    let id = with(&store, &["a", "b", "c"]).await;
    let always = WriteCondition::Always;
    store
        .delete_object(id, &key("b"), always, Timestamp(30))
        .await
        .unwrap();
    assert_eq!(list(&store, all(id)).await, ["a", "c"]);
}

async fn a_listing_shows_of_an_object_what_it_should(store: Store) {
    let id = with(&store, &[]).await;
    let checksum = ObjectChecksum {
        algorithm: ChecksumAlgorithm::Crc32c,
        kind: ChecksumKind::FullObject,
        value: "AAAAAA==".into(),
    };
    let headers = SystemHeaders {
        storage_class: Some("STANDARD_IA".into()),
        ..SystemHeaders::default()
    };
    let row = ObjectVersion {
        checksum: Some(checksum),
        headers,
        ..object(&[chunk()])
    };
    store
        .commit_object(commit(id, "cat", row.clone()))
        .await
        .unwrap();
    let listed = ListedObject {
        key: key("cat"),
        size_bytes: row.size_bytes,
        etag: row.etag,
        modified_at: row.modified_at,
        owner: "alice".into(),
        checksum: Some((ChecksumAlgorithm::Crc32c, ChecksumKind::FullObject)),
        storage_class: Some("STANDARD_IA".into()),
    };
    let page = store.list_objects(all(id)).await.unwrap();
    assert_eq!(page.entries, [ListEntry::Item(listed)]);
}

async fn keys_are_listed_in_byte_order(store: Store) {
    let id = with(
        &store,
        &["é", "b", "Z", "a/b", "a", "a!", "🦀", "\u{ffff}", "aa"],
    )
    .await;
    let ordered = ["Z", "a", "a!", "a/b", "aa", "b", "é", "\u{ffff}", "🦀"];
    assert_eq!(list(&store, all(id)).await, ordered);
}

async fn only_keys_of_the_bucket_are_listed(store: Store) {
    let id = with(&store, &["m"]).await;
    for other in ["aaa", "zzz"] {
        let other = bucket(&store, other).await;
        put(&store, other, "\u{10ffff}").await;
        put(&store, other, "\0").await;
    }
    assert_eq!(list(&store, all(id)).await, ["m"]);
}

async fn a_prefix_may_equal_a_key_and_may_be_longer_than_one(store: Store) {
    let id = with(&store, &["a", "ab", "abc", "abd", "ac", "b"]).await;
    let prefixed = |prefix| ListQuery {
        delimiter: None,
        ..query(id, prefix, "")
    };
    assert_eq!(list(&store, prefixed("ab")).await, ["ab", "abc", "abd"]);
    assert_eq!(list(&store, prefixed("abcdef")).await, [] as [&str; 0]);
}

async fn keys_fold_at_the_first_delimiter_behind_the_prefix(store: Store) {
    let id = with(&store, &["a", "p/", "p/1", "p/q/2", "p/q/r/3", "p/s", "z"]).await;
    assert_eq!(list(&store, query(id, "", "/")).await, ["a", "[p/]", "z"]);
    assert_eq!(
        list(&store, query(id, "p/", "/")).await,
        ["p/", "p/1", "[p/q/]", "p/s"]
    );
    assert_eq!(list(&store, query(id, "p", "/")).await, ["[p/]"]);
}

async fn empty_segments_fold_like_any_other(store: Store) {
    let id = with(&store, &["//x", "/y", "a//b", "a/c"]).await;
    assert_eq!(list(&store, query(id, "", "/")).await, ["[/]", "[a/]"]);
    assert_eq!(list(&store, query(id, "/", "/")).await, ["[//]", "/y"]);
    assert_eq!(list(&store, query(id, "a/", "/")).await, ["[a//]", "a/c"]);
}

async fn a_delimiter_may_have_several_characters(store: Store) {
    let id = with(&store, &["a", "a-b", "a--b", "a---c", "b--", "c-"]).await;
    assert_eq!(
        list(&store, query(id, "", "--")).await,
        ["a", "[a--]", "a-b", "[b--]", "c-"]
    );
}

async fn a_delimiter_may_be_any_character(store: Store) {
    let id = with(&store, &["a🦀1", "a🦀2", "b\0c", "b\0d"]).await;
    assert_eq!(
        list(&store, query(id, "", "🦀")).await,
        ["[a🦀]", "b\0c", "b\0d"]
    );
    assert_eq!(
        list(&store, query(id, "", "\0")).await,
        ["a🦀1", "a🦀2", "[b\0]"]
    );
}

async fn an_empty_delimiter_folds_nothing(store: Store) {
    let id = with(&store, &["a/b"]).await;
    assert_eq!(list(&store, query(id, "", "")).await, ["a/b"]);
}

async fn a_prefix_may_end_inside_a_segment(store: Store) {
    let id = with(&store, &["photo", "photos/1", "photos/2", "phrase"]).await;
    assert_eq!(
        list(&store, query(id, "photo", "/")).await,
        ["photo", "[photos/]"]
    );
}

async fn the_cursor_itself_is_not_listed(store: Store) {
    let id = with(&store, &["a", "a\0", "b"]).await;
    assert_eq!(list(&store, after("a", all(id))).await, ["a\0", "b"]);
    assert_eq!(list(&store, after("b", all(id))).await, [] as [&str; 0]);
}

async fn a_cursor_need_not_be_a_key(store: Store) {
    let id = with(&store, &["a", "c"]).await;
    assert_eq!(list(&store, after("b", all(id))).await, ["c"]);
    assert_eq!(list(&store, after("", all(id))).await, ["a", "c"]);
}

async fn a_cursor_before_the_prefix_is_no_end(store: Store) {
    let id = with(&store, &["a", "m/1", "m/2/3"]).await;
    assert_eq!(
        list(&store, after("a", query(id, "m/", "/"))).await,
        ["m/1", "[m/2/]"]
    );
    assert_eq!(
        list(&store, after("m", query(id, "m/", "/"))).await,
        ["m/1", "[m/2/]"]
    );
}

async fn a_cursor_behind_the_prefix_is_the_end(store: Store) {
    let id = with(&store, &["m/1", "z"]).await;
    assert_eq!(
        list(&store, after("n", query(id, "m/", "/"))).await,
        [] as [&str; 0]
    );
}

async fn a_cursor_inside_a_common_prefix_skips_all_of_it(store: Store) {
    let id = with(&store, &["a/1", "a/5", "b/1", "c"]).await;
    for cursor in ["a/", "a/3", "a/5", "a/\u{10ffff}"] {
        assert_eq!(
            list(&store, after(cursor, query(id, "", "/"))).await,
            ["[b/]", "c"]
        );
    }
}

async fn a_cursor_before_a_common_prefix_shows_it(store: Store) {
    let id = with(&store, &["a/1", "b"]).await;
    assert_eq!(
        list(&store, after("a", query(id, "", "/"))).await,
        ["[a/]", "b"]
    );
    assert_eq!(
        list(&store, after("a!", query(id, "", "/"))).await,
        ["[a/]", "b"]
    );
}

async fn keys_and_common_prefixes_count_alike(store: Store) {
    let id = with(&store, &["a", "b/1", "b/2", "c", "d/1"]).await;
    assert_eq!(
        list(&store, first(2, query(id, "", "/"))).await,
        ["a", "[b/]", "…"]
    );
    let next = after("b/", query(id, "", "/"));
    assert_eq!(list(&store, first(2, next)).await, ["c", "[d/]"]);
}

async fn a_full_page_is_truncated_only_if_another_entry_follows(store: Store) {
    let id = with(&store, &["p/a", "p/b", "q"]).await;
    let prefixed = |limit| first(limit, query(id, "p/", "/"));
    assert_eq!(list(&store, prefixed(1)).await, ["p/a", "…"]);
    assert_eq!(list(&store, prefixed(2)).await, ["p/a", "p/b"]);
}

async fn the_rest_of_a_common_prefix_is_no_further_entry(store: Store) {
    let id = with(&store, &["a/1", "a/2", "a/3"]).await;
    assert_eq!(list(&store, first(1, query(id, "", "/"))).await, ["[a/]"]);
}

async fn a_page_of_zero_is_empty_and_complete(store: Store) {
    let id = with(&store, &["a"]).await;
    assert_eq!(list(&store, first(0, all(id))).await, [] as [&str; 0]);
}

async fn nul_and_the_highest_characters_are_ordinary(store: Store) {
    let texts = [
        "\0",
        "\0\0",
        "a",
        "a\0",
        "a\0/",
        "a\u{10ffff}",
        "a\u{10ffff}/x",
        "\u{10ffff}",
    ];
    let id = with(&store, &texts).await;
    assert_eq!(list(&store, all(id)).await, texts);
    let prefixed = |prefix| ListQuery {
        delimiter: None,
        ..query(id, prefix, "")
    };
    assert_eq!(list(&store, prefixed("a\0")).await, ["a\0", "a\0/"]);
    let folded = list(&store, query(id, "a\u{10ffff}", "/")).await;
    assert_eq!(folded, ["a\u{10ffff}", "[a\u{10ffff}/]"]);
}
