//! What nobody signed.

use http::Method;

use crate::kit::{open_bucket, put, request, unsigned, world};

#[tokio::test]
async fn a_list_of_keys_is_not_even_read_where_nobody_may_delete() {
    let world = world().await;
    let at = &world.alice.authority().to_owned();
    let ask = async || {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let head = format!(
            "POST /bucket?delete HTTP/1.1\r\nhost: {at}\r\nexpect: 100-continue\r\n\
             content-length: 8000000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut said = vec![0; 100];
        let length = stream.read(&mut said).await.unwrap();
        String::from_utf8_lossy(&said[..length]).into_owned()
    };
    let said = ask().await;
    assert!(said.starts_with("HTTP/1.1 403"), "{said}");
    open_bucket(&world).await;
    let said = ask().await;
    assert!(said.starts_with("HTTP/1.1 100"), "{said}");
}

#[tokio::test]
async fn headers_of_the_answer_are_chosen_by_those_alone_who_sign() {
    let world = world().await;
    let public = request(&world.alice, Method::PUT, "/bucket/k").body("x");
    assert_eq!(
        public
            .header("x-amz-acl", "public-read")
            .send()
            .await
            .status,
        200
    );
    let plain = unsigned(&world.alice, Method::GET, "/bucket/k").await;
    assert_eq!(plain.text(), "x");
    let path = "/bucket/k?response-content-type=text/html";
    let chosen = unsigned(&world.alice, Method::GET, path).await;
    chosen.assert_error(400, "InvalidRequest");
    let chosen = request(&world.bob, Method::GET, path).send().await;
    assert_eq!(chosen.header("content-type"), Some("text/html"));
}

#[tokio::test]
async fn a_policy_that_asks_for_what_is_not_known_is_refused() {
    let world = world().await;
    let statement = |condition: &str, resource: &str| {
        format!(
            r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Deny", "Principal": "*",
            "Action": "s3:*", "Resource": "arn:aws:s3:::bucket/{resource}", "Condition": {condition}}}]}}"#
        )
    };
    for policy in [
        statement(r#"{"StringEquals": {"aws:NoSuchKey": "x"}}"#, "*"),
        statement(
            r#"{"StringEquals": {"aws:Referer": "${aws:username}"}}"#,
            "*",
        ),
        statement("{}", "${aws:username}/*"),
    ] {
        let answer = request(&world.alice, Method::PUT, "/bucket?policy").body(policy);
        answer.send().await.assert_error(400, "MalformedPolicy");
    }
    put(
        &world.alice,
        "/bucket?policy",
        &statement(r#"{"Bool": {"aws:SecureTransport": "false"}}"#, "*"),
    )
    .await;
}

#[tokio::test]
async fn nobody_begins_an_upload_and_a_look_at_a_bucket_tells_its_region() {
    let world = world().await;
    let look = unsigned(&world.alice, Method::HEAD, "/bucket").await;
    assert_eq!(look.status, 403);
    assert_eq!(look.header("x-amz-bucket-region"), Some("us-east-1"));
    let none = unsigned(&world.alice, Method::HEAD, "/no-such-bucket").await;
    assert_eq!(none.header("x-amz-bucket-region"), None);
    open_bucket(&world).await;
    let answer = unsigned(&world.alice, Method::PUT, "/bucket/k").await;
    assert_eq!(answer.status, 200);
    let answer = unsigned(&world.alice, Method::POST, "/bucket/k?uploads").await;
    answer.assert_error(403, "AccessDenied");
}
