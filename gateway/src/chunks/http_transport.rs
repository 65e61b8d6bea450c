//! The chunk transport to remote chunk servers: HTTP/1.1 with the cluster secret. The home of
//! `reqwest` in what serves; `gateway admin` has its own in `admin/command/link.rs`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::wire::{
    CHUNKS_PATH, CRC64_HEADER, CopyRequest, ErrorBody, FENCE_HEADER, INVENTORY_PATH, LENGTH_HEADER,
    LIST_LIMIT_MAX, ListPage, NODE_HEADER, OWNER_HEADER, error_from_wire,
};
use chunkproto::{
    ByteRange, ChunkError, ChunkId, ChunkInfo, ChunkPut, ChunkRead, ChunkReceipt, ChunkResult,
    ChunkStream, ClusterSecret, Fence, IdRange, InventoryDigest, NodeId, OwnerHint,
};
use futures::{StreamExt as _, TryStreamExt as _};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, RANGE};
use reqwest::{Client, Method, RequestBuilder, Response};

use super::ChunkTransport;
use crate::cluster::Membership;

/// A node that does not accept a connection in this time is unreachable.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// A node answers a short call in this time. (A PUT is timed by its writer, piece by piece; a GET by
/// its reader.)
const SHORT_CALL_MAX: Duration = Duration::from_secs(30);
/// A node copies the longest chunk from another one in this time: 5 GiB at less than 2 MiB/s. (Callers
/// time a copy by the chunk's length.)
const COPY_MAX: Duration = Duration::from_secs(3600);
/// A node goes through a range of its chunks in this time.
const INVENTORY_CALL_MAX: Duration = Duration::from_secs(120);
/// What errors name where a call is about no chunk.
const NO_CHUNK: ChunkId = ChunkId::from_bytes([0; 16]);
/// Idle connections kept to each node.
const IDLE_PER_NODE_MAX: usize = 64;
/// An idle connection is closed after this, well before the node closes it (75 s).
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Longest error body that is read.
const ERROR_BODY_MAX_BYTES: usize = 16 * 1024;

/// Reaches chunk servers over HTTP, at the addresses that `membership` knows.
pub struct HttpTransport {
    client: Client,
    membership: Arc<Membership>,
    authorization: String,
}

impl HttpTransport {
    /// A transport with its own pool of connections.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(
        membership: Arc<Membership>,
        secret: &ClusterSecret,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .http1_only()
            // No chunk server sends anybody elsewhere, and the secret is for none but those called.
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .no_proxy()
            .connect_timeout(CONNECT_MAX)
            .pool_max_idle_per_host(IDLE_PER_NODE_MAX)
            .pool_idle_timeout(IDLE_MAX)
            .build()?;
        Ok(Self {
            client,
            membership,
            authorization: secret.to_authorization(),
        })
    }

    /// A call about a chunk.
    fn request(&self, method: Method, node: NodeId, path: &str) -> ChunkResult<RequestBuilder> {
        self.call(method, node, &format!("{CHUNKS_PATH}/{path}"))
    }

    fn call(&self, method: Method, node: NodeId, path: &str) -> ChunkResult<RequestBuilder> {
        let address = self.address(node)?;
        let request = self.client.request(method, format!("{address}{path}"));
        Ok(request
            .header(AUTHORIZATION, &self.authorization)
            .header(NODE_HEADER, node.to_string()))
    }

    fn address(&self, node: NodeId) -> ChunkResult<String> {
        self.membership
            .address(node)
            .ok_or_else(|| ChunkError::Unreachable(format!("node {node} never registered")))
    }
}

#[async_trait]
impl ChunkTransport for HttpTransport {
    async fn put(
        &self,
        node: NodeId,
        put: ChunkPut,
        body: ChunkStream,
    ) -> ChunkResult<ChunkReceipt> {
        let request = self
            .request(Method::PUT, node, &put.id.to_string())?
            .header(CONTENT_LENGTH, put.length_bytes)
            .header(OWNER_HEADER, put.owner.to_header())
            .body(reqwest::Body::wrap_stream(body));
        let response = send(put.id, request).await?;
        response.json().await.map_err(unreachable)
    }

    async fn get(
        &self,
        node: NodeId,
        chunk: ChunkId,
        range: Option<ByteRange>,
    ) -> ChunkResult<ChunkRead> {
        let mut request = self.request(Method::GET, node, &chunk.to_string())?;
        if let Some(ByteRange { start, end }) = range {
            request = request.header(RANGE, format!("bytes={start}-{}", end.saturating_sub(1)));
        }
        let response = send(chunk, request).await?;
        let info = info_of(chunk, &response)?;
        Ok(ChunkRead {
            info,
            stream: response.bytes_stream().map_err(unreachable).boxed(),
        })
    }

    async fn head(&self, node: NodeId, chunk: ChunkId) -> ChunkResult<ChunkInfo> {
        let request = self.request(Method::HEAD, node, &chunk.to_string())?;
        let response = send(chunk, request.timeout(SHORT_CALL_MAX)).await?;
        info_of(chunk, &response)
    }

    async fn delete(&self, node: NodeId, chunk: ChunkId, fence: Option<&Fence>) -> ChunkResult<()> {
        let request = self.request(Method::DELETE, node, &chunk.to_string())?;
        send(chunk, fenced(request, fence).timeout(SHORT_CALL_MAX)).await?;
        Ok(())
    }

    async fn digest(&self, node: NodeId, range: IdRange) -> ChunkResult<InventoryDigest> {
        let bounds = [("after", range.after), ("through", range.through)];
        let query = bounds
            .into_iter()
            .filter_map(|(name, id)| Some(format!("{name}={}", id?)));
        let query = query.collect::<Vec<_>>().join("&");
        let request = self.call(Method::GET, node, &format!("{INVENTORY_PATH}?{query}"))?;
        let response = send(NO_CHUNK, request.timeout(INVENTORY_CALL_MAX)).await?;
        response.json().await.map_err(unreachable)
    }

    async fn list(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> ChunkResult<ListPage> {
        let limit = limit.clamp(1, LIST_LIMIT_MAX);
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let path = format!("{CHUNKS_PATH}?after={after}&limit={limit}");
        let request = self.call(Method::GET, node, &path)?;
        let response = send(NO_CHUNK, request.timeout(INVENTORY_CALL_MAX)).await?;
        response.json().await.map_err(unreachable)
    }

    async fn owner(&self, node: NodeId, chunk: ChunkId) -> ChunkResult<Option<OwnerHint>> {
        let request = self.request(Method::HEAD, node, &chunk.to_string())?;
        let response = send(chunk, request.timeout(SHORT_CALL_MAX)).await?;
        let hint = response.headers().get(OWNER_HEADER);
        let text = hint.and_then(|value| value.to_str().ok());
        Ok(text.and_then(|text| OwnerHint::from_header(text).ok()))
    }

    async fn copy(
        &self,
        target: NodeId,
        chunk: ChunkId,
        source: NodeId,
        fence: Option<&Fence>,
    ) -> ChunkResult<ChunkReceipt> {
        let body = CopyRequest {
            source: self.address(source).map_err(ChunkError::of_source)?,
            source_node: Some(source),
        };
        let request = self
            .request(Method::POST, target, &format!("{chunk}/copy"))?
            .timeout(COPY_MAX)
            .json(&body);
        let response = send(chunk, fenced(request, fence)).await?;
        response.json().await.map_err(unreachable)
    }
}

fn fenced(request: RequestBuilder, fence: Option<&Fence>) -> RequestBuilder {
    match fence {
        Some(fence) => request.header(FENCE_HEADER, fence.to_string()),
        None => request,
    }
}

/// Sends the request and turns an error answer into the error that the node meant.
async fn send(chunk: ChunkId, request: RequestBuilder) -> ChunkResult<Response> {
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    if status == http::StatusCode::NOT_FOUND && response.content_length() == Some(0) {
        return Err(ChunkError::NotFound(chunk));
    }
    let mut body = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(Ok(piece)) = stream.next().await {
        body.extend_from_slice(&piece);
        if body.len() > ERROR_BODY_MAX_BYTES {
            break;
        }
    }
    Err(error_from_wire(
        chunk,
        status,
        serde_json::from_slice::<ErrorBody>(&body).ok(),
    ))
}

fn info_of(chunk: ChunkId, response: &Response) -> ChunkResult<ChunkInfo> {
    let header = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let length_bytes = header(LENGTH_HEADER).and_then(|text| text.parse().ok());
    let crc64 = header(CRC64_HEADER).and_then(|text| text.parse().ok());
    match (length_bytes, crc64) {
        (Some(length_bytes), Some(crc64)) => Ok(ChunkInfo {
            id: chunk,
            length_bytes,
            crc64,
        }),
        _ => Err(ChunkError::Invalid(
            "the node's answer lacks the chunk's description".into(),
        )),
    }
}

/// Every failure of the connection means the same: go elsewhere. The address stays out of the text;
/// callers log the node.
fn unreachable(error: reqwest::Error) -> ChunkError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    ChunkError::Unreachable(text)
}
