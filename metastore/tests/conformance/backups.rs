//! Backups of the store on disk: a checkpoint and the log behind it make the same store again, and
//! a log with a hole is not used behind the hole.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use metastore::{LogRead, RestoredFiles, RocksBackup, RocksMetastore};

use crate::fixtures::{Store, bucket, put, query, rocks, shown};

/// A store with the way to back it up.
fn backed_up(path: &Path) -> (Store, RocksBackup) {
    let store = Arc::new(RocksMetastore::open(path).unwrap());
    let backup = store.backup();
    (store, backup)
}

/// The log behind `after` in pieces of one write or a few.
async fn log(backup: &RocksBackup, mut after: u64) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    while let LogRead::Piece(piece) = backup.log_after(after, 1).await.unwrap() {
        assert_eq!(piece.first(), after + 1);
        after = piece.last();
        pieces.push(piece.into_bytes());
    }
    pieces
}

/// Puts the checkpoint's files into a new directory.
async fn copied(backup: &RocksBackup, to: &Path) -> (RestoredFiles, u64) {
    let checkpoint = backup.checkpoint().await.unwrap();
    let files = RestoredFiles::begin(to).unwrap();
    for file in &checkpoint.files {
        let target = files.path_of(&file.name).unwrap();
        fs::copy(checkpoint.dir.join(&file.name), target).unwrap();
    }
    backup.remove_checkpoint().await.unwrap();
    (files, checkpoint.covers)
}

#[tokio::test]
async fn a_store_keeps_its_identity_and_a_restored_one_has_another() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("a"), directory.path().join("b"));
    let (store, backup) = backed_up(&first);
    let identity = backup.identity();
    let (files, _) = copied(&backup, &second).await;
    files.open().unwrap().finish().unwrap();
    drop((store, backup));
    let (_store, backup) = backed_up(&first);
    assert_eq!(backup.identity(), identity);
    let (_store, backup) = backed_up(&second);
    assert_ne!(backup.identity(), identity);
}

#[tokio::test]
async fn a_checkpoint_and_its_log_make_the_same_store_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, backup) = backed_up(&directory.path().join("a"));
    let id = bucket(&store, "photos").await;
    put(&store, id, "before").await;
    let (files, covers) = copied(&backup, &directory.path().join("b")).await;
    for key in ["c", "a", "b"] {
        put(&store, id, key).await;
    }
    let last = put(&store, id, "a").await;
    let pieces = log(&backup, covers).await;

    let mut restored = files.open().unwrap();
    for piece in &pieces {
        assert!(restored.apply(piece).unwrap());
    }
    // What is there already is passed over.
    assert!(restored.apply(&pieces[0]).unwrap());
    restored.finish().unwrap();
    let restored = rocks(&directory.path().join("b"));
    let listed = restored.list_objects(query(id, "", "")).await.unwrap();
    assert_eq!(shown(&listed), ["a", "b", "before", "c"]);
    let key = crate::fixtures::key("a");
    assert_eq!(restored.object(id, &key).await.unwrap(), last);
}

#[tokio::test]
async fn a_log_with_a_hole_counts_up_to_the_hole() {
    let directory = tempfile::tempdir().unwrap();
    let (store, backup) = backed_up(&directory.path().join("a"));
    let id = bucket(&store, "photos").await;
    let (files, covers) = copied(&backup, &directory.path().join("b")).await;
    for key in ["a", "b", "c"] {
        put(&store, id, key).await;
    }
    let pieces = log(&backup, covers).await;
    let mut restored = files.open().unwrap();
    assert!(restored.apply(&pieces[0]).unwrap());
    assert!(!restored.apply(&pieces[2]).unwrap());
    assert!(!restored.apply(&pieces[1]).unwrap(), "the hole stays one");
    assert!(restored.apply(b"no piece").is_err());
    restored.finish().unwrap();
    let restored = rocks(&directory.path().join("b"));
    let listed = restored.list_objects(query(id, "", "")).await.unwrap();
    assert_eq!(shown(&listed), ["a"]);
}

#[tokio::test]
async fn a_store_that_is_being_restored_is_no_store_yet() {
    let directory = tempfile::tempdir().unwrap();
    let (store, backup) = backed_up(&directory.path().join("a"));
    bucket(&store, "photos").await;
    let path = directory.path().join("b");
    let (files, _) = copied(&backup, &path).await;
    drop(files);
    // Whoever opens it meanwhile finds what a first start that was cut off leaves: nothing.
    assert!(
        rocks(&path)
            .list_buckets("", None, 9)
            .await
            .unwrap()
            .buckets
            .is_empty()
    );
    assert!(
        RestoredFiles::begin(&path).is_err(),
        "a store is not overwritten"
    );
}

#[tokio::test]
async fn a_log_that_is_no_longer_kept_is_reported_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let (store, backup) = backed_up(&path);
    let id = bucket(&store, "photos").await;
    put(&store, id, "a").await;
    let _ = copied(&backup, &directory.path().join("b")).await;
    put(&store, id, "b").await;
    let newest = match backup.log_after(0, usize::MAX).await.unwrap() {
        LogRead::Piece(piece) => piece.last(),
        other => panic!("{other:?}"),
    };
    drop((store, backup));
    fs::remove_dir_all(path.join("db/archive")).unwrap();
    let (_store, backup) = backed_up(&path);
    assert_eq!(backup.log_after(0, 1).await.unwrap(), LogRead::Lost);
    assert_eq!(
        backup.log_after(newest + 1000, 1).await.unwrap(),
        LogRead::Nothing
    );
}

#[test]
fn names_that_rocksdb_does_not_give_lead_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let files = RestoredFiles::begin(&directory.path().join("b")).unwrap();
    assert!(files.path_of("000012.sst").is_some());
    for name in ["", "..", "../x", "a/b", ".hidden", "a\0b"] {
        assert!(files.path_of(name).is_none(), "{name}");
    }
}
