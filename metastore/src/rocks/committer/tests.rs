//! What the committer promises, with writes that are held back and writes that fail.

use std::sync::{Arc, mpsc as std_mpsc};

use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::rocks::locks::Locks;
use crate::rocks::tables::NODE_CHUNKS;
use crate::{BucketId, ObjectKey};

/// A committer whose writes start when the test lets them, and end as it says.
struct Gated {
    committer: Arc<Committer>,
    /// How many commits each write that has begun has.
    begun: UnboundedReceiver<usize>,
    outcomes: std_mpsc::Sender<Result<(), String>>,
}

fn gated() -> Gated {
    let (begins, begun) = mpsc::unbounded_channel();
    let (outcomes, next) = std_mpsc::channel::<Result<(), String>>();
    let write = move |batches: &[Batch]| {
        begins.send(batches.len()).unwrap();
        next.recv().unwrap().map(|()| Refused::new())
    };
    let committer = Arc::new(Committer::start(write).unwrap());
    Gated {
        committer,
        begun,
        outcomes,
    }
}

fn batch_of(bytes: usize) -> Batch {
    let mut batch = Batch::default();
    batch.put(NODE_CHUNKS, vec![7; bytes], &());
    batch
}

/// A commit that is in the queue when this returns.
async fn queued(
    committer: &Arc<Committer>,
    batch: Batch,
    held: Vec<Guard>,
) -> impl Future<Output = MetaResult<()>> {
    let committer = Arc::clone(committer);
    let mut commit = Box::pin(async move { committer.commit(batch, held).await });
    assert!(poll_once(&mut commit).await.is_none());
    commit
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}

#[tokio::test]
async fn commits_that_come_during_a_write_share_the_next_one() {
    let mut gated = gated();
    let first = queued(&gated.committer, batch_of(1), Vec::new()).await;
    assert_eq!(gated.begun.recv().await, Some(1));
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(queued(&gated.committer, batch_of(1), Vec::new()).await);
    }
    gated.outcomes.send(Ok(())).unwrap();
    first.await.unwrap();
    assert_eq!(gated.begun.recv().await, Some(3));
    gated.outcomes.send(Ok(())).unwrap();
    for other in others {
        other.await.unwrap();
    }
}

/// Sizes of the groups in which `commits` batches of `bytes` are written that come together.
async fn groups(commits: usize, bytes: usize) -> Vec<usize> {
    let mut gated = gated();
    let _first = queued(&gated.committer, batch_of(1), Vec::new()).await;
    assert_eq!(gated.begun.recv().await, Some(1));
    for _ in 0..commits {
        drop(queued(&gated.committer, batch_of(bytes), Vec::new()).await);
    }
    let (mut sizes, mut written) = (Vec::new(), 0);
    while written < commits {
        gated.outcomes.send(Ok(())).unwrap();
        let size = gated.begun.recv().await.unwrap();
        written += size;
        sizes.push(size);
    }
    gated.outcomes.send(Ok(())).unwrap();
    sizes
}

#[tokio::test]
async fn a_group_is_bounded_by_commits_and_by_bytes() {
    let commits = GROUP_COMMITS_MAX + 5;
    assert_eq!(groups(commits, 1).await, [GROUP_COMMITS_MAX, 5]);
    assert_eq!(groups(5, GROUP_BYTES_MAX / 2).await, [2, 2, 1]);
    assert_eq!(groups(2, GROUP_BYTES_MAX * 2).await, [1, 1]);
}

#[tokio::test]
async fn a_failed_write_is_unknown_to_its_group_and_all_later_ones_are_refused() {
    let mut gated = gated();
    let failing = queued(&gated.committer, batch_of(1), Vec::new()).await;
    assert_eq!(gated.begun.recv().await, Some(1));
    let next = queued(&gated.committer, batch_of(1), Vec::new()).await;
    gated.outcomes.send(Err("no space".into())).unwrap();
    assert!(matches!(failing.await, Err(MetaError::OutcomeUnknown(_))));
    for refused in [
        next.await,
        gated.committer.commit(batch_of(1), Vec::new()).await,
    ] {
        assert!(matches!(&refused, Err(MetaError::Unavailable(_))));
        assert!(refused.unwrap_err().to_string().contains("no space"));
    }
    assert!(gated.begun.try_recv().is_err(), "nothing was written");
}

#[tokio::test]
async fn locks_are_held_until_the_write_though_the_caller_has_gone() {
    let mut gated = gated();
    let (locks, bucket) = (Locks::new(), BucketId::generate());
    let key = ObjectKey::parse("cat").unwrap();
    let held = vec![locks.key(bucket, &key).await];
    drop(queued(&gated.committer, batch_of(1), held).await);
    assert_eq!(gated.begun.recv().await, Some(1));
    let mut next = Box::pin(locks.key(bucket, &key));
    assert!(
        poll_once(&mut next).await.is_none(),
        "let go before the write"
    );
    gated.outcomes.send(Ok(())).unwrap();
    next.await;
}

#[tokio::test]
async fn locks_of_a_commit_that_never_came_into_the_queue_go_with_its_caller() {
    let mut gated = gated();
    let _first = queued(&gated.committer, batch_of(1), Vec::new()).await;
    assert_eq!(gated.begun.recv().await, Some(1));
    for _ in 0..QUEUE_COMMITS_MAX {
        drop(queued(&gated.committer, batch_of(1), Vec::new()).await);
    }
    let (locks, bucket) = (Locks::new(), BucketId::generate());
    let held = vec![locks.bucket_ends(bucket).await];
    drop(queued(&gated.committer, batch_of(1), held).await);
    locks.bucket_ends(bucket).await;
    drop(gated.begun);
    drop(gated.outcomes);
}

#[tokio::test]
async fn what_is_in_the_queue_is_written_before_the_committer_is_gone() {
    let (writes, written) = std_mpsc::channel();
    let write = move |batches: &[Batch]| {
        writes.send(batches.len()).unwrap();
        Ok(Refused::new())
    };
    let committer = Arc::new(Committer::start(write).unwrap());
    for _ in 0..100 {
        let committer = Arc::clone(&committer);
        let mut commit = Box::pin(async move { committer.commit(batch_of(1), Vec::new()).await });
        poll_once(&mut commit).await;
    }
    drop(committer);
    assert_eq!(written.iter().sum::<usize>(), 100);
}

#[tokio::test]
async fn a_thread_that_panicked_leaves_an_unknown_outcome_and_errors_ever_after() {
    let committer = Committer::start(|_| panic!("on purpose")).unwrap();
    let caught = committer.commit(batch_of(1), Vec::new()).await;
    assert!(matches!(caught, Err(MetaError::OutcomeUnknown(_))));
    // Refused, or unknown for one that came into the queue while the thread unwound.
    let later = committer.commit(batch_of(1), Vec::new()).await;
    assert!(later.is_err());
}

#[tokio::test]
async fn a_commit_that_is_refused_is_told_so_and_the_others_of_its_group_are_not() {
    let write = |batches: &[Batch]| {
        let is_long = |(at, batch): (usize, &Batch)| (batch.bytes() > 100).then_some(at);
        let long = batches.iter().enumerate().filter_map(is_long);
        Ok(long.map(|at| (at, MetaError::PreconditionFailed)).collect())
    };
    let committer = Arc::new(Committer::start(write).unwrap());
    let commits = [1, 200, 1, 200].map(|bytes| {
        let committer = Arc::clone(&committer);
        tokio::spawn(async move { committer.commit(batch_of(bytes), Vec::new()).await.is_ok() })
    });
    for (commit, written) in commits.into_iter().zip([true, false, true, false]) {
        assert_eq!(commit.await.unwrap(), written);
    }
}
