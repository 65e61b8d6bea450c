//! Bodies of a PUT whose length the client does not declare (chunked transfer encoding, or HTTP/2, without
//! `x-amz-decoded-content-length`). A body's split needs its length, so short ones are read first,
//! a bounded number at a time; longer ones are refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Version, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use s3s::Body;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::bounded::Fault;
use crate::s3::edge::envelope::Refused;

/// Longest body that is taken without its length.
pub const UNDECLARED_MAX_BYTES: usize = 1024 * 1024;
/// So many are read at the same time; others wait.
const READ_AT_ONCE: usize = 32;
/// They wait for so long at most.
const TURN_MAX: Duration = Duration::from_secs(30);
/// A body must have come after so long.
const READ_MAX: Duration = Duration::from_secs(60);

/// Reads short bodies. Cheap to clone.
#[derive(Clone)]
pub struct UndeclaredLength {
    turns: Arc<Semaphore>,
    turn_max: Duration,
    read_max: Duration,
}

impl UndeclaredLength {
    /// Reads up to as many bodies at once as it may.
    pub fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(READ_AT_ONCE)),
            turn_max: TURN_MAX,
            read_max: READ_MAX,
        }
    }

    /// The request with its length declared, if it is a PUT that lacks it; else as it was.
    ///
    /// # Errors
    /// `MissingContentLength` for a body that is too long, or broke off; `RequestTimeout` for one that
    /// comes too slowly; `SlowDown` while too many others are read.
    pub async fn declare(&self, request: Request<Body>) -> Result<Request<Body>, Refused> {
        if !lacks_length(&request) {
            return Ok(request);
        }
        let (mut parts, body) = request.into_parts();
        let body = self.read(body).await?;
        let length = HeaderValue::from(body.len());
        parts.headers.insert(header::CONTENT_LENGTH, length);
        parts.headers.remove(header::TRANSFER_ENCODING);
        Ok(Request::from_parts(parts, Body::from(body)))
    }

    /// A whole body of at most [`UNDECLARED_MAX_BYTES`].
    ///
    /// # Errors
    /// As for [`UndeclaredLength::declare`].
    pub async fn read(&self, body: Body) -> Result<Bytes, Refused> {
        let turn = timeout(self.turn_max, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| Refused::slow_down())?;
        let limited = Limited::new(body, UNDECLARED_MAX_BYTES);
        let read = timeout(self.read_max, limited.collect()).await;
        let read = read.map_err(|_| Fault::Slow)?;
        Ok(read
            .map_err(|_| Refused::missing_length("Content-Length"))?
            .to_bytes())
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    fn upload(body: Body) -> Request<Body> {
        Request::put("/b/k")
            .header(header::TRANSFER_ENCODING, "chunked")
            .body(body)
            .unwrap()
    }

    fn endless() -> Body {
        let pieces = stream::pending::<Result<Frame<Bytes>, Infallible>>();
        Body::http_body(StreamBody::new(pieces))
    }

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "its waits take no real time")]
    async fn slow_bodies_end_and_leave_their_turns_to_others() {
        let undeclared = UndeclaredLength {
            turn_max: Duration::from_millis(10),
            read_max: Duration::from_millis(100),
            ..UndeclaredLength::new()
        };
        let slow = (0..READ_AT_ONCE).map(|_| undeclared.declare(upload(endless())));
        let slow = futures::future::join_all(slow);
        let waiting = undeclared.declare(upload(Body::from("x".to_owned())));
        let (slow, waiting) = tokio::join!(slow, waiting);
        for read in slow {
            assert_eq!(read.unwrap_err().code, "RequestTimeout");
        }
        assert_eq!(waiting.unwrap_err().code, "SlowDown");
        let short = undeclared.declare(upload(Body::from("x".to_owned()))).await;
        assert_eq!(short.unwrap().headers()[header::CONTENT_LENGTH], "1");
    }
}
