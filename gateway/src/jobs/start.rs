//! All jobs of a gateway, from its settings.

use std::sync::Arc;
use std::time::Duration;

use metastore::Metastore;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::abandoned::queue_abandoned;
use super::backup::{BackupJob, BackupParts, BackupSettings};
use super::clock_watch::ClockWatch;
use super::drain::{DrainJob, MoveSettings};
use super::garbage::GarbageCollector;
use super::lifecycle::{LifecycleJob, LifecycleSettings};
use super::progress::JobBoard;
use super::reach::watch_reach;
use super::rebalance::{Evenness, RebalanceJob, RebalanceSettings};
use super::reconcile::{OrphanLimits, ReconcileJob, ReconcileSettings};
use super::repair::{RepairJob, RepairSettings, write_hints};
use super::replica_mover::ReplicaMover;
use super::runner::JobRunner;
use super::survey::{SurveyBoard, survey_awaited};
use super::uploads::UploadExpiry;
use crate::chance::Chance;
use crate::chunks::{AbandonedQueue, ChunkTransport, HintQueue, RunningReads};
use crate::clock::Clock;
use crate::cluster::{Membership, follow_phases};
use crate::config::{JobConfig, rate_bytes_per_s};

/// What the jobs work with.
pub struct JobParts {
    /// The metadata.
    pub metastore: Arc<dyn Metastore>,
    /// The way to the nodes.
    pub transport: Arc<dyn ChunkTransport>,
    /// The nodes.
    pub membership: Arc<Membership>,
    /// The reads of this gateway.
    pub reads: RunningReads,
    /// What its reads noticed.
    pub hints: HintQueue,
    /// What its writes left behind.
    pub abandoned: AbandonedQueue,
    /// Where the jobs say how far they are.
    pub board: JobBoard,
    /// Replicas that each chunk should have.
    pub replicas: u8,
    /// How lifecycle rules are carried out.
    pub lifecycle: LifecycleSettings,
    /// Where it is said what is at risk while nodes are silent.
    pub survey: SurveyBoard,
    /// How the metadata is backed up, if it is.
    pub backup: Option<BackupParts>,
    /// What time it is.
    pub clock: Clock,
    /// Lots between nodes.
    pub chance: Chance,
}

/// Runs all jobs until `stop` closes.
pub async fn run_jobs(parts: JobParts, config: &JobConfig, stop: watch::Receiver<()>) {
    let (clock, wake) = (parts.clock.clone(), Arc::new(Notify::new()));
    let metastore = Arc::clone(&parts.metastore);
    let runner = JobRunner::new(
        Arc::clone(&metastore),
        parts.board.clone(),
        Uuid::new_v4(),
        clock.clone(),
        stop.clone(),
    );
    let mover = ReplicaMover::new(
        Arc::clone(&metastore),
        Arc::clone(&parts.transport),
        Arc::clone(&parts.membership),
    )
    .drawing(parts.chance.clone());
    let moves = move_settings(&parts, config);
    let repair = repair_job(&parts, config, mover.clone(), &wake);
    let reconcile = reconcile_job(&parts, config, mover.clone(), &wake);
    let garbage = garbage_collector(&parts, config);
    let lifecycle = LifecycleJob::new(Arc::clone(&metastore), parts.lifecycle.clone())
        .watching(ClockWatch::new(Arc::clone(&metastore), Clock::steady()));
    let queue = queue_abandoned(
        parts.abandoned,
        Arc::clone(&metastore),
        clock.clone(),
        stop.clone(),
    );
    tokio::join!(
        runner.clone().run(garbage),
        runner.clone().run(repair),
        runner.clone().run(reconcile),
        runner.clone().run(DrainJob::new(mover.clone(), moves)),
        runner.clone().run(RebalanceJob::new(
            mover.clone(),
            rebalance_settings(moves, config)
        )),
        runner.clone().run(lifecycle),
        expiry(&metastore, config, &runner),
        follow_phases(
            Arc::clone(&metastore),
            Arc::clone(&parts.membership),
            stop.clone()
        ),
        watch_reach(
            Arc::clone(&parts.transport),
            Arc::clone(&parts.membership),
            stop.clone()
        ),
        survey_awaited(mover, parts.survey, stop.clone()),
        backup(
            parts.backup,
            config,
            (&parts.transport, &parts.membership),
            &runner
        ),
        queue,
        write_hints(
            parts.hints,
            Arc::clone(&metastore),
            parts.replicas,
            clock,
            wake,
            stop
        ),
    );
}

fn garbage_collector(parts: &JobParts, config: &JobConfig) -> GarbageCollector {
    let garbage = GarbageCollector::new(
        Arc::clone(&parts.metastore),
        Arc::clone(&parts.transport),
        Arc::clone(&parts.membership),
        parts.reads.clone(),
        Duration::from_secs(config.gc_grace),
    );
    match &parts.backup {
        Some(backup) => garbage.sparing(backup.status.clone()),
        None => garbage,
    }
}

fn repair_job(
    parts: &JobParts,
    config: &JobConfig,
    mover: ReplicaMover,
    wake: &Arc<Notify>,
) -> RepairJob {
    let settings = RepairSettings {
        replicas: parts.replicas,
        rate_bytes_per_s: rate_bytes_per_s(config.repair_rate),
    };
    RepairJob::new(mover, settings, Arc::clone(wake))
}

fn reconcile_job(
    parts: &JobParts,
    config: &JobConfig,
    mover: ReplicaMover,
    wake: &Arc<Notify>,
) -> ReconcileJob {
    let settings = ReconcileSettings {
        replicas: parts.replicas,
        every: Duration::from_secs(config.reconcile_every),
        orphans: OrphanLimits {
            age: Duration::from_secs(config.orphan_age),
            quarantine: Duration::from_secs(config.orphan_quarantine),
            limit_percent: config.orphan_limit,
        },
    };
    ReconcileJob::new(mover, settings, Arc::clone(wake))
}

fn move_settings(parts: &JobParts, config: &JobConfig) -> MoveSettings {
    MoveSettings {
        replicas: parts.replicas,
        rate_bytes_per_s: rate_bytes_per_s(config.move_rate),
    }
}

fn rebalance_settings(moves: MoveSettings, config: &JobConfig) -> RebalanceSettings {
    RebalanceSettings {
        moves,
        evenness: Evenness {
            threshold_percent: config.rebalance_threshold,
        },
    }
}

/// The expiry of uploads, if they expire.
fn expiry(
    metastore: &Arc<dyn Metastore>,
    config: &JobConfig,
    runner: &JobRunner,
) -> impl Future<Output = ()> + use<> {
    let age = config.multipart_expiry;
    let clock = ClockWatch::new(Arc::clone(metastore), Clock::steady());
    let job = UploadExpiry::new(Arc::clone(metastore), age).watching(clock);
    let runner = runner.clone();
    async move {
        if !age.is_zero() {
            runner.run(job).await;
        }
    }
}

/// The metadata's backup, if one is to be made.
fn backup(
    parts: Option<BackupParts>,
    config: &JobConfig,
    (transport, membership): (&Arc<dyn ChunkTransport>, &Arc<Membership>),
    runner: &JobRunner,
) -> impl Future<Output = ()> + use<> {
    let settings = BackupSettings {
        every: Duration::from_secs(config.metadata_backup_every),
        log_bytes: config.metadata_log_size.as_u64(),
    };
    let parts = parts.filter(|_| !settings.every.is_zero());
    let job = parts.map(|parts| {
        let (transport, membership) = (Arc::clone(transport), Arc::clone(membership));
        BackupJob::new(parts, transport, membership, settings)
    });
    let runner = runner.clone();
    async move {
        if let Some(job) = job {
            runner.run(job).await;
        }
    }
}
