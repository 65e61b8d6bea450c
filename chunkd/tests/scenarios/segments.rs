//! Small chunks share segments: what that promises across restarts, deletes, compaction, full disks,
//! torn ends and bit rot.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chunkd::{ChunkStore, Probe, Step, StoreOptions};
use chunkproto::{ByteRange, ChunkError, ChunkId};
use futures::future::join_all;
use tempfile::TempDir;

use crate::kit::{
    KIB, copy_dir, data, eventually, fresh, get, info_of, names_in, put, receipt_of, segments,
    snapshot,
};

/// Length of the segments here: records up to a quarter of it go to them.
const SEGMENT_BYTES: u32 = 512 << 10;

fn open_small(dir: &Path) -> ChunkStore {
    let mut options = StoreOptions::new(dir);
    options.segment_bytes = SEGMENT_BYTES;
    ChunkStore::open(options).unwrap()
}

fn fresh_small() -> (TempDir, ChunkStore) {
    let dir = TempDir::new().unwrap();
    let store = open_small(dir.path());
    (dir, store)
}

type Chunks = BTreeMap<ChunkId, Vec<u8>>;

/// Puts chunks of these lengths, all at a time.
async fn put_all(store: &ChunkStore, lengths: impl IntoIterator<Item = usize>) -> Chunks {
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

async fn assert_holds_exactly(store: &ChunkStore, chunks: &Chunks) {
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

const LENGTHS: [usize; 8] = [
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

/// Where the group that was written last begins, and the bytes of the segment's used part.
fn last_group(segment: &Path) -> (usize, Vec<u8>) {
    let bytes = fs::read(segment).unwrap();
    let heads = (0..bytes.len())
        .step_by(4096)
        .filter(|at| bytes[*at..].starts_with(b"SXTGROUP"));
    (heads.max().unwrap(), bytes)
}

#[tokio::test]
async fn a_torn_end_is_cut_to_what_was_acknowledged_before() {
    let (dir, store) = fresh_small();
    let before = put_all(&store, [3 * KIB; 3]).await;
    let (id, torn) = (ChunkId::generate(), data(100, 9));
    put(&store, id, &torn).await.unwrap();
    let cut = snapshot(dir.path());
    fs::remove_dir_all(cut.path().join("index")).unwrap();
    let segment = segments(cut.path()).remove(0);
    let (begin, bytes) = last_group(&segment);
    let used = bytes[begin..begin + 4096]
        .iter()
        .rposition(|byte| *byte != 0);
    let end = begin + used.unwrap();

    // Some byte of the last group is turned, or is the first that did not reach the disk. The unit tests in
    // segment/tearing.rs have every byte.
    for at in (begin..=end).step_by(29) {
        for truncate in [false, true] {
            let spoiled = TempDir::new().unwrap();
            copy_dir(cut.path(), spoiled.path());
            let file = File::options()
                .write(true)
                .open(segments(spoiled.path()).remove(0));
            let file = file.unwrap();
            if truncate {
                file.write_all_at(&vec![0; end + 1 - at], at as u64)
                    .unwrap();
            } else {
                file.write_all_at(&[!bytes[at]], at as u64).unwrap();
            }
            let store = open_small(spoiled.path());
            assert_holds_exactly(&store, &before).await;
            assert!(matches!(
                get(&store, id, None).await,
                Err(ChunkError::NotFound(_))
            ));
        }
    }
}

#[tokio::test]
async fn no_rotten_byte_is_read_and_verifying_finds_every_rotten_chunk() {
    let (dir, store) = fresh();
    let chunks = put_all(&store, LENGTHS.into_iter().cycle().take(80)).await;
    store.close().await.unwrap();
    drop(store);
    // One byte in each 64 KiB, wherever it falls.
    let segment = segments(dir.path()).remove(0);
    let file = File::options()
        .read(true)
        .write(true)
        .open(&segment)
        .unwrap();
    for at in (50_000..10 << 20).step_by(65_536) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[!byte[0]], at).unwrap();
    }

    let store = crate::kit::open(dir.path());
    let (mut good, mut bad) = (0, 0);
    for (id, data) in &chunks {
        match get(&store, *id, None).await {
            Ok(got) => {
                assert!(got == *data);
                good += 1;
            }
            Err(ChunkError::Corrupt { chunk, .. }) => {
                assert_eq!(chunk, *id);
                bad += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(good > 0 && bad > 20, "{good} good, {bad} bad");
    assert_eq!(names_in(&dir.path().join("quarantine")).len(), bad);
    assert_eq!(store.state().chunk_count, good);
    for info in store.list(None, usize::MAX).await.unwrap() {
        assert_eq!(store.verify(info.id).await.unwrap(), info);
    }
    // Repair writes them again.
    for (id, data) in &chunks {
        put(&store, *id, data).await.unwrap();
    }
    assert_holds_exactly(&store, &chunks).await;
}

#[tokio::test]
async fn verifying_finds_what_no_read_has_touched() {
    let (dir, store) = fresh();
    let chunks = put_all(&store, [200 * KIB; 3]).await;
    let rotten = *chunks.keys().nth(1).unwrap();
    let segment = segments(dir.path()).remove(0);
    let bytes = fs::read(&segment).unwrap();
    let at = bytes
        .windows(1000)
        .position(|window| *window == chunks[&rotten][..1000])
        .unwrap();
    let file = File::options().write(true).open(&segment).unwrap();
    file.write_all_at(&[!bytes[at + 70_000]], at as u64 + 70_000)
        .unwrap();
    for id in chunks.keys() {
        let verified = store.verify(*id).await;
        assert_eq!(verified.is_err(), *id == rotten, "{verified:?}");
    }
}

/// Where the groups of a segment begin.
fn group_heads(segment: &Path) -> Vec<u64> {
    let bytes = fs::read(segment).unwrap();
    let heads = (0..bytes.len()).step_by(4096);
    let heads = heads.filter(|at| bytes[*at..].starts_with(b"SXTGROUP"));
    heads.map(|at| at as u64).collect()
}

fn open_long(dir: &Path) -> ChunkStore {
    let mut options = StoreOptions::new(dir);
    options.segment_bytes = 8 << 20;
    ChunkStore::open(options).unwrap()
}

#[tokio::test]
async fn rot_in_a_groups_head_loses_no_chunk_that_is_whole() {
    let dir = TempDir::new().unwrap();
    let store = open_long(dir.path());
    let mut chunks = Chunks::new();
    // Each has a group of its own; those of more than 72 KiB lie before it.
    for length in [
        2 * KIB,
        100 * KIB,
        2 * KIB,
        300 * KIB,
        1024 * KIB,
        100 * KIB,
    ] {
        chunks.append(&mut put_all(&store, [length]).await);
    }
    // And some that share one.
    chunks.append(&mut put_all(&store, [2 * KIB, 90 * KIB, 100, 200 * KIB]).await);
    put_all(&store, [1])
        .await
        .into_iter()
        .for_each(|(id, data)| {
            chunks.insert(id, data);
        });
    let cut = snapshot(dir.path());
    fs::remove_dir_all(cut.path().join("index")).unwrap();
    let heads = group_heads(&segments(cut.path())[0]);
    // Behind the last one nothing shows that it was ever durable.
    for head in &heads[..heads.len() - 1] {
        let rotten = snapshot(cut.path());
        let file = File::options()
            .write(true)
            .open(&segments(rotten.path())[0]);
        file.unwrap().write_all_at(b"rot", head + 30).unwrap();
        assert_holds_exactly(&open_long(rotten.path()), &chunks).await;
    }
}

#[tokio::test]
async fn salvage_brings_no_chunk_back_that_was_deleted() {
    let dir = TempDir::new().unwrap();
    let store = open_long(dir.path());
    let mut chunks = Chunks::new();
    let doomed = put_all(&store, [100 * KIB, 2 * KIB]).await;
    for id in doomed.keys() {
        store.delete(*id).await.unwrap();
    }
    chunks.append(&mut put_all(&store, [100 * KIB]).await);
    chunks.append(&mut put_all(&store, [2 * KIB]).await);
    let cut = snapshot(dir.path());
    fs::remove_dir_all(cut.path().join("index")).unwrap();
    let segment = &segments(cut.path())[0];
    let heads = group_heads(segment);
    // The group of the chunks that were deleted, and that of the long one that was not.
    for head in [heads[0], heads[heads.len() - 2]] {
        let rotten = snapshot(cut.path());
        let file = File::options()
            .write(true)
            .open(&segments(rotten.path())[0]);
        file.unwrap().write_all_at(b"rot", head + 30).unwrap();
        assert_holds_exactly(&open_long(rotten.path()), &chunks).await;
    }
}

/// Chunks that fill several segments, and the directory without its index.
async fn several_segments() -> (TempDir, Chunks) {
    let (dir, store) = fresh_small();
    let mut chunks = Chunks::new();
    for _ in 0..30 {
        chunks.append(&mut put_all(&store, [40 * KIB]).await);
    }
    let cut = snapshot(dir.path());
    fs::remove_dir_all(cut.path().join("index")).unwrap();
    assert!(!group_heads(&segments(cut.path())[1]).is_empty());
    (cut, chunks)
}

#[tokio::test]
async fn rot_in_the_last_group_of_an_earlier_segment_is_told_and_not_taken_for_a_torn_end() {
    let (dir, mut chunks) = several_segments().await;
    let first = &segments(dir.path())[0];
    let last = *group_heads(first).last().unwrap();
    let (begin, bytes) = (last as usize, fs::read(first).unwrap());
    // It is named in the group's head.
    let rotten = chunks.keys().copied().find(|id| {
        let mut windows = bytes[begin..begin + 4096].windows(16);
        windows.any(|window| window == id.as_bytes())
    });
    let rotten = rotten.unwrap();
    let file = File::options().write(true).open(first).unwrap();
    file.write_all_at(&[!bytes[begin + 9000]], last + 9000)
        .unwrap();
    chunks.remove(&rotten);

    let store = open_small(dir.path());

    assert_holds_exactly(&store, &chunks).await;
    assert_eq!(store.state().quarantined, 1);
    let kept = names_in(&dir.path().join("quarantine"));
    assert!(
        kept.len() == 1 && kept[0].starts_with(&rotten.to_string()),
        "{kept:?}"
    );
}

#[tokio::test]
async fn rot_in_the_head_of_the_last_group_of_an_earlier_segment_loses_no_chunk() {
    let (dir, chunks) = several_segments().await;
    let first = &segments(dir.path())[0];
    let last = *group_heads(first).last().unwrap();
    let file = File::options().write(true).open(first).unwrap();
    file.write_all_at(b"rot", last + 60).unwrap();
    assert_holds_exactly(&open_small(dir.path()), &chunks).await;
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
