//! One chunk on its way to its nodes: steps 2 to 4 of the write protocol. A node that fails is
//! replaced, from the retained pieces while the chunk is short, else by a copy from a replica.

use std::sync::Arc;

use bytes::Bytes;
use chunkproto::{ChunkError, ChunkPut, ChunkReceipt, Crc64Hasher, NodeId};
use futures::future::join_all;
use futures::{StreamExt as _, stream};
use metastore::ChunkRef;
use tracing::warn;

use super::replica::{ReplicaFailure, ReplicaWrite};
use super::write::{WriteError, WriterParts};
use super::{PlacementRequest, choose_nodes};

/// Pieces of a chunk are kept for a new node until it is longer than this.
pub const RETAINED_MAX_BYTES: u64 = 1024 * 1024;
/// Nodes tried in place of failed ones, for one chunk.
const REPLACEMENTS_MAX: usize = 6;

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
            received_bytes: 0,
            crc64: Crc64Hasher::new(),
        };
        let wanted = chunk.parts.replicas_wanted();
        for node in chunk.choose(wanted, &[]) {
            let replica = chunk.begin_replica(node);
            chunk.replicas.push(replica);
        }
        let quorum = chunk.parts.write_quorum();
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

    /// Sends the next piece to every replica.
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
        if self.received_bytes > RETAINED_MAX_BYTES {
            self.retained = None;
        }

        let sends = std::mem::take(&mut self.replicas)
            .into_iter()
            .map(|replica| replica.send(piece.clone()));
        let mut kept = Vec::new();
        let mut failures = Vec::new();
        for sent in join_all(sends).await {
            match sent {
                Ok(replica) => kept.push(replica),
                Err(failure) => failures.push(failure),
            }
        }
        for failure in failures {
            self.note_failure(failure);
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

    /// Waits until the chunk is durable on its nodes, replacing those that fail.
    ///
    /// # Errors
    /// `NoQuorum` when fewer nodes than the write quorum hold it in the end.
    pub async fn finish(mut self) -> Result<ChunkRef, WriteError> {
        assert_eq!(
            self.received_bytes, self.put.length_bytes,
            "a chunk is fed its planned length"
        );
        let outcomes = join_all(
            std::mem::take(&mut self.replicas)
                .into_iter()
                .map(|replica| replica.finish(self.put.length_bytes)),
        )
        .await;
        let mut replicas = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            replicas.extend(self.accept(outcome));
        }
        self.fill_up(&mut replicas).await;

        if replicas.len() < self.parts.write_quorum() {
            return Err(self.no_quorum(replicas.len()));
        }
        Ok(ChunkRef {
            id: self.put.id,
            length_bytes: self.put.length_bytes,
            crc64: self.crc64.finish(),
            replicas,
        })
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
            let outcome = match (&self.retained, replicas.first()) {
                (Some(pieces), _) => {
                    let body = stream::iter(pieces.clone()).map(Ok).boxed();
                    self.parts.transport.put(node, self.put.clone(), body).await
                }
                (None, Some(&source)) => {
                    let transport = &self.parts.transport;
                    transport.copy(node, self.put.id, source, None).await
                }
                (None, None) => return,
            };
            let outcome = outcome
                .map(|receipt| (node, receipt))
                .map_err(|error| ReplicaFailure { node, error });
            replicas.extend(self.accept(outcome));
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
        choose_nodes(&view, request, || self.parts.random())
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
            quorum: self.parts.write_quorum(),
        }
    }
}
