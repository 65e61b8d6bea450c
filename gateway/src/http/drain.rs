//! A request body that is read on for a little when the server answers before its end. Closing a
//! connection with unread bytes resets it, and the client would never see the answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

/// Bytes read on behalf of an early answer before the connection is closed.
const DRAIN_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Time spent on that.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// An incoming body that drains itself in the background when dropped before its end.
pub struct DrainingBody {
    body: Option<Incoming>,
    /// A client that waits for `100 Continue` has sent nothing; reading would invite the body.
    may_drain: bool,
}

impl DrainingBody {
    /// Wraps the body of a request; `expects_continue` tells whether it waits for `100 Continue`.
    #[must_use]
    pub fn new(body: Incoming, expects_continue: bool) -> Self {
        Self {
            body: Some(body),
            may_drain: !expects_continue,
        }
    }
}

impl Body for DrainingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.may_drain = true;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for DrainingBody {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        if body.is_end_stream() || !self.may_drain {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(DRAIN_MAX, drain(body)));
        }
    }
}

async fn drain(mut body: Incoming) {
    let mut drained_bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        drained_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        if drained_bytes > DRAIN_MAX_BYTES {
            return;
        }
    }
}
