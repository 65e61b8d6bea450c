//! Scrubbing: rot that nobody read is found within the period, from the disk, and a restart goes on.

use std::fs::File;
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use chunkd::scrub::ScrubSettings;
use chunkd::{ChunkNode, NodeOptions};
use chunkproto::ChunkId;
use rustix::io::{ReadWriteFlags, preadv2};
use tempfile::TempDir;
use uuid::Uuid;

use crate::kit::{KIB, MIB, data, eventually, fresh_node, put, record_path, segments};

/// All chunks are verified once in this time.
const PERIOD: Duration = Duration::from_secs(2);

fn hasty() -> ScrubSettings {
    ScrubSettings {
        period: PERIOD,
        ..ScrubSettings::default()
    }
}

fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    file.sync_all().unwrap();
}

/// Whether bytes of the file at `at` are in memory.
fn is_cached(path: &Path, at: u64) -> bool {
    let mut byte = [0];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let file = File::open(path).unwrap();
    preadv2(&file, &mut buffers, at, ReadWriteFlags::NOWAIT) == Ok(1)
}

fn verified(node: &ChunkNode) -> u64 {
    let report = node.heartbeat(Uuid::nil()).scrub;
    report.map_or(0, |report| report.verified_chunks)
}

#[tokio::test]
async fn rot_that_nobody_read_is_found_and_told_within_the_period() {
    let (dir, node) = fresh_node();
    for seed in 0..8 {
        let bytes = data(100 * KIB, seed);
        put(&node, ChunkId::generate(), &bytes).await.unwrap();
    }
    flip(&segments(dir.path())[0], 150_000);
    let scrubbed = node.clone();
    let scrubbing = tokio::spawn(async move { scrubbed.scrub(hasty()).await });
    eventually("damage that was found", || {
        node.heartbeat(Uuid::nil()).quarantined == 1
    })
    .await;
    eventually("all chunks that were verified", || verified(&node) >= 8).await;
    let report = node.heartbeat(Uuid::nil()).scrub.unwrap();
    assert_eq!(report.damaged_chunks, 1);
    assert_eq!(node.list(None, 99).await.unwrap().chunks.len(), 7);
    scrubbing.abort();
}

#[tokio::test]
async fn what_is_scrubbed_comes_from_the_disk_and_does_not_stay_in_memory() {
    let (dir, node) = fresh_node();
    let id = ChunkId::generate();
    put(&node, id, &data(9 * MIB, 1)).await.unwrap();
    let path = record_path(dir.path(), id);
    assert!(is_cached(&path, 5_000_000), "it was just written");
    let scrubbed = node.clone();
    let scrubbing = tokio::spawn(async move { scrubbed.scrub(hasty()).await });
    eventually("a chunk that was verified", || verified(&node) >= 1).await;
    // The kernel may keep pages for a moment that were touched just now; the next pass gives them up.
    eventually("pages that were given up", || !is_cached(&path, 5_000_000)).await;
    scrubbing.abort();
}

#[tokio::test]
async fn a_restart_goes_on_where_the_walk_was() {
    let dir = TempDir::new().unwrap();
    let open = || ChunkNode::open(NodeOptions::new([dir.path().to_owned()])).unwrap();
    let node = open();
    for seed in 0..3 {
        put(&node, ChunkId::generate(), &data(KIB, seed))
            .await
            .unwrap();
    }
    let scrubbed = node.clone();
    let scrubbing = tokio::spawn(async move { scrubbed.scrub(hasty()).await });
    eventually("a pass that is kept", || {
        dir.path().join("scrub.json").exists()
    })
    .await;
    scrubbing.abort();
    let _ = scrubbing.await;
    let before = node.heartbeat(Uuid::nil()).scrub.unwrap();
    node.close().await.unwrap();
    drop(node);

    let node = open();
    let week = ScrubSettings {
        period: Duration::from_secs(604_800),
        ..ScrubSettings::default()
    };
    let scrubbed = node.clone();
    let scrubbing = tokio::spawn(async move { scrubbed.scrub(week).await });
    eventually("a walk that goes on", || {
        node.heartbeat(Uuid::nil()).scrub.is_some()
    })
    .await;
    let after = node.heartbeat(Uuid::nil()).scrub.unwrap();
    // A walk that began anew would know of nothing before its own begin.
    let kept_ms = after
        .oldest_verified_at_ms
        .abs_diff(before.oldest_verified_at_ms);
    assert!(
        kept_ms <= 60_000 && after.verified_chunks <= 1,
        "{before:?} {after:?}"
    );
    scrubbing.abort();
}

#[tokio::test]
async fn no_chunk_is_passed_over() {
    // A page of the walk has 256.
    const CHUNKS: u64 = 300;
    let (dir, node) = fresh_node();
    for seed in 0..CHUNKS {
        let bytes = data(20 * KIB, seed);
        put(&node, ChunkId::generate(), &bytes).await.unwrap();
    }
    for segment in segments(dir.path()) {
        let length = std::fs::metadata(&segment).unwrap().len();
        // Every record is longer than this.
        (10_000..length)
            .step_by(20_000)
            .for_each(|at| flip(&segment, at));
    }
    let scrubbed = node.clone();
    let scrubbing = tokio::spawn(async move { scrubbed.scrub(hasty()).await });
    eventually("damage everywhere", || {
        node.heartbeat(Uuid::nil()).quarantined == CHUNKS
    })
    .await;
    scrubbing.abort();
}
