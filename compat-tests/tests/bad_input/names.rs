//! Names that cannot be, and names of what is not there.

use compat_tests::SignedRequest;
use http::Method;

use crate::kit::{
    KEPT_ETAG, assert_nothing_changed, delete, get, post, put, server, with_content_md5,
};

#[tokio::test]
async fn names_that_no_bucket_may_have_are_refused() {
    let server = server().await;
    for name in ["ab", "Upper", "under_score", "-a-b", "a..b", "192.168.0.1"] {
        let answer = put(server.endpoint(), &format!("/{name}")).send().await;
        answer.assert_error(400, "InvalidBucketName");
    }
    let long = "a".repeat(64);
    let answer = put(server.endpoint(), &format!("/{long}")).send().await;
    answer.assert_error(400, "InvalidBucketName");
}

#[tokio::test]
async fn what_is_not_there_is_told_as_s3_tells_it() {
    let server = server().await;
    let endpoint = server.endpoint();
    for (request, code) in [
        (get(endpoint, "/nowhere/k"), "NoSuchBucket"),
        (get(endpoint, "/nowhere"), "NoSuchBucket"),
        (put(endpoint, "/nowhere/k").body("x"), "NoSuchBucket"),
        (delete(endpoint, "/nowhere/k"), "NoSuchBucket"),
        (get(endpoint, "/bucket/missing"), "NoSuchKey"),
        (get(endpoint, "/bucket/kept/"), "NoSuchKey"),
        (get(endpoint, "/bucket/k?uploadId=none"), "NoSuchUpload"),
    ] {
        request.send().await.assert_error(404, code);
    }
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn head_errors_and_unmodified_answers_have_no_body() {
    let server = server().await;
    for (path, status) in [("/bucket/missing", 404), ("/nowhere", 404)] {
        let answer = SignedRequest::new(server.endpoint(), Method::HEAD, path);
        let answer = answer.send().await;
        assert_eq!(answer.status, status);
        assert!(answer.body.is_empty());
        assert!(answer.header("x-amz-request-id").is_some());
    }
    let etag = KEPT_ETAG;
    let request = get(server.endpoint(), "/bucket/kept").header("if-none-match", etag);
    let answer = request.send().await;
    assert_eq!(answer.status, 304, "{}", answer.text());
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("etag"), Some(etag));
}

#[tokio::test]
async fn a_key_has_at_most_1024_bytes_of_utf_8() {
    let server = server().await;
    let long = "k".repeat(1025);
    let answer = put(server.endpoint(), &format!("/bucket/{long}")).body("x");
    answer.send().await.assert_error(400, "KeyTooLongError");
    let answer = put(server.endpoint(), "/bucket/%FF%FE")
        .body("x")
        .send()
        .await;
    assert!(answer.status.is_client_error(), "{}", answer.text());
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn the_limit_of_a_key_counts_its_bytes_and_holds_for_every_way_in() {
    let server = server().await;
    let at = server.endpoint();
    // "ü" is two bytes.
    let (longest, over) = ("%C3%BC".repeat(512), "%C3%BC".repeat(513));
    let copy = |key: &str| {
        let copy = put(at, &format!("/bucket/{key}"));
        copy.header("x-amz-copy-source", "/bucket/kept")
    };
    let upload = |key: &str| post(at, &format!("/bucket/{key}?uploads"));
    let upload_part = |key: &str| put(at, &format!("/bucket/{key}?partNumber=1&uploadId=x"));
    for request in [
        put(at, &format!("/bucket/{over}")).body("x"),
        copy(&over),
        upload(&over),
        upload_part(&over),
        get(at, &format!("/bucket/{over}")),
        delete(at, &format!("/bucket/{over}")),
    ] {
        let answer = request.send().await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_eq!(
            answer.tag("Code"),
            Some("KeyTooLongError"),
            "{}",
            answer.text()
        );
    }
    assert_nothing_changed(&server).await;
    assert_eq!(copy(&longest).send().await.status, 200);
    assert_eq!(upload(&longest).send().await.status, 200);
    let longest = get(at, &format!("/bucket/{longest}"));
    assert_eq!(longest.send().await.text(), "kept");
}

#[tokio::test]
async fn control_characters_in_keys_never_break_an_answer() {
    let server = server().await;
    let endpoint = server.endpoint();
    for key in ["a%01b", "a%0Bb", "a%1Fb", "a%EF%BF%BFb"] {
        let path = format!("/bucket/{key}");
        assert_eq!(put(endpoint, &path).send().await.status, 200, "{key}");
    }
    assert_eq!(
        post(endpoint, "/bucket/a%01b?uploads").send().await.status,
        200
    );
    for path in [
        "/bucket",
        "/bucket?list-type=2",
        "/bucket?versions",
        "/bucket?uploads",
        "/bucket?list-type=2&prefix=a%01",
        "/bucket?list-type=2&delimiter=%01",
    ] {
        let answer = get(endpoint, path).send().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    let missing = get(endpoint, "/bucket/missing%01").send().await;
    missing.assert_error(404, "NoSuchKey");
    let xml = "<Delete><Object><Key>a&#x1;b</Key></Object></Delete>";
    let answer = with_content_md5(post(endpoint, "/bucket?delete"), xml.to_owned());
    let answer = answer.send().await;
    assert!(!answer.status.is_server_error(), "{}", answer.text());
}
