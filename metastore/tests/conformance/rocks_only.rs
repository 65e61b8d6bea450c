//! What only the store on disk promises: it is all there after a reopen, and a directory that
//! cannot be served is refused in words, untouched.

use std::fs;
use std::path::Path;
use std::sync::{Arc, mpsc};

use metastore::{
    CommitObject, DeleteOutcome, MetaError, OpenError, Quota, RocksMetastore, RocksOptions,
    WriteCondition,
};

use crate::fixtures::{
    LATER, Store, begin, bucket, commit, completed, garbage, key, name, object, put, put_part,
    query, rocks, shown,
};

fn refusal(path: &Path) -> OpenError {
    match RocksMetastore::open(path) {
        Ok(_) => panic!("the directory should be refused"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn everything_is_there_after_a_reopen() {
    let directory = tempfile::tempdir().unwrap();
    let store = rocks(directory.path());
    let (id, completed_upload, part) = completed(&store, "film").await;
    put(&store, id, "cat").await;
    let current = put(&store, id, "cat").await;
    let upload = begin(&store, id, "dog").await;
    put_part(&store, id, "dog", upload, 1).await;
    let queued = garbage(&store).await;
    drop(store);

    let store = rocks(directory.path());
    assert_eq!(store.bucket(&name("photos")).await.unwrap().id, id);
    assert_eq!(store.object(id, &key("cat")).await.unwrap(), current);
    assert_eq!(
        shown(&store.list_objects(query(id, "", "/")).await.unwrap()),
        ["cat", "film"]
    );
    assert_eq!(
        store
            .list_parts(completed_upload, None, 9)
            .await
            .unwrap()
            .parts,
        [part]
    );
    assert!(store.part_set(completed_upload).await.is_ok());
    assert!(store.upload(id, &key("dog"), upload).await.is_ok());
    assert_eq!(garbage(&store).await, queued);
    assert!(matches!(
        store.object(id, &key("dog")).await,
        Err(MetaError::NoSuchKey(_))
    ));
}

#[tokio::test]
async fn a_cold_row_is_read_from_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = rocks(directory.path());
    let id = bucket(&store, "photos").await;
    let mut rows = Vec::new();
    for n in 0..200 {
        rows.push(put(&store, id, &format!("{n}")).await);
    }
    drop(store);
    // Recovery writes the log's rows out to files, of which nothing is in the cache.
    let store = rocks(directory.path());
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(store.object(id, &key(&format!("{n}"))).await.unwrap(), *row);
    }
    assert!(store.object(id, &key("missing")).await.is_err());
}

#[tokio::test]
async fn a_cold_row_is_seen_by_the_condition_of_a_write() {
    let directory = tempfile::tempdir().unwrap();
    let store = rocks(directory.path());
    let id = bucket(&store, "photos").await;
    put(&store, id, "cat").await;
    drop(store);
    let store = rocks(directory.path());
    let absent = CommitObject {
        condition: WriteCondition::Absent,
        ..commit(id, "cat", object(&[]))
    };
    assert!(matches!(
        store.commit_object(absent).await,
        Err(MetaError::PreconditionFailed)
    ));
}

#[test]
fn writes_of_warm_rows_need_no_thread_but_the_committers() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (release, occupied) = mpsc::channel::<()>();
    runtime.block_on(async {
        let store = rocks(directory.path());
        let id = bucket(&store, "photos").await;
        let blocked = tokio::task::spawn_blocking(move || occupied.recv());
        let (cat, dog) = (key("cat"), key("dog"));
        put(&store, id, "cat").await;
        let upload = begin(&store, id, "dog").await;
        put_part(&store, id, "dog", upload, 1).await;
        store.abort_upload(id, &dog, upload, LATER).await.unwrap();
        let delete = store.delete_object(id, &cat, WriteCondition::Present, LATER);
        assert_eq!(delete.await.unwrap(), DeleteOutcome::Deleted);
        drop(release);
        assert!(blocked.await.unwrap().is_err());
    });
}

#[test]
fn a_store_outlives_its_runtime_and_closes() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = rocks(directory.path());
    let id = runtime.block_on(bucket(&store, "photos"));
    let (first, acknowledged) = mpsc::channel();
    for task in 0..16 {
        let (store, first) = (store.clone(), first.clone());
        runtime.spawn(async move {
            for n in 0.. {
                put(&store, id, &format!("{task}/{n}")).await;
                first.send(()).ok();
            }
        });
    }
    acknowledged.recv().unwrap();
    // Commits are under way; the last of the tasks may drop the store on a thread of the runtime.
    drop(store);
    drop(runtime);
    let store = RocksMetastore::open(directory.path());
    assert!(store.is_ok(), "{:?}", store.err());
}

#[test]
fn a_directory_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _first = rocks(directory.path());
    let error = refusal(directory.path());
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(error.to_string().contains("stop that one first"), "{error}");
}

#[test]
fn a_closed_store_can_be_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    drop(rocks(directory.path()));
    let options = RocksOptions {
        block_cache_bytes: 1 << 20,
        ..RocksOptions::default()
    };
    assert!(RocksMetastore::open_with(directory.path(), &options).is_ok());
}

#[test]
fn a_store_of_another_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(rocks(directory.path()));
    fs::write(directory.path().join("format"), "sextant metastore 2\n").unwrap();
    match refusal(directory.path()) {
        OpenError::OtherFormat { found, .. } => assert_eq!(found, "sextant metastore 2"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_directory_of_something_else_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.txt"), "chapter one").unwrap();
    assert!(matches!(
        refusal(directory.path()),
        OpenError::Foreign { .. }
    ));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_store_whose_database_is_gone_is_not_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    drop(rocks(directory.path()));
    fs::remove_file(directory.path().join("db/CURRENT")).unwrap();
    assert!(matches!(
        refusal(directory.path()),
        OpenError::Damaged { .. }
    ));
}

/// What `format` says while a first start is under way.
const BEING_MADE: &str = "sextant metastore 1, being made\n";

/// A step at which a first start may be cut off: what it left in the directory.
type Step = fn(&Path);

const STEPS_OF_A_FIRST_START: [(&str, Step); 6] = [
    ("locked", |path| {
        fs::write(path.join("lock"), "").unwrap();
    }),
    ("half a marker", |path| {
        fs::write(path.join("lock"), "").unwrap();
        fs::write(path.join("format.new"), &BEING_MADE[..7]).unwrap();
    }),
    ("marked", |path| {
        fs::write(path.join("format"), BEING_MADE).unwrap();
    }),
    ("half a database", |path| {
        drop(rocks(path));
        fs::write(path.join("format"), BEING_MADE).unwrap();
        fs::remove_file(path.join("db/CURRENT")).unwrap();
        fs::write(path.join("db/MANIFEST-000001"), "torn").unwrap();
    }),
    ("a database", |path| {
        drop(rocks(path));
        fs::write(path.join("format"), BEING_MADE).unwrap();
    }),
    ("half a second marker", |path| {
        drop(rocks(path));
        fs::write(path.join("format"), BEING_MADE).unwrap();
        fs::write(path.join("format.new"), "sext").unwrap();
    }),
];

#[tokio::test]
async fn a_first_start_that_was_cut_off_is_done_again() {
    for (step, leave) in STEPS_OF_A_FIRST_START {
        let directory = tempfile::tempdir().unwrap();
        leave(directory.path());
        let store = RocksMetastore::open(directory.path());
        let store: Store = Arc::new(store.unwrap_or_else(|error| panic!("{step}: {error}")));
        let id = bucket(&store, "photos").await;
        drop(store);
        let store = rocks(directory.path());
        assert_eq!(
            store.bucket(&name("photos")).await.unwrap().id,
            id,
            "{step}"
        );
    }
}

#[test]
fn a_database_without_a_marker_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(rocks(directory.path()));
    fs::remove_file(directory.path().join("format")).unwrap();
    assert!(matches!(
        refusal(directory.path()),
        OpenError::Foreign { .. }
    ));
    assert!(directory.path().join("db/CURRENT").exists());
}

#[test]
fn a_damaged_manifest_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(rocks(directory.path()));
    fs::write(directory.path().join("db/CURRENT"), "nonsense\n").unwrap();
    assert!(matches!(
        refusal(directory.path()),
        OpenError::Damaged { .. }
    ));
}

#[tokio::test]
async fn a_torn_record_at_the_end_of_the_log_loses_nothing_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = rocks(directory.path());
    let id = bucket(&store, "photos").await;
    put(&store, id, "cat").await;
    put(&store, id, "dog").await;
    drop(store);
    let log = newest_log(directory.path());
    let length = fs::metadata(&log).unwrap().len();
    fs::OpenOptions::new()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(length - 3)
        .unwrap();
    let store = rocks(directory.path());
    assert_eq!(
        shown(&store.list_objects(query(id, "", "/")).await.unwrap()),
        ["cat"]
    );
}

/// The log that the last rows went to.
fn newest_log(path: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(path.join("db"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|end| end == "log"))
        .max()
        .unwrap()
}

/// Takes away what an earlier version would not have written: what buckets hold.
fn forget_usage(path: &Path) {
    let database = path.join("db");
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, &database).unwrap();
    let db = rocksdb::DB::open_cf(&options, &database, families).unwrap();
    let family = db.cf_handle("usage").unwrap();
    let keys: Vec<_> = db
        .iterator_cf(family, rocksdb::IteratorMode::Start)
        .map(|row| row.unwrap().0)
        .collect();
    assert!(!keys.is_empty(), "there is something to forget");
    for key in keys {
        db.delete_cf(family, key).unwrap();
    }
}

#[tokio::test]
async fn what_a_bucket_holds_and_may_hold_outlives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = rocks(directory.path());
    let id = bucket(&store, "photos").await;
    put(&store, id, "cat").await;
    let quota = Quota {
        objects_max: Some(1),
        ..Quota::default()
    };
    store.set_quota(id, quota).await.unwrap();
    let before = store.bucket_usage(id).await.unwrap();
    drop(store);
    let store = rocks(directory.path());
    assert_eq!(store.bucket_usage(id).await.unwrap(), before);
    let second = store.commit_object(commit(id, "dog", object(&[]))).await;
    assert!(
        matches!(second, Err(MetaError::QuotaExceeded { .. })),
        "{second:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_an_earlier_version_is_counted_while_it_is_written_to() {
    const OBJECTS: usize = 3000;
    let directory = tempfile::tempdir().unwrap();
    let store = rocks(directory.path());
    let id = bucket(&store, "photos").await;
    let size_bytes = put(&store, id, "0").await.size_bytes;
    for at in 1..OBJECTS {
        put(&store, id, &at.to_string()).await;
    }
    drop(store);
    forget_usage(directory.path());
    let store = rocks(directory.path());
    assert_eq!(store.bucket_usage(id).await.unwrap(), None);

    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for at in 0..300 {
                let gone = key(&at.to_string());
                let now = metastore::Timestamp(40);
                let deleted = store
                    .delete_object(id, &gone, WriteCondition::Always, now)
                    .await;
                assert_eq!(deleted.unwrap(), DeleteOutcome::Deleted);
                put(&store, id, &format!("new-{at}-a")).await;
                put(&store, id, &format!("new-{at}-b")).await;
            }
        }
    });
    store.count_bucket(id).await.unwrap();
    writer.await.unwrap();
    let used = store.bucket_usage(id).await.unwrap().unwrap().used;
    let objects = OBJECTS as u64 + 300;
    assert_eq!((used.objects, used.bytes), (objects, objects * size_bytes));
}
