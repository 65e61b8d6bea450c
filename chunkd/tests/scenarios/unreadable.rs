//! Chunks that the disk cannot read, and chunks whose files are gone: they are not vouched for, and they
//! cost nothing but themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chunkd::node::DiskHealth;
use chunkd::scrub::ScrubSettings;
use chunkd::{ChunkNode, ChunkStore, NodeOptions, StoreOptions};
use chunkproto::{ChunkError, ChunkId, Durability};
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

use crate::kit::{
    KIB, data, eventually, fresh_with, fresh_with_files, get, info_of, put, record_path, segments,
};

/// A node of one disk with `count` chunks, in files of their own and in the order of their ids.
async fn node_with(count: u64) -> (TempDir, ChunkNode, Vec<ChunkId>) {
    let dir = TempDir::new().unwrap();
    let mut options = NodeOptions::new([dir.path()]);
    options.store.segment_max_bytes = 0;
    let node = ChunkNode::open(options).unwrap();
    let mut ids = Vec::new();
    for seed in 0..count {
        let id = ChunkId::generate();
        put(&node, id, &data(5 * KIB, seed)).await.unwrap();
        ids.push(id);
    }
    (dir, node, ids)
}

/// Reading a directory fails, as reading a bad sector does. The record is kept aside.
fn make_unreadable(dir: &Path, id: ChunkId) -> PathBuf {
    let (path, aside) = (record_path(dir, id), dir.join(format!("aside-{id}")));
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    aside
}

fn health(node: &ChunkNode) -> DiskHealth {
    node.state().disks.remove(0).health
}

async fn listed(node: &ChunkNode, limit: usize) -> Vec<ChunkId> {
    let page = node.list(None, limit).await.unwrap();
    page.chunks.into_iter().map(|info| info.id).collect()
}

#[tokio::test]
async fn a_chunk_that_cannot_be_read_is_not_vouched_for_until_it_can() {
    let (dir, node, ids) = node_with(3).await;
    let aside = make_unreadable(dir.path(), ids[0]);
    for _ in 0..40 {
        let read = get(&node, ids[0], None).await;
        assert!(matches!(read, Err(ChunkError::Io(_))), "{read:?}");
    }
    assert_eq!(health(&node), DiskHealth::Serving);
    assert_eq!(listed(&node, 10).await, ids[1..]);
    assert_eq!(listed(&node, 2).await, ids[1..]);

    fs::remove_dir(record_path(dir.path(), ids[0])).unwrap();
    fs::rename(aside, record_path(dir.path(), ids[0])).unwrap();
    let head = node.head(ids[0]).await;
    assert!(matches!(head, Err(ChunkError::Io(_))), "{head:?}");
    node.verify(ids[0]).await.unwrap();
    node.head(ids[0]).await.unwrap();
    assert_eq!(listed(&node, 10).await, ids);
}

#[tokio::test]
async fn a_disk_that_cannot_read_many_chunks_gets_no_new_ones() {
    let (dir, node, ids) = node_with(17).await;
    for (number, id) in ids[..16].iter().enumerate() {
        assert_eq!(health(&node), DiskHealth::Serving, "{number}");
        make_unreadable(dir.path(), *id);
        assert!(get(&node, *id, None).await.is_err());
    }
    let health = health(&node);
    assert!(matches!(health, DiskHealth::ReadOnly(_)), "{health:?}");
    assert!(!node.state().total.writable);
    assert!(get(&node, ids[16], None).await.is_ok());
}

#[tokio::test]
async fn scrubbing_counts_a_chunk_that_cannot_be_read_as_damaged() {
    let (dir, node, ids) = node_with(3).await;
    make_unreadable(dir.path(), ids[1]);
    let hasty = ScrubSettings {
        period: Duration::from_millis(200),
        ..ScrubSettings::default()
    };
    let scrubbed = node.clone();
    let scrubbing = tokio::spawn(async move { scrubbed.scrub(hasty).await });
    let report = || node.heartbeat(Uuid::nil()).scrub;
    eventually("several passes", || {
        report().is_some_and(|report| report.verified_chunks >= 8)
    })
    .await;
    assert_eq!(report().unwrap().damaged_chunks, 1);
    scrubbing.abort();
}

#[tokio::test]
async fn a_chunk_whose_file_is_gone_is_forgotten_and_told() {
    let (dir, store) = fresh_with_files();
    let (kept, lost) = (ChunkId::generate(), ChunkId::generate());
    put(&store, kept, b"kept").await.unwrap();
    put(&store, lost, b"lost").await.unwrap();
    fs::remove_file(record_path(dir.path(), lost)).unwrap();

    let read = get(&store, lost, None).await;

    assert!(matches!(read, Err(ChunkError::NotFound(_))), "{read:?}");
    let listed = store.list(None, 10).await.unwrap();
    assert_eq!(listed, [info_of(kept, b"kept")]);
    let state = store.state();
    assert_eq!((state.chunk_count, state.quarantined), (1, 1));
}

#[tokio::test]
async fn a_chunk_whose_file_is_gone_can_be_put_again() {
    let (dir, store) = fresh_with_files();
    let id = ChunkId::generate();
    put(&store, id, b"bytes").await.unwrap();
    store.close().await.unwrap();
    drop(store);
    // Now it would go to a segment.
    let store = ChunkStore::open(StoreOptions::new(dir.path())).unwrap();
    fs::remove_file(record_path(dir.path(), id)).unwrap();

    let again = timeout(Duration::from_secs(30), put(&store, id, b"bytes")).await;

    again.expect("it comes to an end").unwrap();
    assert_eq!(get(&store, id, None).await.unwrap(), b"bytes");
    assert_eq!(store.state().chunk_count, 1);
}

/// A store that syncs nothing, with chunks in its second segment of which a power cut has left the
/// index's rows alone.
async fn with_dangling_rows() -> (TempDir, StoreOptions, Vec<ChunkId>) {
    let (dir, store) = fresh_with(|options| {
        options.segment_bytes = 512 << 10;
        options.durability = Durability::PageCache;
    });
    let mut options = StoreOptions::new(dir.path());
    options.segment_bytes = 512 << 10;
    options.durability = Durability::PageCache;
    let mut ids = Vec::new();
    let mut fill = async |store: &ChunkStore, count| {
        for seed in 0..count {
            let id = ChunkId::generate();
            put(store, id, &data(40 * KIB, seed)).await.unwrap();
            ids.push(id);
        }
    };
    fill(&store, 8).await;
    eventually("a spare segment", || segments(dir.path()).len() > 1).await;
    let spare = segments(dir.path()).remove(1);
    eventually("a whole one", || {
        fs::metadata(&spare).unwrap().len() == 512 << 10
    })
    .await;
    store.close().await.unwrap();
    drop(store);
    // As it was before it was used.
    let before = fs::read(&spare).unwrap();
    let store = ChunkStore::open(options.clone()).unwrap();
    fill(&store, 8).await;
    store.close().await.unwrap();
    drop(store);
    // Not stopped cleanly, but with all rows on the disk.
    drop(ChunkStore::open(options.clone()).unwrap());
    assert!(fs::read(&spare).unwrap() != before, "it is in use by now");
    fs::write(&spare, before).unwrap();
    (dir, options, ids)
}

#[tokio::test]
async fn a_chunk_whose_segment_is_gone_is_forgotten_and_can_be_put_again() {
    let (_dir, options, ids) = with_dangling_rows().await;
    let store = ChunkStore::open(options).unwrap();
    let mut lost = 0;
    for (number, id) in ids.iter().enumerate() {
        match get(&store, *id, None).await {
            Ok(_) => {}
            Err(ChunkError::NotFound(_)) => {
                lost += 1;
                let seed = (number % 8) as u64;
                put(&store, *id, &data(40 * KIB, seed)).await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(lost > 0);
    assert_eq!(store.state().quarantined, lost);
    assert_eq!(store.list(None, 99).await.unwrap().len(), ids.len());
    for id in &ids {
        get(&store, *id, None).await.unwrap();
    }
}

#[tokio::test]
async fn a_put_replaces_a_chunk_whose_segment_is_gone() {
    let (_dir, options, ids) = with_dangling_rows().await;
    let store = ChunkStore::open(options).unwrap();
    for (number, id) in ids.iter().enumerate() {
        let bytes = data(40 * KIB, (number % 8) as u64);
        put(&store, *id, &bytes).await.unwrap();
        assert!(get(&store, *id, None).await.unwrap() == bytes);
    }
    let state = store.state();
    assert_eq!(state.chunk_count, ids.len() as u64);
}
