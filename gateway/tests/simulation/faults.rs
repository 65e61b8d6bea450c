//! What goes wrong: never so much at a time that a chunk could lose all of its copies.

use std::convert::Infallible;
use std::sync::Arc;

use chunkproto::{ChunkId, NodeId};
use gateway::admin::NodeOrder;
use metastore::{NodePhase, Upkeep as _};

use crate::dice::Dice;
use crate::gateway::{Asked, Gateway};
use crate::network::{Cut, Peer};
use crate::node::{Mood, Node};
use crate::settings::{FAULTY_MAX, GATEWAYS};
use crate::world::World;

/// Connections that are cut at a time.
const CUTS_MAX: usize = 3;

/// One who makes trouble until it is over.
pub struct Trouble {
    world: Arc<World>,
    dice: Dice,
    /// Whether clocks jump in this simulation.
    clocks_jump: bool,
    leaving: Option<NodeId>,
}

impl Trouble {
    pub fn new(world: Arc<World>) -> Self {
        let dice = world.dice.clone();
        let clocks_jump = dice.one_in(4);
        Self {
            world,
            dice,
            clocks_jump,
            leaving: None,
        }
    }

    pub async fn make(mut self) -> Infallible {
        loop {
            self.dice.pause(300..4000).await;
            match self.dice.below(16) {
                0..4 => self.harm_a_node(),
                4..6 => self.heal_a_node(),
                6..8 => self.cut_a_connection(),
                8 => self.mend_a_connection(),
                9..12 => self.harm_a_chunk(),
                12 => self.crash_a_gateway().await,
                13 => self.order_a_node().await,
                14 => self.any_node().disk().scrub(),
                _ => self.turn_a_clock(),
            }
        }
    }

    fn any_node(&self) -> Arc<Node> {
        let ids = self.world.network.ids();
        Arc::clone(&self.world.network.nodes[&self.dice.one_of(&ids)])
    }

    fn any_gateway(&self) -> &Arc<Gateway> {
        let at = usize::try_from(self.dice.below(GATEWAYS as u64)).unwrap();
        &self.world.gateways[at]
    }

    fn faulty(&self) -> Vec<Arc<Node>> {
        let nodes = self.world.network.nodes.values();
        let is_faulty = |node: &&Arc<Node>| node.mood() != Mood::Well;
        nodes.filter(is_faulty).map(Arc::clone).collect()
    }

    fn harm_a_node(&self) {
        let node = self.any_node();
        if node.mood() != Mood::Well || self.faulty().len() >= FAULTY_MAX {
            return;
        }
        let (mood, event) = match self.dice.below(10) {
            0..3 => (Mood::Dead, "a node died"),
            3..5 => (Mood::Frozen, "a node froze"),
            5..7 => (Mood::Slow(self.dice.ms(500..12_000)), "a node was slow"),
            7 => (Mood::Full, "a node was full"),
            8 => (Mood::Garbles, "a node garbled"),
            _ => (Mood::Lies, "a node lied"),
        };
        self.world.witness.count(event);
        node.become_so(mood);
    }

    fn heal_a_node(&self) {
        let faulty = self.faulty();
        if !faulty.is_empty() {
            let at = usize::try_from(self.dice.below(faulty.len() as u64)).unwrap();
            faulty[at].become_so(Mood::Well);
        }
    }

    fn cut_a_connection(&self) {
        if self.world.network.cuts().len() >= CUTS_MAX {
            return;
        }
        let one = Peer::Node(self.any_node().id);
        let other = match self.dice.below(2) {
            0 => Peer::Gateway(self.any_gateway().number),
            _ => Peer::Node(self.any_node().id),
        };
        let cut = match self.dice.below(2) {
            0 => Cut::Broken,
            _ => Cut::Silent,
        };
        if one != other {
            self.world.witness.count("a connection cut");
            self.world.network.set_cut(one, other, Some(cut));
        }
    }

    fn mend_a_connection(&self) {
        let cuts = self.world.network.cuts();
        if !cuts.is_empty() {
            let (one, other) = self.dice.one_of(&cuts);
            self.world.network.set_cut(one, other, None);
        }
    }

    /// A chunk rots or is lost on one node, if two others have it that are named by its row.
    fn harm_a_chunk(&self) {
        let node = self.any_node();
        let named = self.world.witness.named();
        let here = named
            .values()
            .filter(|chunk| chunk.replicas.contains(&node.id));
        let here: Vec<ChunkId> = here.map(|chunk| chunk.id).collect();
        if here.is_empty() {
            return;
        }
        let chunk = &named[&self.dice.one_of(&here)];
        let others = chunk.replicas.iter().filter(|other| **other != node.id);
        let others: Vec<_> = others.map(|id| &self.world.network.nodes[id]).collect();
        let good = others
            .iter()
            .filter(|other| other.disk().is_good(chunk.id, chunk.crc64));
        if good.count() < 2 || others.iter().any(|other| other.disk().is_rotten(chunk.id)) {
            return;
        }
        if self.dice.one_in(2) {
            self.world.witness.count("a chunk was lost");
            node.disk().lose(chunk.id);
        } else {
            self.world.witness.count("a chunk rotted");
            node.disk().rot(chunk.id);
        }
    }

    async fn crash_a_gateway(&self) {
        self.world.witness.count("a gateway crashed");
        let gateway = Arc::clone(self.any_gateway());
        gateway.crash();
        self.dice.pause(10..5000).await;
        gateway.start().await;
    }

    /// A node is to leave, or the one that is leaving stays.
    async fn order_a_node(&mut self) {
        let (node, order) = match self.leaving.take() {
            Some(leaving) => (leaving, NodeOrder::Undrain),
            None => (self.any_node().id, NodeOrder::Drain),
        };
        let asked = Arc::clone(self.any_gateway());
        let asked = asked.ask(async |process| process.admin.carry_out(node, order).await);
        if let Asked::Answered(Ok(())) = asked.await {
            self.world.witness.count("a node was ordered");
        }
        let phases = self.world.metastore.node_phases().await.unwrap();
        let is_leaving = |(_, phase): &&(NodeId, NodePhase)| *phase == NodePhase::Draining;
        self.leaving = phases.iter().find(is_leaving).map(|(node, _)| *node);
    }

    /// A gateway's clock is right again, or more wrong than a lease or a grace lasts.
    fn turn_a_clock(&self) {
        if !self.clocks_jump {
            return;
        }
        self.world.witness.count("a clock jumped");
        self.world.witness.note_jump();
        let ahead_s = self.dice.one_of(&[0, 0, -70, -20, 20, 70]);
        self.any_gateway().set_clock_ahead(ahead_s * 1000);
    }
}
