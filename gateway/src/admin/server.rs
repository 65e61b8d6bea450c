//! Routes of the admin listener. Health, readiness and metrics are open; everything else takes the
//! cluster secret.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chunkproto::wire::{HEARTBEAT_PATH, REGISTER_PATH};
use chunkproto::{ClusterSecret, Fence, Heartbeat, HeartbeatReply, NodeId, Registration};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use metastore::{MetaResult, Metastore, NodeRow, RocksBackup, Timestamp};
use tracing::{info, warn};

use super::answers::{Answer, body, json, not_found, refuse, text, unavailable};
use super::data::DataAdmin;
use super::master_key_orders::MasterKeyAdmin;
use super::metadata_orders::MetadataAdmin;
use super::metrics::metrics;
use super::node_orders::NodeAdmin;
use super::orders::{ORDERS_PATH, Orders};
use super::status::StatusAdmin;
use super::user_orders::UserAdmin;
use crate::chunks::ChunkTransport;
use crate::cluster::{Membership, Refusal, Refusals};
use crate::jobs::{BackupStatus, JobBoard, ReplicaMover, SurveyBoard};
use crate::sealing::KeyRing;
use crate::users::Secrets;

/// What the admin listener works with.
pub struct AdminParts {
    /// The chunk servers, as they register.
    pub membership: Arc<Membership>,
    /// The metadata.
    pub metastore: Arc<dyn Metastore>,
    /// How far the jobs are.
    pub jobs: JobBoard,
    /// How far behind the metadata's backup is.
    pub backup: BackupStatus,
    /// The database, where operators may have a copy of it.
    pub database: Option<RocksBackup>,
    /// What is at risk while chunk servers are silent.
    pub survey: SurveyBoard,
    /// What everything but health, readiness and metrics takes.
    pub secret: ClusterSecret,
    /// Ready while so many chunk servers can be written to.
    pub nodes_needed: usize,
    /// Replicas that each chunk should have.
    pub replicas: u8,
    /// The way to the chunk servers, where they are written to, and how long a write takes at most.
    pub writes: Option<(Arc<dyn ChunkTransport>, Duration)>,
    /// The keys under which secrets are kept.
    pub key_ring: Arc<KeyRing>,
    /// Where the file with the master keys is, if they come from there.
    pub master_key_dir: Option<PathBuf>,
}

/// Answers admin requests. Cheap to clone.
#[derive(Clone)]
pub struct AdminServer {
    membership: Arc<Membership>,
    metastore: Arc<dyn Metastore>,
    jobs: JobBoard,
    backup: BackupStatus,
    secret: ClusterSecret,
    nodes_needed: usize,
    data: DataAdmin,
    refusals: Refusals,
    status: StatusAdmin,
    orders: Orders,
}

impl AdminServer {
    /// A server that takes chunk servers in, shows how the cluster is, and takes orders.
    #[must_use]
    pub fn new(parts: AdminParts) -> Self {
        let (membership, metastore) = (&parts.membership, &parts.metastore);
        let nodes = NodeAdmin::new(
            Arc::clone(membership),
            Arc::clone(metastore),
            parts.replicas,
        );
        let data = DataAdmin::new(Arc::clone(metastore), parts.survey, parts.replicas);
        let (nodes, data) = match parts.writes {
            Some((transport, time_max)) => {
                let (by, membership) = (Arc::clone(&transport), Arc::clone(membership));
                let mover = ReplicaMover::new(Arc::clone(metastore), by, membership);
                (nodes.asking(transport, time_max), data.asking(mover))
            }
            None => (nodes, data),
        };
        let secrets = Secrets::new(Arc::clone(&parts.key_ring));
        let users = UserAdmin::new(Arc::clone(metastore), secrets);
        let master_key = MasterKeyAdmin::new(
            Arc::clone(metastore),
            (parts.key_ring, parts.master_key_dir),
            users.changes(),
        );
        let refusals = Refusals::default();
        Self {
            status: StatusAdmin::new(
                Arc::clone(membership),
                data.clone(),
                (parts.jobs.clone(), parts.backup.clone()),
                refusals.clone(),
            ),
            refusals,
            data,
            orders: Orders::new(
                nodes,
                users,
                (MetadataAdmin::new(parts.database), master_key),
                Arc::clone(metastore),
                parts.jobs.clone(),
            ),
            membership: parts.membership,
            metastore: parts.metastore,
            jobs: parts.jobs,
            backup: parts.backup,
            secret: parts.secret,
            nodes_needed: parts.nodes_needed,
        }
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Incoming>) -> Answer {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        match (&method, path.as_str()) {
            (&Method::GET, "/health") => text(StatusCode::OK, "ok\n".into()),
            (&Method::GET, "/ready") => self.ready(),
            (&Method::GET, "/metrics") => self.metrics().await,
            _ if !self.secret.admits(request.headers()) => refuse(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "the cluster secret is needed",
            ),
            (&Method::GET, "/status") => match self.status.look().await {
                Ok(status) => json(StatusCode::OK, &status),
                Err(error) => unavailable(&error.to_string()),
            },
            (&Method::POST, REGISTER_PATH) => match body(request).await {
                Ok(registration) => self.register(registration).await,
                Err(refusal) => refusal,
            },
            (_, path) if path.starts_with(ORDERS_PATH) => self.orders.handle(request).await,
            (&Method::POST, path) => match path.strip_prefix(HEARTBEAT_PATH) {
                Some(node) => self.heartbeat(node.trim_start_matches('/'), request).await,
                None => not_found(),
            },
            _ => not_found(),
        }
    }

    async fn metrics(&self) -> Answer {
        let (nodes, jobs) = (self.membership.status(), self.jobs.reports());
        let backup = self.backup.report(Timestamp::now());
        // Without the metadata the rest is worth as much.
        let data = self.data.count().await.ok();
        let text_of_all = metrics(&nodes, &jobs, backup.as_ref(), data.as_ref());
        text(StatusCode::OK, text_of_all)
    }

    fn ready(&self) -> Answer {
        let writable = self.membership.writable_count();
        let line = format!(
            "{writable} chunk servers take writes, {} needed\n",
            self.nodes_needed
        );
        let status = match writable >= self.nodes_needed {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        text(status, line)
    }

    async fn register(&self, registration: Registration) -> Answer {
        let row = NodeRow {
            id: registration.node_id,
            incarnation: registration.incarnation,
            address: registration.address.clone(),
            zone: registration.zone.clone(),
            capacity_bytes: registration.state.capacity_bytes,
            first_seen_at: Timestamp::now(),
        };
        let (node, address) = (registration.node_id, registration.address.clone());
        if let Err(refused) = self.membership.register(registration) {
            let reason = refused.to_string();
            let answer = refuse(StatusCode::CONFLICT, "conflict", &reason);
            let refusal = Refusal {
                node,
                address: address.clone(),
                reason,
            };
            if self.refusals.note(refusal) {
                warn!(%node, address, %refused, "a chunk server was refused");
            }
            return answer;
        }
        match self.note(row).await {
            Ok(fences) => {
                info!(%node, address, "a chunk server registered");
                let known = true;
                json(StatusCode::OK, &HeartbeatReply { known, fences })
            }
            Err(error) => {
                warn!(%node, %error, "a chunk server could not be noted in the metadata");
                unavailable(&error.to_string())
            }
        }
    }

    /// Writes what is known of a node, and returns what it must know: the newest fences.
    async fn note(&self, row: NodeRow) -> MetaResult<Vec<Fence>> {
        self.metastore.put_node(row).await?;
        self.metastore.newest_fences().await
    }

    async fn heartbeat(&self, node: &str, request: Request<Incoming>) -> Answer {
        let Ok(node) = node.parse::<NodeId>() else {
            return refuse(
                StatusCode::BAD_REQUEST,
                "invalid",
                "the path must end in a node id",
            );
        };
        match body::<Heartbeat>(request).await {
            Ok(heartbeat) => {
                let known = self.membership.heartbeat(node, heartbeat);
                let fences = Vec::new();
                json(StatusCode::OK, &HeartbeatReply { known, fences })
            }
            Err(refusal) => refusal,
        }
    }
}
