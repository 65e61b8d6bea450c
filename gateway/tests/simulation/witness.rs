//! Looks on all the time, from a place that nobody in the cluster has, whether what must always hold
//! does: that rows name what is there, that nothing goes that is named or being read, that no job takes
//! copies away from a chunk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chunkproto::{ChunkId, Fence, JobName, NodeId};
use futures::FutureExt as _;
use metastore::{ChunkLayout, ChunkRef, MemoryMetastore, MetaResult, Upkeep as _};
use tokio::time::Instant;

use crate::history::History;
use crate::network::Network;
use crate::node::Node;
use crate::settings::{GRACE_LEAST, QUORUM};
use crate::watch::Seen;

/// What is said of one simulation.
const ACCUSATIONS_MAX: usize = 4;

pub struct Witness {
    began: Instant,
    history: Arc<History>,
    pub metastore: Arc<MemoryMetastore>,
    pub network: Arc<Network>,
    pub state: Mutex<State>,
    /// Clocks that jump cut graces short, of which reads then know nothing.
    clocks_jumped: AtomicU64,
}

#[derive(Default)]
pub struct State {
    accusations: Vec<String>,
    reads: BTreeMap<u64, Read>,
    reads_begun: u64,
    pub seen: BTreeMap<ChunkId, Seen>,
    /// The newest token of each job that changed something on a node.
    tokens: BTreeMap<(NodeId, JobName), u64>,
    events: BTreeMap<&'static str, u64>,
}

/// A read that runs.
struct Read {
    began: Instant,
    gateway: usize,
    chunks: Vec<ChunkRef>,
}

/// A read, until it is dropped.
pub struct Reading<'w> {
    witness: &'w Witness,
    number: u64,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.witness
            .state
            .lock()
            .unwrap()
            .reads
            .remove(&self.number);
    }
}

impl Witness {
    pub fn new(
        history: Arc<History>,
        metastore: Arc<MemoryMetastore>,
        network: Arc<Network>,
    ) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            history,
            metastore,
            network,
            state: Mutex::default(),
            clocks_jumped: AtomicU64::new(0),
        })
    }

    /// Takes something that happened now into the story.
    pub fn tell(&self, what: impl std::fmt::Display) {
        let now = self.began.elapsed().as_millis();
        self.history.tell(format!("{now} {what}"));
    }

    /// Counts that something happened.
    pub fn count(&self, event: &'static str) {
        self.tell(event);
        *self.state.lock().unwrap().events.entry(event).or_default() += 1;
    }

    pub fn events(&self) -> BTreeMap<&'static str, u64> {
        self.state.lock().unwrap().events.clone()
    }

    /// Notes what must never happen.
    pub fn accuse(&self, what: String) {
        let now = self.began.elapsed();
        let accusation = format!("after {now:?}: {what}");
        let mut state = self.state.lock().unwrap();
        if state.accusations.len() < ACCUSATIONS_MAX {
            state.accusations.push(accusation);
        }
    }

    pub fn accusations(&self) -> Vec<String> {
        self.state.lock().unwrap().accusations.clone()
    }

    pub fn note_jump(&self) {
        self.clocks_jumped.fetch_add(1, Ordering::Relaxed);
    }

    /// A gateway reads these chunks from now on.
    pub fn reading(&self, gateway: usize, chunks: Vec<ChunkRef>) -> Reading<'_> {
        let mut state = self.state.lock().unwrap();
        state.reads_begun += 1;
        let number = state.reads_begun;
        let began = Instant::now();
        let read = Read {
            began,
            gateway,
            chunks,
        };
        state.reads.insert(number, read);
        Reading {
            witness: self,
            number,
        }
    }

    /// Chunks were named by a commit just now (I2).
    pub fn see_commit(&self, layout: &ChunkLayout) {
        for chunk in &layout.chunks {
            self.see_named(chunk);
            if chunk.replicas.len() < QUORUM {
                self.accuse(format!("acknowledged with too few copies: {chunk:?}"));
            }
        }
    }

    pub fn see_named(&self, chunk: &ChunkRef) {
        for node in &chunk.replicas {
            if !self.network.nodes[node].disk().had(chunk.id, chunk.crc64) {
                self.accuse(format!("named and never durable on {node}: {chunk:?} (I2)"));
            }
        }
    }

    /// A gateway deletes a chunk from a node right now (I3).
    pub fn see_delete(&self, gateway: usize, node: &Node, chunk: ChunkId) {
        if let Some(named) = self.placement(chunk)
            && named.replicas.contains(&node.id)
            && node.disk().is_good(chunk, named.crc64)
        {
            self.accuse(format!(
                "deleted on {} though it is named: {named:?} (I3)",
                node.id
            ));
        }
        if self.clocks_jumped.load(Ordering::Relaxed) > 0 {
            return;
        }
        let needs = |named: &ChunkRef| {
            let is_it = named.id == chunk && named.replicas.contains(&node.id);
            is_it && node.disk().is_good(chunk, named.crc64)
        };
        // Other gateways do not know of it, but leave everything alone for a grace.
        let is_safe = |read: &Read| read.gateway == gateway || read.began.elapsed() < GRACE_LEAST;
        let is_read = {
            let state = self.state.lock().unwrap();
            let mut reads = state.reads.values();
            reads.any(|read| is_safe(read) && read.chunks.iter().any(needs))
        };
        if is_read {
            self.accuse(format!(
                "{chunk} deleted on {} while it is read (I3)",
                node.id
            ));
        }
    }

    /// A job changes something on a node right now (I8).
    pub fn see_fence(&self, node: NodeId, fence: Option<&Fence>) {
        let Some(Fence { job, token }) = fence.cloned() else {
            return;
        };
        let newest = {
            let mut state = self.state.lock().unwrap();
            let newest = state.tokens.entry((node, job.clone())).or_default();
            *newest = token.max(*newest);
            *newest
        };
        if token < newest {
            self.accuse(format!(
                "{job} changed {node} as {token} after {newest} had (I8)"
            ));
        }
    }

    fn placement(&self, chunk: ChunkId) -> Option<ChunkRef> {
        let placed = at_once(self.metastore.placements(&[chunk]));
        placed
            .into_iter()
            .next()
            .flatten()
            .map(|placed| placed.chunk)
    }
}

/// What the metastore in memory answers, which never waits.
pub fn at_once<T>(answer: impl Future<Output = MetaResult<T>>) -> T {
    answer.now_or_never().unwrap().unwrap()
}
