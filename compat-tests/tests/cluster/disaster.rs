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

/// Lengths of an upload's parts.
const PART_BYTES: [u64; 2] = [6 * MIB, 100];
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
    let (id, parts) = upload_parts(client, key, [1, 2]).await;
    if complete {
        complete_upload(client, key, &id, parts).await;
    }
}

/// Begins an upload and stores two parts with these numbers.
async fn upload_parts(
    client: &Client,
    key: &str,
    numbers: [i32; 2],
) -> (String, Vec<CompletedPart>) {
    let begun = client.create_multipart_upload().bucket("big").key(key);
    let begun = begun.metadata("colour", "blue").send().await;
    let id = begun.expect("an upload").upload_id.expect("an id");
    let mut parts = Vec::new();
    for (number, length) in numbers.into_iter().zip(PART_BYTES) {
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
    (id, parts)
}

async fn complete_upload(client: &Client, key: &str, id: &str, parts: Vec<CompletedPart>) {
    let all = CompletedMultipartUpload::builder()
        .set_parts(Some(parts))
        .build();
    let done = client.complete_multipart_upload().bucket("big").key(key);
    let done = done.upload_id(id).multipart_upload(all).send().await;
    done.expect("the upload is completed");
}

async fn set_versioning(client: &Client, status: BucketVersioningStatus) {
    let configuration = VersioningConfiguration::builder().status(status).build();
    let set = client.put_bucket_versioning().bucket("big");
    let set = set.versioning_configuration(configuration).send().await;
    set.expect("the bucket's versioning is set");
}

async fn version_sizes(client: &Client) -> Vec<Option<i64>> {
    let versions = client.list_object_versions().bucket("big").send().await;
    let versions = versions.expect("versions are listed").versions;
    let sizes = versions.unwrap_or_default().into_iter();
    sizes.map(|version| version.size).collect()
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
async fn versions_return_in_their_order_also_those_in_parts() {
    for last in [
        BucketVersioningStatus::Enabled,
        BucketVersioningStatus::Suspended,
    ] {
        let mut cluster = Cluster::start(2, 2).await;
        let client = client_with_bucket(cluster.endpoint()).await;
        set_versioning(&client, BucketVersioningStatus::Enabled).await;
        put(&client, "k", Payload::new(1, 1001)).await;
        upload(&client, "k", true).await;
        put(&client, "k", Payload::new(3, 1003)).await;
        set_versioning(&client, last.clone()).await;
        put(&client, "other", Payload::new(4, 1004)).await;
        lose_metadata(&mut cluster).await;
        let rebuilt = cluster
            .recover("rebuild-metadata", 2, &["--replicas", "2"])
            .await;
        let _ = rebuilt.expect_success("rebuild-metadata");
        let client = start_again(&mut cluster, 2).await;
        assert_stored(&client, "k", Payload::new(3, 1003)).await;
        let in_parts = i64::try_from(PART_BYTES.iter().sum::<u64>()).ok();
        let sizes = version_sizes(&client).await;
        assert_eq!(sizes, [Some(1003), in_parts, Some(1001), Some(1004)]);
        let versioning = client.get_bucket_versioning().bucket("big").send().await;
        assert_eq!(versioning.expect("versioning is shown").status, Some(last));
    }
}

#[tokio::test]
async fn uploads_that_stay_under_way_begin_anew_so_that_there_is_time_to_complete_them() {
    let mut cluster = Cluster::start(2, 2).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    upload(&client, "k", false).await;
    put(&client, "k", Payload::new(1, 1001)).await;
    let (id, parts) = upload_parts(&client, "with a gap", [1, 3]).await;
    complete_upload(&client, "with a gap", &id, parts.clone()).await;
    lose_metadata(&mut cluster).await;
    let lost_at = std::time::SystemTime::now();
    let rebuilt = cluster
        .recover("rebuild-metadata", 2, &["--replicas", "2"])
        .await;
    let _ = rebuilt.expect_success("rebuild-metadata");
    let report = fs::read_to_string(cluster.metadata().join("rebuild-report.txt"));
    let report = report.expect("there is a report");
    let told = format!("big/with a gap: upload {id} with parts 1, 3 is left under way");
    assert!(report.contains(&told), "{report}");

    let client = start_again(&mut cluster, 2).await;
    let uploads = client.list_multipart_uploads().bucket("big").send().await;
    let uploads = uploads
        .expect("uploads are listed")
        .uploads
        .unwrap_or_default();
    assert_eq!(uploads.len(), 2, "{uploads:?}");
    for upload in uploads {
        let begun = upload.initiated.expect("a moment").secs();
        let lost = lost_at.duration_since(std::time::UNIX_EPOCH);
        let lost = lost.expect("a clock after 1970").as_secs();
        assert!(u64::try_from(begun).is_ok_and(|begun| begun >= lost));
    }
    complete_upload(&client, "with a gap", &id, parts).await;
    let got = client.head_object().bucket("big").key("with a gap").send();
    let size = got.await.expect("the object is there").content_length;
    assert_eq!(size, i64::try_from(PART_BYTES.iter().sum::<u64>()).ok());
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
        .recover("rebuild-metadata", 2, &["--wait", "30"])
        .await;
    let refused = refused.expect_failure();
    assert!(refused.contains("1 of 2 chunk servers"), "{refused}");
    assert!(!cluster.metadata().join("metadata").exists());
}
