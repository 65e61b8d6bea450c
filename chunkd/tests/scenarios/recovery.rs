//! Starts after an unclean stop: what they believe, and what becomes of one that is cut off itself.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chunkd::{ChunkStore, OpenError, Probe, Step, StoreOptions};
use chunkproto::ChunkId;
use tempfile::TempDir;

use crate::kit::{KIB, data, eventually, get, info_of, put, segments, snapshot};
use crate::loop_disk::LoopDisk;

const SEGMENT_BYTES: u32 = 256 << 10;

type Chunks = BTreeMap<ChunkId, Vec<u8>>;

fn open_with(dir: &Path, probe: Probe) -> Result<ChunkStore, OpenError> {
    let mut options = StoreOptions::new(dir);
    options.segment_bytes = SEGMENT_BYTES;
    // Whether groups are there does not hang on the time that a scenario takes.
    options.quiet_after = Duration::from_secs(3600);
    options.probe = probe;
    ChunkStore::open(options)
}

fn open(dir: &Path) -> ChunkStore {
    open_with(dir, Probe::default()).unwrap()
}

/// A probe that lets so many steps of a kind pass, and fails all later ones.
fn passes(step: Step, most: usize) -> Probe {
    let seen = AtomicUsize::new(0);
    Probe::new(move |at| {
        if at == step && seen.fetch_add(1, Ordering::SeqCst) >= most {
            return Err(io::Error::other("made up"));
        }
        Ok(())
    })
}

async fn put_new(store: &ChunkStore, chunks: &mut Chunks, length: usize) -> ChunkId {
    let (id, data) = (ChunkId::generate(), data(length, chunks.len() as u64));
    put(store, id, &data).await.unwrap();
    chunks.insert(id, data);
    id
}

async fn assert_holds_exactly(store: &ChunkStore, chunks: &Chunks) {
    let expected: Vec<_> = chunks.iter().map(|(id, data)| info_of(*id, data)).collect();
    assert_eq!(store.list(None, usize::MAX).await.unwrap(), expected);
    for (id, data) in chunks {
        assert!(get(store, *id, None).await.unwrap() == *data, "{id}");
    }
    assert_eq!(store.state().chunk_count, chunks.len() as u64);
}

/// A directory without an index, as an unclean stop leaves one: chunks in several segments, of which
/// some were deleted.
async fn unclean() -> (TempDir, Chunks) {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let mut chunks = Chunks::new();
    for number in 0..60 {
        let id = put_new(&store, &mut chunks, 20 * KIB).await;
        if number % 3 == 0 {
            store.delete(id).await.unwrap();
            chunks.remove(&id);
        }
        if number % 20 == 0 {
            // Written again after it was deleted.
            put_new(&store, &mut chunks, 50 * KIB).await;
        }
    }
    let again = *chunks.keys().next().unwrap();
    store.delete(again).await.unwrap();
    put(&store, again, &chunks[&again]).await.unwrap();
    drop(store);
    let cut = snapshot(dir.path());
    fs::remove_dir_all(cut.path().join("index")).unwrap();
    (cut, chunks)
}

#[tokio::test]
async fn a_group_that_is_in_memory_and_not_on_the_disk_is_not_believed() {
    let Some(disk) = LoopDisk::new(64) else {
        return;
    };
    let store = open(&disk.data());
    let mut chunks = Chunks::new();
    for _ in 0..3 {
        put_new(&store, &mut chunks, 3 * KIB).await;
    }
    let last = put_new(&store, &mut chunks, 20 * KIB).await;
    drop(store);
    fs::remove_dir_all(disk.data().join("index")).unwrap();
    disk.erase(&chunks.remove(&last).unwrap()[8 * KIB..12 * KIB]);

    let store = open(&disk.data());

    assert_holds_exactly(&store, &chunks).await;
    for id in chunks.keys() {
        store.verify_from_disk(*id).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_entered_before_its_segment_is_durable() {
    let (dir, chunks) = unclean().await;
    let entered = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&entered);
    let probe = Probe::new(move |step| match step {
        Step::SyncFound => Err(io::Error::other("made up")),
        Step::EnterFound => {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
        _ => Ok(()),
    });
    assert!(open_with(dir.path(), probe).is_err());
    assert_eq!(entered.load(Ordering::SeqCst), 0);
    assert_holds_exactly(&open(dir.path()), &chunks).await;
}

#[tokio::test]
async fn a_start_that_is_cut_off_again_and_again_comes_to_the_same_end() {
    let (dir, mut chunks) = unclean().await;
    let mut starts = 1;
    let store = loop {
        match open_with(dir.path(), passes(Step::EnterFound, 1)) {
            Ok(store) => break store,
            Err(_) => starts += 1,
        }
    };
    assert!(starts > 60, "each start entered one more group: {starts}");
    assert_holds_exactly(&store, &chunks).await;
    drop(store);
    let cut = passes(Step::EndRecovery, 0);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert!(open_with(dir.path(), cut).is_err());

    let store = open(dir.path());
    assert_holds_exactly(&store, &chunks).await;
    // What is live was counted: without a chunk nothing keeps a segment in use, but the last one.
    for (id, _) in std::mem::take(&mut chunks) {
        store.delete(id).await.unwrap();
    }
    eventually("free segments", || in_use(dir.path()) <= 1).await;
    drop(store);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert_holds_exactly(&open(dir.path()), &chunks).await;
}

/// Segments whose header says that they are in use.
fn in_use(dir: &Path) -> usize {
    let is_in_use = |path: &std::path::PathBuf| {
        let mut byte = [0];
        let read = File::open(path).and_then(|file| file.read_exact_at(&mut byte, 10));
        read.is_ok() && byte[0] == 1
    };
    segments(dir).iter().filter(|path| is_in_use(path)).count()
}

#[tokio::test]
async fn a_file_whose_making_was_cut_off_is_not_taken_for_a_segment() {
    let (dir, mut chunks) = unclean().await;
    for (name, length) in [("000000f0", 0), ("000000f1", 4096), ("000000f2", 100_000)] {
        let file = File::create(dir.path().join("segments").join(name)).unwrap();
        file.set_len(length).unwrap();
    }
    let store = open(dir.path());
    // More than the segments that are free by rights would take.
    for _ in 0..40 {
        put_new(&store, &mut chunks, 60 * KIB).await;
    }
    assert_holds_exactly(&store, &chunks).await;
    drop(store);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert_holds_exactly(&open(dir.path()), &chunks).await;
}
