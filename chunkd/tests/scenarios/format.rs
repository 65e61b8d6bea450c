//! The format on disk, held against a file that an earlier program wrote. What stands in fixtures/
//! is never written anew: a change that breaks these tests breaks every operator's data.

use std::fs;
use std::path::Path;

use chunkproto::ChunkId;

use crate::kit::{data, fresh, fresh_with_files, get, info_of, open, owner, put, record_path};

/// A record of version 1 with two blocks.
const RECORD_V1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/record-v1");
const RECORD_ID: &str = "019a0000-0000-7000-8000-0000000000ab";

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
