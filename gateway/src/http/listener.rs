//! Accepts connections and serves HTTP/1.1 on them, within limits, until told to stop; then drains
//! under a deadline and cuts off what is left.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::server::conn::http2;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Peer, TlsVersion};

/// Bounds on what clients may hold open.
#[derive(Debug, Clone, Copy)]
pub struct ListenerLimits {
    /// Connections served at a time; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// A client has so long to send a request's headers; an idle connection is closed after it.
    pub header_read_max: Duration,
    /// Bytes buffered for reading on one connection, and so the longest header block.
    pub read_buffer_max_bytes: usize,
    /// Requests under way at shutdown may take so long to end.
    pub drain_max: Duration,
}

/// What clients that speak HTTP/2 agree on in the handshake.
const HTTP_2: &[u8] = b"h2";
/// Requests under way on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// A TLS handshake takes no longer.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Headers of one request; s3-tests and SDKs stay under 60.
const HEADERS_MAX: usize = 200;
/// A connection is closed when what was sent on it stays unacknowledged or unread for so long.
const UNREAD_MAX: Duration = Duration::from_secs(120);
/// Wait after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            header_read_max: Duration::from_secs(60),
            read_buffer_max_bytes: 64 * 1024,
            drain_max: Duration::from_secs(20),
        }
    }
}

/// Serves `handle` on `listener`, over TLS where it is given, until `shutdown` resolves, then waits
/// for requests under way.
pub async fn serve_connections<H, F, B>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
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
    let cut_off = CancellationToken::new();
    let builder = builder(limits);
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = &mut shutdown => break,
        };
        let Some((stream, address, slot)) = accepted else {
            continue;
        };
        let address = address.ip().to_canonical();
        let handle = handle.clone();
        let service = move |tls: Option<TlsVersion>| {
            service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(Peer { address, tls });
                let response = handle(request);
                async move { Ok::<_, Infallible>(response.await) }
            })
        };
        let served = serve_connection(
            (stream, tls.clone()),
            (builder.clone(), limits),
            service,
            connections.watcher(),
        );
        let cut_off = cut_off.clone();
        tokio::spawn(async move {
            tokio::select! {
                ended = served => if let Err(error) = ended {
                    debug!(%error, "connection ended");
                },
                () = cut_off.cancelled() => {}
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_max, connections.shutdown())
        .await
        .is_err()
    {
        warn!(waited = ?limits.drain_max, "requests were still under way and are cut off");
    }
    cut_off.cancel();
}

/// Serves one connection until it ends, by the service for its version of TLS. A handshake that fails is none of the server's errors.
async fn serve_connection<S, B>(
    (stream, tls): (TcpStream, Option<TlsAcceptor>),
    (builder, limits): (Builder, ListenerLimits),
    service: impl FnOnce(Option<TlsVersion>) -> S,
    watcher: Watcher,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = B, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(tls) = tls else {
        let connection = builder.serve_connection(TokioIo::new(stream), service(None));
        return watcher.watch(connection).await;
    };
    let stream = match shake_hands(&tls, stream).await {
        Ok(stream) => stream,
        Err(error) => {
            debug!(%error, "a TLS handshake failed");
            return Ok(());
        }
    };
    let session = stream.get_ref().1;
    let is_http_2 = session.alpn_protocol() == Some(HTTP_2);
    let service = service(Some(TlsVersion::of(session.protocol_version())));
    if is_http_2 {
        let connection = http_2(limits).serve_connection(TokioIo::new(stream), service);
        watcher.watch(connection).await
    } else {
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        watcher.watch(connection).await
    }
}

/// A client that connects and says nothing must not hold its slot for ever.
async fn shake_hands(tls: &TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let shaken = tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await;
    shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

fn builder(limits: ListenerLimits) -> Builder {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_max)
        .max_headers(HEADERS_MAX)
        .max_buf_size(limits.read_buffer_max_bytes);
    builder
}

fn http_2(limits: ListenerLimits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(limits.read_buffer_max_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.header_read_max);
    builder
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => {
            if let Err(error) = prepare(&stream) {
                debug!(%error, "a socket option was refused");
            }
            Some((stream, address, slot))
        }
        Err(error) => {
            warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Small answers must not wait for the client's delayed acknowledgement (Nagle).
    stream.set_nodelay(true)?;
    // A client that is gone, or that stops reading its answer, must not hold memory for ever.
    sockopt::set_socket_keepalive(stream, true)?;
    let unread_ms = u32::try_from(UNREAD_MAX.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, unread_ms)?;
    Ok(())
}
