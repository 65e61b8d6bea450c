//! Bad input gets S3's own error and changes nothing.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use compat_tests::{
    Answer, Endpoint, PayloadSigning, SignedRequest, Standalone, eventually, send_unsigned,
};
use crc_fast::{CrcAlgorithm, checksum};
use http::{Method, Request};
use md5::{Digest as _, Md5};

const MIB: usize = 1024 * 1024;
const MINUTE: Duration = Duration::from_secs(60);
/// A 128-bit digest of something else.
const WRONG_MD5: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// A server with the bucket `bucket`, and in it the object `kept` with the content "kept".
async fn server() -> Standalone {
    server_with(&[]).await
}

async fn server_with(arguments: &[&str]) -> Standalone {
    let server = Standalone::start_with(arguments).await;
    let created = put(server.endpoint(), "/bucket").send().await;
    assert_eq!(created.status, 200, "{}", created.text());
    let put = put(server.endpoint(), "/bucket/kept").body("kept");
    assert_eq!(put.send().await.status, 200);
    server
}

fn get(endpoint: &Endpoint, path: &str) -> SignedRequest {
    SignedRequest::new(endpoint, Method::GET, path)
}

fn put(endpoint: &Endpoint, path: &str) -> SignedRequest {
    SignedRequest::new(endpoint, Method::PUT, path)
}

fn post(endpoint: &Endpoint, path: &str) -> SignedRequest {
    SignedRequest::new(endpoint, Method::POST, path)
}

fn delete(endpoint: &Endpoint, path: &str) -> SignedRequest {
    SignedRequest::new(endpoint, Method::DELETE, path)
}

/// Nothing but the object `kept` is in the bucket, as it was.
async fn assert_nothing_changed(server: &Standalone) {
    let listed = get(server.endpoint(), "/bucket?list-type=2").send().await;
    assert_eq!(listed.tag("KeyCount"), Some("1"), "{}", listed.text());
    let kept = get(server.endpoint(), "/bucket/kept").send().await;
    assert_eq!(kept.text(), "kept");
}

fn crc32(body: &[u8]) -> String {
    let crc = u32::try_from(checksum(CrcAlgorithm::Crc32IsoHdlc, body)).unwrap_or_default();
    STANDARD.encode(crc.to_be_bytes())
}

fn with_content_md5(request: SignedRequest, body: String) -> SignedRequest {
    let md5 = STANDARD.encode(Md5::digest(&body));
    request.header("content-md5", &md5).body(body)
}

async fn start_upload(endpoint: &Endpoint) -> String {
    let created = post(endpoint, "/bucket/k?uploads").send().await;
    created.tag("UploadId").expect("an id").to_owned()
}

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
        (Method::GET, "/nowhere/k"),
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
    answer.assert_error(400, "AuthorizationQueryParametersError");
}

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
    let etag = STANDARD_KEPT_ETAG;
    let request = get(server.endpoint(), "/bucket/kept").header("if-none-match", etag);
    let answer = request.send().await;
    assert_eq!(answer.status, 304, "{}", answer.text());
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("etag"), Some(etag));
}

/// The quoted MD5 of "kept".
const STANDARD_KEPT_ETAG: &str = "\"4d8b6084f3d167b76cac66a22a91be02\"";

#[tokio::test]
async fn a_body_that_ends_early_leaves_nothing() {
    let server = server().await;
    let large = put(server.endpoint(), "/bucket/k").body(vec![7; 3 * MIB]);
    for sent_bytes in [0, 1, MIB, 3 * MIB - 1] {
        large.clone().send_part_and_leave(sent_bytes).await;
        let unsigned = large.clone().payload(PayloadSigning::Unsigned);
        unsigned.send_part_and_leave(sent_bytes).await;
    }
    let over = put(server.endpoint(), "/bucket/kept").body(vec![7; 3 * MIB]);
    over.send_part_and_leave(2 * MIB).await;
    assert_nothing_changed(&server).await;
    let whole = large.send().await;
    assert_eq!(whole.status, 200, "the server goes on: {}", whole.text());
}

#[tokio::test]
async fn a_wrong_md5_is_refused_and_nothing_is_kept() {
    let server = server().await;
    for path in ["/bucket/k", "/bucket/kept"] {
        let request = put(server.endpoint(), path).body("x");
        let answer = request.header("content-md5", WRONG_MD5).send().await;
        answer.assert_error(400, "BadDigest");
    }
    for no_digest in ["AAAA", "not base64!", "AAAAAAAAAAAAAAAAAAAAAAAA"] {
        let request = put(server.endpoint(), "/bucket/k").body("x");
        let answer = request.header("content-md5", no_digest).send().await;
        answer.assert_error(400, "InvalidDigest");
    }
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn a_wrong_checksum_in_a_header_is_refused_and_nothing_is_kept() {
    let server = server().await;
    for path in ["/bucket/k", "/bucket/kept"] {
        let request = put(server.endpoint(), path).body(vec![7; 2 * MIB]);
        let answer = request.header("x-amz-checksum-crc32", &crc32(b"other"));
        answer.send().await.assert_error(400, "BadDigest");
    }
    let request = put(server.endpoint(), "/bucket/k").body("x");
    let answer = request.header("x-amz-checksum-crc32", "AAAA").send().await;
    answer.assert_error(400, "InvalidRequest");
    assert_nothing_changed(&server).await;
}

/// A PUT in the aws-chunked form with these trailing lines.
fn put_with_trailer(endpoint: &Endpoint, path: &str, body: &str, trailer: &str) -> SignedRequest {
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n{trailer}\r\n", body.len());
    put(endpoint, path)
        .payload(PayloadSigning::UnsignedTrailer)
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", &body.len().to_string())
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .body(chunked)
}

#[tokio::test]
async fn a_right_checksum_in_a_trailer_is_taken_and_a_wrong_one_is_not() {
    let server = server().await;
    let endpoint = server.endpoint();
    let right = format!("x-amz-checksum-crc32:{}\r\n", crc32(b"hello"));
    let answer = put_with_trailer(endpoint, "/bucket/t", "hello", &right);
    let answer = answer.send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(get(endpoint, "/bucket/t").send().await.text(), "hello");
    assert_eq!(delete(endpoint, "/bucket/t").send().await.status, 204);

    for path in ["/bucket/k", "/bucket/kept"] {
        let answer = put_with_trailer(endpoint, path, "hullo", &right)
            .send()
            .await;
        answer.assert_error(400, "BadDigest");
        let missing = put_with_trailer(endpoint, path, "hello", "").send().await;
        assert_eq!(missing.status, 400, "{}", missing.text());
    }
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn a_decoded_length_other_than_declared_is_refused() {
    let server = server().await;
    for declared in ["4", "6"] {
        let request = put(server.endpoint(), "/bucket/k")
            .payload(PayloadSigning::UnsignedTrailer)
            .header("content-encoding", "aws-chunked")
            .header("x-amz-decoded-content-length", declared)
            .header("x-amz-trailer", "x-amz-checksum-crc32");
        let crc = crc32(b"hello");
        let body = format!("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:{crc}\r\n\r\n");
        let answer = request.body(body).send().await;
        assert!(answer.status.is_client_error(), "{}", answer.text());
    }
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn malformed_chunks_are_refused() {
    let server = server().await;
    for body in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "ffffffffffffffff1\r\n",
    ] {
        let request = put(server.endpoint(), "/bucket/k")
            .payload(PayloadSigning::UnsignedTrailer)
            .header("x-amz-decoded-content-length", "5")
            .header("x-amz-trailer", "x-amz-checksum-crc32");
        let answer = request.body(body).send().await;
        assert!(answer.status.is_client_error(), "{}", answer.text());
    }
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn an_unknown_sub_resource_is_not_a_write_of_the_whole() {
    let server = server().await;
    let endpoint = server.endpoint();
    for query in ["torrent", "metadata", "unknown=1", "restore", "acls"] {
        let path = format!("/bucket/kept?{query}");
        put(endpoint, &path)
            .body("x")
            .send()
            .await
            .assert_error(501, "NotImplemented");
        delete(endpoint, &path)
            .send()
            .await
            .assert_error(501, "NotImplemented");
        let path = format!("/bucket?{query}");
        delete(endpoint, &path)
            .send()
            .await
            .assert_error(501, "NotImplemented");
        let path = format!("/another?{query}");
        put(endpoint, &path)
            .send()
            .await
            .assert_error(501, "NotImplemented");
    }
    let head = SignedRequest::new(endpoint, Method::HEAD, "/another")
        .send()
        .await;
    assert_eq!(head.status, 404);
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn a_known_sub_resource_that_is_not_built_is_not_a_write_of_the_whole() {
    let server = server().await;
    let endpoint = server.endpoint();
    for query in ["tagging", "acl", "retention", "legal-hold"] {
        let path = format!("/bucket/kept?{query}");
        let answer = put(endpoint, &path).body("<x/>").send().await;
        assert!(!answer.status.is_success(), "{query}: {}", answer.status);
    }
    for query in ["policy", "lifecycle", "cors", "versioning", "encryption"] {
        let path = format!("/bucket?{query}");
        let answer = put(endpoint, &path).body("<x/>").send().await;
        assert!(!answer.status.is_success(), "{query}: {}", answer.status);
        if query != "versioning" {
            let answer = delete(endpoint, &path).send().await;
            assert!(!answer.status.is_server_error() || answer.status == 501);
        }
    }
    let path = "/bucket/kept?versionId=3HL4kqtJvjVBH40Nrjfkd";
    let answer = delete(endpoint, path).send().await;
    assert!(answer.status.is_success() || answer.status.is_client_error());
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn a_part_has_a_number_from_1_to_10000() {
    let server = server().await;
    let upload = start_upload(server.endpoint()).await;
    for number in ["0", "10001", "-1", "x", "99999999999"] {
        let path = format!("/bucket/k?partNumber={number}&uploadId={upload}");
        let answer = put(server.endpoint(), &path).body("x").send().await;
        answer.assert_error(400, "InvalidArgument");
    }
    let alone = put(server.endpoint(), "/bucket/kept?partNumber=1").body("x");
    let answer = alone.send().await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
    let alone = put(
        server.endpoint(),
        &format!("/bucket/kept?uploadId={upload}"),
    );
    let answer = alone.body("x").send().await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn malformed_xml_is_called_that() {
    let server = server().await;
    let endpoint = server.endpoint();
    let upload = start_upload(endpoint).await;
    let complete = format!("/bucket/k?uploadId={upload}");
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><Delete><Object>\
                <Key>&b;</Key></Object></Delete>";
    for xml in ["", "no xml", "<Delete><Object>", "<Wrong/>", bomb] {
        let request = with_content_md5(post(endpoint, "/bucket?delete"), xml.to_owned());
        request.send().await.assert_error(400, "MalformedXML");
        let request = post(endpoint, &complete).body(xml.to_owned());
        request.send().await.assert_error(400, "MalformedXML");
    }
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn deleting_many_with_a_wrong_digest_deletes_none() {
    let server = server().await;
    let xml = "<Delete><Object><Key>kept</Key></Object></Delete>";
    for (name, value) in [
        ("content-md5", WRONG_MD5.to_owned()),
        ("x-amz-checksum-crc32", crc32(b"other")),
    ] {
        let request = post(server.endpoint(), "/bucket?delete").body(xml);
        let answer = request.header(name, &value).send().await;
        answer.assert_error(400, "BadDigest");
    }
    let request = post(server.endpoint(), "/bucket?delete").body(xml);
    let answer = request.send().await;
    assert_eq!(answer.status, 400, "no digest at all: {}", answer.text());
    assert_nothing_changed(&server).await;
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
async fn an_object_over_the_limit_is_refused_before_its_body_is_read() {
    let server = server_with(&["--max-object-size", "1MiB"]).await;
    let endpoint = server.endpoint();
    let over = put(endpoint, "/bucket/k").body(vec![7; MIB + 1]);
    let over = over.payload(PayloadSigning::Unsigned);
    let said = over.clone().ask_to_continue().await;
    assert!(said.contains("400 Bad Request"), "{said}");
    over.send().await.assert_error(400, "EntityTooLarge");
    // Far more than the server reads of a refused body: the answer arrives all the same.
    let far_over = put(endpoint, "/bucket/k").body(vec![7; 3 * MIB]);
    far_over.send().await.assert_error(400, "EntityTooLarge");

    let fits = put(endpoint, "/bucket/k").body(vec![7; MIB]);
    let said = fits.clone().ask_to_continue().await;
    assert!(said.contains("100 Continue"), "{said}");
    assert_eq!(fits.send().await.status, 200);
}

#[tokio::test]
async fn an_upload_that_may_not_be_is_refused_before_its_body_is_read() {
    let server = server().await;
    let nowhere = put(server.endpoint(), "/nowhere/k").body(vec![7; MIB]);
    let said = nowhere.ask_to_continue().await;
    assert!(said.contains("404 Not Found"), "{said}");
    let mut wrong = server.endpoint().clone();
    wrong.secret_key = "another-secret-key".into();
    let said = put(&wrong, "/bucket/k").body(vec![7; MIB]);
    let said = said.ask_to_continue().await;
    assert!(said.contains("403 Forbidden"), "{said}");
}

#[tokio::test]
async fn a_client_that_leaves_in_mid_upload_frees_what_it_held() {
    let server = server_with(&["--write-budget", "8MiB"]).await;
    let large = put(server.endpoint(), "/bucket/k").body(vec![7; 12 * MIB]);
    let large = large.payload(PayloadSigning::Unsigned);
    for _ in 0..20 {
        large.clone().send_part_and_leave(10 * MIB).await;
    }
    // With the budget leaked, this would wait for 30 s and get a 503.
    eventually("an upload", Duration::from_secs(20), async || {
        (large.clone().send().await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn metadata_that_cannot_be_is_refused() {
    let server = server().await;
    let request = put(server.endpoint(), "/bucket/k").body("x");
    let answer = request
        .header("x-amz-meta-a", &"x".repeat(2100))
        .send()
        .await;
    answer.assert_error(400, "MetadataTooLarge");
    let request = put(server.endpoint(), "/bucket/k").body("x");
    let answer = request
        .header("x-amz-storage-class", "NONSENSE")
        .send()
        .await;
    answer.assert_error(400, "InvalidStorageClass");
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn an_early_refusal_does_not_break_the_connection_of_a_large_upload() {
    let server = server().await;
    let answer: Answer = put(server.endpoint(), "/nowhere/k")
        .body(vec![7; 3 * MIB])
        .send()
        .await;
    answer.assert_error(404, "NoSuchBucket");
}
