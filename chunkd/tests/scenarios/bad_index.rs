//! An index that is damaged where no start looks: the disk says so and what to do, what can be served is
//! served, and the next start makes the index anew.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use chunkd::node::DiskHealth;
use chunkd::{ChunkNode, ChunkStore, NodeOptions, StoreOptions};
use chunkproto::{ChunkError, ChunkId};
use tempfile::TempDir;

use crate::kit::{KIB, MIB, data, get, put};

/// Enough rows for several blocks of a table.
const CHUNKS: u64 = 400;

struct Fixture {
    dir: TempDir,
    /// In segments, then one with a file of its own.
    chunks: Vec<(ChunkId, Vec<u8>)>,
}

impl Fixture {
    /// A node of one disk that was stopped cleanly, with one bit flipped in its index.
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let mut chunks: Vec<_> = (0..CHUNKS)
            .map(|seed| (ChunkId::generate(), data(KIB, seed)))
            .collect();
        chunks.push((ChunkId::generate(), data(9 * MIB, CHUNKS)));
        let node = open_node(dir.path());
        for (id, data) in &chunks {
            put(&node, *id, data).await.unwrap();
        }
        node.close().await.unwrap();
        drop(node);
        damage_index(dir.path());
        Self { dir, chunks }
    }

    async fn assert_is_whole(&self, node: &ChunkNode) {
        let listing = node.list(None, usize::MAX).await.unwrap();
        assert!(!listing.incomplete);
        assert_eq!(listing.chunks.len(), self.chunks.len());
        for (id, data) in &self.chunks {
            assert!(get(node, *id, None).await.unwrap() == *data, "{id}");
        }
        assert!(node.state().total.writable);
    }
}

fn open_node(dir: &Path) -> ChunkNode {
    ChunkNode::open(NodeOptions::new([dir])).unwrap()
}

fn health(node: &ChunkNode) -> DiskHealth {
    node.state().disks.remove(0).health
}

/// Flips a bit in the first block of rows of the index's longest table.
fn damage_index(dir: &Path) {
    let entries = fs::read_dir(dir.join("index")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let tables = paths.filter(|path| path.extension().is_some_and(|end| end == "sst"));
    let longest = tables.max_by_key(|path| fs::metadata(path).unwrap().len());
    let file = File::options()
        .read(true)
        .write(true)
        .open(longest.unwrap());
    let (file, mut byte) = (file.unwrap(), [0]);
    file.read_exact_at(&mut byte, 100).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 100).unwrap();
}

#[tokio::test]
async fn a_damaged_index_is_told_and_made_anew_by_a_restart() {
    let fixture = Fixture::new().await;
    let node = open_node(fixture.dir.path());
    assert_eq!(health(&node), DiskHealth::Serving);

    let listing = node.list(None, usize::MAX).await.unwrap();

    assert!(listing.incomplete, "nothing is said to be missing");
    let health = health(&node);
    assert!(
        matches!(&health, DiskHealth::ReadOnly(why) if why.contains("restart")),
        "{health:?}"
    );
    node.close().await.unwrap();
    drop(node);
    fixture
        .assert_is_whole(&open_node(fixture.dir.path()))
        .await;
}

#[tokio::test]
async fn a_read_that_meets_a_damaged_index_calls_no_chunk_missing() {
    let fixture = Fixture::new().await;
    let node = open_node(fixture.dir.path());
    let (mut good, mut failed) = (0, 0);
    for (id, data) in &fixture.chunks {
        match get(&node, *id, None).await {
            Ok(read) => {
                assert!(read == *data);
                good += 1;
            }
            Err(ChunkError::Io(_)) => failed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(good > 0 && failed > 0, "{good} good, {failed} failed");
    let (in_a_file, data) = fixture.chunks.last().unwrap();
    assert!(get(&node, *in_a_file, None).await.unwrap() == *data);
    let new = put(&node, ChunkId::generate(), b"new").await;
    assert!(matches!(new, Err(ChunkError::Refused(_))), "{new:?}");
    // Not stopped cleanly either.
    drop(node);
    fixture
        .assert_is_whole(&open_node(fixture.dir.path()))
        .await;
}

#[tokio::test]
async fn what_is_left_of_a_removed_index_is_removed() {
    let fixture = Fixture::new().await;
    let dir = fixture.dir.path();
    fs::rename(dir.join("index"), dir.join("index.old")).unwrap();
    let node = open_node(dir);
    assert!(!dir.join("index.old").exists());
    fixture.assert_is_whole(&node).await;
}

#[tokio::test]
async fn a_chunk_with_a_file_of_its_own_is_found_without_its_row() {
    let dir = TempDir::new().unwrap();
    let mut options = StoreOptions::new(dir.path());
    options.segment_max_bytes = 0;
    let store = ChunkStore::open(options.clone()).unwrap();
    let mut ids = Vec::new();
    for seed in 0..CHUNKS {
        let id = ChunkId::generate();
        put(&store, id, &data(100, seed)).await.unwrap();
        ids.push(id);
    }
    store.close().await.unwrap();
    drop(store);
    damage_index(dir.path());

    let store = ChunkStore::open(options).unwrap();

    for (seed, id) in (0..).zip(&ids) {
        assert!(get(&store, *id, None).await.unwrap() == data(100, seed));
    }
}
