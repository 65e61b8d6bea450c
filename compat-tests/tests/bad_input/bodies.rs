//! Bodies that are not what was declared, or too large, or end too soon.

use std::time::Duration;

use compat_tests::{Answer, Endpoint, PayloadSigning, SignedRequest, eventually};

use crate::kit::{
    MIB, WRONG_MD5, assert_nothing_changed, crc32, delete, get, put, server, server_with,
};

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
    answer.assert_error(400, "BadDigest");
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
async fn a_trailer_counts_also_where_metadata_is_given_twice() {
    let server = server().await;
    let put = |body| {
        let trailer = format!("x-amz-checksum-crc32:{}\r\n", crc32(b"hello"));
        let put = put_with_trailer(server.endpoint(), "/bucket/t", body, &trailer);
        put.header("x-amz-meta-a", "1").header("x-amz-meta-a", "2")
    };
    put("hullo").send().await.assert_error(400, "BadDigest");
    assert_nothing_changed(&server).await;
    let answer = put("hello").send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let read = get(server.endpoint(), "/bucket/t").send().await;
    assert_eq!(
        (read.text(), read.header("x-amz-meta-a")),
        ("hello", Some("1,2"))
    );
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
async fn a_refusal_of_a_withheld_body_says_that_the_connection_closes() {
    let server = server().await;
    let nowhere = put(server.endpoint(), "/nowhere/k").body(vec![7; MIB]);
    let said = nowhere.ask_to_continue().await;
    assert!(said.contains("connection: close"), "{said}");
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

#[tokio::test]
async fn a_client_that_leaves_in_mid_upload_frees_what_it_held() {
    let server = server_with(&["--write-budget", "8MiB"]).await;
    let large = put(server.endpoint(), "/bucket/k").body(vec![7; 12 * MIB]);
    let large = large.payload(PayloadSigning::Unsigned);
    for _ in 0..20 {
        large.clone().send_part_and_leave(10 * MIB).await;
    }
    // With the budget leaked, each try would wait for 30 s and get a 503.
    eventually("an upload", Duration::from_secs(120), async || {
        (large.clone().send().await.status == 200).then_some(())
    })
    .await;
}
