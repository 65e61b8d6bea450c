//! What the scenarios share: chunks, bodies, stores and servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chunkd::{ChunkNode, ChunkStore, Fences, NodeOptions, StoreOptions};
use chunkproto::{
    ByteRange, ChunkId, ChunkInfo, ChunkPut, ChunkRead, ChunkReceipt, ChunkResult, ChunkStream,
    ClusterSecret, Crc64, OwnerHint,
};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

pub fn secret() -> ClusterSecret {
    ClusterSecret::parse("the-secret-of-all-tests").unwrap()
}

/// Bytes that differ at every distance a test could mix up; `seed` tells chunks apart.
pub fn data(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub fn owner() -> OwnerHint {
    OwnerHint {
        bucket_id: Uuid::from_u128(1),
        bucket: "bucket".into(),
        key: "a/key".into(),
        sequence: Uuid::from_u128(2),
        part: Some((Uuid::from_u128(3), 4)),
        index: 5,
        offset_bytes: 6,
        body_bytes: Some(7),
        details: Vec::new(),
    }
}

pub fn put_of(id: ChunkId, length: usize) -> ChunkPut {
    ChunkPut {
        id,
        length_bytes: length as u64,
        owner: owner(),
    }
}

pub fn receipt_of(data: &[u8]) -> ChunkReceipt {
    ChunkReceipt {
        length_bytes: data.len() as u64,
        crc64: Crc64::of(data),
    }
}

pub fn info_of(id: ChunkId, data: &[u8]) -> ChunkInfo {
    ChunkInfo {
        id,
        length_bytes: data.len() as u64,
        crc64: Crc64::of(data),
    }
}

/// The bytes as a sender gives them, in pieces that fit no boundary of ours.
pub fn body(data: &[u8]) -> ChunkStream {
    let pieces: Vec<_> = data
        .chunks(77_777)
        .map(|p| Ok(Bytes::copy_from_slice(p)))
        .collect();
    stream::iter(pieces).boxed()
}

/// What chunks are put into and read from: one disk, or a node of several.
pub trait Chunks {
    async fn put_chunk(&self, put: ChunkPut, body: ChunkStream) -> ChunkResult<ChunkReceipt>;
    async fn get_chunk(&self, id: ChunkId, range: Option<ByteRange>) -> ChunkResult<ChunkRead>;
}

impl Chunks for ChunkStore {
    async fn put_chunk(&self, put: ChunkPut, body: ChunkStream) -> ChunkResult<ChunkReceipt> {
        self.put(put, body).await
    }
    async fn get_chunk(&self, id: ChunkId, range: Option<ByteRange>) -> ChunkResult<ChunkRead> {
        self.get(id, range).await
    }
}

impl Chunks for ChunkNode {
    async fn put_chunk(&self, put: ChunkPut, body: ChunkStream) -> ChunkResult<ChunkReceipt> {
        self.put(put, body).await
    }
    async fn get_chunk(&self, id: ChunkId, range: Option<ByteRange>) -> ChunkResult<ChunkRead> {
        self.get(id, range).await
    }
}

pub async fn put(store: &impl Chunks, id: ChunkId, data: &[u8]) -> ChunkResult<ChunkReceipt> {
    store.put_chunk(put_of(id, data.len()), body(data)).await
}

pub async fn get(
    store: &impl Chunks,
    id: ChunkId,
    range: Option<ByteRange>,
) -> ChunkResult<Vec<u8>> {
    let read = store.get_chunk(id, range).await?;
    read.stream
        .try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
}

pub fn open(dir: &Path) -> ChunkStore {
    ChunkStore::open(StoreOptions::new(dir)).unwrap()
}

/// A fresh store; the directory goes with the first value.
pub fn fresh() -> (TempDir, ChunkStore) {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    (dir, store)
}

/// As [`fresh`], with each chunk in a file of its own.
pub fn fresh_with_files() -> (TempDir, ChunkStore) {
    fresh_with(|options| options.segment_max_bytes = 0)
}

/// As [`fresh`], with other settings.
pub fn fresh_with(settings: impl FnOnce(&mut StoreOptions)) -> (TempDir, ChunkStore) {
    let dir = TempDir::new().unwrap();
    let mut options = StoreOptions::new(dir.path());
    settings(&mut options);
    (dir, ChunkStore::open(options).unwrap())
}

/// Where `docs/chunk-format.md` says that a chunk lies that has a file of its own.
pub fn record_path(dir: &Path, id: ChunkId) -> PathBuf {
    dir.join("chunks")
        .join(format!("{:02x}", id.as_bytes()[15]))
        .join(id.to_string())
}

pub fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The directory as a power cut would leave it at this quiet moment: a copy, without the index's
/// memory.
pub fn snapshot(dir: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    copy_dir(dir, copy.path());
    copy
}

/// Copies all that is in a directory.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let dest = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_dir(&path, &dest);
        } else {
            fs::copy(&path, &dest).unwrap();
        }
    }
}

/// The segments' files, the oldest name first.
pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut names = names_in(&dir.join("segments"));
    names.sort();
    let path = |name| dir.join("segments").join(name);
    names.into_iter().map(path).collect()
}

/// All chunks that a store lists, at a moment when nobody changes any, and the counts agree: compaction may
/// be setting damaged ones aside.
pub async fn list_all(store: &ChunkStore) -> Vec<ChunkInfo> {
    let counts = || {
        let state = store.state();
        (state.chunk_count, state.used_bytes)
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let listed = store.list(None, usize::MAX).await.unwrap();
        let used = listed.iter().map(|info| info.length_bytes).sum();
        let (chunks, counted) = (listed.len() as u64, counts());
        if counted == (chunks, used) {
            return listed;
        }
        assert!(Instant::now() < deadline, "{counted:?} of {chunks}, {used}");
    }
}

/// Waits for what a background thread does in its own time.
pub async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A fresh node of one disk; the directory goes with the first value.
pub fn fresh_node() -> (TempDir, ChunkNode) {
    let dir = TempDir::new().unwrap();
    let node = ChunkNode::open(NodeOptions::new([dir.path()])).unwrap();
    (dir, node)
}

/// A chunk server in this process.
pub struct Server {
    pub url: String,
    pub store: ChunkNode,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    _dir: TempDir,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(settings: impl FnOnce(&mut StoreOptions)) -> Self {
        let dir = TempDir::new().unwrap();
        let mut options = NodeOptions::new([dir.path()]);
        settings(&mut options.store);
        Self::of(dir, options).await
    }

    /// Serves the node of these options, whose directories are in `dir`.
    pub async fn of(dir: TempDir, options: NodeOptions) -> Self {
        let store = ChunkNode::open(options).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let served = store.clone();
        let task = tokio::spawn(async move {
            chunkd::serve(listener, served, secret(), Fences::fresh(), async {
                let _ = stopped.await;
            })
            .await;
        });
        Self {
            url,
            store,
            stop: Some(stop),
            task,
            _dir: dir,
        }
    }

    pub fn dir(&self) -> &Path {
        self._dir.path()
    }

    pub fn chunk_url(&self, id: ChunkId) -> String {
        format!("{}/v1/chunks/{id}", self.url)
    }

    /// Stops the server and waits until it has drained and closed its store.
    pub async fn stop(mut self) -> TempDir {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap();
        self._dir
    }
}

/// Numbers that a seed determines.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// One of the numbers below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll()).unwrap() % end
    }

    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// The number that an environment variable holds, to repeat or lengthen a seeded test.
pub fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}
