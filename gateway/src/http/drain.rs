//! A request body that ends when its client goes silent, and that is read on for a little when the
//! server answers before its end. Closing a connection with unread bytes resets it, and the client
//! would never see the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Sleep;

/// Bytes read on behalf of an early answer before the connection is closed.
const DRAIN_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Time spent on that.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// A client that sends no byte of its body for so long has gone; shorter than a chunk server's
/// patience with the gateway (30 s), so that the chunk servers are not blamed.
const SILENCE_MAX: Duration = Duration::from_secs(25);

/// Why a request body ended.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// The connection broke, or the body was malformed.
    #[error(transparent)]
    Connection(#[from] hyper::Error),
    /// The client went silent.
    #[error("no byte of the body came for {SILENCE_MAX:?}")]
    Silent,
    /// The body breaks the bounds of its kind; the reason is in its `BodyFaultCell`.
    #[error("the body is refused")]
    Refused,
}

/// An incoming body that ends when its client goes silent, and that drains itself in the background
/// when dropped before its end.
pub struct DrainingBody {
    body: Option<Incoming>,
    /// Runs while the next bytes are waited for.
    silence: Option<Pin<Box<Sleep>>>,
    continue_pending: ContinuePending,
}

/// Whether a client still waits for `100 Continue` and so has sent nothing of its body.
#[derive(Clone)]
pub struct ContinuePending(Arc<AtomicBool>);

impl ContinuePending {
    fn new(holds: bool) -> Self {
        Self(Arc::new(AtomicBool::new(holds)))
    }

    fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the body was never asked for. HTTP/1.1 has to close the connection then, because the
    /// client may send the body or not.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl DrainingBody {
    /// Wraps the body of a request; `expects_continue` tells whether it waits for `100 Continue`.
    #[must_use]
    pub fn new(body: Incoming, expects_continue: bool) -> Self {
        let continue_pending = ContinuePending::new(expects_continue && !body.is_end_stream());
        Self {
            body: Some(body),
            silence: None,
            continue_pending,
        }
    }

    /// Tells, also when the body is gone, whether it was ever asked for.
    #[must_use]
    pub fn continue_pending(&self) -> ContinuePending {
        self.continue_pending.clone()
    }
}

impl Body for DrainingBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        self.continue_pending.end();
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            self.silence = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(RequestBodyError::from)));
        }
        let silence = self
            .silence
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(SILENCE_MAX)));
        match silence.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                // Nothing is left to drain from a client that sends nothing.
                self.body = None;
                Poll::Ready(Some(Err(RequestBodyError::Silent)))
            }
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
        // Reading would invite a body that is withheld.
        if body.is_end_stream() || self.continue_pending.holds() {
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
