//! S3 requests made by hand, to get wrong what no client gets wrong.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{Method, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::answer::Answer;
use crate::endpoint::Endpoint;

/// A server has so long to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);

/// What the signature says of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadSigning {
    /// Its SHA-256.
    Signed,
    /// UNSIGNED-PAYLOAD.
    Unsigned,
    /// STREAMING-UNSIGNED-PAYLOAD-TRAILER: the body is in the aws-chunked form already.
    UnsignedTrailer,
}

/// A request that is signed when it is sent.
#[derive(Debug, Clone)]
pub struct SignedRequest {
    endpoint: Endpoint,
    method: Method,
    path_and_query: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    payload: PayloadSigning,
    signed_at: SystemTime,
    presigned_for: Option<Duration>,
}

impl SignedRequest {
    /// A request to `endpoint`; `path_and_query` is encoded already.
    #[must_use]
    pub fn new(endpoint: &Endpoint, method: Method, path_and_query: &str) -> Self {
        Self {
            endpoint: endpoint.clone(),
            method,
            path_and_query: path_and_query.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            payload: PayloadSigning::Signed,
            signed_at: SystemTime::now(),
            presigned_for: None,
        }
    }

    /// With one more header, which is signed too.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// With this said of the body.
    #[must_use]
    pub fn payload(mut self, payload: PayloadSigning) -> Self {
        self.payload = payload;
        self
    }

    /// As if the client's clock showed `time`.
    #[must_use]
    pub fn signed_at(mut self, time: SystemTime) -> Self {
        self.signed_at = time;
        self
    }

    /// Signed in the URL, valid for `validity`.
    #[must_use]
    pub fn presigned(mut self, validity: Duration) -> Self {
        self.presigned_for = Some(validity);
        self.payload = PayloadSigning::Unsigned;
        self
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn send(self) -> Answer {
        send_unsigned(self.sign()).await
    }

    /// Sends the head and the first `body_bytes` of the body, then closes the connection without
    /// waiting for an answer.
    ///
    /// # Panics
    /// When the server does not take that much.
    pub async fn send_part_and_leave(self, body_bytes: usize) {
        let mut stream = TcpStream::connect(self.endpoint.authority())
            .await
            .expect("the server accepts connections");
        let request = self.sign();
        let mut bytes = head_of(&request).into_bytes();
        bytes.extend_from_slice(&request.body()[..body_bytes]);
        let written = stream.write_all(&bytes).await;
        written.expect("the server reads what is sent");
        stream.shutdown().await.expect("a connection can be closed");
    }

    /// Sends the head alone, with `Expect: 100-continue`, and returns what the server says to that.
    ///
    /// # Panics
    /// When it says nothing.
    pub async fn ask_to_continue(self) -> String {
        let mut stream = TcpStream::connect(self.endpoint.authority())
            .await
            .expect("the server accepts connections");
        let head = head_of(&self.header("expect", "100-continue").sign());
        let written = stream.write_all(head.as_bytes()).await;
        written.expect("the server reads what is sent");
        let mut said = vec![0; 4096];
        let read = tokio::time::timeout(ANSWER_DEADLINE, stream.read(&mut said)).await;
        let length = read
            .expect("the server answers in time")
            .expect("the server answers");
        String::from_utf8_lossy(&said[..length]).into_owned()
    }

    /// Sends the head with `Expect: 100-continue`; when the server asks for the body, calls `before`,
    /// and only then sends it. Returns the whole answer, head and body.
    ///
    /// # Panics
    /// When the server does not ask for the body, or does not answer.
    pub async fn send_body_after(self, before: impl AsyncFnOnce()) -> String {
        let mut stream = TcpStream::connect(self.endpoint.authority())
            .await
            .expect("the server accepts connections");
        let request = self.header("expect", "100-continue").sign();
        let written = stream.write_all(head_of(&request).as_bytes()).await;
        written.expect("the server reads what is sent");
        let mut said = vec![0; 4096];
        let read = tokio::time::timeout(ANSWER_DEADLINE, stream.read(&mut said)).await;
        let length = read.expect("it answers in time").expect("it answers");
        let said = String::from_utf8_lossy(&said[..length]).into_owned();
        assert!(said.starts_with("HTTP/1.1 100"), "{said}");
        before().await;
        let written = stream.write_all(request.body()).await;
        written.expect("the server reads what is sent");
        let mut answer = Vec::new();
        let read = tokio::time::timeout(ANSWER_DEADLINE, stream.read_to_end(&mut answer)).await;
        read.expect("it answers in time").expect("it answers");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The request with its signature.
    ///
    /// # Panics
    /// When it cannot be signed.
    #[must_use]
    pub fn sign(self) -> Request<Bytes> {
        let identity = Credentials::new(
            &self.endpoint.access_key,
            &self.endpoint.secret_key,
            None,
            None,
            "tests",
        )
        .into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.endpoint.region)
            .name("s3")
            .time(self.signed_at)
            .settings(self.settings())
            .build()
            .expect("all parameters are given")
            .into();
        let url = format!("{}{}", self.endpoint.url, self.path_and_query);
        let body = match self.payload {
            PayloadSigning::Signed => SignableBody::Bytes(&self.body),
            PayloadSigning::Unsigned => SignableBody::UnsignedPayload,
            PayloadSigning::UnsignedTrailer => SignableBody::StreamingUnsignedPayloadTrailer,
        };
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new(self.method.as_str(), url.clone(), headers, body);
        let signature = sign(signable.expect("the request can be signed"), &parameters);
        let (instructions, _) = signature.expect("the request can be signed").into_parts();

        let mut request = Request::builder().method(self.method).uri(url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(self.body).expect("the request is well-formed");
        instructions.apply_to_request_http1x(&mut request);
        request
    }

    fn settings(&self) -> SigningSettings {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        if let Some(validity) = self.presigned_for {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
            settings.expires_in = Some(validity);
        }
        settings
    }
}

/// Sends a request as it stands.
///
/// # Panics
/// When no answer comes.
pub async fn send_unsigned(request: Request<Bytes>) -> Answer {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ANSWER_DEADLINE)
        .build()
        .expect("a plain client needs nothing");
    let request = reqwest::Request::try_from(request).expect("the URL is whole");
    Answer::of(client.execute(request).await.expect("an answer comes")).await
}

/// The request's head as HTTP/1.1 writes it; the connection is closed after the answer.
fn head_of(request: &Request<Bytes>) -> String {
    let uri = request.uri();
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let mut head = format!(
        "{} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n",
        request.method()
    );
    for (name, value) in request.headers() {
        let value = value.to_str().expect("test headers are ASCII");
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !request.headers().contains_key(http::header::CONTENT_LENGTH) {
        head.push_str(&format!("content-length: {}\r\n", request.body().len()));
    }
    head.push_str("\r\n");
    head
}
