//! Buckets that keep versions: what writes and deletes leave behind, how it is listed, and what
//! comes back. Versions of a key are totally ordered (I5).

use metastore::{
    BucketId, DeleteOutcome, DeletedVersion, ListEntry, MetaError, ObjectAttributes, Sequence,
    StoredVersion, Timestamp, VersionId, VersionPage, VersionQuery, Versioning, WriteCondition,
};

use crate::fixtures::{
    Store, begin, bucket, chunk, commit, completion, garbage, key, name, object, put, put_part,
    query, shown,
};
use crate::on_every_store;

on_every_store!(
    an_overwrite_keeps_the_version_before,
    a_delete_hides_the_key_and_removing_the_marker_brings_it_back,
    a_listing_shows_no_key_whose_latest_version_is_a_marker,
    deleting_the_latest_version_makes_the_one_behind_it_current,
    deleting_a_version_gives_up_its_bytes_and_no_others,
    suspended_writes_replace_the_null_version_alone,
    a_null_version_from_before_versioning_is_found_and_deleted_by_name,
    pages_of_versions_concatenate_to_all_of_them,
    versions_fold_into_common_prefixes,
    a_bucket_with_nothing_but_a_delete_marker_is_not_empty,
    amending_a_version_changes_that_row_alone,
    a_completed_upload_is_a_version_of_its_own,
    conditions_take_a_marker_for_an_absent_object,
    empty_objects_are_versions_too,
);

pub async fn set_versioning(store: &Store, text: &str, versioning: Versioning) {
    let mut row = store.bucket(&name(text)).await.unwrap();
    let seen = row.settings.revision;
    row.settings.versioning = versioning;
    row.settings.revision = Sequence::generate();
    store.amend_bucket(row, seen).await.unwrap();
}

async fn versioned(store: &Store) -> BucketId {
    let id = bucket(store, "photos").await;
    set_versioning(store, "photos", Versioning::Enabled).await;
    id
}

/// Commits an object whose ETag is `etag`; returns its version.
async fn write(store: &Store, bucket: BucketId, text: &str, etag: &str) -> VersionId {
    let mut row = object(&[chunk()]);
    row.etag = etag.into();
    store
        .commit_object(commit(bucket, text, row))
        .await
        .unwrap()
}

async fn delete(store: &Store, bucket: BucketId, text: &str) -> DeleteOutcome {
    store
        .delete_object(bucket, &key(text), WriteCondition::Always, Timestamp(30))
        .await
        .unwrap()
}

async fn remove(store: &Store, bucket: BucketId, text: &str, version: VersionId) -> DeletedVersion {
    let always = WriteCondition::Always;
    store
        .delete_version(bucket, &key(text), version, always, Timestamp(40))
        .await
        .unwrap()
}

pub fn versions(bucket: BucketId) -> VersionQuery {
    VersionQuery {
        bucket,
        prefix: String::new(),
        delimiter: None,
        after: None,
        limit: 1000,
    }
}

/// Each entry in a word: `key=etag` or `key=marker`, with `*` for the latest version of a key.
pub fn words(page: &VersionPage) -> Vec<String> {
    let word = |entry: &ListEntry<metastore::ListedVersion>| match entry {
        ListEntry::CommonPrefix(prefix) => prefix.clone(),
        ListEntry::Item(listed) => {
            let what = match &listed.version {
                StoredVersion::Object(object) => object.etag.as_str(),
                StoredVersion::DeleteMarker(_) => "marker",
            };
            let star = if listed.is_latest() { "*" } else { "" };
            format!("{}={what}{star}", listed.key)
        }
    };
    page.entries.iter().map(word).collect()
}

async fn all(store: &Store, bucket: BucketId) -> Vec<String> {
    words(&store.list_versions(versions(bucket)).await.unwrap())
}

async fn an_overwrite_keeps_the_version_before(store: Store) {
    let id = versioned(&store).await;
    let first = write(&store, id, "cat", "1").await;
    let second = write(&store, id, "cat", "2").await;
    assert_ne!(first, second);
    assert_eq!(store.object(id, &key("cat")).await.unwrap().etag, "2");
    let old = store.object_version(id, &key("cat"), first).await.unwrap();
    assert_eq!(old.object().unwrap().etag, "1");
    assert_eq!(all(&store, id).await, ["cat=2*", "cat=1"]);
    assert!(garbage(&store).await.is_empty());
}

async fn a_delete_hides_the_key_and_removing_the_marker_brings_it_back(store: Store) {
    let id = versioned(&store).await;
    write(&store, id, "cat", "1").await;
    let DeleteOutcome::MarkerPlaced(marker) = delete(&store, id, "cat").await else {
        panic!("a delete places a marker");
    };
    assert!(matches!(
        store.object(id, &key("cat")).await,
        Err(MetaError::NoSuchKey(_))
    ));
    let newest = store.newest_version(id, &key("cat")).await.unwrap();
    assert!(matches!(newest, Some(StoredVersion::DeleteMarker(_))));
    let removed = remove(&store, id, "cat", marker).await;
    assert_eq!(removed, DeletedVersion::DeleteMarker);
    assert_eq!(store.object(id, &key("cat")).await.unwrap().etag, "1");
    assert_eq!(all(&store, id).await, ["cat=1*"]);
}

async fn a_listing_shows_no_key_whose_latest_version_is_a_marker(store: Store) {
    let id = versioned(&store).await;
    for text in ["a", "b", "c"] {
        write(&store, id, text, "1").await;
    }
    delete(&store, id, "b").await;
    let page = store.list_objects(query(id, "", "/")).await.unwrap();
    assert_eq!(shown(&page), ["a", "c"]);
    assert_eq!(all(&store, id).await, ["a=1*", "b=marker*", "b=1", "c=1*"]);
}

async fn deleting_the_latest_version_makes_the_one_behind_it_current(store: Store) {
    let id = versioned(&store).await;
    write(&store, id, "cat", "1").await;
    let middle = write(&store, id, "cat", "2").await;
    let last = write(&store, id, "cat", "3").await;
    assert_eq!(
        remove(&store, id, "cat", middle).await,
        DeletedVersion::Object
    );
    assert_eq!(all(&store, id).await, ["cat=3*", "cat=1"]);
    assert_eq!(
        remove(&store, id, "cat", last).await,
        DeletedVersion::Object
    );
    assert_eq!(store.object(id, &key("cat")).await.unwrap().etag, "1");
    assert_eq!(
        remove(&store, id, "cat", last).await,
        DeletedVersion::Absent
    );
    let newest = write(&store, id, "cat", "4").await;
    assert_eq!(all(&store, id).await, ["cat=4*", "cat=1"]);
    delete(&store, id, "cat").await;
    // Not the latest: the marker still hides the key.
    remove(&store, id, "cat", newest).await;
    assert_eq!(all(&store, id).await, ["cat=marker*", "cat=1"]);
}

async fn deleting_a_version_gives_up_its_bytes_and_no_others(store: Store) {
    let id = versioned(&store).await;
    let first = write(&store, id, "cat", "1").await;
    write(&store, id, "cat", "2").await;
    let old = store.object_version(id, &key("cat"), first).await.unwrap();
    remove(&store, id, "cat", first).await;
    let queued = garbage(&store).await;
    assert_eq!(queued.len(), 1);
    let metastore::GcItem::Chunks(chunks) = &queued[0].item else {
        panic!("chunks are queued");
    };
    let metastore::ObjectData::Chunks(layout) = &old.object().unwrap().data else {
        panic!("the object stands in chunks");
    };
    assert_eq!(*chunks, layout.chunks);
}

async fn suspended_writes_replace_the_null_version_alone(store: Store) {
    let id = versioned(&store).await;
    let kept = write(&store, id, "cat", "kept").await;
    set_versioning(&store, "photos", Versioning::Suspended).await;
    assert_eq!(write(&store, id, "cat", "null-1").await, VersionId::Null);
    assert_eq!(write(&store, id, "cat", "null-2").await, VersionId::Null);
    assert_eq!(all(&store, id).await, ["cat=null-2*", "cat=kept"]);
    let outcome = delete(&store, id, "cat").await;
    assert_eq!(outcome, DeleteOutcome::MarkerPlaced(VersionId::Null));
    assert_eq!(all(&store, id).await, ["cat=marker*", "cat=kept"]);
    delete(&store, id, "cat").await;
    assert_eq!(all(&store, id).await, ["cat=marker*", "cat=kept"]);
    remove(&store, id, "cat", VersionId::Null).await;
    assert_eq!(store.object(id, &key("cat")).await.unwrap().version, kept);
}

async fn a_null_version_from_before_versioning_is_found_and_deleted_by_name(store: Store) {
    let id = bucket(&store, "photos").await;
    write(&store, id, "cat", "old").await;
    set_versioning(&store, "photos", Versioning::Enabled).await;
    write(&store, id, "cat", "new").await;
    let null = store.object_version(id, &key("cat"), VersionId::Null).await;
    assert_eq!(null.unwrap().object().unwrap().etag, "old");
    set_versioning(&store, "photos", Versioning::Suspended).await;
    write(&store, id, "cat", "null").await;
    assert_eq!(all(&store, id).await, ["cat=null*", "cat=new"]);
    remove(&store, id, "cat", VersionId::Null).await;
    let gone = store.object_version(id, &key("cat"), VersionId::Null).await;
    assert!(matches!(gone, Err(MetaError::NoSuchVersion(..))));
    assert_eq!(all(&store, id).await, ["cat=new*"]);
}

async fn pages_of_versions_concatenate_to_all_of_them(store: Store) {
    let id = bucket(&store, "photos").await;
    write(&store, id, "a\u{0}", "null").await;
    set_versioning(&store, "photos", Versioning::Enabled).await;
    for text in ["a", "a\u{0}", "b", "a", "a\u{0}", "b"] {
        write(&store, id, text, "x").await;
    }
    delete(&store, id, "a").await;
    let whole = all(&store, id).await;
    assert_eq!(whole.len(), 8);
    let (mut walked, mut after) = (Vec::new(), None);
    loop {
        let query = VersionQuery {
            after,
            limit: 1,
            ..versions(id)
        };
        let page = store.list_versions(query).await.unwrap();
        walked.extend(words(&page));
        let Some(ListEntry::Item(last)) = page.entries.last() else {
            panic!("a page has an entry");
        };
        after = Some((last.key.as_str().to_owned(), Some(last.version.version())));
        if !page.truncated {
            break;
        }
    }
    assert_eq!(walked, whole);
}

async fn versions_fold_into_common_prefixes(store: Store) {
    let id = versioned(&store).await;
    for text in ["a/1", "a/1", "a/2", "b"] {
        write(&store, id, text, "x").await;
    }
    delete(&store, id, "a/2").await;
    let folded = VersionQuery {
        delimiter: Some("/".into()),
        ..versions(id)
    };
    let page = store.list_versions(folded).await.unwrap();
    assert_eq!(words(&page), ["a/", "b=x*"]);
    let inside = VersionQuery {
        prefix: "a/".into(),
        after: Some(("a/1".into(), None)),
        ..versions(id)
    };
    let page = store.list_versions(inside).await.unwrap();
    assert_eq!(words(&page), ["a/2=marker*", "a/2=x"]);
}

async fn a_bucket_with_nothing_but_a_delete_marker_is_not_empty(store: Store) {
    let id = versioned(&store).await;
    let DeleteOutcome::MarkerPlaced(marker) = delete(&store, id, "cat").await else {
        panic!("a delete places a marker");
    };
    let refused = store.delete_bucket(&name("photos"), Timestamp(50)).await;
    assert!(matches!(refused, Err(MetaError::BucketNotEmpty)));
    remove(&store, id, "cat", marker).await;
    store
        .delete_bucket(&name("photos"), Timestamp(50))
        .await
        .unwrap();
}

async fn amending_a_version_changes_that_row_alone(store: Store) {
    let id = versioned(&store).await;
    let first = write(&store, id, "cat", "1").await;
    write(&store, id, "cat", "2").await;
    let old = store.object_version(id, &key("cat"), first).await.unwrap();
    let old = old.object().unwrap().clone();
    let mut tagged = old.clone();
    tagged.sequence = Sequence::generate();
    tagged.attributes = ObjectAttributes {
        tags: vec![("colour".into(), "red".into())],
        ..ObjectAttributes::default()
    };
    let amend = async |row, seen| store.amend_object(id, &key("cat"), row, seen).await;
    amend(tagged.clone(), old.sequence).await.unwrap();
    let again = amend(tagged.clone(), old.sequence).await;
    assert!(matches!(again, Err(MetaError::Conflict)));
    let read = store.object_version(id, &key("cat"), first).await.unwrap();
    assert_eq!(*read.object().unwrap(), tagged);
    let current = store.object(id, &key("cat")).await.unwrap();
    assert!(current.attributes.tags.is_empty());
    assert!(garbage(&store).await.is_empty());
}

async fn a_completed_upload_is_a_version_of_its_own(store: Store) {
    let id = versioned(&store).await;
    put(&store, id, "film").await;
    let upload = begin(&store, id, "film").await;
    let part = put_part(&store, id, "film", upload, 1).await;
    let complete = completion(id, "film", upload, &[&part]);
    let outcome = store.complete_upload(complete).await.unwrap();
    assert!(matches!(
        outcome,
        metastore::Completed::Now(VersionId::Id(_))
    ));
    assert_eq!(all(&store, id).await.len(), 2);
    assert!(garbage(&store).await.is_empty());
}

async fn empty_objects_are_versions_too(store: Store) {
    let id = versioned(&store).await;
    for _ in 0..2 {
        let empty = commit(id, "cat", object(&[]));
        store.commit_object(empty).await.unwrap();
    }
    assert_eq!(all(&store, id).await.len(), 2);
}

async fn conditions_take_a_marker_for_an_absent_object(store: Store) {
    let id = versioned(&store).await;
    write(&store, id, "cat", "1").await;
    delete(&store, id, "cat").await;
    let mut guarded = commit(id, "cat", object(&[chunk()]));
    guarded.condition = WriteCondition::Absent;
    store.commit_object(guarded.clone()).await.unwrap();
    let again = store.commit_object(guarded).await;
    assert!(matches!(again, Err(MetaError::PreconditionFailed)));
}
