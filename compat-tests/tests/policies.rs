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

#[tokio::test]
async fn a_policy_may_ask_for_conditional_writes_and_let_uploads_send_their_parts() {
    let server = Standalone::start().await;
    let at = server.endpoint();
    let policy = r#"{"Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject",
         "Resource": "arn:aws:s3:::bucket/*", "Condition": {"Null": {"s3:if-none-match": "false"}}},
        {"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject",
         "Resource": "arn:aws:s3:::bucket/*",
         "Condition": {"Bool": {"s3:ObjectCreationOperation": "false"}}}]}"#;
    for (path, body) in [("/bucket", ""), ("/bucket?policy", policy)] {
        let put = request(at, Method::PUT, path).body(body.to_owned());
        let answer = put.send().await;
        assert!(answer.status.is_success(), "{}", answer.text());
    }
    let unsigned = async |method: Method, path: &str, once: bool| {
        let builder = http::Request::builder().method(method);
        let mut builder = builder.uri(format!("{}/bucket/{path}", at.url));
        if once {
            builder = builder.header("if-none-match", "*");
        }
        send_unsigned(builder.body(bytes::Bytes::new()).expect("a request")).await
    };
    let blind = unsigned(Method::PUT, "k", false).await;
    blind.assert_error(403, "AccessDenied");
    assert_eq!(unsigned(Method::PUT, "k", true).await.status, 200);
    let begun = request(at, Method::POST, "/bucket/l?uploads").send().await;
    let begun = begun.text();
    let id = begun.split(['<', '>']).skip_while(|tag| *tag != "UploadId");
    let id = id.into_iter().nth(1).expect("an upload's id");
    let part = format!("l?partNumber=1&uploadId={id}");
    assert_eq!(unsigned(Method::PUT, &part, false).await.status, 200);
}

#[tokio::test]
async fn a_right_to_the_current_version_is_none_to_those_before_however_they_are_named() {
    let server = Standalone::start().await;
    let at = server.endpoint();
    let versioned =
        "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>".to_owned();
    let policy = r#"{"Statement": [{"Effect": "Allow", "Principal": "*",
        "Action": ["s3:GetObject", "s3:DeleteObject"], "Resource": "arn:aws:s3:::bucket/*"}]}"#;
    let mut versions = Vec::new();
    for (path, body) in [
        ("/bucket", String::new()),
        ("/bucket?versioning", versioned),
        ("/bucket?policy", policy.to_owned()),
        ("/bucket/k", "secret".to_owned()),
        ("/bucket/k", "public".to_owned()),
    ] {
        let answer = request(at, Method::PUT, path).body(body).send().await;
        assert!(answer.status.is_success(), "{}", answer.text());
        versions.extend(answer.header("x-amz-version-id").map(str::to_owned));
    }
    for name in ["versionId", "%76ersionId", "version%49d"] {
        for method in [Method::GET, Method::DELETE] {
            let url = format!("{}/bucket/k?{name}={}", at.url, versions[0]);
            let unsigned = http::Request::builder().method(method).uri(url);
            let answer =
                send_unsigned(unsigned.body(bytes::Bytes::new()).expect("a request")).await;
            answer.assert_error(403, "AccessDenied");
        }
    }
    let unsigned = http::Request::get(format!("{}/bucket/k", at.url)).body(bytes::Bytes::new());
    assert_eq!(
        send_unsigned(unsigned.expect("a request")).await.text(),
        "public"
    );
}
