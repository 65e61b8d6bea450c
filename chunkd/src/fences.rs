//! What keeps an earlier holder of a job's lease from changing chunks after a later one has begun
//! (I8): the newest token of each job, and which operations of older tokens still run.
//!
//! The tokens are kept in memory. A node that starts learns the newest ones when it registers, and
//! lets no job in before that; so nothing needs to be written to a disk, and a token that was
//! granted before the start is never outlived by an older one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chunkproto::{ChunkError, ChunkResult, ChunkStream, Fence, JobName};
use futures::StreamExt as _;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// Far more jobs than there are.
const JOBS_MAX: usize = 64;
/// A newer token waits so long for the operations of older ones.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The fences of one store. A clone is another handle to the same ones.
#[derive(Clone)]
pub struct Fences {
    state: Arc<State>,
}

struct State {
    seen: Mutex<Seen>,
    /// Woken whenever an operation ends.
    ended: Notify,
}

struct Seen {
    /// Whether the newest tokens were learnt, or there is nobody to learn them from.
    learnt: bool,
    jobs: HashMap<JobName, Tokens>,
}

#[derive(Default)]
struct Tokens {
    newest: u64,
    /// Operations under way, by token.
    running: BTreeMap<u64, usize>,
}

/// An operation that was let in; newer tokens wait until it is dropped.
#[must_use]
pub struct Admitted {
    state: Arc<State>,
    fence: Fence,
}

/// Carries an operation that was let in to its end, in a task of its own: when the caller goes away the
/// operation goes on, and until its end nobody with a newer token may begin.
///
/// # Errors
/// The operation's own, and `Io` where it panics.
pub async fn carry_out<T: Send + 'static>(
    admitted: Option<Admitted>,
    operation: impl Future<Output = ChunkResult<T>> + Send + 'static,
) -> ChunkResult<T> {
    let carried_out = tokio::spawn(async move {
        let _admitted = admitted;
        operation.await
    });
    let carried_out = carried_out.await;
    carried_out.map_err(|error| ChunkError::Io(format!("it did not finish: {error}")))?
}

/// As [`carry_out`], for an operation that receives a body: that ends where it is when the caller goes away.
/// So nothing is kept of it, unless all had come and was being made durable.
///
/// # Errors
/// As [`carry_out`].
pub async fn receive<T: Send + 'static, W>(
    admitted: Option<Admitted>,
    body: ChunkStream,
    operation: impl FnOnce(ChunkStream) -> W,
) -> ChunkResult<T>
where
    W: Future<Output = ChunkResult<T>> + Send + 'static,
{
    let (_caller, gone) = oneshot::channel::<()>();
    let body = body.take_until(gone).boxed();
    carry_out(admitted, operation(body)).await
}

impl Fences {
    /// The fences of a node that registers with gateways: closed until [`learn`](Self::learn).
    #[must_use]
    pub fn unlearnt() -> Self {
        Self::with(false)
    }

    /// The fences of a store that no other process reaches: whatever comes first is the newest.
    #[must_use]
    pub fn fresh() -> Self {
        Self::with(true)
    }

    fn with(learnt: bool) -> Self {
        let jobs = HashMap::new();
        Self {
            state: Arc::new(State {
                seen: Mutex::new(Seen { learnt, jobs }),
                ended: Notify::new(),
            }),
        }
    }

    /// Takes in the newest fences as a gateway knows them. Never goes back.
    pub fn learn(&self, newest: &[Fence]) {
        let mut seen = self.state.seen();
        seen.learnt = true;
        for fence in newest.iter().take(JOBS_MAX) {
            let tokens = seen.jobs.entry(fence.job.clone()).or_default();
            tokens.newest = tokens.newest.max(fence.token);
        }
    }

    /// Lets an operation in, once no operation of an older token of its job runs. From then on
    /// older tokens are refused, and newer ones wait for this one's end.
    ///
    /// # Errors
    /// `Fenced` for a token that is not the newest; `Refused` while the newest are not known, and
    /// when an older operation does not end in 30 s; `Invalid` for too many jobs.
    pub async fn admit(&self, fence: Fence) -> ChunkResult<Admitted> {
        let enter = async {
            loop {
                let ended = self.state.ended.notified();
                if self.state.seen().enter(&fence)? {
                    return Ok(());
                }
                ended.await;
            }
        };
        match timeout(WAIT_MAX, enter).await {
            Ok(entered) => entered?,
            Err(_) => {
                let detail = format!("an older operation of {} still runs", fence.job);
                return Err(ChunkError::Refused(detail));
            }
        }
        let state = Arc::clone(&self.state);
        Ok(Admitted { state, fence })
    }
}

impl Seen {
    /// Whether the fence's operation may begin now; false if it must wait.
    fn enter(&mut self, fence: &Fence) -> ChunkResult<bool> {
        if !self.learnt {
            let detail = "the node has not registered yet and does not know the newest fences";
            return Err(ChunkError::Refused(detail.into()));
        }
        if self.jobs.len() >= JOBS_MAX && !self.jobs.contains_key(&fence.job) {
            return Err(ChunkError::Invalid(format!(
                "more than {JOBS_MAX} jobs, the last one {}",
                fence.job
            )));
        }
        let tokens = self.jobs.entry(fence.job.clone()).or_default();
        if fence.token < tokens.newest {
            return Err(ChunkError::Fenced(fence.refusal(tokens.newest)));
        }
        // IMPORTANT: before the wait, so that no further operation of an older token begins.
        tokens.newest = fence.token;
        if tokens.running.range(..fence.token).next().is_some() {
            return Ok(false);
        }
        *tokens.running.entry(fence.token).or_default() += 1;
        Ok(true)
    }
}

impl State {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(tokens) = self.state.seen().jobs.get_mut(&self.fence.job)
            && let Some(running) = tokens.running.get_mut(&self.fence.token)
        {
            *running -= 1;
            if *running == 0 {
                tokens.running.remove(&self.fence.token);
            }
        }
        self.state.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;
    use std::pin::pin;

    use super::*;

    fn fence(text: &str) -> Fence {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn an_older_token_is_refused_once_a_newer_one_came() {
        let fences = Fences::fresh();
        drop(fences.admit(fence("gc=7")).await.unwrap());
        drop(fences.admit(fence("gc=7")).await.unwrap());
        let late = fences.admit(fence("gc=6")).await.err();
        assert!(matches!(late, Some(ChunkError::Fenced(_))), "{late:?}");
        drop(fences.admit(fence("repair=1")).await.unwrap());
    }

    #[tokio::test]
    async fn a_newer_token_waits_for_the_operations_of_older_ones() {
        let fences = Fences::fresh();
        let older = fences.admit(fence("gc=1")).await.unwrap();
        let mut newer = pin!(fences.admit(fence("gc=2")));
        assert!(poll!(&mut newer).is_pending());
        assert!(fences.admit(fence("gc=1")).await.is_err());
        drop(older);
        assert!(newer.await.is_ok());
    }

    #[tokio::test]
    async fn a_node_that_has_just_started_lets_no_job_in_before_it_has_learnt() {
        let fences = Fences::unlearnt();
        let early = fences.admit(fence("gc=9")).await.err();
        assert!(matches!(early, Some(ChunkError::Refused(_))), "{early:?}");
        fences.learn(&[fence("gc=8")]);
        assert!(fences.admit(fence("gc=7")).await.is_err());
        assert!(fences.admit(fence("gc=8")).await.is_ok());
    }
}
