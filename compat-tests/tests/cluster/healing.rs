//! Chunks that lost copies get them back without an operator, and what was deleted stays deleted.

use std::time::Duration;

use compat_tests::{Cluster, Payload};

use crate::kit::{MIB, assert_stored, client_with_bucket, put};

/// A cluster in which a silent node is given up as soon as it is suspected, and garbage goes at once.
const HASTY: [(&str, &str); 2] = [("--node-down-after", "2"), ("--gc-grace", "1")];
/// A node is suspected after 6 s; then what it held is copied.
const HEALING_MAX: Duration = Duration::from_secs(60);

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
    let chunks = cluster.copies().await.len();
    cluster.node(1).kill().await;
    cluster.node(4).kill().await;
    assert_all(&client, &objects).await;
    cluster
        .wait_for_copies(HEALING_MAX, |copies| {
            copies.len() == chunks && copies.values().all(|count| *count == 3)
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
    let chunks = cluster.copies().await.len();
    let is_whole = |copies: &std::collections::BTreeMap<_, usize>| {
        copies.len() == chunks && copies.values().all(|count| *count == 2)
    };
    cluster.node(3).kill().await;
    cluster.wait_for_copies(HEALING_MAX, is_whole).await;
    cluster.node(3).start_again().await;
    cluster.wait_for_live(4).await;
    cluster.wait_for_copies(HEALING_MAX, is_whole).await;
    assert_all(&client, &objects).await;
}
