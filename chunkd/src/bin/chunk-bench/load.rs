//! Clients that put or get chunks for a while, each with one request under way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chunkd::ChunkStore;
use chunkproto::{ChunkId, ChunkPut, OwnerHint};
use futures::TryStreamExt as _;
use futures::stream::{self, StreamExt as _};
use tokio::task::JoinSet;
use tokio::task::coop::consume_budget;
use uuid::Uuid;

use crate::Failure;
use crate::sample::{Latencies, Sample, Span, measure};
use crate::stores::Stores;

/// The chunks that gets choose from are so many bytes at most, so that they stay in memory.
const HOT_BYTES: u64 = 256 << 20;
/// Filling before a measurement under turnover ends by the bytes written, long before this.
const FILL_MAX: Duration = Duration::from_secs(600);
/// A chunk comes in pieces of this length, as bodies come through a gateway.
const PIECE_BYTES: usize = 64 << 10;

/// A chunk and where it is.
pub(crate) type Placed = (ChunkStore, ChunkId);

/// Under turnover so many times what is kept is written before anything counts, so that the stores
/// have found their rhythm.
const TURNS_BEFORE: u64 = 3;

/// What is put, and for how long.
#[derive(Clone)]
pub(crate) struct PutLoad {
    /// Clients at a time.
    pub(crate) clients: usize,
    /// The bytes of each chunk.
    pub(crate) data: Bytes,
    /// Length of the measurement.
    pub(crate) span: Duration,
    /// It ends early when so much is written.
    pub(crate) written_max_bytes: u64,
    /// So many bytes are kept: beyond them each put is followed by the delete of an old chunk.
    pub(crate) turnover_bytes: Option<u64>,
}

/// What the clients of one measurement of puts share.
struct Puts {
    stores: Arc<Stores>,
    data: Bytes,
    span: Span,
    /// Bytes that may still be written.
    allowance: AtomicU64,
    /// How many chunks each client remembers.
    kept: usize,
    /// Whether it deletes those that it forgets.
    deletes: bool,
}

/// Puts new chunks until the span ends or enough is written. Returns also the latest chunks, for
/// [`gets`].
///
/// # Errors
/// The first error of any client.
pub(crate) async fn puts(
    stores: &Arc<Stores>,
    load: &PutLoad,
) -> Result<(Sample, Vec<Placed>), Failure> {
    let mut held = vec![VecDeque::new(); load.clients];
    if let Some(kept_bytes) = load.turnover_bytes {
        let fill = PutLoad {
            span: FILL_MAX,
            written_max_bytes: kept_bytes * TURNS_BEFORE,
            ..load.clone()
        };
        (_, held) = puts_from(stores, &fill, held).await?;
    }
    let (sample, placed) = puts_from(stores, load, held).await?;
    Ok((sample, placed.into_iter().flatten().collect()))
}

async fn puts_from(
    stores: &Arc<Stores>,
    load: &PutLoad,
    held: Vec<VecDeque<Placed>>,
) -> Result<(Sample, Vec<VecDeque<Placed>>), Failure> {
    let kept_bytes = usize::try_from(load.turnover_bytes.unwrap_or(HOT_BYTES))?;
    let span = Span::after_warm_up(load.span);
    let shared = Arc::new(Puts {
        stores: Arc::clone(stores),
        data: load.data.clone(),
        span,
        allowance: AtomicU64::new(load.written_max_bytes),
        kept: (kept_bytes / load.data.len() / load.clients).max(1),
        deletes: load.turnover_bytes.is_some(),
    });
    let tasks = held
        .into_iter()
        .map(|held| put_in_turn(Arc::clone(&shared), held));
    measure(span, load.data.len(), tasks).await
}

async fn put_in_turn(
    shared: Arc<Puts>,
    mut placed: VecDeque<Placed>,
) -> Result<(Latencies, VecDeque<Placed>), Failure> {
    let mut latencies = Latencies::of(shared.span);
    // One at a time beside the puts, as garbage is collected.
    let mut deleting = JoinSet::new();
    while shared.span.is_open() && shared.may_write() {
        let (store, id) = (shared.stores.next().clone(), ChunkId::generate());
        let begun = Instant::now();
        put(&store, id, &shared.data).await?;
        latencies.note(begun);
        placed.push_back((store, id));
        let oldest = (placed.len() > shared.kept).then(|| placed.pop_front());
        if let Some((store, id)) = oldest.flatten().filter(|_| shared.deletes) {
            deleting.join_next().await.transpose()?.transpose()?;
            deleting.spawn(async move { store.delete(id).await });
        }
    }
    deleting.join_next().await.transpose()?.transpose()?;
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
        details: Vec::new(),
    }
}

/// The next number of Marsaglia's xorshift64; zero alone stays zero.
fn xorshift(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ (state << 17)
}
