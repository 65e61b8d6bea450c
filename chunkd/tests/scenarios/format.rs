//! The format on disk, held against a file that an earlier program wrote. What stands in fixtures/
//! is never written anew: a change that breaks these tests breaks every operator's data.

use std::fs;
use std::path::Path;

use chunkd::{ChunkStore, OpenError, StoreOptions};
use chunkproto::{ChunkError, ChunkId};
use tempfile::TempDir;

use crate::kit::{
    KIB, copy_dir, data, fresh, fresh_with_files, get, info_of, open, owner, put, record_path,
    segments,
};

/// A record of version 1 with two blocks.
const RECORD_V1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/record-v1");
/// The node of [`IDENTITY_V1`].
const NODE_V1: &str = "3e9c4c1e-6c1b-4d0e-9f0a-6f7f0b6d2a51";
const RECORD_ID: &str = "019a0000-0000-7000-8000-0000000000ab";

/// The identity of a directory of format 1, which has no segments.
const IDENTITY_V1: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/directory-v1/node.json"
);

/// A directory of format 2 without its index and what else begins empty. Its one segment has a
/// group of short records, a record in room of its own, and a delete.
const DIRECTORY_V2: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/directory-v2");
const SEGMENT_IDS: [&str; 4] = [
    "019a0000-0000-7000-8000-000000000001",
    "019a0000-0000-7000-8000-000000000002",
    "019a0000-0000-7000-8000-000000000003",
    "019a0000-0000-7000-8000-000000000004",
];
const SEGMENT_LENGTHS: [usize; 4] = [1, 5000, 80 * KIB, 300];
/// Of those above, the one that was deleted.
const DELETED: usize = 3;
const SEGMENT_BYTES: u32 = 384 << 10;

fn segment_chunk(number: usize) -> (ChunkId, Vec<u8>) {
    let id = SEGMENT_IDS[number].parse().unwrap();
    (id, data(SEGMENT_LENGTHS[number], number as u64))
}

fn open_segments(dir: &Path) -> ChunkStore {
    let mut options = StoreOptions::new(dir);
    options.segment_bytes = SEGMENT_BYTES;
    ChunkStore::open(options).unwrap()
}

#[tokio::test]
async fn a_directory_of_format_2_stays_readable() {
    let dir = TempDir::new().unwrap();
    drop(open_segments(dir.path()));
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    copy_dir(Path::new(DIRECTORY_V2), dir.path());

    let store = open_segments(dir.path());

    let mut expected = Vec::new();
    for number in (0..SEGMENT_IDS.len()).filter(|number| *number != DELETED) {
        let (id, data) = segment_chunk(number);
        assert!(get(&store, id, None).await.unwrap() == data, "{id}");
        assert_eq!(store.owner(id).await.unwrap(), owner());
        expected.push(info_of(id, &data));
    }
    assert_eq!(store.list(None, 10).await.unwrap(), expected);
    let (deleted, _) = segment_chunk(DELETED);
    let read = get(&store, deleted, None).await;
    assert!(matches!(read, Err(ChunkError::NotFound(_))));
}

#[tokio::test]
async fn a_directory_of_format_1_is_raised_and_keeps_what_it_holds() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    for newer in ["index", "segments"] {
        fs::remove_dir_all(dir.path().join(newer)).unwrap();
    }
    let identity = dir.path().join("node.json");
    fs::copy(IDENTITY_V1, &identity).unwrap();
    let id: ChunkId = RECORD_ID.parse().unwrap();
    fs::copy(RECORD_V1, record_path(dir.path(), id)).unwrap();

    let store = open(dir.path());

    assert_eq!(store.node_id().to_string(), NODE_V1);
    let (old, new) = (record_data(), ChunkId::generate());
    assert_eq!(store.list(None, 10).await.unwrap(), [info_of(id, &old)]);
    put(&store, new, b"in a segment").await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let raised = fs::read_to_string(&identity).unwrap();
    assert!(
        raised.contains("\"format\": 2") && raised.contains(NODE_V1),
        "{raised}"
    );
    let store = open(dir.path());
    assert!(get(&store, id, None).await.unwrap() == old);
    assert_eq!(get(&store, new, None).await.unwrap(), b"in a segment");
    assert!(
        record_path(dir.path(), id).exists(),
        "it stays where it was"
    );
}

#[tokio::test]
async fn a_directory_of_format_2_without_its_segments_is_damaged() {
    let (dir, store) = fresh();
    drop(store);
    fs::remove_dir_all(dir.path().join("segments")).unwrap();
    let refused = ChunkStore::open(StoreOptions::new(dir.path()));
    assert!(matches!(refused, Err(OpenError::Damaged { .. })));
}

/// How the fixture was made: into the directory that SEXTANT_FIXTURE names. For a later format under
/// another name, never again for this one.
#[tokio::test]
#[ignore = "writes a fixture"]
async fn write_a_directory() {
    let into = std::env::var_os("SEXTANT_FIXTURE").expect("SEXTANT_FIXTURE names a directory");
    let dir = TempDir::new().unwrap();
    let store = open_segments(dir.path());
    for number in 0..SEGMENT_IDS.len() {
        let (id, data) = segment_chunk(number);
        put(&store, id, &data).await.unwrap();
    }
    store.delete(segment_chunk(DELETED).0).await.unwrap();
    store.close().await.unwrap();
    let into = Path::new(&into);
    fs::create_dir_all(into.join("segments")).unwrap();
    fs::copy(dir.path().join("node.json"), into.join("node.json")).unwrap();
    let first = segments(dir.path()).remove(0);
    fs::copy(
        &first,
        into.join("segments").join(first.file_name().unwrap()),
    )
    .unwrap();
}

fn record_data() -> Vec<u8> {
    data(65_536 + 100, 1)
}

#[tokio::test]
async fn a_record_of_version_1_stays_readable() {
    let (dir, store) = fresh();
    drop(store);
    let id: ChunkId = RECORD_ID.parse().unwrap();
    fs::copy(RECORD_V1, record_path(dir.path(), id)).unwrap();

    let store = open(dir.path());
    let data = record_data();
    assert_eq!(store.list(None, 10).await.unwrap(), [info_of(id, &data)]);
    assert!(get(&store, id, None).await.unwrap() == data);
    assert_eq!(store.owner(id).await.unwrap(), owner());
}

#[tokio::test]
async fn the_writer_still_writes_version_1_to_the_byte() {
    let (dir, store) = fresh_with_files();
    let id: ChunkId = RECORD_ID.parse().unwrap();
    put(&store, id, &record_data()).await.unwrap();
    let written = fs::read(record_path(dir.path(), id)).unwrap();
    assert!(
        written == fs::read(Path::new(RECORD_V1)).unwrap(),
        "docs/chunk-format.md tells how"
    );
}
