//! From a request to the operation it asks for: the cluster secret, the path, the method.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use chunkproto::wire::{CHUNKS_PATH, ErrorBody, INVENTORY_PATH, NODE_HEADER};
use chunkproto::{ChunkError, ChunkId, ClusterSecret, NodeId};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;

use super::answer::{self, Answer};
use super::chunks;
use super::copy::{self, CopyClient};
use super::inventory;
use super::metrics::{Metrics, Operation};
use crate::fences::Fences;
use crate::node::{ChunkNode, NodeState};

/// What every request works with.
pub(super) struct Service {
    pub node: ChunkNode,
    pub secret: ClusterSecret,
    pub fences: Fences,
    pub metrics: Metrics,
    pub copier: CopyClient,
}

/// What a request asks for.
enum Route {
    Health,
    Ready,
    Metrics,
    List,
    Inventory,
    Put(ChunkId),
    Get(ChunkId),
    Head(ChunkId),
    Delete(ChunkId),
    Copy(ChunkId),
}

/// Why a request has no route.
enum NoRoute {
    UnknownPath,
    WrongMethod,
    BadId(String),
}

/// Answers one request, whatever it is.
pub(super) async fn answer(
    service: Arc<Service>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let began = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = Route::of(&method, &path);
    let operation = route.as_ref().map_or(Operation::Other, Route::operation);
    let answer = if is_open(&route) || service.secret.admits(request.headers()) {
        match route {
            Ok(route) => dispatch(&service, route, request).await,
            Err(no_route) => no_route.answer(),
        }
    } else {
        answer::error(&ChunkError::Unauthorized)
    };
    service
        .metrics
        .count(operation, answer.status(), began.elapsed());
    tracing::debug!(%method, path, status = answer.status().as_u16(), "answered");
    Ok(answer)
}

async fn dispatch(service: &Service, route: Route, request: Request<Incoming>) -> Answer {
    let own = service.node.node_id();
    match chunks::parsed::<NodeId>(request.headers(), NODE_HEADER) {
        Ok(Some(meant)) if meant != own => return answer::misdirected(meant, own),
        Ok(_) => {}
        Err(error) => return answer::error(&error),
    }
    let result = match route {
        Route::Health => Ok(health(&service.node.state())),
        Route::Ready => Ok(ready(&service.node.state())),
        Route::Metrics => Ok(answer::text(
            StatusCode::OK,
            service.metrics.render(&service.node.state()),
        )),
        Route::List => chunks::list(service, &request).await,
        Route::Inventory => inventory::digest(service, &request).await,
        Route::Put(id) => chunks::put(service, id, request).await,
        Route::Get(id) => chunks::get(service, id, &request).await,
        Route::Head(id) => chunks::head(service, id).await,
        Route::Delete(id) => chunks::delete(service, id, &request).await,
        Route::Copy(id) => copy::copy(service, id, request).await,
    };
    result.unwrap_or_else(|error| answer::error(&error))
}

/// 200 while the process serves; tells of fenced disks, which alone are no reason to restart it.
fn health(state: &NodeState) -> Answer {
    answer::text(StatusCode::OK, format!("ok\n{}", fenced_disks(state)))
}

fn ready(state: &NodeState) -> Answer {
    let (status, word) = if state.total.writable {
        (StatusCode::OK, "ready")
    } else {
        let word = "not writable: every disk is full or failed";
        (StatusCode::SERVICE_UNAVAILABLE, word)
    };
    answer::text(status, format!("{word}\n{}", fenced_disks(state)))
}

/// A line for each disk that is fenced off.
fn fenced_disks(state: &NodeState) -> String {
    let fenced = state.fenced_disks().into_iter();
    fenced
        .map(|disk| {
            let how = if disk.readable {
                "is only read"
            } else {
                "is fenced off"
            };
            format!("disk {} {how}: {}\n", disk.path, disk.reason)
        })
        .collect()
}

/// Whether the request needs no secret: it tells nothing of what is stored.
fn is_open(route: &Result<Route, NoRoute>) -> bool {
    matches!(route, Ok(Route::Health | Route::Ready | Route::Metrics))
}

impl Route {
    fn of(method: &Method, path: &str) -> Result<Self, NoRoute> {
        let fixed = match path {
            "/health" => Some(Self::Health),
            "/ready" => Some(Self::Ready),
            "/metrics" => Some(Self::Metrics),
            CHUNKS_PATH => Some(Self::List),
            INVENTORY_PATH => Some(Self::Inventory),
            _ => None,
        };
        if let Some(route) = fixed {
            let reads = method == Method::GET || method == Method::HEAD;
            return if reads {
                Ok(route)
            } else {
                Err(NoRoute::WrongMethod)
            };
        }
        let below = path
            .strip_prefix(CHUNKS_PATH)
            .and_then(|rest| rest.strip_prefix('/'));
        let below = below.ok_or(NoRoute::UnknownPath)?;
        let (id, copy) = match below.split_once('/') {
            None => (below, false),
            Some((id, "copy")) => (id, true),
            Some(_) => return Err(NoRoute::UnknownPath),
        };
        let id = id
            .parse::<ChunkId>()
            .map_err(|error| NoRoute::BadId(error.to_string()))?;
        match (copy, method) {
            (true, &Method::POST) => Ok(Self::Copy(id)),
            (false, &Method::PUT) => Ok(Self::Put(id)),
            (false, &Method::GET) => Ok(Self::Get(id)),
            (false, &Method::HEAD) => Ok(Self::Head(id)),
            (false, &Method::DELETE) => Ok(Self::Delete(id)),
            _ => Err(NoRoute::WrongMethod),
        }
    }

    fn operation(&self) -> Operation {
        match self {
            Self::Health | Self::Ready | Self::Metrics => Operation::Other,
            Self::List | Self::Inventory => Operation::List,
            Self::Put(_) => Operation::Put,
            Self::Get(_) => Operation::Get,
            Self::Head(_) => Operation::Head,
            Self::Delete(_) => Operation::Delete,
            Self::Copy(_) => Operation::Copy,
        }
    }
}

impl NoRoute {
    fn answer(self) -> Answer {
        let (status, detail) = match self {
            Self::UnknownPath => (StatusCode::NOT_FOUND, "no such path".to_owned()),
            Self::WrongMethod => (
                StatusCode::METHOD_NOT_ALLOWED,
                "the path has no such method".to_owned(),
            ),
            Self::BadId(detail) => (StatusCode::BAD_REQUEST, detail),
        };
        answer::json(
            status,
            &ErrorBody {
                error: "invalid".into(),
                detail,
            },
        )
    }
}
