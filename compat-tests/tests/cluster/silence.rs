//! A chunk server falls silent: long before it is given up, operators see what is at risk, counted on
//! the others and named, and no longer once it is back.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use compat_tests::{Cluster, Payload, eventually};

use crate::kit::{MIB, client_with_bucket, put};

const DEADLINE: Duration = Duration::from_secs(120);

/// Stores an object in one part.
async fn put_in_a_part(client: &aws_sdk_s3::Client, key: &str) {
    let begun = client.create_multipart_upload().bucket("big").key(key);
    let id = begun.send().await.expect("an upload").upload_id;
    let id = id.expect("an id");
    let part = client.upload_part().bucket("big").key(key).upload_id(&id);
    let part = part.body(ByteStream::from(Payload::new(9, MIB).bytes()));
    let part = part.part_number(1).send().await.expect("a part");
    let part = CompletedPart::builder()
        .part_number(1)
        .set_e_tag(part.e_tag)
        .build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let done = client.complete_multipart_upload().bucket("big").key(key);
    let done = done.upload_id(&id).multipart_upload(parts).send().await;
    done.expect("the upload is completed");
}

#[tokio::test]
async fn what_a_silent_chunk_server_endangers_is_counted_and_named_until_it_is_back() {
    let mut cluster = Cluster::start(2, 2).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    put(&client, "photo", Payload::new(1, 3 * MIB)).await;
    put_in_a_part(&client, "film").await;

    cluster.node(1).kill().await;
    eventually("what is at risk", DEADLINE, async || {
        let said = cluster.admin(&["status"]).await.ok()?;
        let is_told = said.contains("4 chunks have one good copy while chunk servers are silent");
        let is_named = said.contains("big/photo") && said.contains("big/film");
        (is_told && is_named && said.contains("DANGER")).then_some(())
    })
    .await;
    let status = eventually("a look at all of it", DEADLINE, async || {
        let status = cluster.whole_status().await;
        (status["data"]["awaited"]["is_complete"] == true).then_some(status)
    })
    .await;
    assert_eq!(
        status["data"]["chunks_by_copies"][1], 0,
        "it is not given up"
    );

    cluster.node(1).start_again().await;
    eventually("an end of it", DEADLINE, async || {
        let status = cluster.whole_status().await;
        let mut findings = status["findings"].as_array()?.iter();
        // What else may be found, a disk of the machine that fills, is of no concern.
        let in_danger = findings.any(|finding| finding["level"] == "danger");
        (status["data"]["awaited"].is_null() && !in_danger).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_read_while_a_chunk_server_is_silent_is_named() {
    let mut cluster = Cluster::start(1, 1).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    put(&client, "only copy", Payload::new(1, 3 * MIB)).await;
    cluster.node(0).kill().await;
    eventually("what cannot be read", DEADLINE, async || {
        let said = cluster.admin(&["status"]).await.ok()?;
        let is_told = said.contains("3 chunks cannot be read");
        (is_told && said.contains("big/only copy")).then_some(())
    })
    .await;
}
