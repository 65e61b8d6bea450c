//! The gateway's database is deleted, and restored from the backups that it shipped to the chunk
//! servers.

use std::fs;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use compat_tests::{Cluster, Payload, eventually};
use serde_json::Value;

use crate::kit::{MIB, assert_stored, client_with_bucket, put};

/// What is written is shipped every second, and a checkpoint follows on little log.
const SETTINGS: [(&str, &str); 2] = [
    ("--metadata-backup-every", "1"),
    ("--metadata-log-size", "20KB"),
];
/// The backup is behind by a second or two.
const SOON: Duration = Duration::from_secs(120);

async fn backup(cluster: &Cluster) -> Value {
    cluster.whole_status().await["metadata_backup"].clone()
}

/// Waits until everything that was acknowledged before the call could be restored.
async fn wait_for_backup(cluster: &Cluster) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ms = now.expect("a clock after 1970").as_millis();
    eventually("a backup of everything", SOON, async || {
        let until = backup(cluster).await["restorable_until"].as_u64();
        (u128::from(until?) > now_ms).then_some(())
    })
    .await;
}

async fn lose_metadata(cluster: &mut Cluster) {
    cluster.gateway().kill().await;
    fs::remove_dir_all(cluster.metadata()).expect("the metadata is deleted");
}

async fn restore(cluster: &mut Cluster, nodes: usize, live: usize) -> (String, Client) {
    let restored = cluster.recover("restore-metadata", nodes, &[]).await;
    let summary = restored.expect_success("restore-metadata");
    cluster.gateway().start_again().await;
    cluster.wait_for_live(live).await;
    (summary, compat_tests::sdk(cluster.endpoint()))
}

/// Everything that listings, heads and bucket settings show.
async fn shown(client: &Client) -> Vec<String> {
    let versions = client.list_object_versions().bucket("big").send().await;
    let versions = versions.expect("versions are listed");
    let mut shown = vec![format!(
        "{:?} {:?}",
        versions.versions, versions.delete_markers
    )];
    let uploads = client.list_multipart_uploads().bucket("big").send().await;
    shown.push(format!(
        "{:?}",
        uploads.expect("uploads are listed").uploads
    ));
    let policy = client.get_bucket_policy().bucket("big").send().await;
    shown.push(format!("{:?}", policy.map(|policy| policy.policy).ok()));
    shown
}

async fn put_many(client: &Client, seeds: std::ops::Range<u64>) {
    let puts = seeds.map(async |seed| {
        put(client, &format!("many/{seed}"), Payload::new(seed, 100)).await;
    });
    futures::future::join_all(puts).await;
}

#[tokio::test]
async fn everything_that_was_shipped_returns_exactly_as_it_was() {
    let mut cluster = Cluster::start_with(3, 2, &SETTINGS).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    put(&client, "large", Payload::new(1, 7 * MIB)).await;
    put(&client, "empty", Payload::new(2, 0)).await;
    put_many(&client, 0..60).await;
    let deleted = client
        .delete_object()
        .bucket("big")
        .key("many/7")
        .send()
        .await;
    deleted.expect("the object is deleted");
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::big/*"}]}"#;
    let set = client.put_bucket_policy().bucket("big").policy(policy);
    set.send().await.expect("the policy is set");
    let begun = client
        .create_multipart_upload()
        .bucket("big")
        .key("under way");
    let id = begun
        .send()
        .await
        .expect("an upload")
        .upload_id
        .expect("an id");
    let part = client
        .upload_part()
        .bucket("big")
        .key("under way")
        .upload_id(&id);
    let part = part
        .part_number(1)
        .body(ByteStream::from(Payload::new(3, 6 * MIB).bytes()));
    part.send().await.expect("a part");
    wait_for_backup(&cluster).await;
    let before = shown(&client).await;

    lose_metadata(&mut cluster).await;
    let (summary, client) = restore(&mut cluster, 3, 3).await;
    assert!(summary.contains("the log behind it"), "{summary}");
    assert_eq!(shown(&client).await, before);
    assert_stored(&client, "large", Payload::new(1, 7 * MIB)).await;
    assert_stored(&client, "empty", Payload::new(2, 0)).await;
    assert_stored(&client, "many/59", Payload::new(59, 100)).await;
    // A later life, with backups of its own.
    put_many(&client, 60..70).await;
    wait_for_backup(&cluster).await;
    lose_metadata(&mut cluster).await;
    let (_, client) = restore(&mut cluster, 3, 3).await;
    assert_stored(&client, "many/69", Payload::new(69, 100)).await;
}

#[tokio::test]
async fn a_backup_outlives_a_chunk_server_and_many_checkpoints() {
    let mut cluster = Cluster::start_with(4, 3, &SETTINGS).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let mut checkpoints = std::collections::BTreeSet::new();
    let mut seed = 0;
    while checkpoints.len() < 3 {
        put_many(&client, seed..seed + 200).await;
        seed += 200;
        wait_for_backup(&cluster).await;
        checkpoints.insert(backup(&cluster).await["checkpoint_at"].as_u64());
        assert!(seed < 20_000, "checkpoints are made: {checkpoints:?}");
    }
    lose_metadata(&mut cluster).await;
    cluster.node(1).kill().await;
    cluster.node(2).kill().await;
    let (_, client) = restore(&mut cluster, 2, 2).await;
    let listed = client
        .list_objects_v2()
        .bucket("big")
        .prefix("many/")
        .send()
        .await;
    let listed = listed.expect("the bucket is listed").key_count;
    assert_eq!(listed, i32::try_from(seed.min(1000)).ok());
    assert_stored(
        &client,
        &format!("many/{}", seed - 1),
        Payload::new(seed - 1, 100),
    )
    .await;
}

#[tokio::test]
async fn a_gateway_that_was_started_on_nothing_does_not_cost_the_backup() {
    let mut cluster = Cluster::start_with(2, 2, &SETTINGS).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    put(&client, "k", Payload::new(1, MIB)).await;
    wait_for_backup(&cluster).await;
    lose_metadata(&mut cluster).await;
    // In a bad night somebody just starts it again.
    cluster.gateway().start_again().await;
    cluster.wait_for_live(2).await;
    wait_for_backup(&cluster).await;
    lose_metadata(&mut cluster).await;
    let listed = cluster.recover("restore-metadata", 2, &["--list"]).await;
    let listed = listed.expect_success("restore-metadata");
    let runs: Vec<_> = listed
        .lines()
        .filter(|line| line.contains("  until "))
        .collect();
    assert_eq!(runs.len(), 2, "{listed}");
    let earlier = runs[0].split_whitespace().next().expect("an id");
    let restored = cluster
        .recover("restore-metadata", 2, &["--run", earlier])
        .await;
    let _ = restored.expect_success("restore-metadata");
    cluster.gateway().start_again().await;
    cluster.wait_for_live(2).await;
    let client = compat_tests::sdk(cluster.endpoint());
    assert_stored(&client, "k", Payload::new(1, MIB)).await;
}
