//! What is on a node, by which it is judged whether the node may go: what the metadata places there, and
//! what the node holds beside that.

use chunkproto::wire::LIST_LIMIT_MAX;
use chunkproto::{ChunkError, ChunkId, ChunkInfo, NodeId};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use metastore::{ChunkRef, MetaError, MetaResult, Metastore, Placement, Timestamp};
use serde::{Deserialize, Serialize};

use crate::chunks::ChunkTransport;
use crate::cluster::{Membership, NodeState};

/// Chunks of a node read at a time.
const PAGE: usize = 1000;
/// Chunks placed on a node that are counted; where there are more, the count says that it is not complete.
const COUNTED_MAX: u64 = 100_000;
/// Chunks that are looked for on other nodes at the same time.
const PARALLEL_MAX: usize = 16;

/// What the metadata says of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHolds {
    /// Chunks that rows place on it.
    pub placed_chunks: u64,
    /// Their bytes.
    pub placed_bytes: u64,
    /// Of those, the ones with no other copy on a node that is not lost.
    pub last_copies: u64,
    /// Copies that wait to be deleted.
    pub garbage_chunks: u64,
    /// Copies in quarantine that no row places there.
    #[serde(default)]
    pub orphans: u64,
    /// Whether rows place more on it than was counted.
    pub truncated: bool,
}

/// What a node holds that no row places there.
#[derive(Debug, Default)]
pub struct Unplaced {
    /// Chunks that no row names at all and that are so young that one may yet.
    pub young: u64,
    /// Chunks that a row names elsewhere, where no good copy was found.
    pub needed: Vec<ChunkRef>,
}

/// Why it is not known what a node holds.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The node does not say.
    #[error(transparent)]
    Node(#[from] ChunkError),
    /// The metadata cannot be read.
    #[error(transparent)]
    Metadata(#[from] MetaError),
}

/// Counts what the metadata places on a node, and all that waits there.
///
/// # Errors
/// What keeps it from being read.
pub async fn holds(
    metastore: &dyn Metastore,
    membership: &Membership,
    node: NodeId,
) -> MetaResult<NodeHolds> {
    let (mut holds, mut after) = (NodeHolds::default(), None);
    loop {
        let page = metastore.node_chunks(node, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(holds);
        };
        if holds.placed_chunks >= COUNTED_MAX {
            holds.truncated = true;
            return Ok(holds);
        }
        let orphans = quarantined(metastore, node, (after, last.id)).await?;
        after = Some(last.id);
        for chunk in &page {
            let placed = chunk.placement.as_ref().map(|placed| &placed.chunk);
            match placed.filter(|placed| placed.replicas.contains(&node)) {
                Some(placed) => holds.count(membership, node, placed),
                None if orphans.binary_search(&chunk.id).is_ok() => holds.orphans += 1,
                None => holds.garbage_chunks += 1,
            }
        }
    }
}

impl NodeHolds {
    fn count(&mut self, membership: &Membership, node: NodeId, chunk: &ChunkRef) {
        self.placed_chunks += 1;
        self.placed_bytes = self.placed_bytes.saturating_add(chunk.length_bytes);
        let is_other_copy =
            |other: &NodeId| *other != node && membership.state(*other) != NodeState::Down;
        if !chunk.replicas.iter().any(is_other_copy) {
            self.last_copies += 1;
        }
    }
}

/// A node's orphans in quarantine in a range of ids, in their order.
async fn quarantined(
    metastore: &dyn Metastore,
    node: NodeId,
    (mut after, through): (Option<ChunkId>, ChunkId),
) -> MetaResult<Vec<ChunkId>> {
    let mut found = Vec::new();
    loop {
        let page = metastore.orphans(node, after, PAGE).await?;
        let inside = page.iter().filter(|orphan| orphan.chunk.id <= through);
        let quarantined = inside.filter(|orphan| orphan.quarantined_at.is_some());
        found.extend(quarantined.map(|orphan| orphan.chunk.id));
        after = page.last().map(|last| last.chunk.id);
        if page.len() < PAGE || after > Some(through) {
            return Ok(found);
        }
    }
}

/// Looks through all that a live node holds for what may yet matter. (The metadata's own chunks are
/// copied by the backup.)
///
/// # Errors
/// What keeps the node's list, or the metadata, from being read.
pub async fn unplaced(
    metastore: &dyn Metastore,
    (transport, membership): (&dyn ChunkTransport, &Membership),
    node: NodeId,
    born_after: Timestamp,
) -> Result<Unplaced, LookError> {
    let (mut unplaced, mut after) = (Unplaced::default(), None);
    loop {
        let page = transport.list(node, after, LIST_LIMIT_MAX).await?;
        let chunks = page.chunks.iter().map(|chunk| chunk.id);
        let chunks: Vec<_> = chunks.filter(|id| !id.is_of_metadata()).collect();
        let mut elsewhere = Vec::new();
        for (id, placed) in chunks.iter().zip(metastore.placements(&chunks).await?) {
            match placed {
                Some(Placement { chunk, .. }) => elsewhere.push(chunk),
                None => unplaced.young += u64::from(id.born_at_ms() >= born_after.0),
            }
        }
        let looks = stream::iter(elsewhere)
            .map(async |chunk| {
                let is_safe = has_good_copy(transport, membership, node, &chunk).await;
                Ok::<_, LookError>((!is_safe).then_some(chunk))
            })
            .buffer_unordered(PARALLEL_MAX)
            .try_collect::<Vec<_>>();
        unplaced.needed.extend(looks.await?.into_iter().flatten());
        after = page.chunks.last().map(|chunk| chunk.id);
        if !page.truncated {
            return Ok(unplaced);
        }
    }
}

/// Whether a live node beside `node` that the row names has the chunk.
async fn has_good_copy(
    transport: &dyn ChunkTransport,
    membership: &Membership,
    node: NodeId,
    chunk: &ChunkRef,
) -> bool {
    let expected = ChunkInfo {
        id: chunk.id,
        length_bytes: chunk.length_bytes,
        crc64: chunk.crc64,
    };
    for other in chunk.replicas.iter().filter(|other| **other != node) {
        let is_live = membership.state(*other) == NodeState::Live;
        if is_live && transport.head(*other, chunk.id).await.ok() == Some(expected) {
            return true;
        }
    }
    false
}
