//! Routes of the admin listener. Health, readiness and metrics are open; everything else takes the
//! cluster secret.

use std::sync::Arc;

use bytes::Bytes;
use chunkproto::wire::{ErrorBody, HEARTBEAT_PATH, REGISTER_PATH};
use chunkproto::{ClusterSecret, Fence, Heartbeat, HeartbeatReply, NodeId, Registration};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use metastore::{MetaResult, Metastore, NodeRow, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use super::metrics::metrics;
use super::status::{self, Status};
use crate::cluster::Membership;
use crate::jobs::JobBoard;

/// Longest request body.
const BODY_MAX_BYTES: usize = 64 * 1024;

/// Answers admin requests. Cheap to clone.
#[derive(Clone)]
pub struct AdminServer {
    membership: Arc<Membership>,
    metastore: Arc<dyn Metastore>,
    jobs: JobBoard,
    secret: ClusterSecret,
    nodes_needed: usize,
}

type Answer = Response<Full<Bytes>>;

impl AdminServer {
    /// A server that takes chunk servers into `membership` and shows them and `jobs`; ready while `nodes_needed` of them can
    /// be written to.
    #[must_use]
    pub fn new(
        membership: Arc<Membership>,
        metastore: Arc<dyn Metastore>,
        jobs: JobBoard,
        secret: ClusterSecret,
        nodes_needed: usize,
    ) -> Self {
        Self {
            membership,
            metastore,
            jobs,
            secret,
            nodes_needed,
        }
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Incoming>) -> Answer {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        match (&method, path.as_str()) {
            (&Method::GET, "/health") => text(StatusCode::OK, "ok\n".into()),
            (&Method::GET, "/ready") => self.ready(),
            (&Method::GET, "/metrics") => {
                let (nodes, jobs) = (self.membership.status(), self.jobs.reports());
                text(StatusCode::OK, metrics(&nodes, &jobs))
            }
            _ if !self.secret.admits(request.headers()) => refuse(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "the cluster secret is needed",
            ),
            (&Method::GET, "/status") => json(StatusCode::OK, &self.status()),
            (&Method::POST, REGISTER_PATH) => match body(request).await {
                Ok(registration) => self.register(registration).await,
                Err(refusal) => refusal,
            },
            (&Method::POST, path) => match path.strip_prefix(HEARTBEAT_PATH) {
                Some(node) => self.heartbeat(node.trim_start_matches('/'), request).await,
                None => refuse(StatusCode::NOT_FOUND, "not_found", "no such path"),
            },
            _ => refuse(StatusCode::NOT_FOUND, "not_found", "no such path"),
        }
    }

    fn status(&self) -> Status {
        Status {
            nodes: status::nodes(&self.membership.status()),
            jobs: self.jobs.reports(),
        }
    }

    fn ready(&self) -> Answer {
        let writable = self.membership.writable_count();
        let line = format!(
            "{writable} chunk servers take writes, {} needed\n",
            self.nodes_needed
        );
        let ready = writable >= self.nodes_needed;
        text(
            if ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            },
            line,
        )
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
            warn!(%node, address, %refused, "a chunk server was refused");
            return refuse(StatusCode::CONFLICT, "conflict", &refused.to_string());
        }
        match self.note(row).await {
            Ok(fences) => {
                info!(%node, address, "a chunk server registered");
                let known = true;
                json(StatusCode::OK, &HeartbeatReply { known, fences })
            }
            Err(error) => {
                warn!(%node, %error, "a chunk server could not be noted in the metadata");
                refuse(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "unavailable",
                    &error.to_string(),
                )
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

async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Answer> {
    let limited = Limited::new(request.into_body(), BODY_MAX_BYTES);
    let bytes = match limited.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) => {
            return Err(refuse(
                StatusCode::BAD_REQUEST,
                "invalid",
                &error.to_string(),
            ));
        }
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, "invalid", &error.to_string()))
}

fn refuse(status: StatusCode, word: &str, detail: &str) -> Answer {
    json(
        status,
        &ErrorBody {
            error: word.to_owned(),
            detail: detail.to_owned(),
        },
    )
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).unwrap_or_default();
    answer(status, "application/json", body.into())
}

fn text(status: StatusCode, body: String) -> Answer {
    answer(status, "text/plain; charset=utf-8", body.into())
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, content_type);
    response
}
