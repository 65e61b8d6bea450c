//! Accepts connections and serves HTTP/1.1 and HTTP/2 on them, within limits, until told to stop;
//! then drains under a deadline.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

/// Bounds on what clients may hold open.
#[derive(Debug, Clone, Copy)]
pub struct ListenerLimits {
    /// Connections served at a time; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// A client has so long to send a request's headers.
    pub header_read_max: Duration,
    /// Bytes buffered for reading on one connection, and so the longest header block.
    pub read_buffer_max_bytes: usize,
    /// Requests under way at shutdown may take so long to end.
    pub drain_max: Duration,
}

/// Headers of one request; s3-tests and SDKs stay under 60.
const HEADERS_MAX: usize = 200;
/// Wait after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            header_read_max: Duration::from_secs(30),
            read_buffer_max_bytes: 64 * 1024,
            drain_max: Duration::from_secs(20),
        }
    }
}

/// Serves `handle` on `listener` until `shutdown` resolves, then waits for requests under way.
pub async fn serve_connections<H, F, B>(
    listener: TcpListener,
    limits: ListenerLimits,
    handle: H,
    shutdown: impl Future<Output = ()>,
) where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let connections = GracefulShutdown::new();
    let builder = builder(limits);
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = &mut shutdown => break,
        };
        let Some((stream, slot)) = accepted else {
            continue;
        };
        let handle = handle.clone();
        let service = service_fn(move |request| {
            let response = handle(request);
            async move { Ok::<_, Infallible>(response.await) }
        });
        let connection = builder
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(error, "connection ended");
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_max, connections.shutdown())
        .await
        .is_err()
    {
        warn!(waited = ?limits.drain_max, "requests were still under way when the drain ended");
    } else {
        info!("all requests ended");
    }
}

fn builder(limits: ListenerLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_max)
        .max_headers(HEADERS_MAX)
        .max_buf_size(limits.read_buffer_max_bytes);
    builder.http2().timer(TokioTimer::new());
    builder
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Small answers must not wait for the client's delayed acknowledgement (Nagle).
            if let Err(error) = stream.set_nodelay(true) {
                debug!(%error, "TCP_NODELAY was refused");
            }
            Some((stream, slot))
        }
        Err(error) => {
            warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
