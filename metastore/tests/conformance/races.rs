//! What must hold when callers meet: one winner, no row in a bucket that is gone, no part that
//! slips past the end of its upload. Tasks start together at a barrier.

use std::sync::Arc;

use metastore::{
    BucketId, CommitObject, Completed, ListEntry, MetaError, MetaResult, Timestamp, VersionId,
    VersionQuery, Versioning, WriteCondition,
};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::fixtures::{
    Store, begin, bucket, chunk, commit, completion, garbage, key, name, object, part_at, put,
    put_part,
};
use crate::versions::set_versioning;

crate::on_every_store! {
    if_none_match_has_exactly_one_winner,
    if_none_match_has_one_winner_though_callers_go_away,
    a_part_whose_caller_went_away_is_whole_or_not_there,
    a_revision_is_replaced_by_exactly_one_writer,
    writers_without_condition_leave_one_version_and_all_others_as_garbage,
    a_bucket_is_deleted_or_written_to_but_not_both,
    a_bucket_name_has_exactly_one_winner,
    an_upload_is_completed_exactly_once,
    a_part_comes_before_the_end_of_its_upload_or_not_at_all,
    a_version_is_seen_at_every_moment_while_others_come_and_go_before_it,
}

const TASKS: usize = 16;
const ROUNDS: usize = 8;
/// Looks at what is changed meanwhile.
const LOOKS: usize = 1000;

/// Runs `act` in many tasks that start together, and gathers what they answer.
async fn together<T: Send + 'static, F>(act: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(TASKS));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (barrier, work) = (Arc::clone(&barrier), act(task));
        tasks.spawn(async move {
            barrier.wait().await;
            work.await
        });
    }
    tasks.join_all().await
}

fn successes<T>(results: &[MetaResult<T>]) -> usize {
    results.iter().filter(|result| result.is_ok()).count()
}

/// Commits one chunk under `cat` from many tasks.
async fn commits(store: &Store, id: BucketId, condition: WriteCondition) -> Vec<MetaResult<()>> {
    together(|_| {
        let (store, condition) = (store.clone(), condition.clone());
        let row = CommitObject {
            condition,
            ..commit(id, "cat", object(&[chunk()]))
        };
        async move { store.commit_object(row).await.map(drop) }
    })
    .await
}

async fn if_none_match_has_exactly_one_winner(store: Store) {
    for round in 0..ROUNDS {
        let id = bucket(&store, &format!("round-{round}")).await;
        let results = commits(&store, id, WriteCondition::Absent).await;
        assert_eq!(successes(&results), 1);
        let is_refusal = |result: &_| matches!(result, Err(MetaError::PreconditionFailed));
        assert_eq!(
            results.iter().filter(|result| is_refusal(result)).count(),
            TASKS - 1
        );
    }
}

/// Polls a future once and drops it.
async fn begin_and_go_away<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}

async fn if_none_match_has_one_winner_though_callers_go_away(store: Store) {
    let id = bucket(&store, "photos").await;
    for round in 0..ROUNDS * 8 {
        let text = format!("round-{round}");
        // Every second caller goes away as soon as it has begun.
        let results = together(|task| {
            let (store, chunk) = (store.clone(), chunk());
            let row = CommitObject {
                condition: WriteCondition::Absent,
                ..commit(id, &text, object(std::slice::from_ref(&chunk)))
            };
            async move {
                let sequence = row.object.sequence;
                let commit = store.commit_object(row);
                let result = match task % 2 {
                    0 => Some(commit.await),
                    _ => begin_and_go_away(commit).await,
                };
                (chunk.id, sequence, result)
            }
        })
        .await;
        // Whoever went away has committed or not by the time that a later write is answered.
        let last = CommitObject {
            condition: WriteCondition::Absent,
            ..commit(id, &text, object(&[]))
        };
        let last = store.commit_object(last).await;
        assert!(
            matches!(last, Err(MetaError::PreconditionFailed)),
            "{last:?}"
        );

        let current = store.object(id, &key(&text)).await.unwrap();
        for (chunk, sequence, result) in results {
            let won = current.sequence == sequence;
            match result {
                Some(Ok(_)) => assert!(won, "another one replaced an acknowledged winner"),
                Some(Err(MetaError::PreconditionFailed)) => assert!(!won),
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
            let owner = store.chunk_owner(chunk).await.unwrap();
            assert_eq!(owner.is_some(), won, "a row that is half there");
        }
    }
    assert_eq!(garbage(&store).await, [], "nothing was ever replaced");
}

async fn a_part_whose_caller_went_away_is_whole_or_not_there(store: Store) {
    let id = bucket(&store, "photos").await;
    for round in 0..ROUNDS * 8 {
        let text = key(&format!("round-{round}"));
        let upload = begin(&store, id, text.as_str()).await;
        let chunks = together(|task| {
            let (store, text, chunk) = (store.clone(), text.clone(), chunk());
            let part = part_at(6, 1, std::slice::from_ref(&chunk));
            async move {
                if task == TASKS / 2 {
                    let abort = store.abort_upload(id, &text, upload, Timestamp(7));
                    begin_and_go_away(abort).await;
                } else {
                    let put = store.put_part(id, &text, upload, part, 1);
                    begin_and_go_away(put).await;
                }
                chunk.id
            }
        })
        .await;
        // Ends the upload, if the one who went away has not.
        let ended = store.abort_upload(id, &text, upload, Timestamp(7)).await;
        assert!(matches!(ended, Ok(()) | Err(MetaError::NoSuchUpload(_))));
        let parts = store.list_parts(upload, None, TASKS).await.unwrap().parts;
        for chunk in chunks {
            let mut listed = parts.iter().flat_map(|part| &part.layout.chunks);
            let is_listed = listed.any(|other| other.id == chunk);
            let owner = store.chunk_owner(chunk).await.unwrap();
            assert_eq!(owner.is_some(), is_listed, "a part that is half there");
        }
    }
}

async fn a_revision_is_replaced_by_exactly_one_writer(store: Store) {
    let id = bucket(&store, "photos").await;
    let mut current = put(&store, id, "cat").await;
    for _ in 0..ROUNDS {
        let results = commits(&store, id, WriteCondition::Revision(current.sequence)).await;
        assert_eq!(successes(&results), 1);
        current = store.object(id, &key("cat")).await.unwrap();
    }
}

async fn writers_without_condition_leave_one_version_and_all_others_as_garbage(store: Store) {
    let id = bucket(&store, "photos").await;
    let results = commits(&store, id, WriteCondition::Always).await;
    assert_eq!(successes(&results), TASKS);
    assert_eq!(garbage(&store).await.len(), TASKS - 1);
}

async fn a_bucket_is_deleted_or_written_to_but_not_both(store: Store) {
    for round in 0..ROUNDS {
        let bucket_name = format!("round-{round}");
        let id = bucket(&store, &bucket_name).await;
        let results = together(|task| {
            let (store, bucket_name) = (store.clone(), name(&bucket_name));
            async move {
                match task {
                    0 => store.delete_bucket(&bucket_name, Timestamp(40)).await,
                    _ => store
                        .commit_object(commit(id, &format!("{task}"), object(&[])))
                        .await
                        .map(drop),
                }
            }
        })
        .await;
        let is_alive = store.bucket(&name(&bucket_name)).await.is_ok();
        let listed = store
            .list_objects(crate::fixtures::query(id, "", "/"))
            .await
            .unwrap();
        match is_alive {
            true => assert_eq!(listed.entries.len(), TASKS - 1),
            false => {
                assert_eq!(successes(&results), 1, "the delete alone");
                assert_eq!(listed.entries, []);
            }
        }
    }
}

async fn a_bucket_name_has_exactly_one_winner(store: Store) {
    let results = together(|_| {
        let store = store.clone();
        async move {
            store
                .create_bucket(crate::fixtures::bucket_row("photos"))
                .await
        }
    })
    .await;
    assert_eq!(successes(&results), 1);
}

async fn an_upload_is_completed_exactly_once(store: Store) {
    let id = bucket(&store, "photos").await;
    let upload = begin(&store, id, "cat").await;
    let part = put_part(&store, id, "cat", upload, 1).await;
    let results = together(|_| {
        let (store, complete) = (store.clone(), completion(id, "cat", upload, &[&part]));
        async move { store.complete_upload(complete).await.unwrap() }
    })
    .await;
    assert_eq!(
        results
            .iter()
            .filter(|outcome| **outcome == Completed::Now(VersionId::Null))
            .count(),
        1
    );
    assert_eq!(garbage(&store).await, []);
}

async fn a_part_comes_before_the_end_of_its_upload_or_not_at_all(store: Store) {
    let id = bucket(&store, "photos").await;
    for round in 0..ROUNDS {
        let text = format!("round-{round}");
        let upload = begin(&store, id, &text).await;
        let chosen = put_part(&store, id, &text, upload, 1).await;
        let before = garbage(&store).await.len();
        let results = together(|task| {
            let (store, text) = (store.clone(), text.clone());
            let complete = completion(id, &text, upload, &[&chosen]);
            async move {
                match task {
                    0 => store.complete_upload(complete).await.map(|_| ()),
                    _ => {
                        let at = 1 + i64::try_from(task).unwrap();
                        let part = part_at(6, at, &[chunk()]);
                        store.put_part(id, &key(&text), upload, part, 1).await
                    }
                }
            }
        })
        .await;
        // Every part that was taken came in time to be left out.
        let left = store.list_parts(upload, None, TASKS).await.unwrap().parts;
        assert_eq!(left, [chosen]);
        assert_eq!(
            garbage(&store).await.len() - before,
            successes(&results) - 1
        );
    }
}

async fn a_version_is_seen_at_every_moment_while_others_come_and_go_before_it(store: Store) {
    let id = bucket(&store, "photos").await;
    set_versioning(&store, "photos", Versioning::Enabled).await;
    let put = async |store: &Store| {
        let row = commit(id, "cat", object(&[chunk()]));
        store.commit_object(row).await.unwrap()
    };
    let stays = put(&store).await;
    let watched = store.clone();
    let mut looks = JoinSet::new();
    looks.spawn(async move {
        for _ in 0..LOOKS {
            let found = watched.object_version(id, &key("cat"), stays).await;
            assert!(found.is_ok(), "{found:?}");
            let newest = watched.newest_version(id, &key("cat")).await.unwrap();
            assert!(newest.is_some());
            assert_eq!(listed(&watched, id, stays).await, 1);
        }
    });
    while looks.try_join_next().is_none_or(|look| {
        look.unwrap();
        false
    }) {
        let comes = put(&store).await;
        let always = WriteCondition::Always;
        let name = key("cat");
        let goes = store.delete_version(id, &name, comes, always, Timestamp(30));
        goes.await.unwrap();
    }
}

/// How often a listing of versions shows one of them.
async fn listed(store: &Store, id: BucketId, version: VersionId) -> usize {
    let query = VersionQuery {
        bucket: id,
        prefix: String::new(),
        delimiter: None,
        after: None,
        limit: 9,
    };
    let page = store.list_versions(query).await.unwrap();
    let is_it = |entry: &&ListEntry<metastore::ListedVersion>| match entry {
        ListEntry::Item(item) => item.version.version() == version,
        ListEntry::CommonPrefix(_) => false,
    };
    page.entries.iter().filter(is_it).count()
}
