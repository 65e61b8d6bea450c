//! The gateway's database is deleted, and brought back from what the chunk servers hold.

use std::collections::BTreeSet;
use std::fs;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, CompletedMultipartUpload, CompletedPart, ServerSideEncryption,
    VersioningConfiguration,
};
use compat_tests::{Cluster, Payload};

use crate::kit::{MIB, assert_stored, client_with_bucket, put};

const PAYLOADS: [Payload; 4] = [
    Payload::new(1, 1),
    Payload::new(2, MIB),
    Payload::new(3, 3 * MIB + 5),
    Payload::new(4, 20 * MIB),
];

async fn put_all(client: &Client) {
    for payload in PAYLOADS {
        put(client, &payload.seed.to_string(), payload).await;
    }
}

async fn assert_all_stored(client: &Client) {
    for payload in PAYLOADS {
        assert_stored(client, &payload.seed.to_string(), payload).await;
    }
}

/// The keys in the bucket `big` with their sizes and ETags.
async fn listed(client: &Client) -> BTreeSet<(String, i64, String)> {
    let page = client.list_objects_v2().bucket("big").send().await;
    let objects = page
        .expect("the bucket is listed")
        .contents
        .unwrap_or_default();
    let line = |object: aws_sdk_s3::types::Object| {
        let etag = object.e_tag.expect("an ETag");
        (
            object.key.expect("a key"),
            object.size.expect("a size"),
            etag,
        )
    };
    objects.into_iter().map(line).collect()
}

/// Stores two parts under `key`; completes the upload if told to.
async fn upload(client: &Client, key: &str, complete: bool) {
    let begun = client.create_multipart_upload().bucket("big").key(key);
    let begun = begun.metadata("colour", "blue").send().await;
    let id = begun.expect("an upload").upload_id.expect("an id");
    let mut parts = Vec::new();
    for (number, length) in [(1, 6 * MIB), (2, 100)] {
        let body = Payload::new(100 + length, length).bytes();
        let part = client.upload_part().bucket("big").key(key).upload_id(&id);
        let part = part.part_number(number).body(ByteStream::from(body));
        let tag = part.send().await.expect("a part").e_tag.expect("an ETag");
        parts.push(
            CompletedPart::builder()
                .part_number(number)
                .e_tag(tag)
                .build(),
        );
    }
    if complete {
        let all = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let done = client.complete_multipart_upload().bucket("big").key(key);
        let done = done.upload_id(&id).multipart_upload(all).send().await;
        done.expect("the upload is completed");
    }
}

/// The gateway is gone with all that it knew.
async fn lose_metadata(cluster: &mut Cluster) {
    cluster.gateway().kill().await;
    fs::remove_dir_all(cluster.metadata()).expect("the metadata is deleted");
}

async fn start_again(cluster: &mut Cluster, nodes: usize) -> Client {
    cluster.gateway().start_again().await;
    cluster.wait_for_live(nodes).await;
    compat_tests::sdk(cluster.endpoint())
}

#[tokio::test]
async fn objects_return_from_their_chunks_after_the_database_was_deleted() {
    let mut cluster = Cluster::start(4, 2).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    put_all(&client).await;
    put(&client, "3", Payload::new(3, 2 * MIB)).await;
    put(&client, "3", PAYLOADS[2]).await;
    upload(&client, "in parts", true).await;
    let described = client.put_object().bucket("big").key("described");
    let described = described
        .metadata("colour", "blue")
        .content_type("text/plain");
    let described = described.body(ByteStream::from_static(b"hello"));
    described.send().await.expect("the object is stored");
    let before = listed(&client).await;
    let sealed = client.put_object().bucket("big").key("sealed");
    let sealed = sealed.server_side_encryption(ServerSideEncryption::Aes256);
    let sealed = sealed.body(ByteStream::from(Payload::new(9, 3 * MIB).bytes()));
    sealed.send().await.expect("the object is stored");
    // What an operator keeps elsewhere.
    let master_key = cluster.metadata().join("master-key");
    let kept = cluster.metadata().with_file_name("kept-master-key");
    fs::copy(&master_key, &kept).expect("there is a master key");

    lose_metadata(&mut cluster).await;
    let rebuilt = cluster
        .recover("rebuild-metadata", 4, &["--replicas", "2"])
        .await;
    let summary = rebuilt.expect_success("rebuild-metadata");
    assert!(
        summary.contains("7  objects and versions rebuilt"),
        "{summary}"
    );

    fs::rename(kept, &master_key).expect("the key is put back");
    let client = start_again(&mut cluster, 4).await;
    assert_stored(&client, "sealed", Payload::new(9, 3 * MIB)).await;
    let mut after = listed(&client).await;
    after.retain(|(key, ..)| key != "sealed");
    assert_eq!(after, before, "keys, sizes and ETags are as they were");
    assert_all_stored(&client).await;
    let described = client
        .head_object()
        .bucket("big")
        .key("described")
        .send()
        .await;
    let described = described.expect("the object is there");
    assert_eq!(described.content_type(), Some("text/plain"));
    assert_eq!(
        described.metadata().and_then(|all| all.get("colour")),
        Some(&"blue".to_owned())
    );
    // A later life: overwrites, deletes and their garbage go on.
    put_all(&client).await;
    assert_all_stored(&client).await;
}

#[tokio::test]
async fn what_is_not_whole_is_reported_and_not_invented() {
    let mut cluster = Cluster::start(3, 1).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    put(&client, "torn", Payload::new(7, 6 * MIB)).await;
    upload(&client, "in parts", false).await;
    put(&client, "in parts", Payload::new(8, 10)).await;
    lose_metadata(&mut cluster).await;
    // With one replica, a third of the chunks goes with a node.
    cluster.node(0).kill().await;
    let rebuilt = cluster
        .recover("rebuild-metadata", 2, &["--replicas", "1"])
        .await;
    let summary = rebuilt.expect_success("rebuild-metadata");
    assert!(
        summary.contains(" bodies left out because chunks are missing"),
        "{summary}"
    );
    let report = fs::read_to_string(cluster.metadata().join("rebuild-report.txt"));
    let report = report.expect("there is a report");
    assert!(
        report.contains("big/torn: ") && report.contains("it is left out"),
        "{report}"
    );

    let client = start_again(&mut cluster, 2).await;
    let keys: Vec<_> = listed(&client)
        .await
        .into_iter()
        .map(|(key, ..)| key)
        .collect();
    assert!(!keys.contains(&"torn".to_owned()), "{keys:?}");
    if keys.contains(&"in parts".to_owned()) {
        assert_stored(&client, "in parts", Payload::new(8, 10)).await;
    }
}

#[tokio::test]
async fn versions_return_in_their_order() {
    let mut cluster = Cluster::start(2, 2).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let enabled = VersioningConfiguration::builder();
    let enabled = enabled.status(BucketVersioningStatus::Enabled).build();
    let versioned = client.put_bucket_versioning().bucket("big");
    let versioned = versioned.versioning_configuration(enabled).send().await;
    versioned.expect("the bucket keeps versions");
    for seed in 1..=3 {
        put(&client, "k", Payload::new(seed, 1000 + seed)).await;
    }
    lose_metadata(&mut cluster).await;
    let rebuilt = cluster
        .recover("rebuild-metadata", 2, &["--replicas", "2"])
        .await;
    let _ = rebuilt.expect_success("rebuild-metadata");
    let client = start_again(&mut cluster, 2).await;
    assert_stored(&client, "k", Payload::new(3, 1003)).await;
    let versions = client.list_object_versions().bucket("big").send().await;
    let versions = versions
        .expect("versions are listed")
        .versions
        .unwrap_or_default();
    let sizes: Vec<_> = versions.iter().map(|version| version.size).collect();
    assert_eq!(sizes, [Some(1003), Some(1002), Some(1001)]);
}

/// Appends a piece to `key`, behind `offset` bytes.
async fn append(client: &Client, key: &str, offset: u64, piece: Payload) {
    let body = ByteStream::from(piece.bytes());
    let append = client.put_object().bucket("big").key(key).body(body);
    let offset = i64::try_from(offset).expect("a small offset");
    let done = append.write_offset_bytes(offset).send().await;
    done.expect("the bytes are appended");
}

#[tokio::test]
async fn what_was_appended_returns_and_what_was_renamed_has_its_old_key() {
    let mut cluster = Cluster::start(3, 2).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let pieces = [1000, 2 * MIB, 10].map(|bytes| Payload::new(bytes, bytes));
    // Put and appended to; begun by an append; uploaded in parts and appended to.
    put(&client, "body", pieces[0]).await;
    append(&client, "body", 1000, pieces[1]).await;
    append(&client, "body", 1000 + 2 * MIB, pieces[2]).await;
    append(&client, "begun", 0, pieces[0]).await;
    append(&client, "begun", 1000, pieces[2]).await;
    upload(&client, "uploaded", true).await;
    append(&client, "uploaded", 6 * MIB + 100, pieces[2]).await;
    put(&client, "old name", PAYLOADS[2]).await;
    let rename = client.rename_object().bucket("big").key("new name");
    let renamed = rename.rename_source("old%20name").send().await;
    renamed.expect("the object is renamed");
    let before: Vec<_> = listed(&client).await.into_iter().collect();

    lose_metadata(&mut cluster).await;
    let rebuilt = cluster
        .recover("rebuild-metadata", 3, &["--replicas", "2"])
        .await;
    let _ = rebuilt.expect_success("rebuild-metadata");
    let client = start_again(&mut cluster, 3).await;
    let after: Vec<_> = listed(&client).await.into_iter().collect();
    let sizes = |all: &[(String, i64, String)]| {
        let size = |(key, size, _): &(String, i64, String)| (key.replace("new", "old"), *size);
        let mut sizes: Vec<_> = all.iter().map(size).collect();
        sizes.sort();
        sizes
    };
    assert_eq!(sizes(&after), sizes(&before));
    assert_stored(&client, "old name", PAYLOADS[2]).await;
    let whole = pieces.map(|piece| piece.bytes()).concat();
    let got = client.get_object().bucket("big").key("body").send().await;
    let body = got.expect("the object is there").body.collect().await;
    assert!(body.expect("all of it").into_bytes() == whole);
    append(&client, "body", whole.len() as u64, pieces[2]).await;
}

#[tokio::test]
async fn recovery_refuses_a_directory_with_a_database_and_too_few_chunk_servers() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.gateway().terminate().await;
    let refused = cluster.recover("rebuild-metadata", 1, &[]).await;
    let refused = refused.expect_failure();
    assert!(refused.contains("is there already"), "{refused}");
    lose_metadata(&mut cluster).await;
    let refused = cluster
        .recover("rebuild-metadata", 2, &["--wait", "8"])
        .await;
    let refused = refused.expect_failure();
    assert!(refused.contains("1 of 2 chunk servers"), "{refused}");
    assert!(!cluster.metadata().join("metadata").exists());
}
