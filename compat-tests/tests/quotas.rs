//! Bucket quotas: set and shown by `gateway admin bucket`, held whatever way bytes come in.

use compat_tests::{Answer, Payload, SignedRequest, Standalone, sdk};
use http::{Method, StatusCode};

const MIB: u64 = 1024 * 1024;

/// `gateway admin bucket …` against a server.
async fn admin(server: &Standalone, words: &[&str]) -> Result<String, String> {
    let words = [&["bucket"], words].concat();
    server.admin(&words).await.outcome()
}

/// The cells of the line of `bucket` in a table.
fn row(table: &str, bucket: &str) -> Vec<String> {
    let line = table
        .lines()
        .find(|line| line.split_whitespace().next() == Some(bucket));
    let line = line.unwrap_or_else(|| panic!("no line of {bucket} in:\n{table}"));
    line.split("  ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .map(str::to_owned)
        .collect()
}

async fn put(server: &Standalone, path: &str, bytes: u64) -> Answer {
    let body = Payload::new(3, bytes).bytes();
    let put = SignedRequest::new(server.endpoint(), Method::PUT, path);
    put.body(body).send().await
}

async fn status_of(server: &Standalone, path: &str) -> StatusCode {
    let head = SignedRequest::new(server.endpoint(), Method::HEAD, path);
    head.send().await.status
}

/// A server with an empty bucket.
async fn with_bucket() -> Standalone {
    let server = Standalone::start().await;
    assert_eq!(put(&server, "/bucket", 0).await.status, 200);
    server
}

#[tokio::test]
async fn usage_is_shown_and_limits_are_set_shown_and_taken_away() {
    let mut server = with_bucket().await;
    assert_eq!(put(&server, "/bucket/a", 3 * MIB).await.status, 200);
    assert_eq!(put(&server, "/bucket/b", 0).await.status, 200);
    let listed = admin(&server, &["list"]).await.unwrap();
    let expected = ["bucket", "2", "no limit", "3.0 MiB", "no limit"];
    assert_eq!(row(&listed, "bucket")[..5], expected);

    let limits = ["quota", "bucket", "--bytes", "4MiB", "--objects", "5"];
    let set = admin(&server, &limits).await.unwrap();
    assert_eq!(
        row(&set, "bucket")[..5],
        ["bucket", "2", "5", "3.0 MiB", "4.0 MiB"]
    );
    // One limit at a time; the other stays.
    let set = admin(&server, &["quota", "bucket", "--objects", "none"]).await;
    assert_eq!(
        row(&set.unwrap(), "bucket")[..5],
        ["bucket", "2", "no limit", "3.0 MiB", "4.0 MiB"]
    );
    server.gateway().terminate().await;
    server.gateway().start_again().await;
    let shown = admin(&server, &["show", "bucket"]).await.unwrap();
    assert_eq!(
        row(&shown, "bucket")[..5],
        ["bucket", "2", "no limit", "3.0 MiB", "4.0 MiB"]
    );
    let missing = admin(&server, &["show", "nowhere"]).await.unwrap_err();
    assert!(missing.contains("no such bucket"), "{missing}");
    for nonsense in [
        &["quota", "bucket"][..],
        &["quota", "bucket", "--bytes", "much"],
        &["quota", "bucket", "--objects", "-1"],
    ] {
        assert!(admin(&server, nonsense).await.is_err(), "{nonsense:?}");
    }
}

#[tokio::test]
async fn what_would_exceed_a_quota_is_refused_and_leaves_nothing() {
    let server = with_bucket().await;
    assert_eq!(put(&server, "/bucket/a", MIB).await.status, 200);
    let limits = ["quota", "bucket", "--bytes", "3MiB", "--objects", "2"];
    admin(&server, &limits).await.unwrap();
    let refused = put(&server, "/bucket/b", 2 * MIB + 1).await;
    refused.assert_error(403, "QuotaExceeded");
    assert!(
        refused.text().contains("3145728 bytes"),
        "{}",
        refused.text()
    );
    assert_eq!(status_of(&server, "/bucket/b").await, 404);
    // Over what is there, only the difference counts.
    assert_eq!(put(&server, "/bucket/a", 3 * MIB).await.status, 200);
    put(&server, "/bucket/a", 3 * MIB + 1)
        .await
        .assert_error(403, "QuotaExceeded");
    assert_eq!(put(&server, "/bucket/a", MIB).await.status, 200);
    assert_eq!(put(&server, "/bucket/b", 10).await.status, 200);
    put(&server, "/bucket/c", 0)
        .await
        .assert_error(403, "QuotaExceeded");
    let copy = SignedRequest::new(server.endpoint(), Method::PUT, "/bucket/c");
    let copy = copy.header("x-amz-copy-source", "bucket/b").send().await;
    copy.assert_error(403, "QuotaExceeded");
    // A rename adds nothing.
    let rename = SignedRequest::new(server.endpoint(), Method::PUT, "/bucket/c?renameObject");
    let renamed = rename.header("x-amz-rename-source", "b").send().await;
    assert_eq!(renamed.status, 200, "{}", renamed.text());
    let delete = SignedRequest::new(server.endpoint(), Method::DELETE, "/bucket/c");
    assert_eq!(delete.send().await.status, 204);
    assert_eq!(put(&server, "/bucket/d", 2 * MIB).await.status, 200);
    let shown = admin(&server, &["show", "bucket"]).await.unwrap();
    assert_eq!(
        row(&shown, "bucket")[..5],
        ["bucket", "2", "2", "3.0 MiB", "3.0 MiB"]
    );
}

#[tokio::test]
async fn an_upload_in_parts_meets_the_quota_too() {
    let server = with_bucket().await;
    admin(&server, &["quota", "bucket", "--bytes", "11MiB"])
        .await
        .unwrap();
    let client = sdk(server.endpoint());
    let upload = client.create_multipart_upload().bucket("bucket").key("k");
    let upload = upload.send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let part = async |number: i32, bytes: u64| {
        let body = Payload::new(4, bytes).bytes();
        let part = client.upload_part().bucket("bucket").key("k").upload_id(id);
        part.part_number(number).body(body.into()).send().await
    };
    // Parts count when the upload is completed; one that could never be is refused at once.
    assert!(part(1, 12 * MIB).await.is_err());
    let mut parts = Vec::new();
    for number in 1..=2 {
        let sent = part(number, 6 * MIB).await.unwrap();
        let done = aws_sdk_s3::types::CompletedPart::builder()
            .part_number(number)
            .e_tag(sent.e_tag().unwrap());
        parts.push(done.build());
    }
    let complete = async |parts: &[aws_sdk_s3::types::CompletedPart]| {
        let parts = aws_sdk_s3::types::CompletedMultipartUpload::builder()
            .set_parts(Some(parts.to_vec()))
            .build();
        let complete = client.complete_multipart_upload().bucket("bucket").key("k");
        let complete = complete.upload_id(id).multipart_upload(parts);
        complete.send().await
    };
    let refused = complete(&parts).await.unwrap_err();
    let refused = refused.into_service_error();
    assert_eq!(refused.meta().code(), Some("QuotaExceeded"));
    assert_eq!(status_of(&server, "/bucket/k").await, 404);
    // With less of it, or with more room, it completes.
    complete(&parts[..1]).await.unwrap();
    let shown = admin(&server, &["show", "bucket"]).await.unwrap();
    assert_eq!(row(&shown, "bucket")[1..4], ["1", "no limit", "6.0 MiB"]);
}
