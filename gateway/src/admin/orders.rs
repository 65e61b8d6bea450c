//! Orders of operators over HTTP: what is wanted of chunk servers, jobs, buckets and users.

use std::sync::Arc;

use chunkproto::{JobName, NodeId};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use metastore::{JobControl, MetaResult, Metastore};
use serde::{Deserialize, Serialize};

use super::answers::{Answer, body, json, not_found, refuse, unavailable};
use super::bucket_orders::BucketAdmin;
use super::master_key_orders::MasterKeyAdmin;
use super::metadata_orders::MetadataAdmin;
use super::node_orders::{NodeAdmin, NodeOrder, OrderError};
use super::user_orders::UserAdmin;
use crate::jobs::JobBoard;

/// Where orders go: `nodes/{id}`, `nodes/{id}/drain|undrain|remove`, `jobs/{name}`, `buckets`,
/// `buckets/{name}`, `buckets/{name}/quota`, `users`, `users/{id}`,
/// `users/{id}/disable|enable|delete|rotate`, `metadata/save`, `master-key/reseal`.
pub const ORDERS_PATH: &str = "/admin/v1/";

/// What is to change about a job; what is absent stays.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct JobOrder {
    /// Whether it is to rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// How fast it may go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateOrder>,
}

/// How fast a job may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateOrder {
    /// As the gateway's settings say.
    Default,
    /// Without limit.
    Unlimited,
    /// So many bytes per second.
    BytesPerS(u64),
}

impl RateOrder {
    fn bytes_per_s(self) -> Option<u64> {
        match self {
            Self::Default => None,
            Self::Unlimited => Some(u64::MAX),
            Self::BytesPerS(rate) => Some(rate),
        }
    }
}

/// Carries orders out. Cheap to clone.
#[derive(Clone)]
pub struct Orders {
    nodes: NodeAdmin,
    users: UserAdmin,
    metadata: MetadataAdmin,
    master_key: MasterKeyAdmin,
    buckets: BucketAdmin,
    metastore: Arc<dyn Metastore>,
    jobs: JobBoard,
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
            metastore,
            jobs,
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
            (&Method::POST, ["jobs", job]) => {
                let job = (*job).to_owned();
                self.change_job(&job, request).await
            }
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
            Err(OrderError::Metadata(error)) => unavailable(&error.to_string()),
            Err(refused @ OrderError::Unknown(_)) => {
                refuse(StatusCode::NOT_FOUND, "not_found", &refused.to_string())
            }
            Err(refused) => refuse(StatusCode::CONFLICT, "conflict", &refused.to_string()),
        }
    }

    async fn change_job(&self, job: &str, request: Request<Incoming>) -> Answer {
        let known = job.parse::<JobName>().ok();
        let Some(job) = known.filter(|job| self.jobs.knows(job)) else {
            return refuse(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is no such job; `gateway admin job list` shows all",
            );
        };
        let order = match body::<JobOrder>(request).await {
            Ok(order) => order,
            Err(refusal) => return refusal,
        };
        match self.apply(&job, order).await {
            Ok(control) => json(StatusCode::OK, &control),
            Err(error) => unavailable(&error.to_string()),
        }
    }

    async fn apply(&self, job: &JobName, order: JobOrder) -> MetaResult<JobControl> {
        let before = self.metastore.job_control(job).await?;
        let control = JobControl {
            paused: order.paused.unwrap_or(before.paused),
            rate_bytes_per_s: match order.rate {
                Some(rate) => rate.bytes_per_s(),
                None => before.rate_bytes_per_s,
            },
        };
        self.metastore.set_job_control(job, control).await?;
        Ok(control)
    }
}

fn no_node_id() -> Answer {
    refuse(
        StatusCode::BAD_REQUEST,
        "invalid",
        "the path must name a node by its id",
    )
}
