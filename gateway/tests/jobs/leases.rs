//! The runner: who works, who waits, and what the operator says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::{ChunkId, Fence, JobName};
use gateway::chunks::ChunkTransport as _;
use gateway::jobs::{
    GarbageCollector, Job, JobBoard, JobError, JobReport, JobRunner, JobState, Round,
};
use metastore::{JobControl, Upkeep as _};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::kit::{World, eventually};

/// A job that reports the token of each round, and fails when told to.
struct Reporter {
    rounds: mpsc::Sender<u64>,
    uncertain: bool,
    fails: Arc<AtomicBool>,
}

impl Reporter {
    fn new() -> (Self, mpsc::Receiver<u64>) {
        let (rounds, reported) = mpsc::channel(1);
        let fails = Arc::default();
        let job = Self {
            rounds,
            uncertain: false,
            fails,
        };
        (job, reported)
    }
}

#[async_trait]
impl Job for Reporter {
    fn name(&self) -> JobName {
        "reporter".parse().unwrap()
    }

    fn period(&self) -> Duration {
        Duration::from_millis(1)
    }

    async fn round(&self, round: &Round) -> Result<(), JobError> {
        self.rounds.send(round.fence().token).await.unwrap();
        if self.uncertain {
            round.note_unknown_outcome();
        }
        match self.fails.load(Ordering::Relaxed) {
            true => Err(JobError::Alarm("too much is wrong".into())),
            false => Ok(()),
        }
    }
}

/// A collector that does not rest between its rounds.
struct Restless(GarbageCollector);

#[async_trait]
impl Job for Restless {
    fn name(&self) -> JobName {
        self.0.name()
    }

    fn period(&self) -> Duration {
        Duration::from_millis(1)
    }

    async fn round(&self, round: &Round) -> Result<(), JobError> {
        self.0.round(round).await
    }
}

pub(crate) fn runner(world: &World, board: &JobBoard, stop: watch::Receiver<()>) -> JobRunner {
    let metastore = world.metastore.clone();
    JobRunner::new(
        metastore,
        board.clone(),
        Uuid::new_v4(),
        world.clock(),
        stop,
    )
}

/// The job's report once it is in `state`.
pub(crate) async fn report(board: &JobBoard, state: JobState) -> JobReport {
    let in_state = || board.reports().into_iter().find(|job| job.state == state);
    eventually("a job's state", in_state).await
}

#[tokio::test]
async fn of_two_gateways_one_works_and_the_other_takes_over_when_it_stops() {
    let world = World::new(0).await;
    let (stop_first, first_stopped) = watch::channel(());
    let (first, mut first_rounds) = Reporter::new();
    let (second, mut second_rounds) = Reporter::new();
    let running = tokio::spawn(runner(&world, &world.board, first_stopped).run(first));
    let token = first_rounds.recv().await.unwrap();

    let board = JobBoard::default();
    tokio::spawn(runner(&world, &board, world.stopped()).run(second));
    let waiting = report(&board, JobState::Elsewhere).await;
    assert!(waiting.detail.contains("holds its lease"), "{waiting:?}");
    assert!(second_rounds.try_recv().is_err());

    drop(stop_first);
    // Rounds that were under way may still report.
    while first_rounds.recv().await.is_some() {}
    running.await.unwrap();
    assert!(second_rounds.recv().await.unwrap() > token);
}

#[tokio::test]
async fn a_paused_job_rests_until_it_is_resumed() {
    let world = World::new(0).await;
    let (job, mut rounds) = Reporter::new();
    let name = job.name();
    let paused = JobControl {
        paused: true,
        rate_bytes_per_s: None,
    };
    world
        .metastore
        .set_job_control(&name, paused)
        .await
        .unwrap();
    tokio::spawn(runner(&world, &world.board, world.stopped()).run(job));
    report(&world.board, JobState::Paused).await;
    assert!(rounds.try_recv().is_err());

    let resumed = JobControl::default();
    world
        .metastore
        .set_job_control(&name, resumed)
        .await
        .unwrap();
    assert!(rounds.recv().await.is_some());
}

#[tokio::test]
async fn a_round_with_an_unknown_outcome_is_followed_by_a_new_token() {
    let world = World::new(0).await;
    let (certain, mut rounds) = Reporter::new();
    let (mut uncertain, mut uncertain_rounds) = Reporter::new();
    uncertain.uncertain = true;
    let other = World::new(0).await;
    tokio::spawn(runner(&world, &world.board, world.stopped()).run(certain));
    tokio::spawn(runner(&other, &other.board, other.stopped()).run(uncertain));
    let (first, second) = (rounds.recv().await.unwrap(), rounds.recv().await.unwrap());
    assert_eq!(first, second);
    let first = uncertain_rounds.recv().await.unwrap();
    assert!(uncertain_rounds.recv().await.unwrap() > first);
}

#[tokio::test]
async fn an_alarm_is_shown_until_a_round_ends_well() {
    let world = World::new(0).await;
    let (job, mut rounds) = Reporter::new();
    let fails = Arc::clone(&job.fails);
    fails.store(true, Ordering::Relaxed);
    tokio::spawn(runner(&world, &world.board, world.stopped()).run(job));
    rounds.recv().await.unwrap();
    let alarmed = report(&world.board, JobState::Alarmed).await;
    assert_eq!(alarmed.last_error.as_deref(), Some("too much is wrong"));

    fails.store(false, Ordering::Relaxed);
    while rounds.try_recv().is_ok() {}
    rounds.recv().await.unwrap();
    rounds.recv().await.unwrap();
    let rested = report(&world.board, JobState::Resting).await;
    assert!(
        rested.last_error.is_some(),
        "the last failure stays visible"
    );
}

#[tokio::test]
async fn a_job_whose_token_is_too_old_for_a_node_says_so_and_takes_a_newer_one() {
    let world = World::new(2).await;
    let chunk = world.put_chunk("cat", 2).await;
    world.delete("cat").await;
    world.wait(Duration::from_secs(1));
    // A token of a clock that was a day ahead, whose row is lost.
    let day_ms = 86_400_000;
    let newest = Fence {
        job: "gc".parse().unwrap(),
        token: world.now().0 + day_ms,
    };
    for node in world.nodes.all() {
        let other = ChunkId::generate();
        let deleted = world.nodes.delete(node, other, Some(&newest));
        deleted.await.unwrap();
    }
    let collector = Restless(world.collector(Duration::ZERO));
    tokio::spawn(runner(&world, &world.board, world.stopped()).run(collector));
    let deleted = async {
        while world.copies(chunk.id) > 0 {
            tokio::task::yield_now().await;
        }
    };
    let deleted = tokio::time::timeout(Duration::from_secs(60), deleted).await;
    deleted.expect("the nodes take orders again");
    let [report] = &world.board.reports()[..] else {
        panic!("one job")
    };
    assert!(report.token > Some(newest.token), "{report:?}");
    let told = report.last_error.as_deref().unwrap_or_default();
    assert!(told.contains("has seen a newer lease"), "{report:?}");
}
