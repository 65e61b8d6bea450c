//! The one thread that writes. It takes what the queue holds, writes it as one group with one
//! sync, and answers everyone in the group; the next group forms meanwhile, so there is no timer.
//!
//! A commit is in the queue or not at all: before, a caller who goes away changes nothing; from
//! then on it is written whether or not somebody waits, and its locks are held until it is. The
//! first write that fails is the last: what it left on disk is unknown, so the store takes no more
//! until it is opened anew.

use std::collections::BTreeMap;
use std::io;
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::batch::Batch;
use super::locks::Guard;
use crate::{MetaError, MetaResult};

/// Commits that wait to be written. More wait before the queue, with their locks held.
const QUEUE_COMMITS_MAX: usize = 512;
/// Commits that share one sync: more would not be cheaper, and the first would wait for them.
const GROUP_COMMITS_MAX: usize = 256;
/// A group of so many bytes takes no more: beyond this the bytes take the time, not the sync.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// Commits of a group that were not written, by their places in it, and why.
pub(super) type Refused = BTreeMap<usize, MetaError>;

/// The way to the thread. Dropping it waits until everything in the queue is written and the
/// thread has ended; the thread waits for the disk alone, so that cannot take for ever.
pub(super) struct Committer {
    // IMPORTANT: before the thread. Dropping the queue closes it, and that ends the thread.
    queue: mpsc::Sender<Request>,
    _thread: Joined,
}

/// A commit on its way to the disk.
struct Request {
    batch: Batch,
    waiting: Waiting,
}

/// What a commit keeps waiting until it is durable.
struct Waiting {
    held: Vec<Guard>,
    answer: oneshot::Sender<MetaResult<()>>,
}

impl Committer {
    /// Starts the thread. `write` makes the rows of all batches durable but for those that it refuses,
    /// or says what went wrong; it is not called again after that.
    pub(super) fn start(
        write: impl FnMut(&[Batch]) -> Result<Refused, String> + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, requests) = mpsc::channel(QUEUE_COMMITS_MAX);
        let thread = thread::Builder::new().name("metadata-commit".into());
        let thread = thread
            .spawn(move || run(requests, write))
            .map_err(|error| {
                let what = format!("the thread that writes cannot be started: {error}");
                io::Error::new(error.kind(), what)
            })?;
        Ok(Self {
            queue,
            _thread: Joined(Some(thread)),
        })
    }

    /// Makes a batch durable. `held` are the locks under which it was checked; they are let go
    /// once it is written, or when the caller goes away before it is in the queue.
    ///
    /// # Errors
    /// What the batch was refused for; `OutcomeUnknown` for a write that failed, `Unavailable` for
    /// every later one.
    pub(super) async fn commit(&self, batch: Batch, held: Vec<Guard>) -> MetaResult<()> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { held, answer };
        let sent = self.queue.send(Request { batch, waiting }).await;
        sent.map_err(|_| MetaError::Unavailable("the thread that writes has ended".into()))?;
        answered.await.unwrap_or_else(|_| {
            Err(MetaError::OutcomeUnknown(
                "the thread that writes has ended".into(),
            ))
        })
    }
}

/// The thread: one group after the other until the queue is closed and empty.
fn run(
    mut requests: mpsc::Receiver<Request>,
    mut write: impl FnMut(&[Batch]) -> Result<Refused, String>,
) {
    let mut failed = None;
    while let Some(first) = requests.blocking_recv() {
        let mut group = Group::of(first);
        while !group.is_full()
            && let Ok(next) = requests.try_recv()
        {
            group.push(next);
        }
        if let Some(failure) = &failed {
            group.answer(|_| {
                Err(MetaError::Unavailable(format!(
                    "an earlier write failed ({failure}); check the disk and restart"
                )))
            });
            continue;
        }
        match write(&group.batches) {
            Ok(mut refused) => group.answer(|at| match refused.remove(&at) {
                Some(refusal) => Err(refusal),
                None => Ok(()),
            }),
            Err(failure) => {
                tracing::error!(failure, "a metadata write failed; no more writes are taken");
                group.answer(|_| Err(MetaError::OutcomeUnknown(failure.clone())));
                failed = Some(failure);
            }
        }
    }
}

/// Commits that become durable together.
struct Group {
    batches: Vec<Batch>,
    bytes: usize,
    waiting: Vec<Waiting>,
}

impl Group {
    fn of(first: Request) -> Self {
        Self {
            bytes: first.batch.bytes(),
            batches: vec![first.batch],
            waiting: vec![first.waiting],
        }
    }

    fn is_full(&self) -> bool {
        self.batches.len() >= GROUP_COMMITS_MAX || self.bytes >= GROUP_BYTES_MAX
    }

    fn push(&mut self, next: Request) {
        self.bytes += next.batch.bytes();
        self.batches.push(next.batch);
        self.waiting.push(next.waiting);
    }

    /// Lets go of the locks and tells everyone the outcome, by the place in the group.
    fn answer(self, mut outcome: impl FnMut(usize) -> MetaResult<()>) {
        for (at, Waiting { held, answer }) in self.waiting.into_iter().enumerate() {
            drop(held);
            // A caller who went away needs no answer.
            let _ = answer.send(outcome(at));
        }
    }
}

/// A thread that is waited for when this is dropped.
struct Joined(Option<JoinHandle<()>>);

impl Drop for Joined {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes metadata has panicked");
        }
    }
}

#[cfg(test)]
mod tests;
