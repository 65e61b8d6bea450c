//! Small chunks share segments: what that promises across restarts, deletes, compaction and full disks.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chunkd::{ChunkStore, Probe, Step, StoreOptions};
use chunkproto::{ByteRange, ChunkError, ChunkId};
use futures::future::join_all;
use tempfile::TempDir;

use crate::kit::{
    KIB, data, eventually, fresh, get, info_of, names_in, put, receipt_of, segments, snapshot,
};

/// Length of the segments here: records up to a quarter of it go to them.
pub const SEGMENT_BYTES: u32 = 512 << 10;

pub fn open_small(dir: &Path) -> ChunkStore {
    let mut options = StoreOptions::new(dir);
    options.segment_bytes = SEGMENT_BYTES;
    ChunkStore::open(options).unwrap()
}

pub fn fresh_small() -> (TempDir, ChunkStore) {
    let dir = TempDir::new().unwrap();
    let store = open_small(dir.path());
    (dir, store)
}

pub type Chunks = BTreeMap<ChunkId, Vec<u8>>;

/// Puts chunks of these lengths, all at a time.
pub async fn put_all(store: &ChunkStore, lengths: impl IntoIterator<Item = usize>) -> Chunks {
    let chunks: Chunks = lengths
        .into_iter()
        .enumerate()
        .map(|(seed, length)| (ChunkId::generate(), data(length, seed as u64)))
        .collect();
    let puts = chunks.iter().map(|(id, data)| put(store, *id, data));
    for (receipt, data) in join_all(puts).await.into_iter().zip(chunks.values()) {
        assert_eq!(receipt.unwrap(), receipt_of(data));
    }
    chunks
}

pub async fn assert_holds_exactly(store: &ChunkStore, chunks: &Chunks) {
    let listed = store.list(None, usize::MAX).await.unwrap();
    let expected: Vec<_> = chunks.iter().map(|(id, data)| info_of(*id, data)).collect();
    assert_eq!(listed, expected);
    for (id, data) in chunks {
        assert!(get(store, *id, None).await.unwrap() == *data, "{id}");
    }
    let state = store.state();
    let bytes: usize = chunks.values().map(Vec::len).sum();
    assert_eq!(
        (state.chunk_count, state.used_bytes),
        (chunks.len() as u64, bytes as u64)
    );
}

pub const LENGTHS: [usize; 8] = [
    1,
    100,
    4 * KIB,
    64 * KIB,
    65 * KIB,
    100 * KIB,
    127 * KIB,
    300 * KIB,
];

#[tokio::test]
async fn small_chunks_have_no_files_of_their_own() {
    let (dir, store) = fresh();
    let chunks = put_all(&store, LENGTHS).await;
    // One in use and one in reserve.
    assert!(segments(dir.path()).len() <= 2);
    assert_holds_exactly(&store, &chunks).await;
    for id in chunks.keys() {
        let in_a_file = names_in(&dir.path().join(format!("chunks/{:02x}", id.as_bytes()[15])));
        assert!(in_a_file.is_empty(), "{in_a_file:?}");
    }
}

#[tokio::test]
async fn ranges_of_short_and_long_records_give_exactly_their_bytes() {
    let (_dir, store) = fresh();
    for (id, data) in put_all(&store, [5 * KIB, 700 * KIB]).await {
        let length = data.len() as u64;
        for (start, end) in [(0, 1), (length - 1, length), (1000, 5000), (0, length)] {
            let got = get(&store, id, Some(ByteRange { start, end }))
                .await
                .unwrap();
            assert!(got == data[start as usize..end as usize], "{start}..{end}");
        }
        let past = Some(ByteRange {
            start: 0,
            end: length + 1,
        });
        assert!(matches!(
            get(&store, id, past).await,
            Err(ChunkError::Invalid(_))
        ));
    }
}

#[tokio::test]
async fn all_stops_leave_what_was_acknowledged() {
    let (dir, store) = fresh_small();
    let mut chunks = put_all(&store, LENGTHS.into_iter().cycle().take(64)).await;
    let deleted: Vec<_> = chunks.keys().copied().step_by(3).collect();
    for id in deleted {
        store.delete(id).await.unwrap();
        chunks.remove(&id);
    }
    let cut = snapshot(dir.path());
    store.close().await.unwrap();
    drop(store);
    assert_holds_exactly(&open_small(dir.path()), &chunks).await;
    assert_holds_exactly(&open_small(cut.path()), &chunks).await;
    drop(open_small(cut.path()));
    fs::remove_dir_all(cut.path().join("index")).unwrap();
    assert_holds_exactly(&open_small(cut.path()), &chunks).await;
}

#[tokio::test]
async fn what_was_deleted_and_written_again_is_there_after_every_stop() {
    let (dir, store) = fresh_small();
    let chunks = put_all(&store, [10 * KIB, 100 * KIB]).await;
    for (id, data) in &chunks {
        store.delete(*id).await.unwrap();
        assert!(matches!(
            get(&store, *id, None).await,
            Err(ChunkError::NotFound(_))
        ));
        put(&store, *id, data).await.unwrap();
    }
    let cut = snapshot(dir.path());
    assert_holds_exactly(&open_small(cut.path()), &chunks).await;
    fs::remove_dir_all(cut.path().join("index")).unwrap();
    assert_holds_exactly(&open_small(cut.path()), &chunks).await;
}

#[tokio::test]
async fn segments_that_die_by_themselves_are_used_again_without_a_move() {
    let dir = TempDir::new().unwrap();
    let moves = Arc::new(AtomicUsize::new(0));
    let mut options = StoreOptions::new(dir.path());
    options.segment_bytes = SEGMENT_BYTES;
    options.quiet_after = Duration::from_secs(3600);
    let counted = Arc::clone(&moves);
    options.probe = Probe::new(move |step| {
        counted.fetch_add(usize::from(step == Step::MoveRecord), Ordering::SeqCst);
        Ok(())
    });
    let store = ChunkStore::open(options).unwrap();
    let mut kept = VecDeque::new();
    // 40 MiB go through, 2 MiB at a time.
    for seed in 0..1000 {
        let (id, data) = (ChunkId::generate(), data(40 * KIB, seed));
        put(&store, id, &data).await.unwrap();
        kept.push_back(id);
        if kept.len() > 50 {
            store.delete(kept.pop_front().unwrap()).await.unwrap();
        }
    }
    eventually("few segments", || segments(dir.path()).len() <= 20).await;
    assert_eq!(moves.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_segment_whose_end_was_cut_off_by_an_error_is_freed_later() {
    let dir = TempDir::new().unwrap();
    let failures = Arc::new(AtomicUsize::new(0));
    let mut options = StoreOptions::new(dir.path());
    options.segment_bytes = SEGMENT_BYTES;
    let counted = Arc::clone(&failures);
    options.probe = Probe::new(move |step| {
        let fails = step == Step::FreeSegment && counted.fetch_add(1, Ordering::SeqCst) == 0;
        if fails {
            Err(io::Error::other("made up"))
        } else {
            Ok(())
        }
    });
    let store = ChunkStore::open(options).unwrap();
    let chunks = put_all(&store, [40 * KIB; 30]).await;
    for id in chunks.keys() {
        store.delete(*id).await.unwrap();
    }
    eventually("another try", || failures.load(Ordering::SeqCst) > 1).await;
}

#[tokio::test]
async fn segments_with_little_left_are_emptied_and_used_again() {
    let (dir, store) = fresh_small();
    let mut chunks = Chunks::new();
    for _ in 0..6 {
        let mut round = put_all(&store, [40 * KIB; 60]).await;
        // Every seventh stays.
        for (number, id) in round
            .keys()
            .copied()
            .collect::<Vec<_>>()
            .into_iter()
            .enumerate()
        {
            if number % 7 > 0 {
                store.delete(id).await.unwrap();
                round.remove(&id);
            }
        }
        chunks.append(&mut round);
    }
    // 14 MiB were written, 2 MiB are left.
    let files = || segments(dir.path()).len();
    eventually("few segments", || files() <= 16).await;
    assert_holds_exactly(&store, &chunks).await;
    drop(store); // or it would change while it is copied
    let cut = snapshot(dir.path());
    assert_holds_exactly(&open_small(cut.path()), &chunks).await;
    fs::remove_dir_all(cut.path().join("index")).unwrap();
    assert_holds_exactly(&open_small(cut.path()), &chunks).await;
}

#[tokio::test]
async fn a_full_disk_takes_no_chunks_and_still_deletes() {
    let dir = TempDir::new().unwrap();
    let store = open_small(dir.path());
    let mut chunks = put_all(&store, [100 * KIB; 12]).await;
    store.close().await.unwrap();
    drop(store);
    let mut options = StoreOptions::new(dir.path());
    options.segment_bytes = SEGMENT_BYTES;
    options.full_percent = 0;
    let store = ChunkStore::open(options).unwrap();
    let refused = loop {
        let (id, data) = (ChunkId::generate(), data(100 * KIB, 1));
        match put(&store, id, &data).await {
            Ok(_) => chunks.insert(id, data),
            Err(error) => break error,
        };
    };
    assert!(matches!(refused, ChunkError::Full(_)), "{refused}");
    for id in chunks.keys().copied().collect::<Vec<_>>() {
        store.delete(id).await.unwrap();
    }
    assert_holds_exactly(&store, &Chunks::new()).await;
    // What was freed takes new chunks, although the filesystem is as full as before.
    eventually("room again", || store.state().writable).await;
    let chunks = put_all(&store, [100 * KIB; 2]).await;
    assert_holds_exactly(&store, &chunks).await;
}

#[tokio::test]
async fn foreign_and_truncated_segments_are_left_alone() {
    let (dir, store) = fresh_small();
    let chunks = put_all(&store, [10 * KIB; 3]).await;
    let (other_dir, other) = fresh_small();
    put_all(&other, [10 * KIB; 3]).await;
    let cut = snapshot(dir.path());
    fs::remove_dir_all(cut.path().join("index")).unwrap();
    let foreign = segments(other_dir.path()).remove(0);
    fs::copy(&foreign, cut.path().join("segments/00000009")).unwrap();
    fs::write(cut.path().join("segments/00000007"), "no segment").unwrap();
    fs::write(cut.path().join("segments/README"), "no segment").unwrap();
    let whole = segments(cut.path()).remove(0);
    File::options()
        .write(true)
        .open(&whole)
        .unwrap()
        .set_len(100_000)
        .unwrap();

    let store = open_small(cut.path());
    assert_holds_exactly(&store, &chunks).await;
    let more = put_all(&store, [100 * KIB; 20]).await;
    let all = chunks.into_iter().chain(more).collect();
    assert_holds_exactly(&store, &all).await;
    assert!(fs::read(cut.path().join("segments/00000009")).unwrap() == fs::read(foreign).unwrap());
    let kept = fs::read_to_string(cut.path().join("segments/00000007")).unwrap();
    assert_eq!(kept, "no segment");
}

#[tokio::test]
async fn a_segment_that_nobody_knows_any_more_is_not_written_over() {
    let (dir, store) = fresh_small();
    put_all(&store, [10 * KIB; 3]).await;
    store.close().await.unwrap();
    drop(store);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let path = segments(dir.path()).remove(0);
    let file = File::options().write(true).open(&path).unwrap();
    let end = u64::from(SEGMENT_BYTES) - 4096;
    for header_at in [0, end] {
        file.write_all_at(&[0xff; 4096], header_at).unwrap();
    }
    let before = fs::read(&path).unwrap();

    let store = open_small(dir.path());
    let more = put_all(&store, [100 * KIB; 20]).await;

    assert_holds_exactly(&store, &more).await;
    assert!(fs::read(&path).unwrap() == before);
}
