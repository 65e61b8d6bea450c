//! Bodies of a PUT whose length the client does not declare (chunked transfer encoding, or HTTP/2, without
//! `x-amz-decoded-content-length`). A body's split needs its length, so short ones are read first,
//! a bounded number at a time; longer ones are refused.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, StatusCode, Version, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use s3s::Body;
use tokio::sync::Semaphore;

use crate::http::Refused;

/// Longest body that is taken without its length.
pub const UNDECLARED_MAX_BYTES: usize = 1024 * 1024;
/// So many are read at the same time; others wait.
const READ_AT_ONCE: usize = 32;

/// Reads short bodies. Cheap to clone.
#[derive(Clone)]
pub struct UndeclaredLength(Arc<Semaphore>);

impl UndeclaredLength {
    /// Reads up to as many bodies at once as it may.
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(READ_AT_ONCE)))
    }

    /// The request with its length declared, if it is a PUT that lacks it; else as it was.
    ///
    /// # Errors
    /// `MissingContentLength` for a body that is too long, or broke off.
    pub async fn declare(&self, request: Request<Body>) -> Result<Request<Body>, Refused> {
        if !lacks_length(&request) {
            return Ok(request);
        }
        let _turn = self.0.acquire().await.map_err(|_| missing_length())?;
        let (mut parts, body) = request.into_parts();
        let limited = Limited::new(body, UNDECLARED_MAX_BYTES);
        let body = limited
            .collect()
            .await
            .map_err(|_| missing_length())?
            .to_bytes();
        let length = HeaderValue::from(body.len());
        parts.headers.insert(header::CONTENT_LENGTH, length);
        parts.headers.remove(header::TRANSFER_ENCODING);
        Ok(Request::from_parts(parts, Body::from(body)))
    }
}

fn lacks_length(request: &Request<Body>) -> bool {
    let headers = request.headers();
    // HTTP/2 has no transfer encoding: its bodies just end.
    let is_open = match request.version() {
        Version::HTTP_2 => !request.body().is_end_stream(),
        _ => headers.contains_key(header::TRANSFER_ENCODING),
    };
    *request.method() == Method::PUT
        && is_open
        && !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key("x-amz-decoded-content-length")
}

/// The refusal of a body whose length must be declared.
pub fn missing_length() -> Refused {
    Refused::new(
        StatusCode::LENGTH_REQUIRED,
        "MissingContentLength",
        "You must provide the Content-Length HTTP header.",
    )
}
