//! How a gateway is put together: the S3 server, the admin server and the jobs, from its parts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chunkproto::ClusterSecret;
use metastore::{Metastore, RocksBackup};

use crate::admin::AdminParts;
use crate::chance::Chance;
use crate::chunks::{
    AbandonedChunks, AbandonedQueue, BodyReader, BodyWriter, ByteBudget, ChunkTransport, HintQueue,
    RepairHints, RunningReads, WriterSettings,
};
use crate::clock::Clock;
use crate::cluster::Membership;
use crate::config::GatewayConfig;
use crate::jobs::{BackupParts, BackupStatus, JobBoard, JobParts, LifecycleSettings, SurveyBoard};
use crate::keys::RootKeys;
use crate::lifecycle::Calendar;
use crate::s3::{self, Directory, S3Gateway, S3Server, S3Settings};
use crate::sealing::KeyRing;
use crate::users::Secrets;

/// A request waits so long for its share of the memory budget.
const BUDGET_PATIENCE: Duration = Duration::from_secs(30);

/// Memory for the metadata's bytes on their way to the chunk servers.
const BACKUP_BUDGET_BYTES: u64 = 4 * 1024 * 1024;

/// The parts that differ between `serve` and `standalone`.
pub struct Parts {
    pub metastore: Arc<dyn Metastore>,
    pub transport: Arc<dyn ChunkTransport>,
    pub membership: Arc<Membership>,
    pub keys: RootKeys,
    pub secret: ClusterSecret,
    pub key_ring: Arc<KeyRing>,
    /// Where the gateway keeps the keys that it made.
    pub keys_dir: PathBuf,
    pub writer: WriterSettings,
    pub database: Database,
}

/// Where the metadata's database is, and what becomes of it.
#[derive(Default)]
pub enum Database {
    /// On another machine, or in memory.
    #[default]
    Elsewhere,
    /// On this machine; operators save it where they like.
    Saved(RocksBackup),
    /// On this machine, and shipped into the cluster by a job.
    Shipped(RocksBackup),
}

impl Database {
    fn on_this_machine(&self) -> Option<RocksBackup> {
        match self {
            Self::Elsewhere => None,
            Self::Saved(database) | Self::Shipped(database) => Some(database.clone()),
        }
    }
}

/// What requests leave for the jobs to do: the requests' ends.
pub(super) struct RequestOutbox {
    reads: RunningReads,
    hints: RepairHints,
    abandoned: AbandonedChunks,
}

/// The jobs' ends.
pub(super) struct JobInbox {
    reads: RunningReads,
    hints: HintQueue,
    abandoned: AbandonedQueue,
}

/// Both ends of what requests leave for the jobs.
pub(super) fn outbox_and_inbox() -> (RequestOutbox, JobInbox) {
    let reads = RunningReads::default();
    let (hints, hint_queue) = RepairHints::new();
    let (abandoned, abandoned_queue) = AbandonedChunks::new();
    let inbox = JobInbox {
        reads: reads.clone(),
        hints: hint_queue,
        abandoned: abandoned_queue,
    };
    let outbox = RequestOutbox {
        reads,
        hints,
        abandoned,
    };
    (outbox, inbox)
}

/// What the jobs say of themselves, for the operator.
#[derive(Clone, Default)]
pub(super) struct Reports {
    jobs: JobBoard,
    backup: BackupStatus,
    survey: SurveyBoard,
}

pub(super) fn admin_parts(parts: &Parts, reports: &Reports, config: &GatewayConfig) -> AdminParts {
    AdminParts {
        membership: Arc::clone(&parts.membership),
        metastore: Arc::clone(&parts.metastore),
        jobs: reports.jobs.clone(),
        backup: reports.backup.clone(),
        survey: reports.survey.clone(),
        database: parts.database.on_this_machine(),
        secret: parts.secret.clone(),
        nodes_needed: parts.writer.nodes_needed(),
        replicas: parts.writer.replicas,
        writes: Some((Arc::clone(&parts.transport), parts.writer.finish_within)),
        key_ring: Arc::clone(&parts.key_ring),
        master_key_dir: config.master_key.is_empty().then(|| parts.keys_dir.clone()),
    }
}

/// Takes the database out of `parts` if the jobs are to back it up.
pub(super) fn job_parts(
    parts: &mut Parts,
    reports: Reports,
    inbox: JobInbox,
    config: &GatewayConfig,
) -> JobParts {
    let source = match std::mem::take(&mut parts.database) {
        Database::Shipped(source) => Some(source),
        Database::Saved(_) | Database::Elsewhere => None,
    };
    let backup = source.map(|source| BackupParts {
        source,
        writer: BodyWriter::new(
            Arc::clone(&parts.transport),
            Arc::clone(&parts.membership),
            ByteBudget::new(BACKUP_BUDGET_BYTES, BUDGET_PATIENCE),
            parts.writer,
        ),
        status: reports.backup,
    });
    JobParts {
        metastore: Arc::clone(&parts.metastore),
        transport: Arc::clone(&parts.transport),
        membership: Arc::clone(&parts.membership),
        reads: inbox.reads,
        hints: inbox.hints,
        abandoned: inbox.abandoned,
        board: reports.jobs,
        replicas: parts.writer.replicas,
        backup,
        survey: reports.survey,
        lifecycle: lifecycle_settings(config),
        clock: Clock::system(),
        chance: Chance::system(),
    }
}

fn lifecycle_settings(config: &GatewayConfig) -> LifecycleSettings {
    let day_seconds = config.jobs.lifecycle_day_seconds;
    LifecycleSettings {
        rules_of: s3::rules_of,
        calendar: Calendar::with_days_of(day_seconds),
        period: Duration::from_secs((day_seconds / 24).max(1)),
    }
}

pub(super) fn s3_server(parts: Parts, outbox: RequestOutbox, config: &GatewayConfig) -> S3Server {
    let budget = |size: bytesize::ByteSize| ByteBudget::new(size.as_u64(), BUDGET_PATIENCE);
    let writer = BodyWriter::new(
        Arc::clone(&parts.transport),
        Arc::clone(&parts.membership),
        budget(config.write_budget),
        parts.writer,
    )
    .with_abandoned(outbox.abandoned);
    let reader = BodyReader::new(
        parts.transport,
        parts.membership,
        budget(config.read_budget),
        outbox.reads,
        outbox.hints,
    );
    // One copy of the metadata is as safe as one copy of the chunks, and no safer.
    let inline_max_bytes = match parts.writer.replicas {
        1 => config.inline_max_size.as_u64(),
        _ => 0,
    };
    let settings = S3Settings {
        region: config.region.clone(),
        object_max_bytes: config.max_object_size.as_u64(),
        inline_max_bytes,
        kms_default_key: config.kms_default_key.clone(),
        customer_keys_in_clear: config.sse_c_over_http,
        calendar: Calendar::with_days_of(config.jobs.lifecycle_day_seconds),
    };
    let directory = Directory::new(
        Arc::clone(&parts.metastore),
        parts.keys,
        Secrets::new(Arc::clone(&parts.key_ring)),
    );
    let gateway = S3Gateway::new(
        parts.metastore,
        writer,
        reader,
        settings,
        directory,
        parts.key_ring,
    );
    S3Server::new(gateway, config.domain.clone(), config.sigv2_headers)
}
