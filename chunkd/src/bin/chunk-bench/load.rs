//! Clients that put or get chunks for a while, each with one request under way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use chunkd::ChunkStore;
use chunkproto::{ChunkId, ChunkPut, OwnerHint};
use futures::TryStreamExt as _;
use futures::stream::{self, StreamExt as _};
use tokio::task::coop::consume_budget;
use uuid::Uuid;

use crate::Failure;
use crate::sample::{Latencies, Sample, Span, measure};
use crate::stores::Stores;

/// The chunks that gets choose from are so many bytes at most, so that they stay in memory.
const HOT_BYTES: u64 = 256 << 20;
/// A chunk comes in pieces of this length, as bodies come through a gateway.
const PIECE_BYTES: usize = 64 << 10;

/// A chunk and where it is.
pub(crate) type Placed = (ChunkStore, ChunkId);

/// What the clients of one measurement of puts share.
struct Puts {
    stores: Arc<Stores>,
    data: Bytes,
    span: Span,
    /// Bytes that may still be written.
    allowance: AtomicU64,
    /// How many chunks each client remembers.
    kept: usize,
}

/// Puts new chunks with these bytes until the span ends or `written_max_bytes` are written. Returns
/// also the latest chunks, for [`gets`].
///
/// # Errors
/// The first error of any client.
pub(crate) async fn puts(
    stores: &Arc<Stores>,
    clients: usize,
    data: &Bytes,
    span: Span,
    written_max_bytes: u64,
) -> Result<(Sample, Vec<Placed>), Failure> {
    let hot = usize::try_from(HOT_BYTES)? / data.len();
    let shared = Arc::new(Puts {
        stores: Arc::clone(stores),
        data: data.clone(),
        span,
        allowance: AtomicU64::new(written_max_bytes),
        kept: (hot / clients).max(1),
    });
    let tasks = (0..clients).map(|_| put_in_turn(Arc::clone(&shared)));
    let (sample, placed) = measure(span, data.len(), tasks).await?;
    Ok((sample, placed.into_iter().flatten().collect()))
}

async fn put_in_turn(shared: Arc<Puts>) -> Result<(Latencies, VecDeque<Placed>), Failure> {
    let mut latencies = Latencies::of(shared.span);
    let mut placed = VecDeque::new();
    while shared.span.is_open() && shared.may_write() {
        let (store, id) = (shared.stores.next().clone(), ChunkId::generate());
        let begun = Instant::now();
        put(&store, id, &shared.data).await?;
        latencies.note(begun);
        placed.push_back((store, id));
        if placed.len() > shared.kept {
            placed.pop_front();
        }
    }
    Ok((latencies, placed))
}

impl Puts {
    /// Takes one chunk's bytes off the allowance, if there are so many left.
    fn may_write(&self) -> bool {
        let length_bytes = self.data.len() as u64;
        let take = |left: u64| left.checked_sub(length_bytes);
        self.allowance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }
}

/// Gets random ones of these chunks until the span ends; each has `length_bytes`.
///
/// # Errors
/// The first error of any client, and a chunk that comes back shorter or longer.
pub(crate) async fn gets(
    placed: Vec<Placed>,
    clients: usize,
    length_bytes: usize,
    span: Span,
) -> Result<Sample, Failure> {
    let placed = Arc::new(placed);
    let tasks =
        (1..=clients).map(|seed| get_at_random(Arc::clone(&placed), seed, length_bytes, span));
    let (sample, _) = measure(span, length_bytes, tasks).await?;
    Ok(sample)
}

async fn get_at_random(
    placed: Arc<Vec<Placed>>,
    seed: usize,
    length_bytes: usize,
    span: Span,
) -> Result<(Latencies, ()), Failure> {
    let mut latencies = Latencies::of(span);
    let mut state = seed as u64;
    while span.is_open() {
        state = xorshift(state);
        let (store, id) = &placed[usize::try_from(state % placed.len() as u64)?];
        let begun = Instant::now();
        let received_bytes = get(store, *id).await?;
        latencies.note(begun);
        if received_bytes != length_bytes {
            return Err(format!("chunk {id} came back with {received_bytes} bytes").into());
        }
        // A hot get never waits, and so would never let the other clients run.
        consume_budget().await;
    }
    Ok((latencies, ()))
}

async fn put(store: &ChunkStore, id: ChunkId, data: &Bytes) -> Result<(), Failure> {
    let put = ChunkPut {
        id,
        length_bytes: data.len() as u64,
        owner: owner_of(id),
    };
    let data = data.clone();
    let pieces = (0..data.len()).step_by(PIECE_BYTES);
    let piece = move |start| Ok(data.slice(start..data.len().min(start + PIECE_BYTES)));
    store
        .put(put, stream::iter(pieces.map(piece)).boxed())
        .await?;
    Ok(())
}

/// Returns how many bytes came.
async fn get(store: &ChunkStore, id: ChunkId) -> Result<usize, Failure> {
    let stream = store.get(id, None).await?.stream;
    let add = |sum, piece: Bytes| async move { Ok(sum + piece.len()) };
    Ok(stream.try_fold(0, add).await?)
}

/// An owner hint of common length: an object of one chunk.
fn owner_of(id: ChunkId) -> OwnerHint {
    OwnerHint {
        bucket_id: Uuid::from_u128(1),
        bucket: "bench-bucket".into(),
        key: format!("some/prefix/{id}"),
        sequence: id.into(),
        part: None,
        index: 0,
        offset_bytes: 0,
        body_bytes: None,
    }
}

/// The next number of Marsaglia's xorshift64; zero alone stays zero.
fn xorshift(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ (state << 17)
}
