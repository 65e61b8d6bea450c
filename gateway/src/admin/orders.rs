//! Orders of operators over HTTP: what is wanted of chunk servers, jobs, buckets and users.

use std::sync::Arc;

use chunkproto::NodeId;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use metastore::Metastore;

use super::answers::{Answer, json, not_found, refuse, unavailable};
use super::bucket_orders::BucketAdmin;
use super::job_orders::JobAdmin;
use super::master_key_orders::MasterKeyAdmin;
use super::metadata_orders::MetadataAdmin;
use super::node_orders::{NodeAdmin, NodeOrder, OrderError};
use super::orphan_orders::AcceptedOrphans;
use super::user_orders::UserAdmin;
use crate::jobs::JobBoard;

/// Where orders go: `nodes/{id}`, `nodes/{id}/drain|undrain|remove|accept-orphans`, `jobs/{name}`, `buckets`,
/// `buckets/{name}`, `buckets/{name}/quota`, `users`, `users/{id}`,
/// `users/{id}/disable|enable|delete|rotate`, `metadata/save`, `master-key/reseal`.
pub const ORDERS_PATH: &str = "/admin/v1/";

/// Carries orders out. Cheap to clone.
#[derive(Clone)]
pub struct Orders {
    nodes: NodeAdmin,
    users: UserAdmin,
    metadata: MetadataAdmin,
    master_key: MasterKeyAdmin,
    buckets: BucketAdmin,
    jobs: JobAdmin,
}

impl Orders {
    pub fn new(
        nodes: NodeAdmin,
        users: UserAdmin,
        (metadata, master_key): (MetadataAdmin, MasterKeyAdmin),
        metastore: Arc<dyn Metastore>,
        jobs: JobBoard,
    ) -> Self {
        Self {
            nodes,
            users,
            metadata,
            master_key,
            buckets: BucketAdmin::new(Arc::clone(&metastore)),
            jobs: JobAdmin::new(metastore, jobs),
        }
    }

    /// Answers a request below [`ORDERS_PATH`].
    pub async fn handle(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let words = path.strip_prefix(ORDERS_PATH).unwrap_or_default();
        let words: Vec<_> = words.split('/').collect();
        match (request.method(), words.as_slice()) {
            (&Method::GET, ["nodes", node]) => self.show_node(node).await,
            (&Method::POST, ["nodes", node, "drain"]) => self.order(node, NodeOrder::Drain).await,
            (&Method::POST, ["nodes", node, "undrain"]) => {
                self.order(node, NodeOrder::Undrain).await
            }
            (&Method::POST, ["nodes", node, "remove"]) => self.order(node, NodeOrder::Remove).await,
            (&Method::POST, ["nodes", node, "accept-orphans"]) => self.accept_orphans(node).await,
            (&Method::POST, ["jobs", job]) => self.jobs.change(job, request).await,
            (&Method::POST, ["metadata", "save"]) => self.metadata.save(request).await,
            (&Method::POST, ["master-key", "reseal"]) => self.master_key.reseal().await,
            (_, ["buckets", rest @ ..]) => self.buckets.handle(rest, request).await,
            (_, ["users", rest @ ..]) => self.users.handle(rest, request).await,
            _ => not_found(),
        }
    }

    async fn show_node(&self, node: &str) -> Answer {
        let Ok(node) = node.parse() else {
            return no_node_id();
        };
        match self.nodes.holds(node).await {
            Ok(holds) => json(StatusCode::OK, &holds),
            Err(error) => unavailable(&error.to_string()),
        }
    }

    async fn order(&self, node: &str, order: NodeOrder) -> Answer {
        let Ok(node) = node.parse::<NodeId>() else {
            return no_node_id();
        };
        match self.nodes.carry_out(node, order).await {
            Ok(()) => json(StatusCode::OK, &serde_json::json!({})),
            Err(refused) => refusal(&refused),
        }
    }

    async fn accept_orphans(&self, node: &str) -> Answer {
        let Ok(node) = node.parse::<NodeId>() else {
            return no_node_id();
        };
        match self.nodes.accept_orphans(node).await {
            Ok(orphans) => json(StatusCode::OK, &AcceptedOrphans { orphans }),
            Err(refused) => refusal(&refused),
        }
    }
}

fn refusal(refused: &OrderError) -> Answer {
    match refused {
        OrderError::Metadata(error) => unavailable(&error.to_string()),
        OrderError::Unknown(_) => refuse(StatusCode::NOT_FOUND, "not_found", &refused.to_string()),
        _ => refuse(StatusCode::CONFLICT, "conflict", &refused.to_string()),
    }
}

fn no_node_id() -> Answer {
    refuse(
        StatusCode::BAD_REQUEST,
        "invalid",
        "the path must name a node by its id",
    )
}
