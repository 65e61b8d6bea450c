//! Changes that rules and expiries ask for: made under the newest lease alone (I8), and only to what
//! still stands as it was judged.

use chunkproto::Fence;
use metastore::{
    BucketId, JudgedStanding, JudgedVersion, LeaseAnswer, LeaseRequest, LifecycleAction,
    LifecycleChange, MetaError, MetaResult, Sequence, StoredVersion, Timestamp, VersionId,
    Versioning, WriteCondition,
};
use uuid::Uuid;

use crate::fixtures::{
    LATER, Store, begin, bucket, chunk, commit, garbage, key, name, object, part_at, put, put_part,
};
use crate::versions::set_versioning;

crate::on_every_store! {
    who_was_overtaken_expires_nothing,
    what_is_due_goes_under_the_newest_lease,
    an_object_that_was_written_anew_stays,
    a_version_that_shows_again_stays,
    a_version_that_was_changed_meanwhile_stays,
    a_null_marker_that_was_placed_anew_stays,
    a_marker_with_anything_beside_it_stays,
    a_marker_that_hides_a_version_again_stays,
    what_other_rules_would_keep_stays,
    an_upload_with_a_young_part_stays,
}

/// A grant of the lease `lifecycle`; every earlier one is overtaken.
async fn lease(store: &Store) -> Fence {
    let request = LeaseRequest {
        job: "lifecycle".parse().unwrap(),
        holder: Uuid::new_v4(),
        now: LATER,
        until: LATER,
        token_above: 0,
    };
    match store.acquire_lease(request).await.unwrap() {
        LeaseAnswer::Granted(fence) => fence,
        held => panic!("{held:?}"),
    }
}

async fn apply(
    store: &Store,
    fence: &Fence,
    bucket: BucketId,
    action: LifecycleAction,
) -> MetaResult<()> {
    let change = LifecycleChange {
        bucket,
        key: key("k"),
        settings: None,
        action,
        now: Timestamp(50),
    };
    store.apply_lifecycle(fence, change).await
}

async fn versioned(store: &Store) -> BucketId {
    let id = bucket(store, "photos").await;
    set_versioning(store, "photos", Versioning::Enabled).await;
    id
}

async fn write(store: &Store, bucket: BucketId) -> VersionId {
    let row = object(&[chunk()]);
    store.commit_object(commit(bucket, "k", row)).await.unwrap()
}

/// Places a delete marker.
async fn mark(store: &Store, bucket: BucketId) -> StoredVersion {
    let always = WriteCondition::Always;
    let key = key("k");
    let placed = store.delete_object(bucket, &key, always, Timestamp(30));
    placed.await.unwrap();
    newest(store, bucket).await.unwrap()
}

async fn newest(store: &Store, bucket: BucketId) -> Option<StoredVersion> {
    store.newest_version(bucket, &key("k")).await.unwrap()
}

async fn drop_for_good(store: &Store, bucket: BucketId, version: VersionId) {
    let always = WriteCondition::Always;
    let key = key("k");
    let dropped = store.delete_version(bucket, &key, version, always, Timestamp(40));
    dropped.await.unwrap();
}

async fn stored(store: &Store, bucket: BucketId, version: VersionId) -> MetaResult<StoredVersion> {
    store.object_version(bucket, &key("k"), version).await
}

fn remove(version: &StoredVersion, standing: JudgedStanding) -> LifecycleAction {
    LifecycleAction::Remove(JudgedVersion::new(version, standing))
}

fn is_conflict(outcome: &MetaResult<()>) -> bool {
    matches!(outcome, Err(MetaError::Conflict))
}

async fn who_was_overtaken_expires_nothing(store: Store) {
    let id = versioned(&store).await;
    let behind = write(&store, id).await;
    let current = write(&store, id).await;
    let upload = begin(&store, id, "k").await;
    let behind = stored(&store, id, behind).await.unwrap();
    let current = stored(&store, id, current).await.unwrap();
    let row = current.object().unwrap().clone();
    let mut moved = row.clone();
    moved.headers.storage_class = Some("GLACIER".into());
    let stale = lease(&store).await;
    lease(&store).await;
    for action in [
        LifecycleAction::Expire(row.sequence),
        remove(&behind, JudgedStanding::Behind),
        LifecycleAction::Amend(Box::new(moved), row.sequence),
        LifecycleAction::Abort(upload, None),
    ] {
        let outcome = apply(&store, &stale, id, action.clone()).await;
        let said = format!("{action:?}: {outcome:?}");
        assert!(matches!(outcome, Err(MetaError::Fenced(_))), "{said}");
    }
    assert_eq!(newest(&store, id).await, Some(current));
    assert!(stored(&store, id, behind.version()).await.is_ok());
    assert!(store.upload(id, &key("k"), upload).await.is_ok());
    assert_eq!(garbage(&store).await, []);
}

async fn what_is_due_goes_under_the_newest_lease(store: Store) {
    let id = versioned(&store).await;
    let behind = write(&store, id).await;
    let current = write(&store, id).await;
    let upload = begin(&store, id, "k").await;
    let behind = stored(&store, id, behind).await.unwrap();
    let sequence = store.object(id, &key("k")).await.unwrap().sequence;
    let fence = lease(&store).await;
    for action in [
        remove(&behind, JudgedStanding::Behind),
        LifecycleAction::Expire(sequence),
        LifecycleAction::Abort(upload, None),
    ] {
        apply(&store, &fence, id, action).await.unwrap();
    }
    assert!(stored(&store, id, behind.version()).await.is_err());
    let marker = newest(&store, id).await.unwrap();
    assert!(marker.object().is_none(), "the current one is hidden");
    assert!(store.upload(id, &key("k"), upload).await.is_err());
    drop_for_good(&store, id, current).await;
    let alone = remove(&marker, JudgedStanding::Alone);
    apply(&store, &fence, id, alone).await.unwrap();
    assert_eq!(newest(&store, id).await, None);
}

async fn an_object_that_was_written_anew_stays(store: Store) {
    let id = bucket(&store, "photos").await;
    let judged = put(&store, id, "k").await.sequence;
    put(&store, id, "k").await;
    let fence = lease(&store).await;
    let outcome = apply(&store, &fence, id, LifecycleAction::Expire(judged)).await;
    assert!(is_conflict(&outcome), "{outcome:?}");
    assert!(store.object(id, &key("k")).await.is_ok());
}

async fn a_version_that_shows_again_stays(store: Store) {
    let id = versioned(&store).await;
    let behind = write(&store, id).await;
    let current = write(&store, id).await;
    let judged = stored(&store, id, behind).await.unwrap();
    // A client takes the current one away for good after the rule has looked.
    drop_for_good(&store, id, current).await;
    let fence = lease(&store).await;
    let outcome = apply(&store, &fence, id, remove(&judged, JudgedStanding::Behind)).await;
    assert!(is_conflict(&outcome), "{outcome:?}");
    assert_eq!(store.object(id, &key("k")).await.unwrap().version, behind);
}

async fn a_version_that_was_changed_meanwhile_stays(store: Store) {
    let id = versioned(&store).await;
    let behind = write(&store, id).await;
    write(&store, id).await;
    let judged = stored(&store, id, behind).await.unwrap();
    // A tag or a lock is set on it.
    let mut locked = judged.object().unwrap().clone();
    let seen = locked.sequence;
    locked.sequence = Sequence::generate();
    locked.attributes.legal_hold = Some(true);
    let amended = store.amend_object(id, &key("k"), locked, seen).await;
    amended.unwrap();
    let fence = lease(&store).await;
    let outcome = apply(&store, &fence, id, remove(&judged, JudgedStanding::Behind)).await;
    assert!(is_conflict(&outcome), "{outcome:?}");
    assert!(stored(&store, id, behind).await.is_ok());
}

async fn a_null_marker_that_was_placed_anew_stays(store: Store) {
    let id = versioned(&store).await;
    set_versioning(&store, "photos", Versioning::Suspended).await;
    let judged = mark(&store, id).await;
    let anew = mark(&store, id).await;
    assert_eq!(judged.version(), anew.version(), "both are null");
    let fence = lease(&store).await;
    let outcome = apply(&store, &fence, id, remove(&judged, JudgedStanding::Alone)).await;
    assert!(is_conflict(&outcome), "{outcome:?}");
    assert_eq!(newest(&store, id).await, Some(anew));
}

async fn a_marker_with_anything_beside_it_stays(store: Store) {
    let id = versioned(&store).await;
    write(&store, id).await;
    let hides = mark(&store, id).await;
    let fence = lease(&store).await;
    let alone = |marker| remove(marker, JudgedStanding::Alone);
    let outcome = apply(&store, &fence, id, alone(&hides)).await;
    assert!(is_conflict(&outcome), "it hides a version: {outcome:?}");
    write(&store, id).await;
    let outcome = apply(&store, &fence, id, alone(&hides)).await;
    assert!(is_conflict(&outcome), "it is history: {outcome:?}");
    assert!(stored(&store, id, hides.version()).await.is_ok());
}

async fn a_marker_that_hides_a_version_again_stays(store: Store) {
    let id = versioned(&store).await;
    write(&store, id).await;
    let judged = mark(&store, id).await;
    let current = write(&store, id).await;
    drop_for_good(&store, id, current).await;
    let fence = lease(&store).await;
    let outcome = apply(&store, &fence, id, remove(&judged, JudgedStanding::Behind)).await;
    assert!(is_conflict(&outcome), "{outcome:?}");
    let shown = store.object(id, &key("k")).await;
    assert!(shown.is_err(), "a deleted key stays deleted");
}

async fn what_other_rules_would_keep_stays(store: Store) {
    let id = bucket(&store, "photos").await;
    let sequence = put(&store, id, "k").await.sequence;
    let seen = store.bucket(&name("photos")).await.unwrap();
    set_versioning(&store, "photos", Versioning::Off).await;
    let fence = lease(&store).await;
    let change = |settings: Sequence| LifecycleChange {
        bucket: id,
        key: key("k"),
        settings: Some(settings),
        action: LifecycleAction::Expire(sequence),
        now: Timestamp(50),
    };
    let old = store.apply_lifecycle(&fence, change(seen.settings.revision));
    assert!(is_conflict(&old.await));
    let present = store.bucket(&name("photos")).await.unwrap();
    let new = store.apply_lifecycle(&fence, change(present.settings.revision));
    new.await.unwrap();
}

async fn an_upload_with_a_young_part_stays(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "k").await;
    put_part(&store, id, "k", upload, 1).await;
    let young = part_at(40, 2, &[chunk()]);
    store
        .put_part(id, &key("k"), upload, young, 1)
        .await
        .unwrap();
    let fence = lease(&store).await;
    let untouched_since = |moment| LifecycleAction::Abort(upload, Some(Timestamp(moment)));
    let outcome = apply(&store, &fence, id, untouched_since(40)).await;
    assert!(is_conflict(&outcome), "{outcome:?}");
    assert!(store.upload(id, &key("k"), upload).await.is_ok());
    apply(&store, &fence, id, untouched_since(41))
        .await
        .unwrap();
    assert!(store.upload(id, &key("k"), upload).await.is_err());
}
