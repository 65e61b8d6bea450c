//! Chunks to a body: each chunk from the replica with fewest requests in flight, the next one
//! opened before the last byte of the present one leaves, another replica in mid-stream where one
//! fails. A body is whole or its stream ends in an error, never short.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunkproto::{ByteRange, ChunkError, ChunkId, ChunkStream, Crc64Hasher, NodeId};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use metastore::{ChunkLayout, ChunkRef, MetaError};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::pace::{Pace, TooSlow};
use super::{
    BudgetExhausted, ByteBudget, BytesReserved, ChunkTransport, RepairHints, RunningRead,
    RunningReads,
};
use crate::clock::Clock;
use crate::cluster::{InFlight, Membership};

/// The next chunk is opened when no more than this is left of the present one.
const PREFETCH_BYTES: u64 = 512 * 1024;
/// Bytes that one reader may hold: pieces on their way and what the next chunk has ready.
const READER_BYTES: u64 = 512 * 1024;
/// A node that sends nothing for so long has failed.
const STALL_MAX: Duration = Duration::from_secs(20);

/// A node opens a chunk in this time while another one could be asked.
const OPEN_MAX: Duration = Duration::from_secs(3);

/// A run of bytes out of one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkSlice {
    /// The chunk.
    pub chunk: ChunkRef,
    /// Which of its bytes.
    pub range: ByteRange,
}

/// The slices that make up a body, looked up as they are needed.
pub type SliceSource = BoxStream<'static, Result<ChunkSlice, ReadError>>;

/// Why a body cannot be read further.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Every replica of a chunk failed.
    #[error("chunk {chunk} cannot be read from any of its {replicas} nodes; the last said: {last}")]
    NoReplica {
        /// The chunk.
        chunk: ChunkId,
        /// How many nodes should hold it.
        replicas: usize,
        /// The last node's error.
        last: ChunkError,
    },
    /// The rows that say where the body is cannot be read.
    #[error(transparent)]
    Metadata(#[from] MetaError),
    /// The process's memory budget stayed taken.
    #[error(transparent)]
    Busy(#[from] BudgetExhausted),
    /// The client takes next to nothing.
    #[error(transparent)]
    TooSlow(#[from] TooSlow),
}

/// The slices of a laid-out body that cover `range` of it, in order.
pub fn slices_of(layout: &ChunkLayout, range: ByteRange) -> Vec<ChunkSlice> {
    let mut slices = Vec::new();
    let mut chunk_start = 0u64;
    for chunk in &layout.chunks {
        let chunk_end = chunk_start + chunk.length_bytes;
        let start = range.start.max(chunk_start);
        let end = range.end.min(chunk_end);
        if start < end {
            let range = ByteRange {
                start: start - chunk_start,
                end: end - chunk_start,
            };
            slices.push(ChunkSlice {
                chunk: chunk.clone(),
                range,
            });
        }
        chunk_start = chunk_end;
    }
    slices
}

/// Opens bodies.
#[derive(Clone)]
pub struct BodyReader {
    nodes: Nodes,
    budget: ByteBudget,
    running: RunningReads,
    clock: Clock,
}

#[derive(Clone)]
struct Nodes {
    transport: Arc<dyn ChunkTransport>,
    membership: Arc<Membership>,
    hints: RepairHints,
}

impl BodyReader {
    /// A reader over `transport` from the nodes of `membership`, holding bytes out of `budget`, noting
    /// its reads in `running` and replicas that cannot be read in `hints`.
    #[must_use]
    pub fn new(
        transport: Arc<dyn ChunkTransport>,
        membership: Arc<Membership>,
        budget: ByteBudget,
        running: RunningReads,
        hints: RepairHints,
    ) -> Self {
        Self {
            nodes: Nodes {
                transport,
                membership,
                hints,
            },
            budget,
            running,
            clock: Clock::system(),
        }
    }

    /// As it is, but its reads begin when `clock` says.
    #[must_use]
    pub fn timed_by(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Opens a body of `body_bytes`; its first chunk is open when this returns. A client that takes
    /// next to nothing of it is given no more.
    ///
    /// # Errors
    /// See [`ReadError`]; the same may end the stream later.
    pub async fn open(
        &self,
        source: SliceSource,
        body_bytes: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static + use<>, ReadError>
    {
        let running = self.running.begin(self.clock.now());
        let reserved = self.budget.reserve(body_bytes.min(READER_BYTES)).await?;
        let (source, first) = open_next(self.nodes.clone(), source).await;
        let body = OpenBody {
            nodes: self.nodes.clone(),
            current: first.transpose()?,
            upcoming: Upcoming::Source(source),
            pace: Pace::default(),
            sent: None,
            _reserved: reserved,
            _running: running,
        };
        Ok(stream::try_unfold(body, |mut body| async move {
            body.note_pace()?;
            let piece = body.next_piece().await?;
            body.sent = piece.as_ref().map(|piece| (Instant::now(), piece.len()));
            Ok(piece.map(|piece| (piece, body)))
        }))
    }
}

struct OpenBody {
    nodes: Nodes,
    current: Option<OpenSlice>,
    upcoming: Upcoming,
    pace: Pace,
    /// The last piece: when it was given to the client, and how long it is.
    sent: Option<(Instant, usize)>,
    _reserved: BytesReserved,
    _running: RunningRead,
}

/// What comes after the present slice.
enum Upcoming {
    Source(SliceSource),
    Opening(AbortOnDropHandle<Opened>),
    Nothing,
}

type Opened = (SliceSource, Option<Result<OpenSlice, ReadError>>);

impl OpenBody {
    /// The client wants the next piece, so it has taken the last one.
    fn note_pace(&mut self) -> Result<(), TooSlow> {
        match self.sent.take() {
            Some((at, length)) => self.pace.note(at.elapsed(), length as u64),
            None => Ok(()),
        }
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            let Some(current) = &mut self.current else {
                return Ok(None);
            };
            if current.remaining_bytes() == 0 {
                self.current = self.advance().await?;
                continue;
            }
            let piece = current.next_piece(&self.nodes).await?;
            if current.remaining_bytes() <= PREFETCH_BYTES {
                self.prefetch();
            }
            return Ok(Some(piece));
        }
    }

    fn prefetch(&mut self) {
        self.upcoming = match std::mem::replace(&mut self.upcoming, Upcoming::Nothing) {
            Upcoming::Source(source) => Upcoming::Opening(AbortOnDropHandle::new(tokio::spawn(
                open_next(self.nodes.clone(), source),
            ))),
            other => other,
        };
    }

    async fn advance(&mut self) -> Result<Option<OpenSlice>, ReadError> {
        self.prefetch();
        let Upcoming::Opening(opening) = std::mem::replace(&mut self.upcoming, Upcoming::Nothing)
        else {
            return Ok(None);
        };
        let (source, opened) = match opening.await {
            Ok(opened) => opened,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        self.upcoming = Upcoming::Source(source);
        opened.transpose()
    }
}

async fn open_next(nodes: Nodes, mut source: SliceSource) -> Opened {
    let opened = match source.next().await {
        Some(Ok(slice)) => Some(OpenSlice::open(slice, &nodes).await),
        Some(Err(error)) => Some(Err(error)),
        None => None,
    };
    (source, opened)
}

/// A slice that is being read from one of its replicas.
struct OpenSlice {
    chunk: ChunkRef,
    /// What is still to come.
    range: ByteRange,
    stream: ChunkStream,
    node: NodeId,
    /// Replicas not tried yet, the best one last.
    untried: Vec<NodeId>,
    /// Present while the whole chunk passes by; compared at its end.
    crc64: Option<Crc64Hasher>,
    _in_flight: Option<InFlight>,
}

impl OpenSlice {
    async fn open(slice: ChunkSlice, nodes: &Nodes) -> Result<Self, ReadError> {
        let ChunkSlice { chunk, range } = slice;
        let mut untried = chunk.replicas.clone();
        nodes.membership.order_for_reading(&mut untried);
        untried.reverse();
        let whole = range.length_bytes() == chunk.length_bytes;
        let (node, stream, in_flight) =
            open_replica(&chunk, range, &mut untried, nodes, None).await?;
        Ok(Self {
            chunk,
            range,
            stream,
            node,
            untried,
            crc64: whole.then(Crc64Hasher::new),
            _in_flight: in_flight,
        })
    }

    fn remaining_bytes(&self) -> u64 {
        self.range.length_bytes()
    }

    /// The next verified bytes, from another replica where the present one fails.
    async fn next_piece(&mut self, nodes: &Nodes) -> Result<Bytes, ReadError> {
        loop {
            let piece = self.try_next_piece().await;
            let error = match piece.and_then(|piece| self.pass_on(piece)) {
                Ok(piece) => return Ok(piece),
                Err(error) => error,
            };
            note_failure(&self.chunk, self.node, &error, nodes);
            let (node, stream, in_flight) = open_replica(
                &self.chunk,
                self.range,
                &mut self.untried,
                nodes,
                Some(error),
            )
            .await?;
            (self.node, self.stream, self._in_flight) = (node, stream, in_flight);
        }
    }

    async fn try_next_piece(&mut self) -> Result<Bytes, ChunkError> {
        match tokio::time::timeout(STALL_MAX, self.stream.next()).await {
            Ok(Some(Ok(piece))) if piece.len() as u64 > self.remaining_bytes() => Err(
                ChunkError::Invalid("the node sent more than was asked for".into()),
            ),
            Ok(Some(piece)) => piece,
            Ok(None) => Err(ChunkError::Unreachable("the answer ended too soon".into())),
            Err(_) => Err(ChunkError::Unreachable(format!(
                "nothing came for {STALL_MAX:?}"
            ))),
        }
    }

    /// Counts the piece. The last one of a whole chunk is held back, and nothing counted, unless the
    /// chunk's checksum is the one in its row with it; with another replica's it may be.
    fn pass_on(&mut self, piece: Bytes) -> Result<Bytes, ChunkError> {
        if let Some(crc64) = &mut self.crc64 {
            let mut with_piece = crc64.clone();
            with_piece.update(&piece);
            let is_last = piece.len() as u64 == self.range.length_bytes();
            if is_last && with_piece.finish() != self.chunk.crc64 {
                let before = self.range.start;
                return Err(ChunkError::Corrupt {
                    chunk: self.chunk.id,
                    detail: format!(
                        "with its bytes, behind {before} that were sent before, the chunk has not the \
                         checksum in its row"
                    ),
                });
            }
            *crc64 = with_piece;
        }
        self.range.start += piece.len() as u64;
        Ok(piece)
    }
}

/// Opens `range` on the best untried replica that answers.
async fn open_replica(
    chunk: &ChunkRef,
    range: ByteRange,
    untried: &mut Vec<NodeId>,
    nodes: &Nodes,
    mut last: Option<ChunkError>,
) -> Result<(NodeId, ChunkStream, Option<InFlight>), ReadError> {
    while let Some(node) = untried.pop() {
        let in_flight = nodes.membership.begin_request(node);
        let whole = range.start == 0 && range.end == chunk.length_bytes;
        let time_max = if untried.is_empty() {
            STALL_MAX
        } else {
            OPEN_MAX
        };
        let get = nodes
            .transport
            .get(node, chunk.id, (!whole).then_some(range));
        let opened = tokio::time::timeout(time_max, get)
            .await
            .unwrap_or_else(|_| {
                let detail = format!("it did not open the chunk in {time_max:?}");
                Err(ChunkError::Unreachable(detail))
            });
        match opened {
            Ok(read)
                if (read.info.length_bytes, read.info.crc64)
                    == (chunk.length_bytes, chunk.crc64) =>
            {
                return Ok((node, read.stream, in_flight));
            }
            Ok(read) => {
                let detail = format!("it has {:?}, not what is in its row", read.info);
                let error = ChunkError::Corrupt {
                    chunk: chunk.id,
                    detail,
                };
                note_failure(chunk, node, &error, nodes);
                last = Some(error);
            }
            Err(error) => {
                note_failure(chunk, node, &error, nodes);
                last = Some(error);
            }
        }
    }
    let last = last.unwrap_or(ChunkError::NotFound(chunk.id));
    Err(no_replica(chunk, last))
}

fn note_failure(chunk: &ChunkRef, node: NodeId, error: &ChunkError, nodes: &Nodes) {
    warn!(chunk = %chunk.id, %node, %error, "a replica cannot be read; trying another");
    match error {
        ChunkError::Unreachable(_) => nodes.membership.suspect(node),
        ChunkError::NotFound(_) | ChunkError::Corrupt { .. } | ChunkError::Io(_) => {
            nodes.hints.give(chunk);
        }
        _ => {}
    }
}

fn no_replica(chunk: &ChunkRef, last: ChunkError) -> ReadError {
    ReadError::NoReplica {
        chunk: chunk.id,
        replicas: chunk.replicas.len(),
        last,
    }
}

#[cfg(test)]
mod tests {
    use chunkproto::Crc64;
    use metastore::Scheme;
    use proptest::prelude::*;

    use super::*;

    fn layout(lengths: &[u64]) -> ChunkLayout {
        let chunk = |&length_bytes| ChunkRef {
            id: ChunkId::generate(),
            length_bytes,
            crc64: Crc64(0),
            replicas: vec![NodeId::generate()],
        };
        ChunkLayout {
            scheme: Scheme::Replicated,
            chunks: lengths.iter().map(chunk).collect(),
        }
    }

    proptest! {
        #[test]
        fn slices_cover_exactly_the_range(
            lengths in prop::collection::vec(1u64..50, 0..7),
            start in 0u64..300,
            length in 0u64..300,
        ) {
            let layout = layout(&lengths);
            let body: Vec<_> = (0..layout.chunks.len())
                .flat_map(|chunk| (0..lengths[chunk]).map(move |offset| (chunk, offset)))
                .collect();
            let end = (start + length).min(body.len() as u64);
            let range = ByteRange { start: start.min(end), end };
            let covered: Vec<_> = slices_of(&layout, range)
                .into_iter()
                .flat_map(|slice| {
                    let chunk = layout.chunks.iter().position(|chunk| *chunk == slice.chunk).unwrap();
                    (slice.range.start..slice.range.end).map(move |offset| (chunk, offset))
                })
                .collect();
            let asked = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            prop_assert_eq!(&covered[..], &body[asked]);
        }
    }
}
