//! What buckets hold and may hold: whatever happens, usage is the sum of what a listing shows, and a
//! quota is never passed.

use metastore::{
    BucketId, BucketUsage, ListEntry, MetaError, ObjectVersion, Quota, RenameObject, Sequence,
    Timestamp, Usage, VersionId, VersionQuery, Versioning, WriteCondition,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;

use crate::fixtures::{
    self, Store, begin, bucket, bucket_row, chunk, commit, completion, garbage, key, name, object,
    put, put_part,
};
use crate::versions::set_versioning;

crate::on_every_store! {
    a_new_bucket_holds_nothing,
    writes_overwrites_and_deletes_are_counted,
    versions_count_until_they_go_and_markers_never,
    an_upload_counts_once_it_is_completed,
    a_rename_counts_what_it_replaces,
    growth_beyond_the_quota_changes_nothing,
    a_full_bucket_may_shrink,
    an_upload_is_not_completed_beyond_the_quota,
    a_quota_that_is_taken_away_limits_nothing,
    a_quota_goes_with_its_bucket,
    of_many_writers_only_as_many_win_as_the_quota_admits,
    whoever_went_away_is_counted_or_not_there,
}

fn used(bytes: u64, objects: u64) -> Usage {
    Usage { bytes, objects }
}

fn objects_max(most: u64) -> Quota {
    Quota {
        objects_max: Some(most),
        ..Quota::default()
    }
}

fn bytes_max(most: u64) -> Quota {
    Quota {
        bytes_max: Some(most),
        ..Quota::default()
    }
}

async fn usage_of(store: &Store, bucket: BucketId) -> Usage {
    let found = store.bucket_usage(bucket).await.unwrap();
    found.expect("every bucket of this version is counted").used
}

/// An object of so many bytes.
fn sized(size_bytes: u64) -> ObjectVersion {
    ObjectVersion {
        size_bytes,
        ..object(&[chunk()])
    }
}

async fn put_sized(
    store: &Store,
    bucket: BucketId,
    text: &str,
    size_bytes: u64,
) -> Result<VersionId, MetaError> {
    let row = commit(bucket, text, sized(size_bytes));
    store.commit_object(row).await
}

async fn delete(store: &Store, bucket: BucketId, text: &str) {
    let deleted = store
        .delete_object(bucket, &key(text), WriteCondition::Always, Timestamp(40))
        .await;
    deleted.unwrap();
}

fn is_refusal<T>(result: &Result<T, MetaError>) -> bool {
    matches!(result, Err(MetaError::QuotaExceeded { .. }))
}

async fn a_new_bucket_holds_nothing(store: Store) {
    let id = bucket(&store, "photos").await;
    let found = store.bucket_usage(id).await.unwrap();
    assert_eq!(found, Some(BucketUsage::default()));
    let nowhere = BucketId::generate();
    assert_eq!(store.bucket_usage(nowhere).await.unwrap(), None);
    let counted = store.count_bucket(nowhere).await;
    assert!(
        matches!(counted, Err(MetaError::NoSuchBucket)),
        "{counted:?}"
    );
    let limited = store.set_quota(nowhere, objects_max(1)).await;
    assert!(
        matches!(limited, Err(MetaError::NoSuchBucket)),
        "{limited:?}"
    );
}

async fn writes_overwrites_and_deletes_are_counted(store: Store) {
    let id = bucket(&store, "photos").await;
    let other = bucket(&store, "videos").await;
    put_sized(&store, id, "cat", 10).await.unwrap();
    put_sized(&store, id, "dog", 0).await.unwrap();
    assert_eq!(usage_of(&store, id).await, used(10, 2));
    put_sized(&store, id, "cat", 7).await.unwrap();
    assert_eq!(usage_of(&store, id).await, used(7, 2));
    delete(&store, id, "cat").await;
    delete(&store, id, "missing").await;
    assert_eq!(usage_of(&store, id).await, used(0, 1));
    assert_eq!(usage_of(&store, other).await, used(0, 0));
}

async fn versions_count_until_they_go_and_markers_never(store: Store) {
    let id = bucket(&store, "photos").await;
    put_sized(&store, id, "cat", 1).await.unwrap();
    set_versioning(&store, "photos", Versioning::Enabled).await;
    let second = put_sized(&store, id, "cat", 20).await.unwrap();
    delete(&store, id, "cat").await;
    assert_eq!(usage_of(&store, id).await, used(21, 2));
    store
        .delete_version(
            id,
            &key("cat"),
            second,
            WriteCondition::Always,
            Timestamp(50),
        )
        .await
        .unwrap();
    assert_eq!(usage_of(&store, id).await, used(1, 1));
    // A write of the null version replaces the one behind the marker.
    set_versioning(&store, "photos", Versioning::Suspended).await;
    put_sized(&store, id, "cat", 300).await.unwrap();
    assert_eq!(usage_of(&store, id).await, used(300, 1));
}

async fn an_upload_counts_once_it_is_completed(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "film").await;
    let part = put_part(&store, id, "film", upload, 1).await;
    put_part(&store, id, "film", upload, 2).await;
    assert_eq!(usage_of(&store, id).await, used(0, 0));
    let mut complete = completion(id, "film", upload, &[&part]);
    complete.object.size_bytes = part.size_bytes;
    store.complete_upload(complete.clone()).await.unwrap();
    store.complete_upload(complete).await.unwrap();
    assert_eq!(usage_of(&store, id).await, used(part.size_bytes, 1));
    delete(&store, id, "film").await;
    assert_eq!(usage_of(&store, id).await, used(0, 0));
}

fn rename(bucket: BucketId, source: &str, destination: &str, seen: Sequence) -> RenameObject {
    RenameObject {
        bucket,
        source: key(source),
        seen,
        destination: key(destination),
        sequence: Sequence::generate(),
        condition: WriteCondition::Always,
        token: None,
        now: Timestamp(60),
    }
}

async fn a_rename_counts_what_it_replaces(store: Store) {
    let id = bucket(&store, "photos").await;
    put_sized(&store, id, "cat", 10).await.unwrap();
    put_sized(&store, id, "dog", 500).await.unwrap();
    store.set_quota(id, bytes_max(510)).await.unwrap();
    for (source, destination, left) in [("cat", "cow", used(510, 2)), ("cow", "dog", used(10, 1))] {
        let seen = store.object(id, &key(source)).await.unwrap().sequence;
        let asked = rename(id, source, destination, seen);
        store.rename_object(asked).await.unwrap();
        assert_eq!(usage_of(&store, id).await, left);
    }
}

async fn growth_beyond_the_quota_changes_nothing(store: Store) {
    let id = bucket(&store, "photos").await;
    let cat = put(&store, id, "cat").await;
    let quota = Quota {
        bytes_max: Some(cat.size_bytes + 100),
        objects_max: Some(2),
    };
    store.set_quota(id, quota).await.unwrap();
    let refused = put_sized(&store, id, "dog", 101).await;
    let Err(MetaError::QuotaExceeded { unit, wanted, max }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        (unit, wanted, max),
        ("bytes", cat.size_bytes + 101, cat.size_bytes + 100)
    );
    let grown = put_sized(&store, id, "cat", cat.size_bytes + 101).await;
    assert!(is_refusal(&grown), "{grown:?}");
    assert_eq!(store.object(id, &key("cat")).await.unwrap(), cat);
    assert!(store.object(id, &key("dog")).await.is_err());
    assert_eq!(garbage(&store).await, []);
    assert_eq!(usage_of(&store, id).await, used(cat.size_bytes, 1));

    put_sized(&store, id, "dog", 100).await.unwrap();
    let third = put_sized(&store, id, "cow", 0).await;
    assert!(is_refusal(&third), "{third:?}");
}

async fn a_full_bucket_may_shrink(store: Store) {
    let id = bucket(&store, "photos").await;
    for text in ["a", "b", "c"] {
        put_sized(&store, id, text, 100).await.unwrap();
    }
    let quota = Quota {
        bytes_max: Some(10),
        objects_max: Some(1),
    };
    store.set_quota(id, quota).await.unwrap();
    put_sized(&store, id, "a", 100).await.unwrap();
    put_sized(&store, id, "a", 99).await.unwrap();
    delete(&store, id, "b").await;
    delete(&store, id, "c").await;
    let found = store.bucket_usage(id).await.unwrap().unwrap();
    assert_eq!((found.used, found.quota), (used(99, 1), quota));
}

async fn an_upload_is_not_completed_beyond_the_quota(store: Store) {
    let id = bucket(&store, "photos").await;
    store.set_quota(id, bytes_max(99)).await.unwrap();
    let upload = begin(&store, id, "film").await;
    let part = put_part(&store, id, "film", upload, 1).await;
    let mut complete = completion(id, "film", upload, &[&part]);
    complete.object.size_bytes = 100;
    let refused = store.complete_upload(complete.clone()).await;
    assert!(is_refusal(&refused), "{refused:?}");
    // It is under way still, and may be completed once there is room.
    assert_eq!(garbage(&store).await, []);
    store.set_quota(id, bytes_max(100)).await.unwrap();
    store.complete_upload(complete).await.unwrap();
}

async fn a_quota_that_is_taken_away_limits_nothing(store: Store) {
    let id = bucket(&store, "photos").await;
    store.set_quota(id, objects_max(0)).await.unwrap();
    assert!(is_refusal(&put_sized(&store, id, "cat", 1).await));
    store.set_quota(id, Quota::default()).await.unwrap();
    put_sized(&store, id, "cat", 1).await.unwrap();
}

async fn a_quota_goes_with_its_bucket(store: Store) {
    let id = bucket(&store, "photos").await;
    put_sized(&store, id, "cat", 1).await.unwrap();
    store.set_quota(id, objects_max(1)).await.unwrap();
    delete(&store, id, "cat").await;
    store
        .delete_bucket(&name("photos"), Timestamp(50))
        .await
        .unwrap();
    assert_eq!(store.bucket_usage(id).await.unwrap(), None);
    let again = bucket(&store, "photos").await;
    let found = store.bucket_usage(again).await.unwrap();
    assert_eq!(found, Some(BucketUsage::default()));
}

async fn of_many_writers_only_as_many_win_as_the_quota_admits(store: Store) {
    const WRITERS: usize = 16;
    for round in 0..10 {
        let id = bucket(&store, &format!("round-{round}")).await;
        let quota = Quota {
            bytes_max: Some(70),
            objects_max: Some(10),
        };
        store.set_quota(id, quota).await.unwrap();
        let tasks: Vec<_> = (0..WRITERS)
            .map(|at| {
                let store = store.clone();
                tokio::spawn(async move { put_sized(&store, id, &at.to_string(), 10).await })
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => won += 1,
                refused => assert!(is_refusal(&refused), "{refused:?}"),
            }
        }
        assert_eq!(won, 7);
        assert_eq!(usage_of(&store, id).await, used(70, 7));
        assert_eq!(listed(&store, id).await, used(70, 7));
    }
}

async fn whoever_went_away_is_counted_or_not_there(store: Store) {
    let id = bucket(&store, "photos").await;
    for at in 0..50 {
        let (store, text) = (store.clone(), at.to_string());
        tokio::select! {
            biased;
            _ = put_sized(&store, id, &text, 3) => {}
            () = std::future::ready(()) => {}
        }
    }
    // What was handed over is there once a later write is answered.
    put_sized(&store, id, "last", 1).await.unwrap();
    assert_eq!(usage_of(&store, id).await, listed(&store, id).await);
}

/// What a bucket holds by its listing.
async fn listed(store: &Store, bucket: BucketId) -> Usage {
    let page = store
        .list_versions(VersionQuery {
            bucket,
            prefix: String::new(),
            delimiter: None,
            after: None,
            limit: 1000,
        })
        .await
        .unwrap();
    assert!(!page.truncated);
    let mut sum = Usage::default();
    for entry in page.entries {
        if let ListEntry::Item(listed) = entry
            && let Some(object) = listed.version.object()
        {
            sum.bytes += object.size_bytes;
            sum.objects += 1;
        }
    }
    sum
}

/// One change of a bucket.
#[derive(Debug, Clone)]
enum Change {
    Put(u8, u64),
    Delete(u8),
    DeleteNewest(u8),
    Rename(u8, u8),
    Upload(u8, u64),
    Versioning(bool),
}

fn any_change() -> impl Strategy<Value = Change> {
    let at = 0u8..3;
    prop_oneof![
        3 => (at.clone(), 0u64..50).prop_map(|(at, size)| Change::Put(at, size)),
        1 => at.clone().prop_map(Change::Delete),
        1 => at.clone().prop_map(Change::DeleteNewest),
        2 => (at.clone(), at.clone()).prop_map(|(from, to)| Change::Rename(from, to)),
        1 => (at, 0u64..50).prop_map(|(at, size)| Change::Upload(at, size)),
        1 => any::<bool>().prop_map(Change::Versioning),
    ]
}

async fn apply(store: &Store, id: BucketId, bucket: &str, change: &Change) {
    let text = |at: &u8| at.to_string();
    match change {
        Change::Put(at, size) => {
            let _ = put_sized(store, id, &text(at), *size).await;
        }
        Change::Delete(at) => delete(store, id, &text(at)).await,
        Change::DeleteNewest(at) => {
            let at = key(&text(at));
            if let Some(newest) = store.newest_version(id, &at).await.unwrap() {
                let version = newest.version();
                store
                    .delete_version(id, &at, version, WriteCondition::Always, Timestamp(50))
                    .await
                    .unwrap();
            }
        }
        Change::Rename(from, to) if from != to => {
            if let Ok(row) = store.object(id, &key(&text(from))).await {
                let asked = rename(id, &text(from), &text(to), row.sequence);
                store.rename_object(asked).await.unwrap();
            }
        }
        Change::Rename(..) => {}
        Change::Upload(at, size) => {
            let upload = begin(store, id, &text(at)).await;
            let part = put_part(store, id, &text(at), upload, 1).await;
            let mut complete = completion(id, &text(at), upload, &[&part]);
            complete.object.size_bytes = *size;
            let _ = store.complete_upload(complete).await;
        }
        Change::Versioning(on) => {
            let state = match on {
                true => Versioning::Enabled,
                false => Versioning::Suspended,
            };
            set_versioning(store, bucket, state).await;
        }
    }
}

fn usage_is_what_a_listing_shows(store: &Store, runtime: &Runtime) {
    let changes = prop::collection::vec(any_change(), 1..25);
    let quota = (prop::option::of(0u64..200), prop::option::of(0u64..6));
    let rounds = std::cell::Cell::new(0);
    TestRunner::new(ProptestConfig::with_cases(64))
        .run(&(changes, quota), |(changes, (bytes_max, objects_max))| {
            rounds.set(rounds.get() + 1);
            runtime.block_on(async {
                let text = format!("round-{}", rounds.get());
                let row = bucket_row(&text);
                let id = row.id;
                store.create_bucket(row).await.unwrap();
                let quota = Quota {
                    bytes_max,
                    objects_max,
                };
                store.set_quota(id, quota).await.unwrap();
                for change in &changes {
                    apply(store, id, &text, change).await;
                    let shown = listed(store, id).await;
                    prop_assert_eq!(usage_of(store, id).await, shown, "{:?}", change);
                    prop_assert!(bytes_max.is_none_or(|most| shown.bytes <= most));
                    prop_assert!(objects_max.is_none_or(|most| shown.objects <= most));
                }
                Ok(())
            })
        })
        .unwrap();
}

#[test]
fn usage_is_what_a_listing_shows_in_memory() {
    usage_is_what_a_listing_shows(&fixtures::memory(), &Runtime::new().unwrap());
}

#[test]
fn usage_is_what_a_listing_shows_on_rocks() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let store = runtime.block_on(async { fixtures::rocks(directory.path()) });
    usage_is_what_a_listing_shows(&store, &runtime);
}
