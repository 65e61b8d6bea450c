//! Paths, headers and error bodies of the internal HTTP APIs; `docs/chunk-api.md` describes them.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{ChunkError, ChunkId, ChunkInfo, NodeId};

/// Path of the chunks on a chunk server; `/{id}` names one.
pub const CHUNKS_PATH: &str = "/v1/chunks";
/// Path of a chunk server's digest over a range of ids.
pub const INVENTORY_PATH: &str = "/v1/inventory";
/// Path on a gateway's admin listener at which chunk servers register (POST).
pub const REGISTER_PATH: &str = "/internal/v1/register";
/// Path on a gateway's admin listener for heartbeats (POST); `/{node id}` names the sender.
pub const HEARTBEAT_PATH: &str = "/internal/v1/heartbeat";
/// Header of a chunk PUT, and of a GET or HEAD response: the encoded [`OwnerHint`](crate::OwnerHint).
pub const OWNER_HEADER: &str = "x-sextant-owner";
/// Header of a DELETE or copy on behalf of a background job: its [`Fence`](crate::Fence).
pub const FENCE_HEADER: &str = "x-sextant-fence";
/// Header of a call to a chunk server: the [`NodeId`] that the caller means. A server with another
/// identity, at an address that was once that node's, answers 421. Without it, as from earlier versions,
/// any server will do.
pub const NODE_HEADER: &str = "x-sextant-node";
/// Header of a chunk GET or HEAD response: the whole chunk's [`Crc64`](crate::Crc64). In a PUT, the one
/// that the body must have.
pub const CRC64_HEADER: &str = "x-sextant-crc64";
/// Header of a chunk GET or HEAD response: the whole chunk's length. In a PUT, that of a body that comes
/// without `Content-Length`.
pub const LENGTH_HEADER: &str = "x-sextant-length";
/// Most chunks in one page of a listing.
pub const LIST_LIMIT_MAX: usize = 10_000;

/// The body of `POST /v1/chunks/{id}/copy`: fetch this chunk from another node and keep it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CopyRequest {
    /// Base URL of the node that has the chunk.
    pub source: String,
    /// Which node that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_node: Option<NodeId>,
}

/// A page of a node's chunks in id order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListPage {
    /// The chunks.
    pub chunks: Vec<ChunkInfo>,
    /// Whether more follow the last one.
    pub truncated: bool,
    /// Whether the node has disks that cannot be listed now: it may hold more chunks than it lists.
    #[serde(default)]
    pub incomplete: bool,
}

/// The body of every error answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A stable word for the kind of error.
    pub error: String,
    /// A sentence for the operator.
    pub detail: String,
}

/// Each variant's word and status on the wire. `error_from_wire` is its inverse.
fn word_and_status(error: &ChunkError) -> (&'static str, StatusCode) {
    match error {
        ChunkError::NotFound(_) => ("not_found", StatusCode::NOT_FOUND),
        ChunkError::Corrupt { .. } => ("corrupt", StatusCode::GONE),
        ChunkError::Full(_) => ("full", StatusCode::INSUFFICIENT_STORAGE),
        ChunkError::Refused(_) => ("refused", StatusCode::SERVICE_UNAVAILABLE),
        ChunkError::Unreachable(_) => ("unreachable", StatusCode::BAD_GATEWAY),
        ChunkError::SourceUnavailable(_) => ("source_unavailable", StatusCode::FAILED_DEPENDENCY),
        ChunkError::BadBody(_) => ("bad_body", StatusCode::UNPROCESSABLE_ENTITY),
        ChunkError::Conflict(_) => ("conflict", StatusCode::CONFLICT),
        ChunkError::Invalid(_) => ("invalid", StatusCode::BAD_REQUEST),
        ChunkError::Fenced(_) => ("fenced", StatusCode::PRECONDITION_FAILED),
        ChunkError::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED),
        ChunkError::Io(_) => ("io", StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// The word that a status stands for where no body came with it.
fn word_of_status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::GONE => "corrupt",
        StatusCode::INSUFFICIENT_STORAGE => "full",
        StatusCode::SERVICE_UNAVAILABLE => "refused",
        StatusCode::BAD_GATEWAY | StatusCode::MISDIRECTED_REQUEST => "unreachable",
        StatusCode::FAILED_DEPENDENCY => "source_unavailable",
        StatusCode::UNPROCESSABLE_ENTITY => "bad_body",
        StatusCode::CONFLICT => "conflict",
        StatusCode::BAD_REQUEST => "invalid",
        StatusCode::PRECONDITION_FAILED => "fenced",
        _ => "io",
    }
}

/// The status and body with which a chunk server reports `error`.
#[must_use]
pub fn error_to_wire(error: &ChunkError) -> (StatusCode, ErrorBody) {
    let (word, status) = word_and_status(error);
    let detail = match error {
        ChunkError::Corrupt { detail, .. }
        | ChunkError::Full(detail)
        | ChunkError::Refused(detail)
        | ChunkError::Unreachable(detail)
        | ChunkError::SourceUnavailable(detail)
        | ChunkError::BadBody(detail)
        | ChunkError::Invalid(detail)
        | ChunkError::Fenced(detail)
        | ChunkError::Io(detail) => detail.clone(),
        ChunkError::NotFound(_) | ChunkError::Conflict(_) | ChunkError::Unauthorized => {
            error.to_string()
        }
    };
    (
        status,
        ErrorBody {
            error: word.to_owned(),
            detail,
        },
    )
}

/// The error that a chunk server reported about `chunk`; an unknown word counts as `Io`. An answer
/// without a body, as to HEAD, is judged by its status alone.
#[must_use]
pub fn error_from_wire(chunk: ChunkId, status: StatusCode, body: Option<ErrorBody>) -> ChunkError {
    if status == StatusCode::UNAUTHORIZED {
        return ChunkError::Unauthorized;
    }
    let ErrorBody { error, detail } = body.unwrap_or_else(|| ErrorBody {
        error: word_of_status(status).to_owned(),
        detail: format!("status {status} without an explanation"),
    });
    match error.as_str() {
        "not_found" => ChunkError::NotFound(chunk),
        "corrupt" => ChunkError::Corrupt { chunk, detail },
        "full" => ChunkError::Full(detail),
        "refused" => ChunkError::Refused(detail),
        "unreachable" => ChunkError::Unreachable(detail),
        "source_unavailable" => ChunkError::SourceUnavailable(detail),
        "bad_body" => ChunkError::BadBody(detail),
        "conflict" => ChunkError::Conflict(chunk),
        "invalid" => ChunkError::Invalid(detail),
        "fenced" => ChunkError::Fenced(detail),
        _ => ChunkError::Io(detail),
    }
}

#[cfg(test)]
mod tests {
    use std::mem;

    use super::*;

    #[test]
    fn every_error_keeps_its_kind_over_the_wire() {
        let chunk = ChunkId::generate();
        let text = || "because".to_owned();
        let errors = [
            ChunkError::NotFound(chunk),
            ChunkError::Corrupt {
                chunk,
                detail: text(),
            },
            ChunkError::Full(text()),
            ChunkError::Refused(text()),
            ChunkError::Unreachable(text()),
            ChunkError::SourceUnavailable(text()),
            ChunkError::BadBody(text()),
            ChunkError::Conflict(chunk),
            ChunkError::Invalid(text()),
            ChunkError::Fenced(text()),
            ChunkError::Unauthorized,
            ChunkError::Io(text()),
        ];
        for error in errors {
            let (status, body) = error_to_wire(&error);
            let received = error_from_wire(chunk, status, Some(body));
            assert_eq!(received.to_string(), error.to_string());
            let bodyless = error_from_wire(chunk, status, None);
            assert_eq!(mem::discriminant(&bodyless), mem::discriminant(&error));
        }
    }
}
