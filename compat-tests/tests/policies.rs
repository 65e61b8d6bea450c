//! Bucket policies whose conditions look at the connection.

use compat_tests::{Answer, Endpoint, SignedRequest, Standalone, send_unsigned};
use http::Method;

fn request(at: &Endpoint, method: Method, path: &str) -> SignedRequest {
    SignedRequest::new(at, method, path)
}

/// An anonymous GET under a policy that lets everybody read where the condition holds.
async fn read_under(condition: &str) -> Answer {
    let server = Standalone::start().await;
    let at = server.endpoint();
    let policy = format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": "*",
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*", "Condition": {condition}}}]}}"#
    );
    for (path, body) in [
        ("/bucket", ""),
        ("/bucket/k", "x"),
        ("/bucket?policy", &policy),
    ] {
        let answer = request(at, Method::PUT, path)
            .body(body.to_owned())
            .send()
            .await;
        assert!(answer.status.is_success(), "{}", answer.text());
    }
    let url = format!("{}/bucket/k", at.url);
    let unsigned = http::Request::get(url).body(bytes::Bytes::new());
    send_unsigned(unsigned.expect("a request")).await
}

#[tokio::test]
async fn a_policy_may_name_the_networks_that_requests_come_from() {
    let near = read_under(r#"{"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}"#).await;
    assert_eq!(near.text(), "x");
    let far = read_under(r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#).await;
    far.assert_error(403, "AccessDenied");
}

#[tokio::test]
async fn a_policy_may_ask_for_tls() {
    let secure = read_under(r#"{"Bool": {"aws:SecureTransport": "true"}}"#).await;
    secure.assert_error(403, "AccessDenied");
    let plain = read_under(r#"{"Bool": {"aws:SecureTransport": "false"}}"#).await;
    assert_eq!(plain.text(), "x");
}
