//! Nodes in memory behind the chunk transport, each with a fault of its own choosing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chunkd::Fences;
use chunkproto::{ChunkId, Crc64, Fence, Heartbeat, NodeId, OwnerHint, Registration};
use futures::future::BoxFuture;
use gateway::chunks::{
    BodyReader, BodyWriter, ByteBudget, HintQueue, RepairHints, RunningReads, WriterSettings,
};
use gateway::cluster::{Membership, NodeTimeouts};
use uuid::Uuid;

pub use self::bodies::{body_of, owner, payload};

mod bodies;
mod transport;

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

    /// How many pages of chunks were asked for.
    pub fn lists(&self) -> usize {
        *self.lists.lock().unwrap()
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
