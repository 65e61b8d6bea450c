//! Bodies in and out of the admin listener.

use bytes::Bytes;
use chunkproto::wire::ErrorBody;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest request body.
const BODY_MAX_BYTES: usize = 64 * 1024;

/// An answer with its whole body.
pub type Answer = Response<Full<Bytes>>;

/// Reads a request's JSON body; where that fails, the answer that says so.
pub async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Answer> {
    let limited = Limited::new(request.into_body(), BODY_MAX_BYTES);
    let invalid = |detail: String| refuse(StatusCode::BAD_REQUEST, "invalid", &detail);
    let collected = limited.collect().await;
    let bytes = collected
        .map_err(|error| invalid(error.to_string()))?
        .to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))
}

/// An error: a stable word, and a sentence for people.
pub fn refuse(status: StatusCode, word: &str, detail: &str) -> Answer {
    let body = ErrorBody {
        error: word.to_owned(),
        detail: detail.to_owned(),
    };
    json(status, &body)
}

/// The answer to a path that leads nowhere.
pub fn not_found() -> Answer {
    refuse(StatusCode::NOT_FOUND, "not_found", "no such path")
}

/// The answer where the metadata cannot be read or written.
pub fn unavailable(detail: &str) -> Answer {
    refuse(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
}

/// An answer in JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).unwrap_or_default();
    answer(status, "application/json", body.into())
}

/// An answer in plain text.
pub fn text(status: StatusCode, body: String) -> Answer {
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
