//! The protocol in simulated time, which goes on by turns: clients, faults and jobs each wait for
//! as many turns of the others as a seed says, and so does every message on its way. Nodes go away
//! and return, break connections, store and send garbage, lose and rot chunks, are drained and
//! evened out; never so many at a time that a chunk with all its copies could be lost. No client is
//! ever given other bytes than it put, and once the faults are over everything is as if there had
//! been none.
//!
//! A thousand seeds by default; `SEXTANT_SIMULATIONS` says how many, `SEXTANT_SIMULATION_SEED` which
//! one. A seed gives the same operations and faults again; where chunks lie also hangs on their ids.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chunkproto::{ByteRange, ChunkId, Crc64, NodeId};
use futures::future::{join, join_all};
use futures::{FutureExt as _, StreamExt as _, stream};
use gateway::admin::NodeOrder;
use gateway::chunks::slices_of;
use gateway::jobs::{Job, OrphanLimits, ReconcileJob, ReconcileSettings};
use metastore::{
    ChunkRef, ListEntry, ListQuery, MetaError, Metastore as _, ObjectData, ObjectKey, Upkeep as _,
};
use tokio::task::yield_now;

use crate::kit::World;
use crate::nodes::Fault;

const SEEDS: u64 = 1000;
const NODES: u8 = 6;
const REPLICAS: u8 = 3;
/// A write is acknowledged with so many good copies; the others follow.
const QUORUM: usize = 2;
/// Nodes that misbehave at a time: fewer than there are replicas.
const FAULTY_MAX: usize = 2;
const CLIENTS: u64 = 3;
const OPERATIONS: u64 = 40;
const KEYS_EACH: u64 = 4;
const LENGTH_MAX: u64 = 3000;
/// Twentieths of it, a few objects, matter to the rebalance.
const CAPACITY_BYTES: u64 = 100_000;
/// How long a turn takes by the clock of the jobs.
const TURN: Duration = Duration::from_millis(50);
const GRACE: Duration = Duration::from_secs(5);
/// Longer than a simulation: chunks are dated by the real clock, for which next to no time passes.
const DAY: Duration = Duration::from_secs(86_400);
/// Rounds of all jobs within which everything must be in order again.
const ROUNDS_MAX: usize = 30;

/// Numbers that follow from a seed.
#[derive(Clone)]
struct Dice(Arc<AtomicU64>);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// A number below `end`, by the generator splitmix64.
    fn below(&self, end: u64) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// Waits for fewer than `most` turns.
    async fn pause(&self, most: u64) {
        for _ in 0..self.below(most) {
            yield_now().await;
        }
    }

    /// A place in something of this length.
    fn at(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    fn bytes(&self) -> Bytes {
        let length = 1 + self.below(LENGTH_MAX);
        (0..length)
            .map(|_| u8::try_from(self.below(256)).unwrap())
            .collect()
    }
}

struct Simulation {
    world: World,
    dice: Dice,
    /// What clients know to be stored.
    truth: RefCell<BTreeMap<String, Bytes>>,
    faulty: RefCell<Vec<NodeId>>,
    draining: Cell<Option<NodeId>>,
    /// Objects that clients tried to put, and those that were acknowledged.
    puts: Cell<[u64; 2]>,
    over: Cell<bool>,
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how the test is asked for a seed"
)]
fn what_was_acknowledged_stands_whatever_nodes_do_and_all_is_in_order_afterwards() {
    let number = |name| env::var(name).ok().map(|text| text.parse().unwrap());
    let only: Option<u64> = number("SEXTANT_SIMULATION_SEED");
    let count = number("SEXTANT_SIMULATIONS").unwrap_or(SEEDS);
    let seeds = only.map_or(0..count, |seed| seed..seed + 1);
    let (mut tried, mut acknowledged) = (0, 0);
    for seed in seeds {
        println!("seed {seed}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let puts = runtime.block_on(simulate(seed));
        tried += puts[0];
        acknowledged += puts[1];
    }
    let most = "nodes fail, but most writes are acknowledged";
    assert!(
        acknowledged * 2 > tried,
        "{most}: {acknowledged} of {tried}"
    );
}

/// Puts that were tried, and that were acknowledged.
async fn simulate(seed: u64) -> [u64; 2] {
    let dice = Dice::new(seed);
    let world = World::new(NODES).await;
    let wire = dice.clone();
    world.nodes.on_the_wire(move || {
        let wire = wire.clone();
        async move { wire.pause(8).await }.boxed()
    });
    let simulation = Simulation {
        world,
        dice,
        truth: RefCell::default(),
        faulty: RefCell::default(),
        draining: Cell::default(),
        puts: Cell::default(),
        over: Cell::new(false),
    };
    let clients = join_all((0..CLIENTS).map(|client| simulation.client(client)));
    let clients = clients.map(|_| simulation.over.set(true));
    let others = join(simulation.trouble(), simulation.upkeep());
    join(clients, join(others, simulation.time())).await;
    simulation.settle().await;
    simulation.puts.get()
}

impl Simulation {
    /// The clock of the jobs goes with the simulated one.
    async fn time(&self) {
        while !self.over.get() {
            yield_now().await;
            self.world.wait(TURN);
        }
    }

    /// Has its keys to itself, so it knows what each of them holds.
    async fn client(&self, client: u64) {
        for _ in 0..OPERATIONS {
            self.dice.pause(60).await;
            let key = format!("{client}-{}", self.dice.below(KEYS_EACH));
            match self.dice.below(10) {
                0..5 => {
                    let bytes = self.dice.bytes();
                    let [tried, acknowledged] = self.puts.get();
                    self.puts.set([tried + 1, acknowledged]);
                    if let Ok(object) = self.world.try_put(&key, &bytes, REPLICAS).await {
                        self.assert_quorum(&object.data);
                        self.truth.borrow_mut().insert(key, bytes);
                        let [tried, acknowledged] = self.puts.get();
                        self.puts.set([tried, acknowledged + 1]);
                    }
                }
                5..7 => {
                    self.world.delete(&key).await;
                    self.truth.borrow_mut().remove(&key);
                }
                _ => {
                    let known = self.truth.borrow().get(&key).cloned();
                    // Nodes may be away; what comes must be right all the same.
                    if let Ok(got) = self.get(&key).await {
                        assert!(got == known, "{key} is not what was put");
                    }
                }
            }
        }
    }

    /// The object, if there is one; an error if its bytes cannot be had.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, String> {
        let key = ObjectKey::parse(key).unwrap();
        let object = match self.world.metastore.object(self.world.bucket, &key).await {
            Ok(object) => object,
            Err(MetaError::NoSuchKey(_)) => return Ok(None),
            Err(error) => panic!("{error}"),
        };
        let ObjectData::Chunks(layout) = &object.data else {
            panic!("{:?}", object.data);
        };
        let whole = ByteRange {
            start: 0,
            end: object.size_bytes,
        };
        let slices = slices_of(layout, whole).into_iter().map(Ok);
        let reader = self.world.nodes.reader();
        let body = reader.open(stream::iter(slices).boxed(), object.size_bytes);
        let body = body.await.map_err(|error| error.to_string())?;
        let mut body = std::pin::pin!(body);
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.next().await {
            bytes.extend_from_slice(&piece.map_err(|error| error.to_string())?);
        }
        Ok(Some(bytes.freeze()))
    }

    /// Faults come and go.
    async fn trouble(&self) {
        while !self.over.get() {
            self.dice.pause(60).await;
            match self.dice.below(5) {
                0 => self.harm_a_node(),
                1 => self.heal_a_node(),
                2 => self.order_a_node().await,
                _ => self.harm_a_chunk().await,
            }
        }
    }

    fn harm_a_node(&self) {
        let node = self.any_node();
        let mut faulty = self.faulty.borrow_mut();
        if faulty.len() >= FAULTY_MAX || faulty.contains(&node) {
            return;
        }
        faulty.push(node);
        let fault = match self.dice.below(7) {
            0 => Fault::DiesAfter(self.dice.below(LENGTH_MAX)),
            1 => Fault::DiesAtSync,
            2 => Fault::StoresGarbage,
            3 => Fault::SendsGarbage,
            4 => Fault::RotsAfter(0),
            5 => Fault::Gone,
            _ => return self.world.take_down(node),
        };
        self.world.nodes.set_fault(node, fault);
    }

    fn heal_a_node(&self) {
        let mut faulty = self.faulty.borrow_mut();
        if !faulty.is_empty() {
            let at = self.dice.at(faulty.len());
            self.world.bring_back(faulty.swap_remove(at));
        }
    }

    /// A node is to leave, or the one that is leaving stays.
    async fn order_a_node(&self) {
        if let Some(node) = self.draining.take() {
            self.world.order(node, NodeOrder::Undrain).await.unwrap();
            return;
        }
        let node = self.any_node();
        if self.world.order(node, NodeOrder::Drain).await.is_ok() {
            self.draining.set(Some(node));
        }
    }

    /// A chunk rots or is lost on one node, if two others have it that are named by its row.
    async fn harm_a_chunk(&self) {
        let node = self.any_node();
        let held: Vec<ChunkId> = self.world.nodes.contents(node).into_keys().collect();
        if held.is_empty() {
            return;
        }
        let chunk = held[self.dice.at(held.len())];
        let placed = self.world.metastore.placements(&[chunk]).await.unwrap();
        let Some(placed) = placed[0].as_ref().map(|placed| &placed.chunk) else {
            return;
        };
        let others = self.good_copies(placed).into_iter();
        if others.filter(|other| *other != node).count() < 2 {
            return;
        }
        if self.dice.below(2) == 0 {
            self.world.nodes.lose(node, chunk);
        } else {
            self.world.nodes.replace(node, chunk, self.dice.bytes());
        }
    }

    /// What was just acknowledged is on as many nodes as it takes.
    fn assert_quorum(&self, data: &ObjectData) {
        let ObjectData::Chunks(layout) = data else {
            panic!("{data:?}");
        };
        for chunk in &layout.chunks {
            let good = self.good_copies(chunk).len();
            assert!(good >= QUORUM, "acknowledged with {good} good copies");
        }
    }

    fn good_copies(&self, chunk: &ChunkRef) -> Vec<NodeId> {
        let nodes = &self.world.nodes;
        let is_good = |node: &NodeId| nodes.crc64(*node, chunk.id) == Some(chunk.crc64);
        chunk.replicas.iter().copied().filter(is_good).collect()
    }

    fn any_node(&self) -> NodeId {
        self.world.nodes.all()[self.dice.at(NODES.into())]
    }

    /// The jobs of two gateways, which take the leases from each other.
    async fn upkeep(&self) {
        let gateway = async || {
            let (repair, reconcile) = (self.world.repair(REPLICAS), self.reconcile());
            let garbage = self.world.collector(GRACE);
            let (drain, rebalance) = (self.world.drain(REPLICAS), self.world.rebalance(REPLICAS));
            while !self.over.get() {
                self.dice.pause(100).await;
                match self.dice.below(5) {
                    0 => self.run(&repair).await,
                    1 => self.run(&garbage).await,
                    2 => self.run(&drain).await,
                    3 => {
                        self.world.nodes.report(CAPACITY_BYTES);
                        self.run(&rebalance).await;
                    }
                    _ => self.run(&reconcile).await,
                }
            }
        };
        join(gateway(), gateway()).await;
    }

    /// Rounds fail when nodes do, or when the other gateway took over.
    async fn run(&self, job: &impl Job) {
        let _ = self.world.run(job).await;
    }

    fn reconcile(&self) -> ReconcileJob {
        let settings = ReconcileSettings {
            replicas: REPLICAS,
            every: Duration::ZERO,
            orphans: OrphanLimits {
                age: DAY,
                quarantine: DAY,
                limit_percent: 100,
            },
        };
        ReconcileJob::new(self.world.replica_mover(), settings, Arc::default())
    }

    /// Ends all faults, lets the jobs do their work, and asserts that all is in order.
    async fn settle(&self) {
        let world = &self.world;
        if let Some(node) = self.draining.take() {
            world.order(node, NodeOrder::Undrain).await.unwrap();
        }
        world
            .nodes
            .all()
            .into_iter()
            .for_each(|node| world.bring_back(node));
        let (repair, reconcile) = (world.repair(REPLICAS), self.reconcile());
        let garbage = world.collector(GRACE);
        for _ in 0..ROUNDS_MAX {
            world.wait(DAY);
            world.run(&reconcile).await.unwrap();
            world.run(&repair).await.unwrap();
            world.run(&garbage).await.unwrap();
            if self.disorder().await.is_none() {
                break;
            }
        }
        assert_eq!(self.disorder().await, None);
        let truth = self.truth.borrow().clone();
        for (key, bytes) in truth {
            assert!(self.get(&key).await.unwrap() == Some(bytes), "{key}");
        }
        let keys: Vec<String> = self.truth.borrow().keys().cloned().collect();
        assert_eq!(self.listed().await, keys);
    }

    /// What nodes hold beside or short of what rows name.
    async fn disorder(&self) -> Option<String> {
        let mut named: BTreeMap<NodeId, BTreeMap<ChunkId, Crc64>> = BTreeMap::new();
        let keys: Vec<String> = self.truth.borrow().keys().cloned().collect();
        for key in keys {
            let parsed = ObjectKey::parse(&key).unwrap();
            let object = self.world.metastore.object(self.world.bucket, &parsed);
            let ObjectData::Chunks(layout) = object.await.unwrap().data else {
                panic!("{key} has no chunks");
            };
            for chunk in layout.chunks {
                if chunk.replicas.len() != usize::from(REPLICAS) {
                    return Some(format!("{key}: {} replicas", chunk.replicas.len()));
                }
                for node in chunk.replicas {
                    named.entry(node).or_default().insert(chunk.id, chunk.crc64);
                }
            }
        }
        for node in self.world.nodes.all() {
            let (held, named) = (self.world.nodes.contents(node), named.remove(&node));
            let named = named.unwrap_or_default();
            if held != named {
                return Some(format!("{node} holds {held:?}, but named are {named:?}"));
            }
        }
        None
    }

    async fn listed(&self) -> Vec<String> {
        let query = ListQuery {
            bucket: self.world.bucket,
            prefix: String::new(),
            delimiter: None,
            after: None,
            limit: 1000,
        };
        let page = self.world.metastore.list_objects(query).await.unwrap();
        let key = |entry| match entry {
            ListEntry::Item(object) => object_key(&object),
            ListEntry::CommonPrefix(prefix) => panic!("{prefix}"),
        };
        page.entries.into_iter().map(key).collect()
    }
}

fn object_key(object: &metastore::ListedObject) -> String {
    object.key.to_string()
}
