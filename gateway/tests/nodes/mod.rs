//! Nodes in memory behind the chunk transport, each with a fault of its own choosing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chunkd::{Admitted, Fences};
use chunkproto::wire::ListPage;
use chunkproto::{
    ByteRange, ChunkError, ChunkId, ChunkInfo, ChunkPut, ChunkRead, ChunkReceipt, ChunkResult,
    ChunkStream, Crc64, Fence, Heartbeat, IdRange, InventoryDigest, NodeId, OwnerHint,
    Registration,
};
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use gateway::chunks::{
    BodyKind, BodyOwner, BodyReader, BodyStream, BodyWriter, ByteBudget, ChunkTransport, HintQueue,
    RepairHints, RunningReads, WriterSettings,
};
use gateway::cluster::{Membership, NodeTimeouts};
use uuid::Uuid;

/// How a node misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not.
    None,
    /// It refuses every connection.
    Gone,
    /// No other node reaches it.
    CutOffFromNodes,
    /// It takes this many bytes of a body and then breaks the connection.
    DiesAfter(u64),
    /// It takes the whole body and never says that it is durable.
    DiesAtSync,
    /// It takes the whole body and never says anything.
    NeverAcks,
    /// It takes a body's pieces one by one, with this long a rest after each.
    Trickles(Duration),
    /// It refuses every chunk for want of room.
    Full,
    /// It stores something else than was sent.
    StoresGarbage,
    /// It yields this many bytes of a chunk and then reports damage.
    RotsAfter(u64),
    /// It yields wrong bytes as if they were right.
    SendsGarbage,
}

struct Node {
    chunks: BTreeMap<ChunkId, Bytes>,
    owners: HashMap<ChunkId, OwnerHint>,
    reads: usize,
    puts: usize,
    fences: Fences,
}

/// A cluster of nodes in memory. Cheap to clone.
#[derive(Clone)]
pub struct Nodes {
    pub membership: Arc<Membership>,
    hints: RepairHints,
    /// What readers said of replicas that they could not read.
    pub hinted: Arc<Mutex<HintQueue>>,
    nodes: Arc<Mutex<HashMap<NodeId, (Fault, Node)>>>,
    lists: Arc<Mutex<usize>>,
    deletes: Arc<Mutex<HashMap<NodeId, usize>>>,
    copied: Arc<Mutex<Vec<ChunkId>>>,
    before_copies: Arc<Mutex<Option<Hook>>>,
    on_the_wire: Arc<Mutex<Option<Hook>>>,
}

/// What a test does in the middle of what it tests.
type Hook = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Nodes register once, and nothing hears from them again: none is taken for suspect while a scenario runs.
pub fn patience() -> NodeTimeouts {
    NodeTimeouts {
        suspect_after: Duration::from_secs(3600),
        ..NodeTimeouts::default()
    }
}

/// Length of the pieces that nodes send.
const PIECE_BYTES: usize = 10_000;

impl Nodes {
    /// `count` healthy nodes.
    pub fn new(count: u8) -> Self {
        Self::with(count, patience())
    }

    /// As [`new`](Self::new), with a membership of those timeouts.
    pub fn with(count: u8, timeouts: NodeTimeouts) -> Self {
        let membership = Arc::new(Membership::new(timeouts));
        let mut nodes = HashMap::new();
        for number in 1..=count {
            let node_id = NodeId::from_bytes([number; 16]);
            membership.register(registration(node_id)).unwrap();
            let node = Node {
                chunks: BTreeMap::new(),
                owners: HashMap::new(),
                reads: 0,
                puts: 0,
                fences: Fences::fresh(),
            };
            nodes.insert(node_id, (Fault::None, node));
        }
        let (hints, hinted) = RepairHints::new();
        Self {
            membership,
            hints,
            hinted: Arc::new(Mutex::new(hinted)),
            lists: Arc::default(),
            deletes: Arc::default(),
            copied: Arc::default(),
            before_copies: Arc::default(),
            on_the_wire: Arc::default(),
            nodes: Arc::new(Mutex::new(nodes)),
        }
    }

    pub fn all(&self) -> Vec<NodeId> {
        let mut all: Vec<_> = self.nodes.lock().unwrap().keys().copied().collect();
        all.sort();
        all
    }

    pub fn set_fault(&self, node: NodeId, fault: Fault) {
        self.nodes.lock().unwrap().get_mut(&node).unwrap().0 = fault;
    }

    pub fn fault_everywhere(&self, fault: Fault) {
        self.all()
            .into_iter()
            .for_each(|node| self.set_fault(node, fault));
    }

    pub fn chunks_on(&self, node: NodeId) -> usize {
        self.nodes.lock().unwrap()[&node].1.chunks.len()
    }

    pub fn has(&self, node: NodeId, chunk: ChunkId) -> bool {
        self.nodes.lock().unwrap()[&node]
            .1
            .chunks
            .contains_key(&chunk)
    }

    /// Takes a chunk away from a node, as a disk does.
    pub fn lose(&self, node: NodeId, chunk: ChunkId) {
        let mut nodes = self.nodes.lock().unwrap();
        let lost = nodes.get_mut(&node).unwrap().1.chunks.remove(&chunk);
        assert!(lost.is_some(), "it had the chunk");
    }

    /// Puts other bytes in the place of a chunk.
    pub fn replace(&self, node: NodeId, chunk: ChunkId, bytes: Bytes) {
        let mut nodes = self.nodes.lock().unwrap();
        nodes.get_mut(&node).unwrap().1.chunks.insert(chunk, bytes);
    }

    pub fn length(&self, node: NodeId, chunk: ChunkId) -> Option<u64> {
        let nodes = self.nodes.lock().unwrap();
        nodes[&node]
            .1
            .chunks
            .get(&chunk)
            .map(|bytes| bytes.len() as u64)
    }

    pub fn crc64(&self, node: NodeId, chunk: ChunkId) -> Option<Crc64> {
        let nodes = self.nodes.lock().unwrap();
        nodes[&node]
            .1
            .chunks
            .get(&chunk)
            .map(|bytes| Crc64::of(bytes))
    }

    /// How many deletes a node was asked for.
    pub fn deletes_on(&self, node: NodeId) -> usize {
        let deletes = self.deletes.lock().unwrap();
        deletes.get(&node).copied().unwrap_or(0)
    }

    /// The chunks that were to be copied, in order.
    pub fn copied(&self) -> Vec<ChunkId> {
        self.copied.lock().unwrap().clone()
    }

    /// Does something before every copy.
    pub fn before_copies(&self, hook: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        *self.before_copies.lock().unwrap() = Some(Arc::new(hook));
    }

    /// Does something before every call reaches its node, and before the answer to a put is heard.
    pub fn on_the_wire(&self, hook: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        *self.on_the_wire.lock().unwrap() = Some(Arc::new(hook));
    }

    /// Everything that a node holds.
    pub fn contents(&self, node: NodeId) -> BTreeMap<ChunkId, Crc64> {
        let nodes = self.nodes.lock().unwrap();
        let chunks = nodes[&node].1.chunks.iter();
        chunks.map(|(id, bytes)| (*id, Crc64::of(bytes))).collect()
    }

    /// Makes the node known again as if it had just started.
    pub fn register(&self, node: NodeId) {
        self.membership.register(registration(node)).unwrap();
    }

    /// As [`register`](Self::register), in a failure zone.
    pub fn put_in_zone(&self, node: NodeId, zone: &str) {
        let mut registration = registration(node);
        registration.zone = zone.into();
        self.membership.register(registration).unwrap();
    }

    /// Makes every node say how much it holds, on a disk of `capacity_bytes`.
    pub fn report(&self, capacity_bytes: u64) {
        let zones: Vec<_> = self.all().into_iter().map(|node| (node, "")).collect();
        self.report_in_zones(capacity_bytes, &zones);
    }

    /// As [`report`](Self::report), of nodes in failure zones.
    pub fn report_in_zones(&self, capacity_bytes: u64, zones: &[(NodeId, &str)]) {
        for &(node, zone) in zones {
            let used_bytes = {
                let nodes = self.nodes.lock().unwrap();
                let chunks = nodes[&node].1.chunks.values();
                chunks.map(|bytes| bytes.len() as u64).sum::<u64>()
            };
            let mut registration = registration(node);
            registration.zone = zone.into();
            registration.state.capacity_bytes = capacity_bytes;
            registration.state.used_bytes = used_bytes;
            registration.state.free_bytes = capacity_bytes.saturating_sub(used_bytes);
            self.membership.register(registration).unwrap();
        }
    }

    /// Lets every node see a fence.
    pub async fn show_fence(&self, fence: &Fence) {
        for node in self.all() {
            drop(self.admit(node, Some(fence)).await.unwrap());
        }
    }

    /// How many reads the node has answered.
    pub fn reads_on(&self, node: NodeId) -> usize {
        self.nodes.lock().unwrap()[&node].1.reads
    }

    /// How many chunks the node was asked to take.
    pub fn puts_on(&self, node: NodeId) -> usize {
        self.nodes.lock().unwrap()[&node].1.puts
    }

    pub fn writer(&self, replicas: u8) -> BodyWriter {
        let settings = WriterSettings {
            replicas,
            write_quorum: None,
            finish_within: Duration::from_secs(60),
        };
        let membership = Arc::clone(&self.membership);
        BodyWriter::new(Arc::new(self.clone()), membership, budget(), settings)
    }

    pub fn reader(&self) -> BodyReader {
        let membership = Arc::clone(&self.membership);
        let running = RunningReads::default();
        let hints = self.hints.clone();
        BodyReader::new(Arc::new(self.clone()), membership, budget(), running, hints)
    }

    async fn admit(&self, node: NodeId, fence: Option<&Fence>) -> ChunkResult<Option<Admitted>> {
        let fences = self.nodes.lock().unwrap()[&node].1.fences.clone();
        match fence {
            Some(fence) => fences.admit(fence.clone()).await.map(Some),
            None => Ok(None),
        }
    }

    /// Everything that a node holds, in id order.
    fn held(&self, node: NodeId) -> ChunkResult<Vec<ChunkInfo>> {
        self.fault(node)?;
        let nodes = self.nodes.lock().unwrap();
        let info = |(&id, bytes): (&ChunkId, &Bytes)| ChunkInfo {
            id,
            length_bytes: bytes.len() as u64,
            crc64: Crc64::of(bytes),
        };
        Ok(nodes[&node].1.chunks.iter().map(info).collect())
    }

    /// How many pages of chunks were asked for.
    pub fn lists(&self) -> usize {
        *self.lists.lock().unwrap()
    }

    /// Makes a call's way to a node.
    async fn reach(&self, node: NodeId) -> ChunkResult<Fault> {
        let hook = self.on_the_wire.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook().await;
        }
        self.fault(node)
    }

    fn fault(&self, node: NodeId) -> ChunkResult<Fault> {
        match self.nodes.lock().unwrap()[&node].0 {
            Fault::Gone => Err(ChunkError::Unreachable("connection refused".into())),
            fault => Ok(fault),
        }
    }
}

fn budget() -> ByteBudget {
    ByteBudget::new(64 << 20, Duration::from_secs(5))
}

fn registration(node_id: NodeId) -> Registration {
    let incarnation = Uuid::now_v7();
    Registration {
        node_id,
        incarnation,
        address: String::new(),
        zone: String::new(),
        state: Heartbeat {
            incarnation,
            capacity_bytes: 1 << 40,
            used_bytes: 0,
            free_bytes: 1 << 40,
            chunk_count: 0,
            in_flight: 0,
            disk_errors: 0,
            quarantined: 0,
            writable: true,
            fenced_disks: Vec::new(),
            scrub: None,
        },
    }
}

pub fn owner() -> BodyOwner {
    BodyOwner {
        kind: BodyKind::Object,
        bucket_id: Uuid::now_v7(),
        bucket: "photos".into(),
        key: "cat".into(),
        sequence: Uuid::now_v7(),
        part: None,
        details: Vec::new(),
    }
}

/// The hint of a chunk that was put on a node by hand.
fn nobody() -> OwnerHint {
    OwnerHint {
        bucket_id: Uuid::nil(),
        bucket: String::new(),
        key: String::new(),
        sequence: Uuid::nil(),
        part: None,
        index: 0,
        offset_bytes: 0,
        body_bytes: None,
        details: Vec::new(),
    }
}

/// `length` bytes that repeat at no power of two.
pub fn payload(length: usize) -> Bytes {
    (0..length)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect()
}

/// A client's body that comes in pieces.
pub fn body_of(bytes: &Bytes) -> BodyStream {
    let pieces: Vec<_> = bytes.chunks(65_536).map(Bytes::copy_from_slice).collect();
    stream::iter(pieces.into_iter().map(Ok)).boxed()
}

#[async_trait]
impl ChunkTransport for Nodes {
    async fn put(
        &self,
        node: NodeId,
        put: ChunkPut,
        mut body: ChunkStream,
    ) -> ChunkResult<ChunkReceipt> {
        self.nodes.lock().unwrap().get_mut(&node).unwrap().1.puts += 1;
        let fault = self.reach(node).await?;
        if fault == Fault::Full {
            return Err(ChunkError::Full("no room".into()));
        }
        let mut stored = Vec::new();
        while let Some(piece) = body.try_next().await? {
            stored.extend_from_slice(&piece);
            if let Fault::Trickles(rest) = fault {
                tokio::time::sleep(rest).await;
            }
            if matches!(fault, Fault::DiesAfter(limit) if stored.len() as u64 >= limit) {
                return Err(ChunkError::Unreachable("connection reset".into()));
            }
        }
        if let Some(held) = self.crc64(node, put.id)
            && held != Crc64::of(&stored)
        {
            return Err(ChunkError::Conflict(put.id));
        }
        if stored.len() as u64 != put.length_bytes {
            return Err(ChunkError::BadBody("too short".into()));
        }
        if fault == Fault::NeverAcks {
            std::future::pending::<()>().await;
        }
        if fault == Fault::DiesAtSync {
            return Err(ChunkError::Unreachable("connection reset".into()));
        }
        if fault == Fault::StoresGarbage {
            stored[0] ^= 1;
        }
        let receipt = ChunkReceipt {
            length_bytes: stored.len() as u64,
            crc64: Crc64::of(&stored),
        };
        {
            let mut nodes = self.nodes.lock().unwrap();
            let (_, state) = nodes.get_mut(&node).unwrap();
            state.chunks.insert(put.id, stored.into());
            state.owners.insert(put.id, put.owner);
        }
        self.reach(node).await?;
        Ok(receipt)
    }

    async fn get(
        &self,
        node: NodeId,
        chunk: ChunkId,
        range: Option<ByteRange>,
    ) -> ChunkResult<ChunkRead> {
        let fault = self.reach(node).await?;
        let info = self.head(node, chunk).await?;
        let mut bytes = {
            let mut nodes = self.nodes.lock().unwrap();
            let (_, state) = nodes.get_mut(&node).unwrap();
            state.reads += 1;
            state.chunks[&chunk].to_vec()
        };
        if fault == Fault::SendsGarbage {
            bytes[0] ^= 1;
        }
        if let Some(ByteRange { start, end }) = range {
            bytes = bytes[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()].to_vec();
        }
        let mut pieces = Vec::new();
        let mut sent = 0;
        for piece in bytes.chunks(PIECE_BYTES) {
            if matches!(fault, Fault::RotsAfter(limit) if sent >= limit) {
                let detail = "a block has another checksum".into();
                pieces.push(Err(ChunkError::Corrupt { chunk, detail }));
                break;
            }
            sent += piece.len() as u64;
            pieces.push(Ok(Bytes::copy_from_slice(piece)));
        }
        Ok(ChunkRead {
            info,
            stream: stream::iter(pieces).boxed(),
        })
    }

    async fn head(&self, node: NodeId, chunk: ChunkId) -> ChunkResult<ChunkInfo> {
        self.reach(node).await?;
        let nodes = self.nodes.lock().unwrap();
        let bytes = nodes[&node].1.chunks.get(&chunk);
        let bytes = bytes.ok_or(ChunkError::NotFound(chunk))?;
        Ok(ChunkInfo {
            id: chunk,
            length_bytes: bytes.len() as u64,
            crc64: Crc64::of(bytes),
        })
    }

    async fn delete(&self, node: NodeId, chunk: ChunkId, fence: Option<&Fence>) -> ChunkResult<()> {
        *self.deletes.lock().unwrap().entry(node).or_default() += 1;
        self.reach(node).await?;
        let _admitted = self.admit(node, fence).await?;
        let mut nodes = self.nodes.lock().unwrap();
        nodes.get_mut(&node).unwrap().1.chunks.remove(&chunk);
        Ok(())
    }

    async fn digest(&self, node: NodeId, range: IdRange) -> ChunkResult<InventoryDigest> {
        self.reach(node).await?;
        let held = self.held(node)?;
        let inside = held.iter().filter(|chunk| range.contains(chunk.id));
        Ok(InventoryDigest::of(inside))
    }

    async fn list(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> ChunkResult<ListPage> {
        *self.lists.lock().unwrap() += 1;
        self.reach(node).await?;
        let mut chunks = self.held(node)?;
        chunks.retain(|chunk| Some(chunk.id) > after);
        let truncated = chunks.len() > limit;
        chunks.truncate(limit);
        Ok(ListPage {
            chunks,
            truncated,
            incomplete: false,
        })
    }

    async fn owner(&self, node: NodeId, chunk: ChunkId) -> ChunkResult<Option<OwnerHint>> {
        self.head(node, chunk).await?;
        let nodes = self.nodes.lock().unwrap();
        Ok(nodes[&node].1.owners.get(&chunk).cloned())
    }

    async fn copy(
        &self,
        target: NodeId,
        chunk: ChunkId,
        source: NodeId,
        fence: Option<&Fence>,
    ) -> ChunkResult<ChunkReceipt> {
        let _admitted = self.admit(target, fence).await?;
        let hook = self.before_copies.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook().await;
        }
        self.copied.lock().unwrap().push(chunk);
        if self.fault(source).map_err(ChunkError::of_source)? == Fault::CutOffFromNodes {
            let detail = "connection refused".into();
            return Err(ChunkError::SourceUnavailable(detail));
        }
        let owner = self.owner(source, chunk).await;
        let owner = owner.map_err(ChunkError::of_source)?.unwrap_or_else(nobody);
        let read = self.get(source, chunk, None).await;
        let read = read.map_err(ChunkError::of_source)?;
        let put = ChunkPut {
            id: chunk,
            length_bytes: read.info.length_bytes,
            owner,
        };
        let body = read.stream.map_err(ChunkError::of_source).boxed();
        self.put(target, put, body).await
    }
}
