//! One transfer: a signed request whose body is made, or compared, as it passes.

use compat_tests::{Endpoint, Payload, PayloadSigning, SignedRequest};
use futures::StreamExt as _;
use http::{Method, header};
use reqwest::{Body, Client, Response};

/// Bytes made or compared at a time.
const PIECE_BYTES: u64 = 256 * 1024;

/// Why a transfer failed.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where the objects go and how large they are.
pub(crate) struct Load {
    pub(crate) endpoint: Endpoint,
    pub(crate) client: Client,
    pub(crate) bucket: String,
    pub(crate) size_bytes: u64,
}

impl Load {
    /// Makes the bucket.
    pub(crate) async fn create_bucket(&self) -> Result<(), Failure> {
        let request = self.request(Method::PUT, &format!("/{}", self.bucket));
        self.send(request, Body::default()).await?;
        Ok(())
    }

    /// Uploads the bytes of `seed`.
    pub(crate) async fn upload(&self, seed: u64, key: String) -> Result<(), Failure> {
        let pieces = Payload::new(seed, self.size_bytes).pieces(PIECE_BYTES);
        let body = Body::wrap_stream(futures::stream::iter(pieces.map(Ok::<_, Failure>)));
        let request = self.request(Method::PUT, &self.path(&key));
        let request = request.header(
            header::CONTENT_LENGTH.as_str(),
            &self.size_bytes.to_string(),
        );
        self.send(request, body).await?;
        Ok(())
    }

    /// Downloads an object and compares it with the bytes of `seed`.
    pub(crate) async fn download(&self, seed: u64, key: String) -> Result<(), Failure> {
        let request = self.request(Method::GET, &self.path(&key));
        let mut body = self.send(request, Body::default()).await?.bytes_stream();
        let expected = Payload::new(seed, self.size_bytes);
        let mut received_bytes = 0;
        while let Some(piece) = body.next().await {
            let piece = piece?;
            let end = received_bytes + piece.len() as u64;
            if piece != expected.slice(received_bytes, end) {
                return Err(format!("{key} differs after byte {received_bytes}").into());
            }
            received_bytes = end;
        }
        if received_bytes != self.size_bytes {
            return Err(format!("{key} ended after {received_bytes} bytes").into());
        }
        Ok(())
    }

    fn path(&self, key: &str) -> String {
        format!("/{}/{key}", self.bucket)
    }

    fn request(&self, method: Method, path: &str) -> SignedRequest {
        SignedRequest::new(&self.endpoint, method, path).payload(PayloadSigning::Unsigned)
    }

    /// Sends the request with this body in place of its own.
    async fn send(&self, request: SignedRequest, body: Body) -> Result<Response, Failure> {
        let (head, _) = request.sign().into_parts();
        let name = format!("{} {}", head.method, head.uri.path());
        let request = http::Request::from_parts(head, body);
        let response = self.client.execute(request.try_into()?).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        Err(format!("{name}: {status} {}", response.text().await?).into())
    }
}
