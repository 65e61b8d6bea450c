//! What crashes and strangers leave in a data directory stays what it was, at the first start after
//! and at all later ones.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use chunkd::{ChunkStore, StoreOptions};
use chunkproto::ChunkId;
use tempfile::TempDir;

use crate::kit::{KIB, data, get, info_of, put, segments, snapshot};

fn open(dir: &Path) -> ChunkStore {
    let mut options = StoreOptions::new(dir);
    options.segment_bytes = 256 << 10;
    ChunkStore::open(options).unwrap()
}

#[tokio::test]
async fn a_torn_record_stays_cut_off_when_the_index_is_lost_later() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let (torn, whole) = (ChunkId::generate(), ChunkId::generate());
    put(&store, torn, &data(10 * KIB, 1)).await.unwrap();
    let cut = snapshot(dir.path());
    // The group's head reached the disk, the end of its record did not.
    let segment = File::options()
        .write(true)
        .open(segments(cut.path()).remove(0))
        .unwrap();
    segment.write_all_at(&[0; 8 * KIB], 8192).unwrap();
    drop(segment);
    drop(open(cut.path()));

    let store = open(cut.path());
    let data = data(100, 2);
    put(&store, whole, &data).await.unwrap();
    drop(store);
    fs::remove_dir_all(cut.path().join("index")).unwrap();
    let listed = open(cut.path()).list(None, 10).await.unwrap();
    assert_eq!(listed, [info_of(whole, &data)]);
}

#[tokio::test]
async fn a_chunk_that_moved_from_a_file_to_a_segment_survives_a_crash() {
    let dir = TempDir::new().unwrap();
    let mut options = StoreOptions::new(dir.path());
    options.segment_max_bytes = 0;
    let store = ChunkStore::open(options).unwrap();
    let (id, data) = (ChunkId::generate(), data(100, 1));
    put(&store, id, &data).await.unwrap();
    store.close().await.unwrap();
    drop(store);

    let store = open(dir.path());
    store.delete(id).await.unwrap();
    put(&store, id, &data).await.unwrap();
    let cut = snapshot(dir.path());
    let store = open(cut.path());
    assert_eq!(store.list(None, 10).await.unwrap(), [info_of(id, &data)]);
    assert!(get(&store, id, None).await.unwrap() == data);
}

#[tokio::test]
async fn a_foreign_segment_is_left_alone_after_clean_stops_too() {
    let (other, dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    put(&open(other.path()), ChunkId::generate(), b"theirs")
        .await
        .unwrap();
    drop(open(dir.path()));
    let theirs = fs::read(segments(other.path()).remove(0)).unwrap();
    let foreign = dir.path().join("segments/00000003");
    fs::write(&foreign, &theirs).unwrap();
    for seed in 0..2 {
        let store = open(dir.path());
        store.close().await.unwrap();
        drop(store);
        let store = open(dir.path());
        for number in 0..20 {
            let data = data(60 * KIB, seed * 20 + number);
            put(&store, ChunkId::generate(), &data).await.unwrap();
        }
        store.close().await.unwrap();
    }
    assert!(fs::read(&foreign).unwrap() == theirs);
}
