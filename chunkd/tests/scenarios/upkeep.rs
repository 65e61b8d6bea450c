//! Keeping segments at hand: on full disks, of several lengths, and when one of them cannot be freed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use chunkd::{ChunkNode, ChunkStore, NodeOptions, StoreOptions};
use chunkproto::{ChunkError, ChunkId};
use futures::future::join_all;
use tempfile::TempDir;

use crate::kit::{KIB, data, eventually, get, info_of, put, segments};
use crate::loop_disk::LoopDisk;

fn open(dir: &Path, settings: impl FnOnce(&mut StoreOptions)) -> ChunkStore {
    let mut options = StoreOptions::new(dir);
    options.segment_bytes = 512 << 10;
    settings(&mut options);
    ChunkStore::open(options).unwrap()
}

type Chunks = BTreeMap<ChunkId, Vec<u8>>;

async fn put_all(store: &ChunkStore, lengths: &[usize]) -> Chunks {
    let chunks: Chunks = lengths
        .iter()
        .map(|length| (ChunkId::generate(), data(*length, *length as u64)))
        .collect();
    for receipt in join_all(chunks.iter().map(|(id, data)| put(store, *id, data))).await {
        receipt.unwrap();
    }
    chunks
}

async fn assert_holds_exactly(store: &ChunkStore, chunks: &Chunks) {
    let expected: Vec<_> = chunks.iter().map(|(id, data)| info_of(*id, data)).collect();
    assert_eq!(store.list(None, usize::MAX).await.unwrap(), expected);
    for (id, data) in chunks {
        assert!(get(store, *id, None).await.unwrap() == *data, "{id}");
    }
}

/// Whether the header of a segment says that it is in use.
fn is_in_use(segment: &Path) -> bool {
    let mut byte = [0];
    let read = File::open(segment).and_then(|file| file.read_exact_at(&mut byte, 10));
    read.is_ok() && byte[0] == 1
}

#[tokio::test]
async fn a_segment_that_is_shorter_than_a_record_does_not_get_it() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path(), |options| options.segment_bytes = 64 << 10);
    for id in put_all(&store, &[10 * KIB; 40]).await.keys() {
        store.delete(*id).await.unwrap();
    }
    eventually("free segments", || {
        segments(dir.path())
            .iter()
            .filter(|path| is_in_use(path))
            .count()
            <= 1
    })
    .await;
    store.close().await.unwrap();
    drop(store);

    let store = open(dir.path(), |options| options.segment_bytes = 1 << 20);
    let chunks = put_all(&store, &[200 * KIB; 6]).await;

    drop(store);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert_holds_exactly(&open(dir.path(), |_| {}), &chunks).await;
}

#[tokio::test]
async fn one_segment_that_cannot_be_freed_keeps_no_other_from_it() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path(), |_| {});
    let chunks = put_all(&store, &[60 * KIB; 60]).await;
    let first = segments(dir.path()).remove(0);
    fs::remove_file(&first).unwrap();
    fs::create_dir(&first).unwrap();
    for id in chunks.keys() {
        store.delete(*id).await.unwrap();
    }
    eventually("the others free", || {
        let others = segments(dir.path());
        others[1..].iter().filter(|path| is_in_use(path)).count() <= 1
    })
    .await;
    eventually("an error that was told", || store.state().disk_errors > 0).await;
    assert!(store.state().writable);
}

#[tokio::test]
async fn a_disk_at_its_limit_deletes_as_long_as_the_filesystem_has_room() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path(), |_| {});
    let mut chunks = Chunks::new();
    let mut doomed = Vec::new();
    for _ in 0..12 {
        chunks.append(&mut put_all(&store, &[100 * KIB; 4]).await);
        let mut short: Vec<usize> = vec![0; 100];
        short
            .iter_mut()
            .enumerate()
            .for_each(|(number, length)| *length = 100 + number);
        doomed.extend(put_all(&store, &short).await.into_keys());
    }
    store.close().await.unwrap();
    drop(store);

    let store = open(dir.path(), |options| options.full_percent = 0);
    for id in doomed {
        store.delete(id).await.unwrap();
    }
    assert_holds_exactly(&store, &chunks).await;
}

#[tokio::test]
async fn a_full_disk_says_so_when_no_small_chunk_fits_any_more() {
    let Some(disk) = LoopDisk::new(48) else {
        return;
    };
    let store = open(&disk.data(), |options| options.segment_bytes = 8 << 20);
    let refused = loop {
        if let Err(error) = put(&store, ChunkId::generate(), &data(50 * KIB, 1)).await {
            break error;
        }
    };
    assert!(matches!(refused, ChunkError::Full(_)), "{refused}");
    assert!(!store.state().writable);
    assert!(!store.has_room_for(50 << 10));
}

#[tokio::test]
async fn small_chunks_go_to_the_next_disk_when_one_is_full() {
    let (Some(small), Some(large)) = (LoopDisk::new(48), LoopDisk::new(160)) else {
        return;
    };
    let mut options = NodeOptions::new([small.data(), large.data()]);
    options.store.segment_bytes = 4 << 20;
    let node = ChunkNode::open(options).unwrap();
    // Twice what the small one takes of them.
    for seed in 0..1000 {
        let (id, data) = (ChunkId::generate(), data(100 * KIB, seed));
        put(&node, id, &data).await.unwrap();
    }
}
