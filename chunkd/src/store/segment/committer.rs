//! The one thread that appends groups. It takes what the queue holds, writes it as one group with
//! one sync, enters it in the index and answers everyone; the next group forms meanwhile, so there
//! is no timer.
//!
//! A change is in the queue or not at all: before, a caller who goes away changes nothing; from
//! then on it happens whether or not somebody waits. The first group that fails is the last: what
//! it left on disk is unknown, so the store takes no more until it is opened anew.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use chunkproto::{ChunkId, ChunkInfo};
use tokio::sync::{mpsc, oneshot};

use super::super::admission::WritePermit;
use super::super::chunk_locks::ChunkLock;
use super::super::fault::Fault;
use super::super::index::Index;
use super::Location;
use super::append::{Appender, PendingChange};
use super::group::GROUP_ENTRIES_MAX;
use super::record::SegmentRecord;
use super::segments::{Reservation, Segments};

/// Changes that wait to be written; more wait before the queue.
const QUEUE_MAX: usize = 1024;
/// A group of so many bytes takes no more: beyond this the bytes take the time, not the sync.
const GROUP_BYTES_MAX: u64 = 1 << 20;

/// What is to be done.
pub(crate) enum Work {
    /// Append a record. With `from`, only if that is still the chunk's record: a move.
    Append {
        record: SegmentRecord,
        from: Option<Location>,
    },
    /// Make a record a chunk that was written to its reserved room already; `from` as above.
    Land {
        reservation: Reservation,
        head_bytes: u16,
        info: ChunkInfo,
        from: Option<Location>,
    },
    /// Delete a chunk. With `only`, if that is its record.
    Delete { id: ChunkId, only: Option<Location> },
    /// Keep an earlier delete whose segment is to be freed.
    KeepDelete {
        id: ChunkId,
        slot: u32,
        generation: u32,
        sequence: u64,
    },
    /// Bring the segments' rows in the index up to date.
    Checkpoint,
}

impl Work {
    /// The chunk that it changes.
    pub fn id(&self) -> Option<ChunkId> {
        match self {
            Self::Append { record, .. } => Some(record.info.id),
            Self::Land { info, .. } => Some(info.id),
            Self::Delete { id, .. } => Some(*id),
            Self::KeepDelete { .. } | Self::Checkpoint => None,
        }
    }
}

/// How it went. Whatever was done is durable.
pub(crate) enum CommitOutcome {
    /// It is done.
    Done,
    /// The id has a record already; nothing was done, and this is what was wanted.
    Exists(Box<Work>),
    /// The record that was meant is not the chunk's any more; nothing was done.
    Gone,
}

/// What a change keeps until it is done: the sole right to the chunk and the right to write.
pub(crate) type ChangeGuards = Arc<(Option<ChunkLock>, Option<WritePermit>)>;

/// The way to the thread. Dropping it waits until everything in the queue is done and the thread
/// has ended; the thread waits for the disk alone, so that cannot take for ever.
pub(crate) struct Committer {
    // IMPORTANT: before the thread. Dropping the queue closes it, and that ends the thread.
    queue: mpsc::Sender<Request>,
    _thread: Joined,
}

/// One change on its way to the disk.
pub(super) struct Request {
    pub work: Work,
    pub answer: oneshot::Sender<Result<CommitOutcome, Fault>>,
    pub guards: Option<ChangeGuards>,
}

impl Committer {
    /// Starts the thread, which goes on behind group `sequence`.
    pub fn start(segments: Arc<Segments>, index: Arc<Index>, sequence: u64) -> io::Result<Self> {
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        let group_bytes_max = GROUP_BYTES_MAX.min(segments.record_bytes_max());
        let appender = Appender::new(segments, index, sequence);
        let thread = thread::Builder::new().name("chunk-commit".into());
        let thread = thread.spawn(move || run(requests, appender, group_bytes_max))?;
        Ok(Self {
            queue,
            _thread: Joined(Some(thread)),
        })
    }

    /// Does the work and waits until it is durable and visible.
    ///
    /// # Errors
    /// `NoRoom` for new chunks, without effect; `Io`, `Sync` and `Index` with an unknown outcome.
    pub async fn commit(
        &self,
        work: Work,
        guards: Option<ChangeGuards>,
    ) -> Result<CommitOutcome, Fault> {
        let (request, answered) = request(work, guards);
        self.queue.send(request).await.map_err(|_| ended())?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    /// As [`commit`](Self::commit), for a thread that may block and is not the runtime's.
    pub fn commit_blocking(
        &self,
        work: Work,
        guards: Option<ChangeGuards>,
    ) -> Result<CommitOutcome, Fault> {
        futures::executor::block_on(self.commit(work, guards))
    }
}

fn request(
    work: Work,
    guards: Option<ChangeGuards>,
) -> (Request, oneshot::Receiver<Result<CommitOutcome, Fault>>) {
    let (answer, answered) = oneshot::channel();
    (
        Request {
            work,
            answer,
            guards,
        },
        answered,
    )
}

fn ended() -> Fault {
    Fault::Index("the thread that writes segments has ended".into())
}

/// The thread: one round after the other until the queue is closed and empty.
fn run(mut requests: mpsc::Receiver<Request>, mut appender: Appender, group_bytes_max: u64) {
    while let Some(first) = requests.blocking_recv() {
        let mut bytes = 0;
        let mut round = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            if let Work::Append { record, .. } = &request.work {
                bytes += record.head.record_bytes();
            }
            round.push(PendingChange::new(request));
            let full = round.len() >= GROUP_ENTRIES_MAX || bytes >= group_bytes_max;
            next = if full { None } else { requests.try_recv().ok() };
        }
        appender.append(round);
    }
}

/// A thread that is waited for when this is dropped.
struct Joined(Option<JoinHandle<()>>);

impl Drop for Joined {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes segments has panicked");
        }
    }
}
