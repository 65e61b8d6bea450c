//! What each condition says of a key that is missing, that matches, that does not: for commits,
//! deletes and completions alike.

use metastore::{
    CommitObject, CompleteUpload, DeleteOutcome, MetaError, MetaResult, Sequence, Timestamp,
    WriteCondition,
};

use crate::fixtures::{
    Store, begin, bucket, chunk, commit, completion, garbage, key, object, put, put_part,
};

crate::on_every_store! {
    conditions_on_a_missing_key,
    conditions_on_a_current_version,
    a_refused_commit_changes_nothing,
    a_delete_checks_its_condition,
    a_completion_checks_its_condition,
}

async fn commit_if(
    store: &Store,
    bucket: metastore::BucketId,
    condition: WriteCondition,
) -> MetaResult<()> {
    let unconditional = commit(bucket, "cat", object(&[chunk()]));
    store
        .commit_object(CommitObject {
            condition,
            ..unconditional
        })
        .await
        .map(drop)
}

async fn conditions_on_a_missing_key(store: Store) {
    use WriteCondition::{Absent, Etag, Present, Revision};
    let id = bucket(&store, "photos").await;
    let present = commit_if(&store, id, Present).await;
    let etag = commit_if(&store, id, Etag("abc".into())).await;
    let revision = commit_if(&store, id, Revision(Sequence::generate())).await;
    assert!(matches!(present, Err(MetaError::NoSuchKey(_))));
    assert!(matches!(etag, Err(MetaError::NoSuchKey(_))));
    assert!(matches!(revision, Err(MetaError::Conflict)));
    commit_if(&store, id, Absent).await.unwrap();
}

async fn conditions_on_a_current_version(store: Store) {
    use WriteCondition::{Absent, Always, Etag, Present, Revision};
    let id = bucket(&store, "photos").await;
    let first = put(&store, id, "cat").await;
    let absent = commit_if(&store, id, Absent).await;
    let other_etag = commit_if(&store, id, Etag("abc".into())).await;
    let other_revision = commit_if(&store, id, Revision(Sequence::generate())).await;
    assert!(matches!(absent, Err(MetaError::PreconditionFailed)));
    assert!(matches!(other_etag, Err(MetaError::PreconditionFailed)));
    assert!(matches!(other_revision, Err(MetaError::Conflict)));
    commit_if(&store, id, Etag(first.etag)).await.unwrap();
    let second = store.object(id, &key("cat")).await.unwrap();
    commit_if(&store, id, Revision(second.sequence))
        .await
        .unwrap();
    commit_if(&store, id, Present).await.unwrap();
    commit_if(&store, id, Always).await.unwrap();
}

async fn a_refused_commit_changes_nothing(store: Store) {
    let id = bucket(&store, "photos").await;
    let row = put(&store, id, "cat").await;
    let refused = object(&[chunk()]);
    let chunks = refused.data.clone();
    let unconditional = commit(id, "cat", refused);
    let condition = WriteCondition::Absent;
    store
        .commit_object(CommitObject {
            condition,
            ..unconditional
        })
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(store.object(id, &key("cat")).await.unwrap(), row);
    assert_eq!(garbage(&store).await, []);
    let metastore::ObjectData::Chunks(layout) = chunks else {
        panic!("made of chunks")
    };
    assert_eq!(store.chunk_owner(layout.chunks[0].id).await.unwrap(), None);
}

async fn a_delete_checks_its_condition(store: Store) {
    use WriteCondition::{Absent, Etag, Present, Revision};
    let id = bucket(&store, "photos").await;
    let delete = |condition| {
        let store = store.clone();
        async move {
            store
                .delete_object(id, &key("cat"), condition, Timestamp(30))
                .await
        }
    };
    assert!(matches!(
        delete(Present).await,
        Err(MetaError::NoSuchKey(_))
    ));
    assert_eq!(delete(Absent).await.unwrap(), DeleteOutcome::Absent);
    let row = put(&store, id, "cat").await;
    assert!(matches!(
        delete(Etag("abc".into())).await,
        Err(MetaError::PreconditionFailed)
    ));
    assert!(matches!(
        delete(Revision(Sequence::generate())).await,
        Err(MetaError::Conflict)
    ));
    assert_eq!(
        delete(Etag(row.etag)).await.unwrap(),
        DeleteOutcome::Deleted
    );
}

async fn a_completion_checks_its_condition(store: Store) {
    let id = bucket(&store, "photos").await;
    put(&store, id, "cat").await;
    let upload = begin(&store, id, "cat").await;
    let part = put_part(&store, id, "cat", upload, 1).await;
    let complete = completion(id, "cat", upload, &[&part]);
    let absent = CompleteUpload {
        condition: WriteCondition::Absent,
        ..complete.clone()
    };
    let refused = store.complete_upload(absent).await;
    assert!(matches!(refused, Err(MetaError::PreconditionFailed)));
    let present = CompleteUpload {
        condition: WriteCondition::Present,
        ..complete
    };
    store.complete_upload(present).await.unwrap();
}
