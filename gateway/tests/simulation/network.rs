//! Messages between gateways and nodes. A call that is under way goes on when its caller is gone; where
//! a connection falls silent, what was sent arrives once it is heard again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chunkproto::{ChunkError, ChunkResult, ChunkStream, NodeId};
use futures::{StreamExt as _, stream};
use tokio::sync::oneshot;

use crate::dice::Dice;
use crate::node::{Mood, Node};
use crate::shown::Shown;

/// Who sends or gets messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    Gateway(usize),
    Node(NodeId),
}

/// What is wrong with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The sender is told.
    Broken,
    /// Nobody is told anything.
    Silent,
}

pub struct Network {
    pub dice: Dice,
    pub nodes: BTreeMap<NodeId, Arc<Node>>,
    cuts: Shown<BTreeMap<(Peer, Peer), Cut>>,
}

impl Network {
    pub fn new(dice: Dice, nodes: impl IntoIterator<Item = Arc<Node>>) -> Arc<Self> {
        let nodes = nodes.into_iter().map(|node| (node.id, node));
        Arc::new(Self {
            dice,
            nodes: nodes.collect(),
            cuts: Shown::new(BTreeMap::new()),
        })
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Cuts the connection between two, or mends it.
    pub fn set_cut(&self, one: Peer, other: Peer, cut: Option<Cut>) {
        let pair = (one.min(other), one.max(other));
        self.cuts.change(|cuts| {
            match cut {
                Some(cut) => cuts.insert(pair, cut),
                None => cuts.remove(&pair),
            };
        });
    }

    pub fn mend_all(&self) {
        self.cuts.change(BTreeMap::clear);
    }

    pub fn cuts(&self) -> Vec<(Peer, Peer)> {
        self.cuts.get().into_keys().collect()
    }

    /// Makes a message's way, which takes milliseconds, at times a second.
    pub async fn travel(&self, from: Peer, to: Peer) -> ChunkResult<()> {
        match self.dice.below(200) {
            0 => self.dice.pause(100..1500).await,
            _ => self.dice.pause(1..5).await,
        }
        self.pass(from, to).await
    }

    /// Passes the connection, if need be once it is mended.
    async fn pass(&self, from: Peer, to: Peer) -> ChunkResult<()> {
        let pair = (from.min(to), from.max(to));
        let passed = |cuts: &BTreeMap<(Peer, Peer), Cut>| match cuts.get(&pair) {
            None => Some(Ok(())),
            Some(Cut::Broken) => Some(Err(ChunkError::Unreachable("connection broken".into()))),
            Some(Cut::Silent) => None,
        };
        self.cuts.until(passed).await
    }

    /// Has a node do something, and hears of it.
    pub async fn call<T: Send + 'static, W>(
        self: &Arc<Self>,
        from: Peer,
        node: NodeId,
        work: impl FnOnce(Arc<Node>) -> W + Send + 'static,
    ) -> ChunkResult<T>
    where
        W: Future<Output = ChunkResult<T>> + Send,
    {
        let (answer, heard) = oneshot::channel();
        let network = Arc::clone(self);
        tokio::spawn(async move {
            let answered = async {
                let to = Arc::clone(&network.nodes[&node]);
                network.travel(from, Peer::Node(node)).await?;
                let done = to.serve(work(Arc::clone(&to))).await;
                network.travel(Peer::Node(node), from).await?;
                done
            };
            let _ = answer.send(answered.await);
        });
        heard.await.unwrap()
    }

    /// Sends a chunk's pieces to a node.
    pub fn send(self: &Arc<Self>, from: Peer, to: NodeId, body: ChunkStream) -> ChunkStream {
        let network = Arc::clone(self);
        let way = move |piece| {
            let network = Arc::clone(&network);
            async move {
                network.pass(from, Peer::Node(to)).await?;
                piece
            }
        };
        body.then(way).boxed()
    }

    /// Sends a chunk's pieces from a node, which may end at any of them.
    pub fn deliver(
        self: &Arc<Self>,
        from: NodeId,
        to: Peer,
        pieces: Vec<ChunkResult<Bytes>>,
    ) -> ChunkStream {
        let network = Arc::clone(self);
        let way = move |piece| {
            let network = Arc::clone(&network);
            async move {
                let node = &network.nodes[&from];
                if node.mood() == Mood::Dead {
                    return Err(ChunkError::Unreachable("connection reset".into()));
                }
                node.wait().await;
                if network.dice.one_in(8) {
                    network.dice.pause(1..20).await;
                }
                network.pass(Peer::Node(from), to).await?;
                piece
            }
        };
        stream::iter(pieces).then(way).boxed()
    }
}
