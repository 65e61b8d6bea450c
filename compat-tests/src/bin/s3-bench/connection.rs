//! One connection to the server: a request, its whole reply, and again. Made anew when it broke.

use std::time::Duration;

use bytes::Bytes;
use compat_tests::{Endpoint, SignedRequest};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Failure;

/// A request and its reply may take so long.
const REPLY_MAX: Duration = Duration::from_secs(60);
/// So much of a body is kept, to say why a request failed.
const KEPT_BYTES: usize = 2048;

/// A connection, open or not.
pub(crate) struct Connection {
    authority: String,
    open: Option<SendRequest<Full<Bytes>>>,
}

/// What the server answered.
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// Length of the body that came.
    pub(crate) length_bytes: u64,
    /// How the body begins.
    begin: Vec<u8>,
}

impl Connection {
    /// Not open yet.
    pub(crate) fn to(endpoint: &Endpoint) -> Self {
        Self {
            authority: endpoint.authority().to_owned(),
            open: None,
        }
    }

    /// Sends a request and reads the whole reply.
    ///
    /// # Errors
    /// A broken connection or no reply in time, in a few words.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Reply, String> {
        let exchanged = timeout(REPLY_MAX, self.try_exchange(request)).await;
        let exchanged =
            exchanged.unwrap_or_else(|_| Err(format!("no reply in {REPLY_MAX:?}").into()));
        exchanged.map_err(|error| {
            self.open = None;
            error.to_string()
        })
    }

    async fn try_exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        let sender = match &mut self.open {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.open.insert(connect(&self.authority).await?),
        };
        sender.ready().await?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let (length_bytes, begin) = read(body).await?;
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            length_bytes,
            begin,
        })
    }
}

impl Reply {
    /// Status and S3's error code, for a request that failed.
    pub(crate) fn reason(&self) -> String {
        let text = String::from_utf8_lossy(&self.begin);
        let code = text
            .split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once('<'));
        format!(
            "{} {}",
            self.status.as_u16(),
            code.map_or("", |(code, _)| code)
        )
    }
}

async fn connect(authority: &str) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender, who is told what went wrong on it.
    tokio::spawn(connection);
    Ok(sender)
}

async fn read(mut body: Incoming) -> Result<(u64, Vec<u8>), Failure> {
    let (mut length_bytes, mut begin) = (0, Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else {
            continue;
        };
        length_bytes += piece.len() as u64;
        let kept = piece.len().min(KEPT_BYTES - begin.len());
        begin.extend_from_slice(&piece[..kept]);
    }
    Ok((length_bytes, begin))
}

/// Makes the bucket unless it is there.
///
/// # Errors
/// No answer, or what the server says to that.
pub(crate) async fn make_bucket(endpoint: &Endpoint, bucket: &str) -> Result<(), Failure> {
    let path = format!("/{bucket}");
    let mut request = SignedRequest::new(endpoint, Method::PUT, &path)
        .sign()
        .map(Full::new);
    *request.uri_mut() = path.parse()?;
    let host = HeaderValue::from_str(endpoint.authority())?;
    request.headers_mut().insert(HOST, host);
    let reply = Connection::to(endpoint).exchange(request).await;
    let reply = reply.map_err(|error| format!("{}: {error}", endpoint.url))?;
    let reason = reply.reason();
    if reply.status.is_success() || reason.ends_with("BucketAlreadyOwnedByYou") {
        return Ok(());
    }
    Err(format!(
        "{}: cannot make the bucket {bucket}: {reason}",
        endpoint.url
    )
    .into())
}
