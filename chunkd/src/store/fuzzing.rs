//! Fuzz targets for records, segments and whole directories. Checksums are set right where a fuzzer
//! could never guess them, so that what stands under them is arbitrary.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::Bytes;
use chunkproto::{
    ByteRange, ChunkError, ChunkId, ChunkPut, ChunkStream, Durability, NodeId, OwnerHint,
    block_crc32c,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use super::index_rows::{decode_row, decode_state, encode_row, encode_state, id_of_key};
use super::record::{FOOTER_BYTES, Footer, HEADER_BYTES, Header, Plan};
use super::{ChunkStore, StoreOptions};

pub(crate) use super::segment::fuzzing::{NODE, segment_of};
pub(crate) use super::segment::fuzzing::{head as segment_head, scan as segment_scan};

/// Header and footer of a record, and rows of the index.
pub(crate) fn record(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind {
        0 => header(bytes),
        1 => header(&sealed(bytes, HEADER_BYTES)),
        2 => footer(bytes),
        3 => footer(&sealed(bytes, FOOTER_BYTES)),
        _ => index_row(bytes),
    }
}

fn header(bytes: &[u8]) {
    if let Ok(header) = Header::decode(bytes) {
        let plan = Plan::own_file(header.length_bytes);
        assert!(plan.data_at < plan.table_at() && plan.footer_at() < plan.end());
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }
}

fn footer(bytes: &[u8]) {
    if let Ok(footer) = Footer::decode(bytes) {
        assert_eq!(footer.encode(), bytes);
    }
}

fn index_row(bytes: &[u8]) {
    let _ = id_of_key(bytes);
    let id = ChunkId::from_bytes([1; 16]);
    if let Ok(row) = decode_row(id, bytes) {
        assert_eq!(encode_row(&row), bytes);
    }
    if let Ok(state) = decode_state(bytes) {
        assert_eq!(encode_state(&state), bytes);
    }
}

/// `bytes` cut or filled to `length`, whose last four are the checksum of the others.
fn sealed(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    sealed.resize(length - 4, 0);
    sealed.extend(block_crc32c(&sealed).to_le_bytes());
    sealed
}

/// A directory without an index and with a segment of any content: it opens, what it lists can be
/// read or is damaged, and a second start finds the same.
pub(crate) fn open(bytes: &[u8]) {
    let dir = directory();
    let _ = fs::remove_dir_all(dir.join("index"));
    let segments = dir.join("segments");
    for entry in fs::read_dir(&segments).expect("made by the first start") {
        fs::remove_file(entry.expect("listed").path()).expect("ours");
    }
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for (slot, bytes) in [(0, first), (1, second)] {
        let segment = segment_of(slot, bytes);
        fs::write(segments.join(format!("{slot:08x}")), segment).expect("written");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let found = list(&open_store(dir)).await;
        let store = open_store(dir);
        assert_eq!(list(&store).await, found);
        let id = ChunkId::from_bytes([99; 16]);
        let put = store.put(new_chunk(id), body()).await;
        put.expect("there is room");
        drop(store);
        let again = list(&open_store(dir)).await;
        assert!(again.iter().any(|info| info.id == id));
    });
}

async fn list(store: &ChunkStore) -> Vec<chunkproto::ChunkInfo> {
    let listed = store.list(None, 1000).await.expect("an index can be read");
    let mut sound = Vec::new();
    for info in listed {
        let end = info.length_bytes;
        let whole = Some(ByteRange { start: 0, end });
        let read = match store.get(info.id, whole).await {
            Ok(read) => read.stream.try_collect::<Vec<_>>().await.map(drop),
            Err(error) => Err(error),
        };
        match read {
            Ok(()) => sound.push(info),
            Err(ChunkError::Corrupt { .. } | ChunkError::NotFound(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    sound
}

fn open_store(dir: &Path) -> ChunkStore {
    let options = StoreOptions {
        durability: Durability::PageCache,
        segment_bytes: 64 << 10,
        full_percent: 100,
        node_id: Some(NodeId::from_bytes(NODE)),
        ..StoreOptions::new(dir)
    };
    ChunkStore::open(options).expect("segments of any content are left alone at worst")
}

fn new_chunk(id: ChunkId) -> ChunkPut {
    let owner = OwnerHint {
        bucket_id: Uuid::nil(),
        bucket: "b".into(),
        key: "k".into(),
        sequence: Uuid::nil(),
        part: None,
        index: 0,
        offset_bytes: 0,
        body_bytes: None,
        details: Vec::new(),
    };
    ChunkPut {
        id,
        length_bytes: 5,
        owner,
    }
}

fn body() -> ChunkStream {
    stream::iter([Ok(Bytes::from_static(b"hello"))]).boxed()
}

/// A directory of this process's own, left behind for the next input.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let name = format!("sextant-fuzz-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        drop(open_store(&dir));
        dir
    })
}
