//! Chunks that lost copies get them back without an operator, and what was deleted stays deleted.

use std::time::Duration;

use compat_tests::{Cluster, Payload};

use crate::kit::{
    MIB, PIECE_BYTES, assert_stored, client_with_bucket, put, start_upload, turn_bytes,
};

/// A cluster in which a silent node is given up as soon as it is suspected, and garbage goes at once.
const HASTY: [(&str, &str); 2] = [("--node-down-after", "6"), ("--gc-grace", "1")];
/// A node is suspected after 6 s; then what it held is copied.
const HEALING_MAX: Duration = Duration::from_secs(120);
/// Chunks of what `put_some` puts: one for each MiB that was begun, six at most.
const CHUNKS: usize = 1 + 1 + 5 + 6 + 6;

async fn put_some(client: &aws_sdk_s3::Client) -> Vec<(String, Payload)> {
    let mut objects = Vec::new();
    for (seed, length_bytes) in [(1, 1), (2, MIB), (3, 5 * MIB), (4, 12 * MIB), (5, 60 * MIB)] {
        let (key, payload) = (seed.to_string(), Payload::new(seed, length_bytes));
        put(client, &key, payload).await;
        objects.push((key, payload));
    }
    objects
}

async fn assert_all(client: &aws_sdk_s3::Client, objects: &[(String, Payload)]) {
    for (key, payload) in objects {
        assert_stored(client, key, *payload).await;
    }
}

#[tokio::test]
async fn losing_two_of_six_nodes_loses_nothing_and_all_copies_return() {
    let mut cluster = Cluster::start_with(6, 3, &HASTY).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let objects = put_some(&client).await;
    cluster.node(1).kill().await;
    cluster.node(4).kill().await;
    assert_all(&client, &objects).await;
    cluster
        .wait_for_copies(HEALING_MAX, |copies| {
            copies.len() == CHUNKS && copies.values().all(|count| *count == 3)
        })
        .await;
    compat_tests::eventually("an end of repairs", HEALING_MAX, async || {
        let status = cluster.whole_status().await;
        let mut waiting = status["data"]["chunks_by_copies"].as_array()?.iter();
        waiting.all(|count| *count == 0).then_some(())
    })
    .await;
    // Now the loss of two more costs nothing either.
    cluster.node(0).kill().await;
    cluster.node(2).kill().await;
    assert_all(&client, &objects).await;
}

#[tokio::test]
async fn what_was_deleted_while_a_node_was_away_does_not_come_back_with_it() {
    let mut cluster = Cluster::start_with(4, 2, &HASTY).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let objects = put_some(&client).await;
    cluster.node(0).kill().await;
    let (kept, deleted) = objects.split_at(2);
    for (key, _) in deleted {
        let delete = client.delete_object().bucket("big").key(key);
        delete.send().await.expect("it is deleted");
    }
    cluster.node(0).start_again().await;
    cluster.wait_for_live(4).await;
    // Two objects of one chunk are left, with two copies each: no more, no fewer.
    cluster
        .wait_for_copies(HEALING_MAX, |copies| {
            copies.len() == 2 && copies.values().all(|count| *count == 2)
        })
        .await;
    assert_all(&client, kept).await;
}

#[tokio::test]
async fn a_node_that_was_given_up_and_returns_leaves_no_copy_too_many() {
    let mut cluster = Cluster::start_with(4, 2, &HASTY).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let objects = put_some(&client).await;
    let is_whole = |copies: &std::collections::BTreeMap<_, usize>| {
        copies.len() == CHUNKS && copies.values().all(|count| *count == 2)
    };
    cluster.node(3).kill().await;
    cluster.wait_for_copies(HEALING_MAX, is_whole).await;
    cluster.node(3).start_again().await;
    cluster.wait_for_live(4).await;
    cluster.wait_for_copies(HEALING_MAX, is_whole).await;
    assert_all(&client, &objects).await;
}

#[tokio::test]
async fn copies_that_rotted_are_made_anew_from_good_ones() {
    let mut cluster = Cluster::start_with(2, 2, &HASTY).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let payload = Payload::new(1, 12 * MIB);
    put(&client, "k", payload).await;
    cluster.node(0).kill().await;
    turn_bytes(&cluster.nodes()[0].data().join("segments"));
    cluster.node(0).start_again().await;
    cluster.wait_for_live(2).await;
    // Reads meet the bad copies; the client does not.
    for _ in 0..4 {
        assert_stored(&client, "k", payload).await;
    }
    let repaired = compat_tests::eventually("repair of all chunks", HEALING_MAX, async || {
        let repair = cluster.job("repair").await;
        assert_stored(&client, "k", payload).await;
        (repair["done_units"].as_u64() == Some(6)).then_some(repair)
    });
    let repair = repaired.await;
    assert_eq!(repair["done_bytes"].as_u64(), Some(12 * MIB), "{repair}");
    cluster.node(1).kill().await;
    assert_stored(&client, "k", payload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_of_a_write_that_was_cut_off_are_collected() {
    let settings = [
        ("--gc-grace", "1"),
        ("--reconcile-every", "1"),
        ("--orphan-age", "20"),
        ("--orphan-quarantine", "1"),
    ];
    let mut cluster = Cluster::start_with(3, 2, &settings).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let kept = Payload::new(1, 2 * MIB);
    put(&client, "kept", kept).await;
    let payload = Payload::new(2, 30 * MIB);
    let (pieces, upload) = start_upload(&client, payload);
    for piece in payload.pieces(PIECE_BYTES).take(12 * 16) {
        pieces.send(piece).await.expect("the upload goes on");
    }
    cluster
        .wait_for_copies(HEALING_MAX, |copies| copies.len() > 2)
        .await;
    cluster.gateway().kill().await;
    drop(pieces);
    assert!(!upload.await.expect("no panic"), "the upload fails");

    cluster.gateway().start_again().await;
    cluster.wait_for_live(3).await;
    cluster
        .wait_for_copies(HEALING_MAX, |copies| {
            copies.len() == 2 && copies.values().all(|count| *count == 2)
        })
        .await;
    assert_stored(&client, "kept", kept).await;
}

#[tokio::test]
async fn rot_that_nobody_reads_is_found_by_scrubbing_and_mended() {
    let mut cluster = Cluster::start_with(2, 2, &HASTY).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let payload = Payload::new(1, 12 * MIB);
    put(&client, "k", payload).await;
    cluster.node(0).kill().await;
    turn_bytes(&cluster.nodes()[0].data().join("segments"));
    cluster.node(0).scrub_period_s = 5;
    cluster.node(0).start_again().await;
    cluster.wait_for_live(2).await;
    compat_tests::eventually("repair of all chunks", HEALING_MAX, async || {
        let repair = cluster.job("repair").await;
        (repair["done_bytes"].as_u64() == Some(12 * MIB)).then_some(())
    })
    .await;
    // The next heartbeat says so.
    compat_tests::eventually("a word on scrubbing", HEALING_MAX, async || {
        let status = cluster.admin(&["status"]).await.ok()?;
        status.contains("within ").then_some(())
    })
    .await;
    cluster.node(1).kill().await;
    assert_stored(&client, "k", payload).await;
}
