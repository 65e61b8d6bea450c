//! A body to chunks: steps 2 to 4 of the write protocol. Chunk i+1 is under way while chunk i is
//! being made durable; nothing holds a whole body (I13).

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chunkproto::{ChunkId, ChunkPut, Crc64, NodeId, OwnerHint};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use metastore::{ChunkLayout, ChunkRef, Scheme};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::abandoned::{AbandonedChunks, InFlightBody};
use super::chunk_write::ChunkWrite;
use super::pace::{Pace, TooSlow};
use super::{
    BudgetExhausted, ByteBudget, BytesReserved, ChunkTransport, FirstShare, PlannedChunk, SplitPlan,
};
use crate::chance::Chance;
use crate::cluster::Membership;

/// Chunks of one body that wait for their nodes' acknowledgements while the next one is read.
const FINISHING_MAX: usize = 1;

/// A piece shorter than this is joined with the next ones …
const SHORT_PIECE_BYTES: usize = 16 * 1024;
/// … up to this length.
const JOINED_PIECE_BYTES: usize = 64 * 1024;

/// A write begins with this much memory, so that clients that send nothing hold little …
const FIRST_SHARE_BYTES: u64 = JOINED_PIECE_BYTES as u64;
/// … and has this much once something came: pieces on their way to the nodes. What is kept for nodes
/// that fail is reserved as it comes.
const SHARE_BYTES: u64 = 320 * 1024;

/// A client's body. Its errors are the client's or the connection's.
pub type BodyStream = BoxStream<'static, Result<Bytes, Box<dyn Error + Send + Sync>>>;

/// How bodies are made redundant.
#[derive(Debug, Clone, Copy)]
pub struct WriterSettings {
    /// Replicas of each chunk, on distinct nodes: 1 to 6.
    pub replicas: u8,
    /// Durable replicas before a write is acknowledged. None: all while that many nodes are up,
    /// else a majority.
    pub write_quorum: Option<u8>,
    /// A body that takes longer is not committed: its first chunks might be taken for orphans.
    pub finish_within: Duration,
}

impl WriterSettings {
    /// Durable replicas that a write needs while `takers` nodes could take it.
    #[must_use]
    pub fn quorum(&self, takers: usize) -> usize {
        let wanted = usize::from(self.replicas);
        match self.write_quorum {
            Some(quorum) => usize::from(quorum),
            None if takers >= wanted => wanted,
            None => wanted / 2 + 1,
        }
    }

    /// Nodes that must take writes for any write to succeed.
    #[must_use]
    pub fn nodes_needed(&self) -> usize {
        self.quorum(0)
    }
}

/// What a body is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// An object, or a part of one.
    Object,
    /// The metadata itself.
    Metadata,
}

/// Which object a body belongs to, for the owner hints.
#[derive(Debug, Clone)]
pub struct BodyOwner {
    /// What the body is of; the ids of its chunks tell.
    pub kind: BodyKind,
    /// Id of the bucket.
    pub bucket_id: Uuid,
    /// Name of the bucket.
    pub bucket: String,
    /// Key of the object.
    pub key: String,
    /// Revision that the body is written for.
    pub sequence: Uuid,
    /// Upload and part number, for a part.
    pub part: Option<(Uuid, u16)>,
    /// What else is to be known of the object if all rows are lost; goes with the first chunk.
    pub details: Vec<u8>,
}

/// A body that is durable as chunks but not yet named by any row.
#[derive(Debug)]
pub struct WrittenBody {
    /// Where its bytes are.
    pub layout: ChunkLayout,
    /// CRC64-NVME of the whole body.
    pub crc64: Crc64,
}

/// Why a body was not written. Chunks that were written stay behind for garbage collection.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The client's body failed or ended wrongly.
    #[error("the client's body failed: {0}")]
    Body(Box<dyn Error + Send + Sync>),
    /// The body had another length than declared.
    #[error("the body is not {declared_bytes} bytes long as declared")]
    Length {
        /// The declared length.
        declared_bytes: u64,
    },
    /// Too few nodes take new chunks.
    #[error("{found} chunk servers can take a new chunk, {quorum} are needed")]
    NoNodes {
        /// Nodes found.
        found: usize,
        /// Nodes needed.
        quorum: usize,
    },
    /// Too few replicas became durable.
    #[error("{durable} replicas of a chunk are durable, {quorum} are needed")]
    NoQuorum {
        /// Durable replicas.
        durable: usize,
        /// Replicas needed.
        quorum: usize,
    },
    /// The body took so long that its first chunks might be taken for orphans.
    #[error("the body took longer than {0:?}")]
    TooSlow(Duration),
    /// The client sends next to nothing.
    #[error(transparent)]
    Stalled(#[from] TooSlow),
    /// The process's memory budget stayed taken.
    #[error(transparent)]
    Busy(#[from] BudgetExhausted),
}

/// Writes bodies.
#[derive(Clone)]
pub struct BodyWriter {
    parts: Arc<WriterParts>,
    abandoned: Option<AbandonedChunks>,
}

/// What every chunk of every body needs.
#[derive(Clone)]
pub struct WriterParts {
    pub transport: Arc<dyn ChunkTransport>,
    pub membership: Arc<Membership>,
    pub budget: ByteBudget,
    settings: WriterSettings,
    pub chance: Chance,
}

impl WriterParts {
    pub fn replicas_wanted(&self) -> usize {
        usize::from(self.settings.replicas)
    }

    /// As [`WriterSettings::quorum`].
    pub fn write_quorum(&self, takers: usize) -> usize {
        self.settings.quorum(takers)
    }
}

impl BodyWriter {
    /// A writer over `transport` to the nodes of `membership`, holding bytes out of `budget`.
    #[must_use]
    pub fn new(
        transport: Arc<dyn ChunkTransport>,
        membership: Arc<Membership>,
        budget: ByteBudget,
        settings: WriterSettings,
    ) -> Self {
        Self {
            parts: Arc::new(WriterParts {
                transport,
                membership,
                budget,
                settings,
                chance: Chance::system(),
            }),
            abandoned: None,
        }
    }

    /// Returns this writer with a sender for the chunks of bodies that are never committed.
    #[must_use]
    pub fn with_abandoned(self, abandoned: AbandonedChunks) -> Self {
        let abandoned = Some(abandoned);
        Self { abandoned, ..self }
    }

    /// As it is, but with ids and lots from `chance`.
    #[must_use]
    pub fn drawing(self, chance: Chance) -> Self {
        let parts = WriterParts {
            chance,
            ..Arc::unwrap_or_clone(self.parts)
        };
        Self {
            parts: Arc::new(parts),
            ..self
        }
    }

    /// Replicas that each chunk should have.
    #[must_use]
    pub fn replicas_wanted(&self) -> u8 {
        self.parts.settings.replicas
    }

    /// Writes a body of `body_bytes` and reads `body` to its end. On success every chunk is durable
    /// on at least the write quorum of nodes. On failure, or when the caller goes away, nothing
    /// names what was written, and its chunks are sent to garbage collection.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn write(
        &self,
        owner: BodyOwner,
        body_bytes: u64,
        body: BodyStream,
    ) -> Result<WrittenBody, WriteError> {
        let mut share = Share::begin(&self.parts.budget, body_bytes).await?;
        let began = Instant::now();
        let mut pieces = Pieces {
            body,
            pace: Pace::default(),
            rest: Bytes::new(),
            declared_bytes: body_bytes,
        };
        let mut in_flight = InFlightBody::new(self.abandoned.clone());
        let mut finishing = VecDeque::new();
        let mut chunks = Vec::new();
        let mut nodes = Vec::new();

        for planned in SplitPlan::for_body(body_bytes).chunks() {
            let chunk = self
                .feed_chunk(planned, body_bytes, &owner, &nodes, &mut pieces, &mut share)
                .await?;
            nodes.extend(chunk.nodes());
            in_flight.note(chunk.as_sent());
            if finishing.len() == FINISHING_MAX {
                chunks.extend(join_first(&mut finishing, &mut in_flight).await?);
            }
            finishing.push_back(AbortOnDropHandle::new(tokio::spawn(chunk.finish())));
        }
        pieces.expect_end().await?;
        while !finishing.is_empty() {
            chunks.extend(join_first(&mut finishing, &mut in_flight).await?);
        }
        let limit = self.parts.settings.finish_within;
        if began.elapsed() > limit {
            return Err(WriteError::TooSlow(limit));
        }
        in_flight.finish();
        let layout = ChunkLayout {
            scheme: Scheme::Replicated,
            chunks,
        };
        Ok(WrittenBody {
            crc64: layout.crc64(),
            layout,
        })
    }

    async fn feed_chunk(
        &self,
        planned: PlannedChunk,
        body_bytes: u64,
        owner: &BodyOwner,
        same_body: &[NodeId],
        pieces: &mut Pieces,
        share: &mut Share<'_>,
    ) -> Result<ChunkWrite, WriteError> {
        let put = ChunkPut {
            id: match owner.kind {
                BodyKind::Object => self.parts.chance.chunk_id(),
                BodyKind::Metadata => ChunkId::generate_for_metadata(),
            },
            length_bytes: planned.length_bytes,
            owner: owner.hint(planned, body_bytes),
        };
        let mut chunk = ChunkWrite::begin(Arc::clone(&self.parts), put, same_body.to_vec())?;
        let mut missing_bytes = planned.length_bytes;
        while missing_bytes > 0 {
            let piece = pieces.next(missing_bytes).await?;
            missing_bytes -= piece.len() as u64;
            share.complete().await?;
            chunk.feed(piece).await?;
        }
        Ok(chunk)
    }
}

/// What a write may hold.
struct Share<'b> {
    budget: &'b ByteBudget,
    /// Enough for one piece, and how many bytes more it needs.
    first: Option<(FirstShare, u64)>,
    whole: Option<BytesReserved>,
}

impl<'b> Share<'b> {
    async fn begin(budget: &'b ByteBudget, body_bytes: u64) -> Result<Self, BudgetExhausted> {
        let mut share = Self {
            budget,
            first: None,
            whole: None,
        };
        if body_bytes <= FIRST_SHARE_BYTES {
            share.whole = Some(budget.reserve(body_bytes).await?);
        } else {
            let first = budget.reserve_first(FIRST_SHARE_BYTES).await?;
            let missing_bytes = body_bytes.min(SHARE_BYTES) - FIRST_SHARE_BYTES;
            share.first = Some((first, missing_bytes));
        }
        Ok(share)
    }

    /// Waits for the rest.
    async fn complete(&mut self) -> Result<(), BudgetExhausted> {
        if let Some((first, missing_bytes)) = self.first.take() {
            self.whole = Some(self.budget.complete(first, missing_bytes).await?);
        }
        Ok(())
    }
}

impl BodyOwner {
    fn hint(&self, chunk: PlannedChunk, body_bytes: u64) -> OwnerHint {
        OwnerHint {
            bucket_id: self.bucket_id,
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            sequence: self.sequence,
            part: self.part,
            index: chunk.index,
            offset_bytes: chunk.offset_bytes,
            body_bytes: Some(body_bytes),
            details: match chunk.index {
                0 => self.details.clone(),
                _ => Vec::new(),
            },
        }
    }
}

type Finishing = VecDeque<AbortOnDropHandle<Result<ChunkRef, WriteError>>>;

async fn join_first(
    finishing: &mut Finishing,
    in_flight: &mut InFlightBody,
) -> Result<Option<ChunkRef>, WriteError> {
    let Some(first) = finishing.pop_front() else {
        return Ok(None);
    };
    match first.await {
        Ok(outcome) => {
            let chunk = outcome?;
            in_flight.note(chunk.clone());
            Ok(Some(chunk))
        }
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// The client's body, cut where a chunk ends, with small pieces joined.
struct Pieces {
    body: BodyStream,
    pace: Pace,
    rest: Bytes,
    declared_bytes: u64,
}

impl Pieces {
    /// The next bytes, at least one and at most `most_bytes`. A piece costs the same memory however
    /// short it is, so short ones are copied together.
    async fn next(&mut self, most_bytes: u64) -> Result<Bytes, WriteError> {
        let most = usize::try_from(most_bytes).unwrap_or(usize::MAX);
        let first = self.take(most).await?;
        if first.len() >= SHORT_PIECE_BYTES || first.len() == most {
            return Ok(first);
        }
        let most = most.min(JOINED_PIECE_BYTES);
        let mut joined = BytesMut::with_capacity(most);
        joined.extend_from_slice(&first);
        while joined.len() < most {
            let piece = self.take(most - joined.len()).await?;
            joined.extend_from_slice(&piece);
        }
        Ok(joined.freeze())
    }

    /// The next bytes as the client's connection yields them.
    async fn take(&mut self, most: usize) -> Result<Bytes, WriteError> {
        while self.rest.is_empty() {
            self.rest = match self.next_of_client().await? {
                Some(piece) => piece,
                None => {
                    return Err(WriteError::Length {
                        declared_bytes: self.declared_bytes,
                    });
                }
            };
        }
        Ok(self.rest.split_to(self.rest.len().min(most)))
    }

    async fn next_of_client(&mut self) -> Result<Option<Bytes>, WriteError> {
        let Some(piece) = self.pace.wait(self.body.next()).await? else {
            return Ok(None);
        };
        let piece = piece.map_err(WriteError::Body)?;
        self.pace.note(Duration::ZERO, piece.len() as u64)?;
        Ok(Some(piece))
    }

    /// Reads to the end, where trailers stand; further bytes are an error.
    async fn expect_end(&mut self) -> Result<(), WriteError> {
        while self.rest.is_empty() {
            match self.next_of_client().await? {
                Some(piece) => self.rest = piece,
                None => return Ok(()),
            }
        }
        Err(WriteError::Length {
            declared_bytes: self.declared_bytes,
        })
    }
}
