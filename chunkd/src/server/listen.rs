//! Connections: accept within a limit, serve each, drain at the end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chunkproto::ClusterSecret;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::copy::CopyClient;
use super::metrics::Metrics;
use super::route::{Service, answer};
use crate::fences::Fences;
use crate::node::ChunkNode;

/// Most connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;
/// How long a connection may take to send a request's head; an idle one is closed after it too, so
/// clients keep idle connections for less.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(75);
/// How long requests under way may take to end after a shutdown began.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the stores may take to close after the connections are gone.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept, which mostly means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `node` on `listener`, jobs as far as `fences` let them in, and looks after its disks until
/// `shutdown` resolves. Then takes no more connections, lets requests under way end for at most 30 s,
/// cuts the rest, and closes the node.
///
/// If the caller drops the future, connections are cut and the node is not closed.
pub async fn serve(
    listener: TcpListener,
    node: ChunkNode,
    secret: ClusterSecret,
    fences: Fences,
    shutdown: impl Future<Output = ()>,
) {
    let service = Arc::new(Service {
        copier: CopyClient::new(secret.clone()),
        metrics: Metrics::default(),
        node: node.clone(),
        secret,
        fences,
    });
    let mut watch = JoinSet::new(); // ends with this function
    let watched = node.clone();
    watch.spawn(async move { watched.watch_disks().await });
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut shutdown = pin!(shutdown);
    loop {
        while connections.try_join_next().is_some() {}
        let accept = async {
            let permit = Arc::clone(&free).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                let connection = serve_connection(socket, Arc::clone(&service), &graceful);
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    drain(graceful, connections).await;
    match timeout(CLOSE_TIMEOUT, node.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "a store did not close cleanly"),
        Err(_) => tracing::warn!("writes did not end in time; a store is not closed cleanly"),
    }
}

/// One connection, from its first request to its last.
fn serve_connection(
    socket: TcpStream,
    service: Arc<Service>,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + use<> {
    // Without it small answers wait for the peer's delayed acknowledgement, some 40 ms.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY is not set");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .serve_connection(
            TokioIo::new(socket),
            service_fn(move |request| answer(Arc::clone(&service), request)),
        );
    let connection = graceful.watch(connection);
    async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

async fn drain(graceful: GracefulShutdown, mut connections: JoinSet<()>) {
    if timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "requests did not end in time; cut off"
        );
    }
    connections.shutdown().await;
}
