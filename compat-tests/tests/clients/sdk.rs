//! The Rust SDK.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart};
use compat_tests::{Payload, body_of_pieces, sdk};

use crate::{TestServer, start_server};

const MIB: u64 = 1024 * 1024;

async fn server_and_client() -> (TestServer, Client) {
    let server = start_server().await;
    let client = sdk(server.endpoint());
    let created = client.create_bucket().bucket("bucket").send().await;
    created.expect("a bucket can be made");
    (server, client)
}

#[tokio::test]
async fn an_object_comes_back_as_it_went() {
    let (_server, client) = server_and_client().await;
    let payload = Payload::new(1, 3 * MIB);
    let put = client.put_object().bucket("bucket").key("a//b c+ü");
    let put = put
        .metadata("colour", "blue")
        .content_type("text/x-test")
        .body(ByteStream::from(payload.bytes()));
    let put = put.send().await.unwrap();
    let got = client.get_object().bucket("bucket").key("a//b c+ü");
    let got = got.checksum_mode(ChecksumMode::Enabled).send().await;
    let got = got.unwrap();
    assert_eq!(got.e_tag(), put.e_tag());
    assert_eq!(got.content_type(), Some("text/x-test"));
    assert_eq!(got.metadata().unwrap()["colour"], "blue");
    let body = got.body.collect().await.unwrap().into_bytes();
    assert!(body == payload.bytes());
}

#[tokio::test]
async fn a_stream_carries_its_checksum_in_a_trailer() {
    let (_server, client) = server_and_client().await;
    let payload = Payload::new(1, 5 * MIB);
    for algorithm in [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32C,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ] {
        let body = futures::stream::iter(payload.pieces(100_000));
        let put = client.put_object().bucket("bucket").key("k");
        let put = put.checksum_algorithm(algorithm.clone());
        let put = put.body(body_of_pieces(payload.length_bytes, body));
        put.send().await.unwrap();
        let got = client.get_object().bucket("bucket").key("k");
        // The SDK compares the checksum that the server kept while it reads.
        let got = got.checksum_mode(ChecksumMode::Enabled).send().await;
        let body = got.unwrap().body.collect().await.unwrap().into_bytes();
        assert!(body == payload.bytes(), "{algorithm}");
    }
}

#[tokio::test]
async fn a_listing_goes_page_by_page() {
    let (_server, client) = server_and_client().await;
    for number in 0..25 {
        let put = client.put_object().bucket("bucket");
        let key = format!("dir{}/{number:02}", number % 3);
        put.key(key).send().await.unwrap();
    }
    let pages = client.list_objects_v2().bucket("bucket").max_keys(7);
    let mut pages = pages.into_paginator().send();
    let mut keys = Vec::new();
    let mut count = 0;
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        count += 1;
        keys.extend(page.contents().iter().map(|o| o.key().unwrap().to_owned()));
    }
    assert_eq!((keys.len(), count), (25, 4));
    assert!(keys.is_sorted());
    let folded = client.list_objects_v2().bucket("bucket").delimiter("/");
    let folded = folded.send().await.unwrap();
    assert_eq!(folded.common_prefixes().len(), 3);
    assert!(folded.contents().is_empty());
}

#[tokio::test]
async fn parts_make_an_object_and_an_abort_makes_none() {
    let (_server, client) = server_and_client().await;
    let payload = Payload::new(1, 12 * MIB);
    let created = client.create_multipart_upload().bucket("bucket").key("k");
    let created = created.send().await.unwrap();
    let id = created.upload_id().unwrap();
    let mut parts = Vec::new();
    for (number, piece) in (1..).zip(payload.pieces(5 * MIB)) {
        let part = client.upload_part().bucket("bucket").key("k").upload_id(id);
        let part = part.part_number(number).body(ByteStream::from(piece));
        let part = part.send().await.unwrap();
        let part = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(part.e_tag)
            .set_checksum_crc32(part.checksum_crc32);
        parts.push(part.build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts));
    let complete = client.complete_multipart_upload().bucket("bucket").key("k");
    let complete = complete.upload_id(id).multipart_upload(parts.build());
    let completed = complete.send().await.unwrap();
    assert!(completed.e_tag().unwrap().trim_matches('"').ends_with("-3"));
    let got = client.get_object().bucket("bucket").key("k").send().await;
    let body = got.unwrap().body.collect().await.unwrap().into_bytes();
    assert!(body == payload.bytes());

    let created = client
        .create_multipart_upload()
        .bucket("bucket")
        .key("gone");
    let created = created.send().await.unwrap();
    let id = created.upload_id().unwrap();
    let part = client
        .upload_part()
        .bucket("bucket")
        .key("gone")
        .upload_id(id);
    let part = part.part_number(1).body(ByteStream::from_static(b"part"));
    part.send().await.unwrap();
    let abort = client.abort_multipart_upload().bucket("bucket").key("gone");
    abort.upload_id(id).send().await.unwrap();
    let uploads = client
        .list_multipart_uploads()
        .bucket("bucket")
        .send()
        .await;
    assert!(uploads.unwrap().uploads().is_empty());
    let head = client
        .head_object()
        .bucket("bucket")
        .key("gone")
        .send()
        .await;
    assert!(head.unwrap_err().into_service_error().is_not_found());
}

#[tokio::test]
async fn a_deleted_object_is_gone_and_may_be_deleted_again() {
    let (_server, client) = server_and_client().await;
    let put = client.put_object().bucket("bucket").key("k");
    put.body(ByteStream::from_static(b"x"))
        .send()
        .await
        .unwrap();
    for _ in 0..2 {
        let delete = client.delete_object().bucket("bucket").key("k");
        delete.send().await.unwrap();
    }
    let got = client.get_object().bucket("bucket").key("k").send().await;
    assert_eq!(got.unwrap_err().code(), Some("NoSuchKey"));
}

#[tokio::test]
async fn of_many_conditional_puts_at_a_time_one_wins() {
    let (_server, client) = server_and_client().await;
    let puts = (0..16u64).map(|seed| {
        let put = client.put_object().bucket("bucket").key("k");
        let put = put.if_none_match("*");
        put.body(ByteStream::from(Payload::new(seed, 2 * MIB).bytes()))
            .send()
    });
    let outcomes = futures::future::join_all(puts).await;
    let mut winners = Vec::new();
    for (seed, outcome) in (0u64..).zip(outcomes) {
        match outcome {
            Ok(_) => winners.push(seed),
            Err(error) => {
                let status = error.raw_response().map(|answer| answer.status().as_u16());
                assert!(matches!(status, Some(409 | 412)), "{error:?}");
            }
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    let got = client.get_object().bucket("bucket").key("k").send().await;
    let body = got.unwrap().body.collect().await.unwrap().into_bytes();
    assert!(body == Payload::new(winners[0], 2 * MIB).bytes());
}

#[tokio::test]
async fn a_running_read_outlives_overwriting_and_deletion() {
    let (_server, client) = server_and_client().await;
    let payload = Payload::new(1, 30 * MIB);
    let put = client.put_object().bucket("bucket").key("k");
    put.body(ByteStream::from(payload.bytes()))
        .send()
        .await
        .unwrap();
    let got = client.get_object().bucket("bucket").key("k").send().await;
    let mut body = got.unwrap().body;
    let first = body.next().await.unwrap().unwrap();

    let put = client.put_object().bucket("bucket").key("k");
    put.body(ByteStream::from_static(b"new"))
        .send()
        .await
        .unwrap();
    let delete = client.delete_object().bucket("bucket").key("k");
    delete.send().await.unwrap();
    let rest = body.collect().await.unwrap().into_bytes();
    let first_bytes = first.len() as u64;
    assert!(first == payload.slice(0, first_bytes));
    assert!(rest == payload.slice(first_bytes, payload.length_bytes));
}
