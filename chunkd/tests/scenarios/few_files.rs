//! A process that may have few files open: it reads more segments than that, and what it lacks is not
//! taken for a failing disk or a bad index. The child is this program again, with its limit lowered.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use chunkd::{ChunkStore, StoreOptions};
use chunkproto::ChunkId;
use tempfile::TempDir;

use crate::kit::{KIB, data, get, info_of, put, segments};

const DIR: &str = "SEXTANT_FEW_FILES_DIR";
const FILES_MAX: u32 = 80;
const CHUNKS: u64 = 400;

fn open(dir: &Path) -> Result<ChunkStore, chunkd::OpenError> {
    let mut options = StoreOptions::new(dir);
    options.segment_bytes = 64 << 10;
    ChunkStore::open(options)
}

/// Runs one of the tests below in a process that may open few files.
fn run(test: &str, dir: &Path) {
    let limited = format!("ulimit -n {FILES_MAX} && exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &limited])
        .arg(env::current_exe().unwrap())
        .arg(format!("few_files::{test}"))
        .args(["--exact", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(output.status.success() && ran, "{words}");
}

fn dir_of_child() -> PathBuf {
    env::var(DIR).unwrap().into()
}

/// Takes all files that are left; dropping them gives them back.
fn take_all_files() -> Vec<File> {
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    taken
}

#[tokio::test]
async fn more_segments_than_files_are_read_after_an_unclean_stop() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    for seed in 0..CHUNKS {
        let id = ChunkId::generate();
        put(&store, id, &data(10 * KIB, seed)).await.unwrap();
    }
    drop(store);
    assert!(segments(dir.path()).len() > FILES_MAX as usize);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    run("reads_every_segment", dir.path());
}

#[tokio::test]
#[ignore = "is run by another test, with few files"]
async fn reads_every_segment() {
    let store = open(&dir_of_child()).unwrap();
    let listed = store.list(None, usize::MAX).await.unwrap();
    assert_eq!(listed.len() as u64, CHUNKS);
    for info in listed {
        assert_eq!(store.verify(info.id).await.unwrap(), info);
    }
}

#[tokio::test]
async fn a_lack_of_files_ends_no_writing_and_costs_no_index() {
    let dir = TempDir::new().unwrap();
    run("runs_out_of_files_and_goes_on", dir.path());
}

#[tokio::test]
#[ignore = "is run by another test, with few files"]
async fn runs_out_of_files_and_goes_on() {
    let dir = dir_of_child();
    let store = open(&dir).unwrap();
    let mut held = Vec::new();
    let taken = take_all_files();
    let mut failed = 0;
    // More than a segment takes in, and one is free at most.
    for seed in 0..40 {
        let (id, data) = (ChunkId::generate(), data(5 * KIB, seed));
        match put(&store, id, &data).await {
            Ok(_) => held.push((id, data)),
            Err(_) => failed += 1,
        }
    }
    assert!(failed > 0);
    drop(taken);
    for seed in 0..40 {
        let (id, data) = (ChunkId::generate(), data(5 * KIB, seed));
        put(&store, id, &data).await.unwrap();
        held.push((id, data));
    }
    for (id, data) in &held {
        assert!(get(&store, *id, None).await.unwrap() == *data);
    }
    store.close().await.unwrap();
    drop(store);

    // Goes with the index when that is made anew.
    let witness = dir.join("index/witness");
    File::create(&witness).unwrap();
    let mut taken = take_all_files();
    let mut refused = 0;
    let store = loop {
        match open(&dir) {
            Ok(store) => break store,
            Err(_) => refused += 1,
        }
        taken.truncate(taken.len() - 1);
    };
    assert!(refused > 5, "{refused}");
    assert!(witness.exists());
    drop(taken);
    let mut expected: Vec<_> = held.iter().map(|(id, data)| info_of(*id, data)).collect();
    expected.sort_by_key(|info| info.id);
    assert_eq!(store.list(None, usize::MAX).await.unwrap(), expected);
}
