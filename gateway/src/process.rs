//! The life of a gateway once its parts are put together: bind, announce, serve both listeners until
//! told to stop, drain.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chunkproto::ClusterSecret;
use metastore::{Metastore, RocksBackup};
use tokio::net::TcpListener;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tracing::{error, info, warn};

use crate::admin::{AdminParts, AdminServer};
use crate::chance::Chance;
use crate::chunks::{
    AbandonedChunks, AbandonedQueue, BodyReader, BodyWriter, ByteBudget, ChunkTransport, HintQueue,
    RepairHints, RunningReads, WriterSettings,
};
use crate::clock::Clock;
use crate::cluster::Membership;
use crate::config::GatewayConfig;
use crate::http::{Certificate, ListenerLimits, TlsError, serve_connections};
use crate::jobs::{
    BackupParts, BackupStatus, JobBoard, JobParts, LifecycleSettings, SurveyBoard, run_jobs,
};
use crate::keys::RootKeys;
use crate::lifecycle::Calendar;
use crate::s3::{Directory, S3Gateway, S3Server, S3Settings};
use crate::sealing::KeyRing;
use crate::signals::{Signals, StopSignals};
use crate::users::{self, Secrets};
use crate::{keys, s3};

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
    /// The database, where it is on this machine.
    pub database: Option<RocksBackup>,
    /// Whether it is backed up into the cluster.
    pub is_backed_up: bool,
}

/// A gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address is not to be had.
    #[error("cannot listen on {address}: {source}; is another server running there?")]
    Bind {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// TLS cannot be had.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Keys cannot be had.
    #[error(transparent)]
    Keys(#[from] keys::KeyError),
    /// Signals cannot be watched.
    #[error("the signals that stop the gateway cannot be watched: {0}")]
    Signals(std::io::Error),
    /// The users of the settings' file cannot be had.
    #[error(transparent)]
    Users(#[from] users::UsersFileError),
    /// The metadata cannot be opened.
    #[error(transparent)]
    Metadata(#[from] metastore::OpenError),
    /// The metadata cannot be read.
    #[error(transparent)]
    MetadataRead(#[from] metastore::MetaError),
    /// An embedded chunk store cannot be opened.
    #[error("{0}")]
    Store(Box<dyn std::error::Error + Send + Sync>),
    /// The data directory is not ours to use.
    #[error(transparent)]
    Directory(#[from] crate::data_dir::DirectoryError),
    /// What the data directory holds does not fit the settings.
    #[error("{0}")]
    Unfit(String),
}

/// The bound listeners of a gateway.
pub struct Listeners {
    s3: TcpListener,
    tls: Option<(TlsAcceptor, Certificate)>,
    admin: TcpListener,
}

impl Listeners {
    /// Binds both listeners, before anything slow happens: a taken address is told at once.
    pub async fn bind(config: &GatewayConfig) -> Result<Self, StartError> {
        let bind = async |address| {
            TcpListener::bind(address)
                .await
                .map_err(|source| StartError::Bind { address, source })
        };
        Ok(Self {
            tls: tls_of(config)?,
            s3: bind(config.listen).await?,
            admin: bind(config.admin_listen).await?,
        })
    }

    /// Base URL of the S3 listener, with the port that the system chose where 0 was asked for.
    pub fn endpoint(&self) -> String {
        url_of(&self.s3, if self.tls.is_some() { "https" } else { "http" })
    }

    /// Base URL of the admin listener.
    pub fn admin_endpoint(&self) -> String {
        url_of(&self.admin, "http")
    }
}

fn tls_of(config: &GatewayConfig) -> Result<Option<(TlsAcceptor, Certificate)>, TlsError> {
    let (Some(chain), Some(key)) = (&config.tls_cert, &config.tls_key) else {
        return Ok(None);
    };
    let certificate = Certificate::load(chain, key)?;
    Ok(Some((certificate.acceptor()?, certificate)))
}

/// Reads the certificate anew at each SIGHUP, which ends nothing.
async fn reload_on_hangup(
    mut hangup: Signal,
    certificate: Option<Certificate>,
    mut stopped: watch::Receiver<()>,
) {
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            _ = hangup.recv() => {}
        }
        match certificate.as_ref().map(Certificate::reload) {
            Some(Ok(())) => info!("the certificate was read again; new connections get it"),
            Some(Err(failure)) => {
                error!(%failure, "the certificate was not read again; the one before stays in use");
            }
            None => info!("hung up on; there is no certificate to read again"),
        }
    }
}

fn url_of(listener: &TcpListener, scheme: &str) -> String {
    match listener.local_addr() {
        Ok(address) => format!("{scheme}://{address}"),
        Err(error) => format!("unknown address ({error})"),
    }
}

/// Writes the users of the settings' file to the metadata, if there is one.
pub async fn load_users(
    config: &GatewayConfig,
    metastore: &dyn Metastore,
    key_ring: &Arc<KeyRing>,
) -> Result<(), StartError> {
    if let Some(path) = &config.users_file {
        let count = users::load(path, metastore, &Secrets::new(Arc::clone(key_ring))).await?;
        info!(count, path = %path.display(), "users were written to the metadata");
    }
    Ok(())
}

/// What the jobs say of themselves, for the operator.
#[derive(Clone, Default)]
struct Reports {
    jobs: JobBoard,
    backup: BackupStatus,
    survey: SurveyBoard,
}

/// Serves until SIGINT or SIGTERM, then drains.
pub async fn run(
    listeners: Listeners,
    Signals {
        stop: stop_signals,
        hangup,
    }: Signals,
    mut parts: Parts,
    config: &GatewayConfig,
) {
    let reports = Reports::default();
    let admin = AdminServer::new(admin_parts(&parts, &reports, config));
    let (stop, stopped) = watch::channel(());
    let reads = RunningReads::default();
    let (hints, hint_queue) = RepairHints::new();
    let (abandoned, abandoned_queue) = AbandonedChunks::new();
    let inputs = (reads.clone(), hint_queue, abandoned_queue);
    let jobs = run_jobs(
        job_parts(&mut parts, reports, inputs, config),
        &config.jobs,
        stopped.clone(),
    );
    let s3 = s3_server(parts, (reads, hints, abandoned), config);
    let stopping = |mut stopped: watch::Receiver<()>| async move {
        let _ = stopped.changed().await;
    };
    let limits = ListenerLimits::default();
    let (tls, certificate) = listeners.tls.unzip();
    let reloads = reload_on_hangup(hangup, certificate, stopped.clone());
    let serve_s3 = serve_connections(
        listeners.s3,
        tls,
        limits,
        move |request| {
            let s3 = s3.clone();
            async move { s3.handle(request).await }
        },
        stopping(stopped.clone()),
    );
    let serve_admin = serve_connections(
        listeners.admin,
        None,
        limits,
        move |request| {
            let admin = admin.clone();
            async move { admin.handle(request).await }
        },
        stopping(stopped),
    );
    tokio::join!(
        serve_s3,
        serve_admin,
        jobs,
        reloads,
        announce_stop(stop_signals, stop)
    );
}

/// Closes `stop` at the first signal; ends the process at the second.
async fn announce_stop(mut signals: StopSignals, stop: watch::Sender<()>) {
    signals.next().await;
    info!("stopping: no new requests; waiting for those under way; a second signal ends it now");
    drop(stop);
    tokio::spawn(async move {
        signals.next().await;
        warn!("stopped by a second signal");
        std::process::exit(1);
    });
}

fn admin_parts(parts: &Parts, reports: &Reports, config: &GatewayConfig) -> AdminParts {
    AdminParts {
        membership: Arc::clone(&parts.membership),
        metastore: Arc::clone(&parts.metastore),
        jobs: reports.jobs.clone(),
        backup: reports.backup.clone(),
        survey: reports.survey.clone(),
        database: parts.database.clone(),
        secret: parts.secret.clone(),
        nodes_needed: usize::from(parts.writer.write_quorum.unwrap_or(1)),
        replicas: parts.writer.replicas,
        writes: Some((Arc::clone(&parts.transport), parts.writer.finish_within)),
        key_ring: Arc::clone(&parts.key_ring),
        master_key_dir: config.master_key.is_empty().then(|| parts.keys_dir.clone()),
    }
}

/// Takes the database out of `parts` if the jobs are to back it up.
fn job_parts(
    parts: &mut Parts,
    reports: Reports,
    (reads, hints, abandoned): (RunningReads, HintQueue, AbandonedQueue),
    config: &GatewayConfig,
) -> JobParts {
    let source = parts.database.take().filter(|_| parts.is_backed_up);
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
        reads,
        hints,
        abandoned,
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

fn s3_server(
    parts: Parts,
    (reads, hints, abandoned): (RunningReads, RepairHints, AbandonedChunks),
    config: &GatewayConfig,
) -> S3Server {
    let budget = |size: bytesize::ByteSize| ByteBudget::new(size.as_u64(), BUDGET_PATIENCE);
    let writer = BodyWriter::new(
        Arc::clone(&parts.transport),
        Arc::clone(&parts.membership),
        budget(config.write_budget),
        parts.writer,
    )
    .with_abandoned(abandoned);
    let reader = BodyReader::new(
        parts.transport,
        parts.membership,
        budget(config.read_budget),
        reads,
        hints,
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

/// The key ring of a gateway whose generated keys are kept in `dir`.
pub fn key_ring(config: &GatewayConfig, dir: &Path) -> Result<Arc<KeyRing>, StartError> {
    let masters = keys::master_keys(dir, &config.master_key)?;
    let mut masters = masters.iter().map(|master| master.0);
    let present = masters.next().expect("there is one at least");
    let named = keys::kms_keys(config.kms_keys_file.as_deref())?;
    let ring = KeyRing::new(present, named).with_earlier(masters);
    match &config.kms_default_key {
        Some(name) if !ring.knows(name) => Err(StartError::Unfit(format!(
            "the default key '{name}' is not in the file of named keys"
        ))),
        _ => Ok(Arc::new(ring)),
    }
}

/// The root keys that the settings give, if they do.
pub fn given_keys(config: &GatewayConfig) -> Option<RootKeys> {
    let (access_key, secret_key) = (config.access_key.clone()?, config.secret_key.clone()?);
    Some(RootKeys {
        access_key,
        secret_key,
    })
}
