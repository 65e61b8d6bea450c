//! Segments with arbitrary bytes in them, and no index: the store opens, hands out no wrong byte and
//! no foreign chunk, and goes on working.
//!
//! `SEXTANT_HOSTILE_SEED=n` runs seed n alone, `SEXTANT_HOSTILE_SECONDS` lengthens the run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use chunkd::{ChunkStore, StoreOptions};
use chunkproto::{ChunkError, ChunkId};
use futures::future::join_all;
use tempfile::TempDir;

use crate::kit::{Dice, KIB, copy_dir, data, get, list_all, number_from_env, put, segments};

const SEGMENT_BYTES: u32 = 256 << 10;
const BLOCK: usize = 4096;
const SECONDS: u64 = 8;
const LENGTHS: [usize; 6] = [1, 100, 3 * KIB, 10 * KIB, 40 * KIB, 60 * KIB];

type Chunks = BTreeMap<ChunkId, Vec<u8>>;

fn open(dir: &Path) -> ChunkStore {
    let mut options = StoreOptions::new(dir);
    options.segment_bytes = SEGMENT_BYTES;
    ChunkStore::open(options).unwrap()
}

/// A directory without an index, with a few segments, and every chunk that was ever in it.
async fn sample(seed: u64) -> (TempDir, Chunks) {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let mut chunks = Chunks::new();
    for round in 0..8 {
        let new: Chunks = (0..6)
            .map(|number| {
                let length = LENGTHS[number];
                (
                    ChunkId::generate(),
                    data(length, seed + round * 10 + number as u64),
                )
            })
            .collect();
        join_all(new.iter().map(|(id, data)| put(&store, *id, data))).await;
        let first = new.keys().next().unwrap();
        store.delete(*first).await.unwrap();
        chunks.extend(new);
    }
    store.close().await.unwrap();
    drop(store);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    (dir, chunks)
}

#[tokio::test]
async fn arbitrary_bytes_in_segments_are_never_taken_for_chunks() {
    let (ours, chunks) = sample(0).await;
    let (theirs, _) = sample(1000).await;
    if let Some(seed) = number_from_env("SEXTANT_HOSTILE_SEED") {
        return spoil_and_open(seed, ours.path(), theirs.path(), &chunks).await;
    }
    let seconds = number_from_env("SEXTANT_HOSTILE_SECONDS").unwrap_or(SECONDS);
    let end = Instant::now() + Duration::from_secs(seconds);
    for seed in 1.. {
        if Instant::now() > end {
            println!("{} seeds", seed - 1);
            break;
        }
        println!("SEXTANT_HOSTILE_SEED={seed}");
        spoil_and_open(seed, ours.path(), theirs.path(), &chunks).await;
    }
}

async fn spoil_and_open(seed: u64, ours: &Path, theirs: &Path, chunks: &Chunks) {
    let mut dice = Dice::new(seed);
    let dir = TempDir::new().unwrap();
    copy_dir(ours, dir.path());
    for _ in 0..=dice.below(6) {
        spoil(&mut dice, dir.path(), theirs);
    }
    let store = open(dir.path());
    assert_no_lies(&store, chunks).await;
    let (id, new) = (ChunkId::generate(), data(50 * KIB, seed));
    put(&store, id, &new).await.unwrap();
    drop(store);
    let store = open(dir.path());
    assert!(get(&store, id, None).await.unwrap() == new);
}

async fn assert_no_lies(store: &ChunkStore, chunks: &Chunks) {
    for info in list_all(store).await {
        let expected = chunks.get(&info.id).expect("a chunk of ours");
        match get(store, info.id, None).await {
            Ok(got) => assert!(got == *expected, "{}", info.id),
            Err(ChunkError::Corrupt { chunk, .. }) => assert_eq!(chunk, info.id),
            // Compaction found the damage first.
            Err(ChunkError::NotFound(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Does one kind of harm to one segment.
fn spoil(dice: &mut Dice, dir: &Path, theirs: &Path) {
    let victim = dice.one_of(&paths(&segments(dir))).to_owned();
    let mut bytes = fs::read(&victim).unwrap();
    if bytes.is_empty() {
        return;
    }
    let at = dice.below(bytes.len());
    let block = at / BLOCK * BLOCK;
    let block_end = (block + BLOCK).min(bytes.len());
    match dice.below(9) {
        0 => bytes.truncate(at),
        1 => bytes.truncate(block),
        2 => bytes[at] ^= 1 << dice.below(8),
        // In the first bytes of a block, where heads are.
        3 => bytes[(block + dice.below(64)).min(block_end - 1)] ^= 0xff,
        4 => bytes[block..block_end].fill(0),
        5 => {
            for byte in &mut bytes[at..block_end] {
                *byte = dice.roll() as u8;
            }
        }
        6 => {
            let other = dice.below(bytes.len() / BLOCK + 1) * BLOCK;
            let other_end = other + (block_end - block);
            if other_end <= bytes.len() {
                let copy = bytes[other..other_end].to_vec();
                let here = bytes[block..block_end].to_vec();
                bytes[block..block_end].copy_from_slice(&copy);
                bytes[other..other_end].copy_from_slice(&here);
            }
        }
        from => {
            let donors = segments(if from == 7 { dir } else { theirs });
            let donor = fs::read(dice.one_of(&paths(&donors))).unwrap();
            let count = (1 + dice.below(20)) * BLOCK;
            let from = dice.below(donor.len() / BLOCK + 1) * BLOCK;
            let donated = &donor[from.min(donor.len())..(from + count).min(donor.len())];
            let room = donated.len().min(bytes.len() - block);
            bytes[block..block + room].copy_from_slice(&donated[..room]);
        }
    }
    fs::write(&victim, bytes).unwrap();
}

fn paths(all: &[std::path::PathBuf]) -> Vec<&Path> {
    all.iter().map(std::path::PathBuf::as_path).collect()
}
