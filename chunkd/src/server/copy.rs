//! POST /v1/chunks/{id}/copy: fetch a chunk from the node that has it and keep it here. Nothing is
//! kept unless length and checksum are those that the source declared.

use std::time::Duration;

use chunkproto::wire::{
    CHUNKS_PATH, CRC64_HEADER, CopyRequest, ErrorBody, LENGTH_HEADER, NODE_HEADER, OWNER_HEADER,
    error_from_wire,
};
use chunkproto::{
    ChunkError, ChunkId, ChunkPut, ChunkResult, ChunkStream, ClusterSecret, Crc64, OwnerHint,
};
use futures::StreamExt as _;
use http::{HeaderMap, Request, StatusCode, header};
use hyper::body::Incoming;

use super::answer::{self, Answer};
use super::body;
use super::chunks::{admit, parsed, text};
use super::route::Service;
use crate::fences::receive;

/// How long the source may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the source may pause within an answer. Less than the 30 s after which a job gives the shortest
/// copy up, so that it hears that the source was at fault.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an idle connection is kept; less than the source keeps it.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest error body that is read.
const ERROR_BODY_MAX_BYTES: usize = 16 << 10;

/// Fetches chunks from other nodes.
pub(super) struct CopyClient {
    http: reqwest::Client,
    authorization: String,
}

/// A chunk that another node has begun to send.
struct Fetched {
    put: ChunkPut,
    crc64: Crc64,
    body: ChunkStream,
}

/// Answers a copy request with the receipt. `NotFound`, `Corrupt` and `SourceUnavailable` speak of the
/// source, all other errors of this node.
pub(super) async fn copy(
    service: &Service,
    id: ChunkId,
    request: Request<Incoming>,
) -> ChunkResult<Answer> {
    let admitted = admit(service, request.headers()).await?;
    let request = body::collect_short(request.into_body()).await?;
    let from: CopyRequest = serde_json::from_slice(&request)
        .map_err(|error| ChunkError::Invalid(format!("the copy request: {error}")))?;
    let Fetched { put, crc64, body } = service.copier.fetch(&from, id).await?;
    let node = service.node.clone();
    let keep = move |body| async move { node.put(put, body::verified(id, body, crc64)).await };
    let kept = receive(admitted, body, keep).await;
    let receipt = kept.map_err(of_body)?;
    service.metrics.count_received(receipt.length_bytes);
    Ok(answer::json(StatusCode::OK, &receipt))
}

/// Where the body was not as declared, the source was not as it said.
fn of_body(error: ChunkError) -> ChunkError {
    match error {
        ChunkError::BadBody(_) => error.of_source(),
        other => other,
    }
}

impl CopyClient {
    /// A client that speaks with the cluster's secret, and tells it to nobody it is redirected to.
    pub fn new(secret: ClusterSecret) -> Self {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .no_proxy()
            .build()
            .expect("a client without TLS and proxies needs nothing from the system");
        Self {
            http,
            authorization: secret.to_authorization(),
        }
    }

    async fn fetch(&self, from: &CopyRequest, id: ChunkId) -> ChunkResult<Fetched> {
        let source = &from.source;
        let url = format!("{}{CHUNKS_PATH}/{id}", source.trim_end_matches('/'));
        let url = reqwest::Url::parse(&url)
            .ok()
            .filter(|url| url.scheme() == "http")
            .ok_or_else(|| ChunkError::Invalid(format!("source '{source}' is not an http URL")))?;
        let source = source.to_owned();
        let broken = move |error: reqwest::Error| {
            ChunkError::SourceUnavailable(format!("{source}: {error}"))
        };
        let mut request = self
            .http
            .get(url)
            .header(header::AUTHORIZATION, &self.authorization);
        if let Some(node) = from.source_node {
            request = request.header(NODE_HEADER, node.to_string());
        }
        let response = request.send().await.map_err(&broken)?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let body = error_body(response).await;
            return Err(error_from_wire(id, status, body).of_source());
        }
        let (put, crc64) = described(id, response.headers()).map_err(ChunkError::of_source)?;
        let body = response
            .bytes_stream()
            .map(move |piece| piece.map_err(&broken))
            .boxed();
        Ok(Fetched { put, crc64, body })
    }
}

/// Why the source refuses, if it says so in few words.
async fn error_body(response: reqwest::Response) -> Option<ErrorBody> {
    let (mut body, mut pieces) = (Vec::new(), response.bytes_stream());
    while let Some(Ok(piece)) = pieces.next().await {
        body.extend_from_slice(&piece);
        if body.len() > ERROR_BODY_MAX_BYTES {
            return None;
        }
    }
    serde_json::from_slice(&body).ok()
}

/// What the source says of the chunk.
fn described(id: ChunkId, headers: &HeaderMap) -> ChunkResult<(ChunkPut, Crc64)> {
    let missing = |name| ChunkError::Invalid(format!("the source did not send {name}"));
    let length_bytes = parsed(headers, LENGTH_HEADER)?.ok_or_else(|| missing(LENGTH_HEADER))?;
    let crc64 = parsed(headers, CRC64_HEADER)?.ok_or_else(|| missing(CRC64_HEADER))?;
    let owner = text(headers, OWNER_HEADER)?.ok_or_else(|| missing(OWNER_HEADER))?;
    let owner = OwnerHint::from_header(owner)
        .map_err(|error| ChunkError::Invalid(format!("{OWNER_HEADER}: {error}")))?;
    Ok((
        ChunkPut {
            id,
            length_bytes,
            owner,
        },
        crc64,
    ))
}
