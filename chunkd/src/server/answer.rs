//! Answers: the one way from a result to an HTTP response.

use bytes::Bytes;
use chunkproto::wire::{self, ErrorBody};
use chunkproto::{ChunkError, NodeId};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use serde::Serialize;

/// The body of every answer; an error in it aborts the connection.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, ChunkError>;
/// A whole answer.
pub(super) type Answer = Response<AnswerBody>;

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    with_body(
        status,
        Empty::new().map_err(|never| match never {}).boxed_unsync(),
    )
}

/// A short text.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let body = Full::new(text.into())
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut answer = with_body(status, body);
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}

/// A value as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(value).expect("ids, numbers and strings have a JSON form");
    let mut answer = text(status, bytes);
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}

/// The answer that tells of `error`.
pub(super) fn error(error: &ChunkError) -> Answer {
    let (status, body) = wire::error_to_wire(error);
    json(status, &body)
}

/// The answer to a call that was meant for another node: to the caller, that one is unreachable.
pub(super) fn misdirected(meant: NodeId, own: NodeId) -> Answer {
    let body = ErrorBody {
        error: "unreachable".into(),
        detail: format!("this is node {own}, and node {meant} was called"),
    };
    json(StatusCode::MISDIRECTED_REQUEST, &body)
}

/// An answer with a body in the making.
pub(super) fn with_body(status: StatusCode, body: AnswerBody) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}
