//! Who may call: signatures, clocks, presigned URLs.

use std::time::SystemTime;

use compat_tests::send_unsigned;
use http::{Method, Request};

use crate::kit::{MINUTE, assert_nothing_changed, get, put, server};

#[tokio::test]
async fn a_wrong_key_or_secret_is_told_apart() {
    let server = server().await;
    let mut wrong = server.endpoint().clone();
    wrong.secret_key = "another-secret-key".into();
    let answer = put(&wrong, "/bucket/k").body("x").send().await;
    answer.assert_error(403, "SignatureDoesNotMatch");
    wrong.access_key = "NOBODY".into();
    let answer = put(&wrong, "/bucket/k").body("x").send().await;
    answer.assert_error(403, "InvalidAccessKeyId");
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn a_request_without_a_signature_is_denied() {
    let server = server().await;
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/bucket/kept"),
        (Method::PUT, "/bucket/k"),
        (Method::DELETE, "/bucket/kept"),
    ] {
        let url = format!("{}{path}", server.endpoint().url);
        let request = Request::builder().method(method).uri(url);
        let answer = send_unsigned(request.body("x".into()).unwrap()).await;
        answer.assert_error(403, "AccessDenied");
    }
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn a_request_that_was_changed_after_signing_is_refused() {
    let server = server().await;
    let mut request = put(server.endpoint(), "/bucket/k").body("signed").sign();
    *request.body_mut() = "forged".into();
    let answer = send_unsigned(request).await;
    answer.assert_error(400, "XAmzContentSHA256Mismatch");
    let mut request = put(server.endpoint(), "/bucket/k").body("x").sign();
    *request.uri_mut() = format!("{}/bucket/kept", server.endpoint().url)
        .parse()
        .unwrap();
    let answer = send_unsigned(request).await;
    answer.assert_error(403, "SignatureDoesNotMatch");
    let mut request = put(server.endpoint(), "/bucket/k").sign();
    let source = "/bucket/kept".parse().unwrap();
    request.headers_mut().insert("x-amz-copy-source", source);
    let answer = send_unsigned(request).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn clocks_must_agree_to_a_quarter_of_an_hour() {
    let server = server().await;
    let now = SystemTime::now();
    for time in [now - 20 * MINUTE, now + 20 * MINUTE] {
        let request = put(server.endpoint(), "/bucket/k").body("x");
        let answer = request.signed_at(time).send().await;
        answer.assert_error(403, "RequestTimeTooSkewed");
    }
    let request = get(server.endpoint(), "/bucket/kept").signed_at(now - 10 * MINUTE);
    assert_eq!(request.send().await.status, 200);
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn a_presigned_url_ends_in_time() {
    let server = server().await;
    let signed = |validity| get(server.endpoint(), "/bucket/kept").presigned(validity);
    let long_ago = SystemTime::now() - 60 * MINUTE;
    let answer = signed(30 * MINUTE).signed_at(long_ago).send().await;
    answer.assert_error(403, "AccessDenied");
    let answer = signed(90 * MINUTE).signed_at(long_ago).send().await;
    assert_eq!(answer.text(), "kept");
    let eight_days = 8 * 24 * 60 * MINUTE;
    let answer = signed(eight_days).send().await;
    answer.assert_error(403, "AuthorizationQueryParametersError");
}

#[tokio::test]
async fn a_signature_covers_the_host_and_stands_alone() {
    let server = server().await;
    let read = || get(server.endpoint(), "/bucket/kept");
    let mut request = read().sign();
    let said = request.headers()["authorization"].to_str().unwrap();
    let without_host = said.replace("SignedHeaders=host;", "SignedHeaders=");
    assert_ne!(said, without_host);
    let without_host = without_host.parse().unwrap();
    request.headers_mut().insert("authorization", without_host);
    let answer = send_unsigned(request).await;
    answer.assert_error(403, "AccessDenied");
    assert_eq!(answer.tag("HeadersNotSigned"), Some("host"));

    let mut request = read().presigned(MINUTE).sign();
    let uri = request.uri().to_string();
    let without_host = uri.replace("SignedHeaders=host", "SignedHeaders=range");
    assert_ne!(uri, without_host);
    *request.uri_mut() = without_host.parse().unwrap();
    let answer = send_unsigned(request).await;
    answer.assert_error(403, "AccessDenied");
    assert_eq!(answer.tag("HeadersNotSigned"), Some("host"));

    let mut request = read().presigned(MINUTE).sign();
    let authorization = read().sign().headers()["authorization"].clone();
    request.headers_mut().insert("authorization", authorization);
    let answer = send_unsigned(request).await;
    answer.assert_error(400, "InvalidArgument");
}

#[tokio::test]
async fn session_tokens_and_digests_that_are_none_are_refused() {
    let server = server().await;
    let with = |name, value| get(server.endpoint(), "/bucket/kept").header(name, value);
    let answer = with("x-amz-security-token", "token").send().await;
    answer.assert_error(400, "InvalidToken");
    let mut request = get(server.endpoint(), "/bucket/kept").sign();
    let digest = "garbage".parse().unwrap();
    request.headers_mut().insert("x-amz-content-sha256", digest);
    let answer = send_unsigned(request).await;
    answer.assert_error(400, "InvalidArgument");
    assert_eq!(answer.tag("ArgumentName"), Some("x-amz-content-sha256"));
}
