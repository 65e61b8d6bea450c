//! One simulation from its seed to its verdict.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chunkproto::NodeId;
use futures::future::join_all;
use metastore::{
    Bucket, BucketId, BucketName, BucketSettings, MemoryMetastore, Metastore as _, Timestamp,
};
use tokio::runtime::Builder;
use uuid::Uuid;

use crate::clients::Client;
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::faults::Trouble;
use crate::gateway::Gateway;
use crate::history::History;
use crate::network::{Network, Peer};
use crate::node::{Mood, Node};
use crate::settings::{CLIENTS, GATEWAYS, NODES};
use crate::witness::Witness;

/// Everything of one simulation.
pub struct World {
    pub dice: Dice,
    pub history: Arc<History>,
    pub metastore: Arc<MemoryMetastore>,
    pub bucket: BucketId,
    pub network: Arc<Network>,
    pub witness: Arc<Witness>,
    pub gateways: Vec<Arc<Gateway>>,
    tried: AtomicU64,
    acknowledged: AtomicU64,
}

/// What came of one or many simulations.
#[derive(Debug, Default)]
pub struct Told {
    pub seeds: u64,
    /// Puts that were tried.
    pub tried: u64,
    pub acknowledged: u64,
    /// How often what happened.
    pub events: BTreeMap<&'static str, u64>,
    /// What happened, of a single simulation.
    pub story: Vec<String>,
}

impl Told {
    pub fn add(&mut self, more: &Self) {
        self.seeds += more.seeds;
        self.tried += more.tried;
        self.acknowledged += more.acknowledged;
        for (event, count) in &more.events {
            *self.events.entry(event).or_default() += count;
        }
    }

    /// Asserts that nothing was left out: what never happens is not tested.
    pub fn assert_everything_happened(&self) {
        for event in [
            "a change cut off",
            "a chunk rotted",
            "a chunk was lost",
            "a clock jumped",
            "a connection cut",
            "a failed change",
            "a gateway crashed",
            "a node died",
            "a node froze",
            "a node garbled",
            "a node lied",
            "a node was full",
            "a node was ordered",
            "a node was slow",
            "a refused condition",
            "a write that lagged",
            "an upload aborted",
            "an upload completed",
            "an upload forgotten",
        ] {
            assert!(self.events.contains_key(event), "never: {event}");
        }
    }
}

/// Runs a seed, if need be aloud, and asserts that all went as it must.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the clock is stopped"
)]
pub fn simulate(seed: u64, is_loud: bool) -> Told {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = World::new(seed, is_loud).await;
        let keeping = tokio::spawn(Arc::clone(&world).keep());
        world.storm().await;
        world.heal().await;
        world.settle().await;
        assert!(
            !keeping.is_finished(),
            "nodes are heard and watched to the end"
        );
        Told {
            seeds: 1,
            tried: world.tried.load(Ordering::Relaxed),
            acknowledged: world.acknowledged.load(Ordering::Relaxed),
            events: world.witness.events(),
            story: world.history.story(),
        }
    })
}

impl World {
    async fn new(seed: u64, is_loud: bool) -> Arc<Self> {
        let dice = Dice::new(seed);
        let history = Arc::new(History::new(is_loud));
        let metastore = Arc::new(MemoryMetastore::new());
        let bucket = Bucket {
            id: BucketId(Uuid::from_u128(1)),
            name: BucketName::parse("photos").unwrap(),
            created_at: Timestamp(1),
            owner: "alice".into(),
            region: String::new(),
            settings: BucketSettings::default(),
        };
        let id = bucket.id;
        metastore.create_bucket(bucket).await.unwrap();
        let nodes = (1..=NODES).map(|number| NodeId::from_bytes([number; 16]));
        let nodes = nodes.map(|id| Node::new(id, dice.clone()));
        let network = Network::new(dice.clone(), nodes);
        let witness = Witness::new(
            Arc::clone(&history),
            Arc::clone(&metastore),
            Arc::clone(&network),
        );
        let cluster = Cluster::new(
            dice.clone(),
            Arc::clone(&history),
            (Arc::clone(&metastore), id),
            Arc::clone(&network),
            Arc::clone(&witness),
        );
        let gateways = (0..GATEWAYS).map(|number| Gateway::new(number, Arc::clone(&cluster)));
        Arc::new(Self {
            dice,
            history,
            metastore,
            bucket: id,
            network,
            witness,
            gateways: gateways.collect(),
            tried: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
        })
    }

    pub fn note_try(&self) {
        self.tried.fetch_add(1, Ordering::Relaxed);
    }

    pub fn note_acknowledged(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Heartbeats, scrubs, and somebody who watches.
    async fn keep(self: Arc<Self>) {
        let mut all = Vec::new();
        for node in self.network.nodes.values() {
            for gateway in &self.gateways {
                all.push(self.heartbeats(node, gateway));
            }
        }
        tokio::join!(join_all(all), self.scrubs(), self.witness.watch());
    }

    async fn heartbeats(&self, node: &Arc<Node>, gateway: &Arc<Gateway>) {
        let (mut is_known, mut life) = (false, node.incarnation());
        loop {
            self.dice.pause(900..1100).await;
            if matches!(node.mood(), Mood::Dead | Mood::Frozen) {
                continue;
            }
            let (from, to) = (Peer::Node(node.id), Peer::Gateway(gateway.number));
            if self.network.travel(from, to).await.is_err() {
                continue;
            }
            let is_same = std::mem::replace(&mut life, node.incarnation()) == life;
            is_known = gateway.hear(node, is_known && is_same).await;
        }
    }

    async fn scrubs(&self) {
        loop {
            self.dice.pause(40_000..60_000).await;
            self.network
                .nodes
                .values()
                .for_each(|node| node.disk().scrub());
        }
    }

    /// Clients work while things go wrong.
    async fn storm(self: &Arc<Self>) {
        for gateway in &self.gateways {
            gateway.start().await;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let clients = (0..CLIENTS).map(|_| Client::new(Arc::clone(self)).work());
        tokio::select! {
            biased;
            _ = join_all(clients) => {}
            never = Trouble::new(Arc::clone(self)).make() => match never {},
        }
    }
}
