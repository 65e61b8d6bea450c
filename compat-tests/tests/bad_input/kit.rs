//! Requests of all methods, and the state that bad ones must leave as it was.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use compat_tests::{Endpoint, SignedRequest, Standalone};
use crc_fast::{CrcAlgorithm, checksum};
use http::Method;
use md5::{Digest as _, Md5};

pub(crate) const MIB: usize = 1024 * 1024;
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
/// A 128-bit digest of something else.
pub(crate) const WRONG_MD5: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// The quoted MD5 of "kept".
pub(crate) const KEPT_ETAG: &str = "\"4d8b6084f3d167b76cac66a22a91be02\"";

/// A server with the bucket `bucket`, and in it the object `kept` with the content "kept".
pub(crate) async fn server() -> Standalone {
    server_with(&[]).await
}

pub(crate) async fn server_with(arguments: &[&str]) -> Standalone {
    let server = Standalone::start_with(arguments).await;
    let created = put(server.endpoint(), "/bucket").send().await;
    assert_eq!(created.status, 200, "{}", created.text());
    let put = put(server.endpoint(), "/bucket/kept").body("kept");
    assert_eq!(put.send().await.status, 200);
    server
}

pub(crate) fn get(endpoint: &Endpoint, path: &str) -> SignedRequest {
    SignedRequest::new(endpoint, Method::GET, path)
}

pub(crate) fn put(endpoint: &Endpoint, path: &str) -> SignedRequest {
    SignedRequest::new(endpoint, Method::PUT, path)
}

pub(crate) fn post(endpoint: &Endpoint, path: &str) -> SignedRequest {
    SignedRequest::new(endpoint, Method::POST, path)
}

pub(crate) fn delete(endpoint: &Endpoint, path: &str) -> SignedRequest {
    SignedRequest::new(endpoint, Method::DELETE, path)
}

/// Nothing but the object `kept` is in the bucket, as it was.
pub(crate) async fn assert_nothing_changed(server: &Standalone) {
    let listed = get(server.endpoint(), "/bucket?list-type=2").send().await;
    assert_eq!(listed.tag("KeyCount"), Some("1"), "{}", listed.text());
    let kept = get(server.endpoint(), "/bucket/kept").send().await;
    assert_eq!(kept.text(), "kept");
}

pub(crate) fn crc32(body: &[u8]) -> String {
    let crc = u32::try_from(checksum(CrcAlgorithm::Crc32IsoHdlc, body)).unwrap_or_default();
    STANDARD.encode(crc.to_be_bytes())
}

pub(crate) fn with_content_md5(request: SignedRequest, body: String) -> SignedRequest {
    let md5 = STANDARD.encode(Md5::digest(&body));
    request.header("content-md5", &md5).body(body)
}

pub(crate) async fn start_upload(endpoint: &Endpoint) -> String {
    let created = post(endpoint, "/bucket/k?uploads").send().await;
    created.tag("UploadId").expect("an id").to_owned()
}
