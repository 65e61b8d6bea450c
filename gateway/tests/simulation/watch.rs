//! The witness's looks at everything: what rows name, and how many copies of it there are.

use std::collections::BTreeMap;
use std::time::Duration;

use chunkproto::{ChunkId, NodeId};
use metastore::{ChunkRef, Upkeep as _};
use tokio::time::{Instant, sleep};

use crate::settings::{QUORUM, REPLICAS};
use crate::witness::{Witness, at_once};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// A job that looked at all copies of a chunk may act on it so much later: a slow node's answer takes
/// so long. What was lost meanwhile, it cannot know.
const OUTDATED_MAX: Duration = Duration::from_secs(45);

/// What was seen of a chunk at the last look.
#[derive(Clone)]
pub struct Seen {
    replicas: Vec<NodeId>,
    copies: usize,
    losses: u64,
    lost_at: Option<Instant>,
}

impl Witness {
    /// Every chunk that a row names on any node, as its row says.
    pub fn named(&self) -> BTreeMap<ChunkId, ChunkRef> {
        let mut named = BTreeMap::new();
        for node in self.network.ids() {
            named.extend(
                self.named_on(node)
                    .into_iter()
                    .map(|chunk| (chunk.id, chunk)),
            );
        }
        named
    }

    fn named_on(&self, node: NodeId) -> Vec<ChunkRef> {
        let page = at_once(self.metastore.node_chunks(node, None, usize::MAX));
        let placed = page.into_iter().filter_map(|chunk| chunk.placement);
        placed.map(|placed| placed.chunk).collect()
    }

    /// Looks at everything again and again.
    pub async fn watch(&self) {
        loop {
            self.look();
            sleep(PERIOD).await;
        }
    }

    /// No chunk lost copies since the last look but by what befell them (I7), and none lost all (I1).
    fn look(&self) {
        let named = self.named();
        let mut before = std::mem::take(&mut self.state.lock().unwrap().seen);
        for chunk in named.values() {
            self.see_named(chunk);
            let nodes = chunk.replicas.iter().map(|node| &self.network.nodes[node]);
            let copies = nodes
                .filter(|node| node.disk().claims(chunk.id, chunk.crc64))
                .count();
            let all = self.network.nodes.values();
            let losses = all.map(|node| node.disk().losses(chunk.id)).sum();
            let last = before.remove(&chunk.id).unwrap_or(Seen {
                replicas: Vec::new(),
                copies: QUORUM,
                losses: 0,
                lost_at: None,
            });
            let befell = usize::try_from(losses - last.losses).unwrap();
            let lost_at = if befell > 0 {
                Some(Instant::now())
            } else {
                last.lost_at
            };
            let lately = lost_at.is_some_and(|at| at.elapsed() < OUTDATED_MAX);
            let excused = if lately { befell.max(1) } else { 0 };
            let expected = last.copies.min(REPLICAS.into()).saturating_sub(excused);
            if copies < expected {
                self.accuse(format!(
                    "{copies} copies left of {expected}: {chunk:?} (I7)"
                ));
            }
            let mut all = self.network.nodes.values();
            if !all.any(|node| node.disk().is_good(chunk.id, chunk.crc64)) {
                self.accuse(format!("all copies are lost: {chunk:?} (I1)"));
            }
            if chunk.replicas != last.replicas {
                self.tell(format!("{} is on {:?}", chunk.id, chunk.replicas));
            }
            let replicas = chunk.replicas.clone();
            let seen = Seen {
                replicas,
                copies,
                losses,
                lost_at,
            };
            self.state.lock().unwrap().seen.insert(chunk.id, seen);
        }
    }
}
