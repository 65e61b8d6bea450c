//! Waiting for the chunk servers: they register at the admin listener, as with a gateway, so nobody
//! has to tell where they are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chunkproto::{ClusterSecret, NodeId, Registration};
use metastore::MemoryMetastore;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use super::error::RecoveryError;
use crate::admin::{AdminParts, AdminServer};
use crate::chunks::{ChunkTransport, HttpTransport};
use crate::cluster::{Membership, NodeState, NodeTimeouts};
use crate::config::RecoveryConfig;
use crate::http::{ListenerLimits, serve_connections};
use crate::jobs::{BackupStatus, JobBoard, SurveyBoard};
use crate::process::StartError;
use crate::sealing::KeyRing;

/// Between two looks who is there.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// The chunk servers that answered, and the way to them.
pub struct ChunkServers {
    pub transport: Arc<dyn ChunkTransport>,
    pub nodes: Vec<Registration>,
    /// Kept for as long as the nodes are to be listened to.
    _listening: Option<watch::Sender<()>>,
}

impl ChunkServers {
    /// Nodes that need no listener.
    pub fn embedded(transport: Arc<dyn ChunkTransport>, nodes: Vec<Registration>) -> Self {
        Self {
            transport,
            nodes,
            _listening: None,
        }
    }

    /// Their ids.
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| node.node_id).collect()
    }
}

/// Waits until as many chunk servers as the settings say have registered.
///
/// # Errors
/// A listener that cannot be had, and `NodesMissing`.
pub async fn call(
    config: &RecoveryConfig,
    secret: ClusterSecret,
) -> Result<ChunkServers, RecoveryError> {
    let address = config.admin_listen;
    let bound = TcpListener::bind(address).await;
    let listener = bound.map_err(|source| StartError::Bind { address, source })?;
    let membership = Arc::new(Membership::new(NodeTimeouts::default()));
    // Rows of nodes are written when there is a database to write them to.
    let admin = AdminServer::new(AdminParts {
        membership: Arc::clone(&membership),
        metastore: Arc::new(MemoryMetastore::new()),
        jobs: JobBoard::default(),
        backup: BackupStatus::default(),
        survey: SurveyBoard::default(),
        database: None,
        master_key_dir: None,
        secret: secret.clone(),
        nodes_needed: config.nodes,
        replicas: 1,
        // No user is kept here.
        writes: None,
        key_ring: Arc::new(KeyRing::new([0; 32], BTreeMap::new())),
    });
    let transport = HttpTransport::new(Arc::clone(&membership), &secret)
        .map_err(|error| StartError::Unfit(format!("the HTTP client cannot be set up: {error}")))?;
    let (listening, mut done) = watch::channel(());
    tokio::spawn(serve_connections(
        listener,
        None,
        ListenerLimits::default(),
        move |request| {
            let admin = admin.clone();
            async move { admin.handle(request).await }
        },
        async move {
            let _ = done.changed().await;
        },
    ));
    let nodes = wait_for(&membership, config).await?;
    Ok(ChunkServers {
        transport: Arc::new(transport),
        nodes,
        _listening: Some(listening),
    })
}

async fn wait_for(
    membership: &Membership,
    config: &RecoveryConfig,
) -> Result<Vec<Registration>, RecoveryError> {
    let time_max = Duration::from_secs(config.wait);
    info!(
        nodes = config.nodes,
        listen = %config.admin_listen,
        "waiting for the chunk servers to register"
    );
    let began = Instant::now();
    loop {
        let status = membership.status();
        let live = status
            .into_iter()
            .filter(|node| node.state == NodeState::Live);
        let live: Vec<_> = live.map(|node| node.registration).collect();
        if live.len() >= config.nodes {
            return Ok(live);
        }
        if began.elapsed() >= time_max {
            return Err(RecoveryError::NodesMissing {
                found: live.len(),
                expected: config.nodes,
                waited_s: config.wait,
                listen: config.admin_listen,
            });
        }
        tokio::time::sleep(LOOK_PERIOD).await;
    }
}
