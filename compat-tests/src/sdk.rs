//! The Rust SDK, set up for a test server.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http_body::{Frame, SizeHint};
use http_body_util::StreamBody;

use crate::endpoint::Endpoint;

/// A busy machine may be slow to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(60);

/// A client with the SDK's default settings, but path style and no retries: a failure is a finding. Nor
/// does it give a server up that is slow.
#[must_use]
pub fn sdk(endpoint: &Endpoint) -> Client {
    client(endpoint, Builder::new().build_http())
}

/// The same over TLS, by a certificate in PEM that it trusts, and so over HTTP/2.
///
/// # Panics
/// When that is no certificate.
#[must_use]
pub fn sdk_over_tls(endpoint: &Endpoint, certificate: &[u8]) -> Client {
    let trusted = TrustStore::empty().with_pem_certificate(certificate);
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let http = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context.expect("a certificate"))
        .build_https();
    client(endpoint, http)
}

fn client(endpoint: &Endpoint, http: SharedHttpClient) -> Client {
    let credentials = Credentials::new(
        &endpoint.access_key,
        &endpoint.secret_key,
        None,
        None,
        "tests",
    );
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&endpoint.url)
        .region(Region::new(Endpoint::REGION))
        .credentials_provider(credentials)
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_MAX)
                .build(),
        )
        .http_client(http)
        .build();
    Client::from_conf(config)
}

/// A body of `length_bytes` that is sent as its pieces come.
pub fn body_of_pieces(
    length_bytes: u64,
    pieces: impl Stream<Item = Bytes> + Send + Sync + 'static,
) -> ByteStream {
    // The SDK asks once more after the end, for trailers.
    let frames = pieces
        .fuse()
        .map(|piece| Ok::<_, std::io::Error>(Frame::data(piece)));
    let body = SizedBody {
        body: StreamBody::new(Box::pin(frames)),
        length_bytes,
    };
    ByteStream::new(SdkBody::from_body_1_x(body))
}

/// A body that knows its length, as the SDK wants it.
struct SizedBody<B> {
    body: B,
    length_bytes: u64,
}

impl<B: http_body::Body + Unpin> http_body::Body for SizedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length_bytes)
    }
}
