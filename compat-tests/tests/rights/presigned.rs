//! Presigned URLs whose signers moved headers into them.

use std::time::Duration;

use compat_tests::send_unsigned;
use http::Method;

use crate::kit::{get, put, request, world};

#[tokio::test]
async fn headers_that_a_presigned_url_carries_count() {
    let world = world().await;
    let path = "/bucket/k?x-amz-meta-color=light%20blue&x-amz-acl=public-read\
        &x-amz-storage-class=STANDARD_IA&x-amz-checksum-crc32=AAAAAA%3D%3D&x-id=PutObject";
    let url = request(&world.alice, Method::PUT, path);
    let url = url.presigned(Duration::from_secs(60)).body("x");
    let written = url.clone().send().await;
    assert_eq!(written.status, 200, "{}", written.text());
    let found = get(&world.bob, "/bucket/k").await;
    assert_eq!(found.text(), "x", "bob may read it");
    assert_eq!(found.header("x-amz-meta-color"), Some("light blue"));
    assert_eq!(found.header("x-amz-storage-class"), Some("STANDARD_IA"));

    let mut forged = url.sign();
    let uri = forged.uri().to_string().replace("light", "dark");
    *forged.uri_mut() = uri.parse().unwrap();
    let answer = send_unsigned(forged).await;
    answer.assert_error(403, "SignatureDoesNotMatch");
    let mut added = request(&world.alice, Method::PUT, "/bucket/k")
        .presigned(Duration::from_secs(60))
        .sign();
    let uri = format!("{}&x-amz-acl=private", added.uri());
    *added.uri_mut() = uri.parse().unwrap();
    let answer = send_unsigned(added).await;
    answer.assert_error(403, "SignatureDoesNotMatch");
}

#[tokio::test]
async fn a_copy_whose_source_stands_in_the_url_is_a_copy() {
    let world = world().await;
    put(&world.alice, "/bucket/source%20one", "bytes").await;
    put(&world.alice, "/bucket/target", "before").await;
    let path = "/bucket/target?x-amz-copy-source=%2Fbucket%2Fsource%2520one&x-id=CopyObject";
    let url = request(&world.alice, Method::PUT, path).presigned(Duration::from_secs(60));
    let copied = url.send().await;
    assert_eq!(copied.status, 200, "{}", copied.text());
    assert!(copied.text().contains("CopyObjectResult"));
    assert_eq!(get(&world.alice, "/bucket/target").await.text(), "bytes");
}
