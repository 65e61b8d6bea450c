//! One chunk on its way to its nodes: steps 2 to 4 of the write protocol. A node that fails is
//! replaced, from the retained pieces while the chunk is short, else by a copy from a replica.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunkproto::{ChunkError, ChunkId, ChunkPut, ChunkReceipt, ChunkResult, Crc64Hasher, NodeId};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _, stream};
use metastore::ChunkRef;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use super::replica::{ReplicaFailure, ReplicaWrite};
use super::write::{WriteError, WriterParts};
use super::{BytesReserved, ChunkTransport, PlacementRequest, choose_nodes, count_takers};

/// Pieces of a chunk are kept for a new node until it is longer than this.
pub const RETAINED_MAX_BYTES: u64 = 1024 * 1024;
/// Nodes tried in place of failed ones, for one chunk.
const REPLACEMENTS_MAX: usize = 6;

/// A node that acknowledges the shortest chunk so late is raced by another one …
const HEDGE_MIN: Duration = Duration::from_secs(2);
/// … and for longer chunks later, as if disks wrote at this rate.
const HEDGE_BYTES_PER_S: u64 = 64 * 1024 * 1024;
/// Where no other node could take its place, a node may hold the others up for so long …
const LAG_MIN: Duration = Duration::from_secs(10);
/// … and for longer chunks as if it wrote at this rate.
const LAG_BYTES_PER_S: u64 = 4 * 1024 * 1024;
/// A node takes the whole of the shortest chunk, from here or from another node, in this time …
const WHOLE_MIN: Duration = Duration::from_secs(10);
/// … and longer ones as if they came at this rate.
const WHOLE_BYTES_PER_S: u64 = 8 * 1024 * 1024;

/// A node's answer to a whole chunk.
type Ack = Result<(NodeId, ChunkReceipt), ReplicaFailure>;

/// A chunk that is being written.
pub struct ChunkWrite {
    parts: Arc<WriterParts>,
    put: ChunkPut,
    replicas: Vec<ReplicaWrite>,
    /// Nodes that failed this chunk; never tried again for it.
    failed: Vec<NodeId>,
    /// Nodes of the body's earlier chunks.
    same_body: Vec<NodeId>,
    /// All pieces so far, while they are few enough to be sent again.
    retained: Option<Vec<Bytes>>,
    /// The memory for them, beyond what the write holds anyway.
    retained_share: Option<BytesReserved>,
    received_bytes: u64,
    crc64: Crc64Hasher,
}

impl ChunkWrite {
    /// Chooses the nodes and begins to write to them.
    ///
    /// # Errors
    /// `NoNodes` where there are fewer than the write quorum.
    pub fn begin(
        parts: Arc<WriterParts>,
        put: ChunkPut,
        same_body: Vec<NodeId>,
    ) -> Result<Self, WriteError> {
        let mut chunk = Self {
            parts,
            put,
            replicas: Vec::new(),
            failed: Vec::new(),
            same_body,
            retained: Some(Vec::new()),
            retained_share: None,
            received_bytes: 0,
            crc64: Crc64Hasher::new(),
        };
        let wanted = chunk.parts.replicas_wanted();
        for node in chunk.choose(wanted, &[]) {
            let replica = chunk.begin_replica(node);
            chunk.replicas.push(replica);
        }
        let quorum = chunk.quorum();
        if chunk.replicas.len() < quorum {
            return Err(WriteError::NoNodes {
                found: chunk.replicas.len(),
                quorum,
            });
        }
        Ok(chunk)
    }

    /// The nodes that are being written to.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.replicas.iter().map(ReplicaWrite::node)
    }

    /// The chunk as it was sent, with the nodes that may come to hold it.
    pub fn as_sent(&self) -> ChunkRef {
        ChunkRef {
            id: self.put.id,
            length_bytes: self.put.length_bytes,
            crc64: self.crc64.finish(),
            replicas: self.nodes().collect(),
        }
    }

    /// Sends the next piece to every replica. One that all others waited for too long is given up.
    ///
    /// # Errors
    /// `NoQuorum` when every replica failed and none can be replaced.
    pub async fn feed(&mut self, piece: Bytes) -> Result<(), WriteError> {
        self.received_bytes += piece.len() as u64;
        assert!(
            self.received_bytes <= self.put.length_bytes,
            "a chunk is fed its planned length"
        );
        self.crc64.update(&piece);
        if self.received_bytes > RETAINED_MAX_BYTES || !self.has_memory_for(&piece) {
            (self.retained, self.retained_share) = (None, None);
        }

        let replicas = std::mem::take(&mut self.replicas).into_iter();
        let (mut kept, busy): (Vec<_>, Vec<_>) =
            replicas.partition(|replica| replica.try_send(piece.clone()));
        let failures = match busy.is_empty() {
            true => Vec::new(),
            false => self.send_to_busy(busy, &piece, &mut kept).await,
        };
        let missing = failures.len();
        // All of them, before one is chosen in the place of another.
        failures
            .into_iter()
            .for_each(|failure| self.note_failure(failure));
        for _ in 0..missing {
            let holding: Vec<_> = kept.iter().map(ReplicaWrite::node).collect();
            kept.extend(self.replace_from_retained(&holding, &piece).await);
        }
        self.replicas = kept;
        if let Some(retained) = &mut self.retained {
            retained.push(piece);
        }
        if self.replicas.is_empty() {
            return Err(self.no_quorum(0));
        }
        Ok(())
    }

    /// Whether one more piece may be kept. A single piece is no more than the write holds anyway.
    fn has_memory_for(&mut self, piece: &Bytes) -> bool {
        if self.retained.as_ref().is_none_or(Vec::is_empty) {
            return self.retained.is_some();
        }
        let Some(spare) = self.parts.budget.spare(piece.len() as u64) else {
            return false;
        };
        match &mut self.retained_share {
            Some(share) => share.join(spare),
            None => self.retained_share = Some(spare),
        }
        true
    }

    /// Waits until replicas take the piece that could not at once, and adds them to `kept`; returns those
    /// that failed, or were waited for alone for too long.
    async fn send_to_busy(
        &self,
        busy: Vec<ReplicaWrite>,
        piece: &Bytes,
        kept: &mut Vec<ReplicaWrite>,
    ) -> Vec<ReplicaFailure> {
        let held_up = |replica: &ReplicaWrite| (replica.node(), replica.held_up());
        let mut awaited: Vec<_> = busy.iter().map(held_up).collect();
        let sends = busy.into_iter();
        let mut sends: FuturesUnordered<_> =
            sends.map(|replica| replica.send(piece.clone())).collect();
        let mut failures = Vec::new();
        loop {
            let lone = match awaited[..] {
                [lone] if !kept.is_empty() => Some(lone),
                _ => None,
            };
            let began = Instant::now();
            let sent = match lone {
                None => sends.next().await,
                Some((node, held_up)) => {
                    let left = self.lag_max(node, kept).saturating_sub(held_up);
                    let Ok(sent) = timeout(left, sends.next()).await else {
                        let detail = "all others waited for it too long".into();
                        let error = ChunkError::Unreachable(detail);
                        failures.push(ReplicaFailure { node, error });
                        break;
                    };
                    sent
                }
            };
            let node = match sent {
                None => break,
                Some(Ok(mut replica)) => {
                    if lone.is_some() {
                        replica.note_hold_up(began.elapsed());
                    }
                    let node = replica.node();
                    kept.push(replica);
                    node
                }
                Some(Err(failure)) => {
                    let node = failure.node;
                    failures.push(failure);
                    node
                }
            };
            awaited.retain(|(other, _)| *other != node);
        }
        failures
    }

    /// How long `node` may hold up those that are `kept`, by now.
    fn lag_max(&self, node: NodeId, kept: &[ReplicaWrite]) -> Duration {
        let mut holding: Vec<_> = kept.iter().map(ReplicaWrite::node).collect();
        holding.push(node);
        let seconds_at = |rate: u64| Duration::from_secs(self.received_bytes / rate);
        match self.choose(1, &holding).is_empty() {
            false => HEDGE_MIN + seconds_at(HEDGE_BYTES_PER_S),
            true => LAG_MIN + seconds_at(LAG_BYTES_PER_S),
        }
    }

    /// Waits until the chunk is durable on its nodes, replacing those that fail and racing those that
    /// lag. A node that lost such a race may keep the chunk; it is no replica, and is found when the
    /// node is compared with the metadata.
    ///
    /// # Errors
    /// `NoQuorum` when fewer nodes than the write quorum hold it in the end.
    pub async fn finish(mut self) -> Result<ChunkRef, WriteError> {
        assert_eq!(
            self.received_bytes, self.put.length_bytes,
            "a chunk is fed its planned length"
        );
        let mut replicas = self.acknowledged().await;
        self.fill_up(&mut replicas).await;

        if replicas.len() < self.quorum() {
            return Err(self.no_quorum(replicas.len()));
        }
        Ok(ChunkRef {
            id: self.put.id,
            length_bytes: self.put.length_bytes,
            crc64: self.crc64.finish(),
            replicas,
        })
    }

    /// The nodes that say that the chunk is durable, once there are enough or all have spoken. Others
    /// begin in place of those that lag.
    async fn acknowledged(&mut self) -> Vec<NodeId> {
        let mut lagging: Vec<_> = self.nodes().collect();
        let length_bytes = self.put.length_bytes;
        let under_way = std::mem::take(&mut self.replicas).into_iter();
        let mut acks: FuturesUnordered<BoxFuture<'static, Ack>> = under_way
            .map(|replica| replica.finish(length_bytes).boxed())
            .collect();
        let time_max = HEDGE_MIN + Duration::from_secs(length_bytes / HEDGE_BYTES_PER_S);
        let hedge_at = Instant::now() + time_max;
        let (mut durable, mut is_hedged) = (Vec::new(), false);
        while durable.len() < self.parts.replicas_wanted() {
            let may_hedge = !is_hedged && (self.retained.is_some() || !durable.is_empty());
            tokio::select! {
                // An answer that came at the last moment came in time.
                biased;
                ack = acks.next() => {
                    let Some(ack) = ack else { break };
                    let node = ack.as_ref().map_or_else(|failure| failure.node, |(node, _)| *node);
                    lagging.retain(|other| *other != node);
                    durable.extend(self.accept(ack));
                }
                () = sleep_until(hedge_at), if may_hedge => {
                    is_hedged = true;
                    acks.extend(self.hedges(&durable, &lagging));
                }
            }
        }
        // Whoever lost a race gets no new chunks until it is heard from again.
        for node in lagging {
            self.parts.membership.suspect(node);
        }
        durable
    }

    /// Writes of the whole chunk to as many further nodes as lag.
    fn hedges(&self, durable: &[NodeId], lagging: &[NodeId]) -> Vec<BoxFuture<'static, Ack>> {
        warn!(chunk = %self.put.id, ?lagging, "replicas lag; others are written");
        let holding = [durable, lagging].concat();
        let nodes = self.choose(lagging.len(), &holding).into_iter();
        nodes.filter_map(|node| self.whole(node, durable)).collect()
    }

    /// Writes the whole chunk to a node, in bounded time: from the retained pieces, or else from one of
    /// the nodes that have it.
    fn whole(&self, node: NodeId, sources: &[NodeId]) -> Option<BoxFuture<'static, Ack>> {
        if self.retained.is_none() && sources.is_empty() {
            return None;
        }
        let transport = Arc::clone(&self.parts.transport);
        let in_flight = self.parts.membership.begin_request(node);
        let (put, retained, sources) = (self.put.clone(), self.retained.clone(), sources.to_vec());
        let time_max = WHOLE_MIN + Duration::from_secs(put.length_bytes / WHOLE_BYTES_PER_S);
        let written = async move {
            let _in_flight = in_flight;
            let taken = match retained {
                Some(pieces) => {
                    let body = stream::iter(pieces).map(Ok).boxed();
                    timeout(time_max, transport.put(node, put, body)).await
                }
                None => timeout(time_max, copy_from_any(&*transport, node, put.id, &sources)).await,
            };
            let unanswered = |_| {
                let detail = format!("it did not take the chunk in {time_max:?}");
                Err(ChunkError::Unreachable(detail))
            };
            taken
                .unwrap_or_else(unanswered)
                .map(|receipt| (node, receipt))
                .map_err(|error| ReplicaFailure { node, error })
        };
        Some(written.boxed())
    }

    /// Durable replicas that the chunk needs. Nodes that failed it, or have no room for it, count as
    /// down.
    fn quorum(&self) -> usize {
        let view = self.parts.membership.view();
        let takers = count_takers(&view, self.put.length_bytes, &self.failed);
        self.parts.write_quorum(takers)
    }

    /// Writes the whole chunk to further nodes until it has as many replicas as wanted or no node
    /// is left.
    async fn fill_up(&mut self, replicas: &mut Vec<NodeId>) {
        for _ in 0..REPLACEMENTS_MAX {
            if replicas.len() >= self.parts.replicas_wanted() {
                return;
            }
            let Some(node) = self.choose(1, replicas).pop() else {
                return;
            };
            let Some(ack) = self.whole(node, replicas) else {
                return;
            };
            let ack = ack.await;
            replicas.extend(self.accept(ack));
        }
    }

    /// Begins the chunk again on a node that is not among `holding`, with the pieces so far and the
    /// present one.
    async fn replace_from_retained(
        &mut self,
        holding: &[NodeId],
        piece: &Bytes,
    ) -> Option<ReplicaWrite> {
        let pieces = self.retained.clone()?;
        for _ in 0..REPLACEMENTS_MAX {
            let node = self.choose(1, holding).pop()?;
            match self.resend(node, pieces.iter().chain([piece])).await {
                Ok(replica) => return Some(replica),
                Err(failure) => self.note_failure(failure),
            }
        }
        None
    }

    async fn resend(
        &self,
        node: NodeId,
        pieces: impl Iterator<Item = &Bytes>,
    ) -> Result<ReplicaWrite, ReplicaFailure> {
        let mut replica = self.begin_replica(node);
        for piece in pieces {
            replica = replica.send(piece.clone()).await?;
        }
        Ok(replica)
    }

    fn begin_replica(&self, node: NodeId) -> ReplicaWrite {
        let transport = Arc::clone(&self.parts.transport);
        ReplicaWrite::begin(transport, &self.parts.membership, node, self.put.clone())
    }

    fn choose(&self, nodes_wanted: usize, holding: &[NodeId]) -> Vec<NodeId> {
        let excluded: Vec<_> = holding.iter().chain(&self.failed).copied().collect();
        let request = PlacementRequest {
            nodes_wanted,
            length_bytes: self.put.length_bytes,
            excluded: &excluded,
            same_body: &self.same_body,
        };
        let view = self.parts.membership.view();
        choose_nodes(&view, request, || self.parts.chance.lot())
    }

    /// The node, if its receipt proves that it holds these very bytes (I2).
    fn accept(
        &mut self,
        outcome: Result<(NodeId, ChunkReceipt), ReplicaFailure>,
    ) -> Option<NodeId> {
        let expected = ChunkReceipt {
            length_bytes: self.put.length_bytes,
            crc64: self.crc64.finish(),
        };
        match outcome {
            Ok((node, receipt)) if receipt == expected => Some(node),
            Ok((node, receipt)) => {
                let detail = format!("the node stored {receipt:?} instead of {expected:?}");
                let error = ChunkError::Corrupt {
                    chunk: self.put.id,
                    detail,
                };
                self.note_failure(ReplicaFailure { node, error });
                None
            }
            Err(failure) => {
                self.note_failure(failure);
                None
            }
        }
    }

    fn note_failure(&mut self, failure: ReplicaFailure) {
        let ReplicaFailure { node, error } = failure;
        warn!(chunk = %self.put.id, %node, %error, "a replica failed; choosing another node");
        if matches!(error, ChunkError::Unreachable(_)) {
            self.parts.membership.suspect(node);
        }
        self.failed.push(node);
    }

    fn no_quorum(&self, durable: usize) -> WriteError {
        WriteError::NoQuorum {
            durable,
            quorum: self.quorum(),
        }
    }
}

/// Copies the chunk to `target` from the first of `sources` that yields it.
async fn copy_from_any(
    transport: &dyn ChunkTransport,
    target: NodeId,
    chunk: ChunkId,
    sources: &[NodeId],
) -> ChunkResult<ChunkReceipt> {
    let mut last = ChunkError::NotFound(chunk);
    for &source in sources {
        match transport.copy(target, chunk, source, None).await {
            Err(error) if error.is_of_source() => {
                warn!(%chunk, %source, %target, %error, "a copy failed for its source");
                last = error;
            }
            outcome => return outcome,
        }
    }
    Err(last)
}
