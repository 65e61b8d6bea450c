//! Torn ends and bit rot in segments: what is cut off, what is found, and what is saved.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use chunkd::{ChunkStore, StoreOptions};
use chunkproto::{ChunkError, ChunkId};
use tempfile::TempDir;

use crate::kit::{KIB, copy_dir, data, fresh, get, names_in, put, segments, snapshot};

use crate::segments::{Chunks, LENGTHS, assert_holds_exactly, fresh_small, open_small, put_all};

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
