//! An operator lets chunk servers go: what they held is elsewhere before that, and orders that would
//! endanger data are refused with the numbers that forbid them.

use std::collections::BTreeMap;
use std::time::Duration;

use compat_tests::{Cluster, Payload, eventually};

use crate::kit::{MIB, assert_stored, client_with_bucket, put};

const SETTINGS: [(&str, &str); 2] = [("--node-down-after", "6"), ("--gc-grace", "1")];
const MOVE_MAX: Duration = Duration::from_secs(120);
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

/// The id of a node, by its number.
async fn id(cluster: &Cluster, number: usize) -> String {
    let address = cluster.nodes()[number].address().to_owned();
    let nodes = cluster.status().await;
    let node = nodes.iter().find(|node| node["address"] == address);
    let id = node.expect("the node is known")["id"].as_str();
    id.expect("an id is a text").to_owned()
}

#[tokio::test]
async fn a_drained_node_is_empty_goes_for_good_and_is_not_let_in_again() {
    let mut cluster = Cluster::start_with(4, 2, &SETTINGS).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let objects = put_some(&client).await;
    let node = id(&cluster, 0).await;

    let early = cluster.admin(&["node", "remove", &node]).await;
    assert!(early.unwrap_err().contains("is not draining"));
    let address = cluster.nodes()[0].address().to_owned();
    let words = ["node", "drain", &address, "--wait", "--look-every", "1"];
    let said = cluster.admin(&words).await.expect("it drains");
    assert!(said.contains("is empty"), "{said}");
    eventually("an empty node", MOVE_MAX, async || {
        cluster.nodes()[0].chunks().await.is_empty().then_some(())
    })
    .await;
    let is_whole = |copies: &BTreeMap<_, usize>| {
        copies.len() == CHUNKS && copies.values().all(|count| *count == 2)
    };
    cluster.wait_for_copies(MOVE_MAX, is_whole).await;

    // A node that is not heard for a moment may not go.
    eventually("leave to go", MOVE_MAX, async || {
        let removed = cluster.admin(&["node", "remove", &node[..8]]).await;
        removed.ok()
    })
    .await;
    cluster.node(0).kill().await;
    cluster.node(0).start_again().await;
    eventually("the refusal of the removed node", MOVE_MAX, async || {
        let log = cluster.nodes()[0].log();
        log.contains("was removed from the cluster").then_some(())
    })
    .await;
    // Nor does a restarted gateway know it.
    cluster.gateway().kill().await;
    cluster.gateway().start_again().await;
    cluster.wait_for_live(3).await;
    assert_eq!(cluster.status().await.len(), 3);
    assert_all(&client, &objects).await;
}

#[tokio::test]
async fn losing_another_node_in_the_middle_of_a_drain_loses_nothing() {
    let settings = [&SETTINGS[..], &[("--move-rate", "4MiB")]].concat();
    let mut cluster = Cluster::start_with(5, 2, &settings).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let objects = put_some(&client).await;
    let node = id(&cluster, 0).await;
    let ordered = cluster.admin(&["node", "drain", &node]).await;
    ordered.expect("it drains");
    eventually("the first moved chunk", MOVE_MAX, async || {
        let drain = cluster.job("drain").await;
        (drain["done_units"].as_u64() > Some(0)).then_some(())
    })
    .await;
    cluster.node(1).kill().await;
    assert_all(&client, &objects).await;
    let faster = cluster.admin(&["job", "rate", "drain", "unlimited"]).await;
    faster.expect("a rate can be changed");
    eventually("a drained node", MOVE_MAX, async || {
        cluster.nodes()[0].chunks().await.is_empty().then_some(())
    })
    .await;
    cluster
        .wait_for_copies(MOVE_MAX, |copies| {
            copies.len() == CHUNKS && copies.values().all(|count| *count == 2)
        })
        .await;
    assert_all(&client, &objects).await;
}

#[tokio::test]
async fn the_last_nodes_cannot_be_drained() {
    let cluster = Cluster::start_with(2, 2, &SETTINGS).await;
    let node = id(&cluster, 0).await;
    eventually("a refusal with both numbers", MOVE_MAX, async || {
        let refused = cluster.admin(&["node", "drain", &node]).await.unwrap_err();
        (refused.contains("leave 1 ") && refused.contains("--replicas is 2")).then_some(())
    })
    .await;
    let unknown = cluster
        .admin(&["node", "drain", "nobody"])
        .await
        .unwrap_err();
    assert!(
        unknown.contains("no chunk server is called nobody"),
        "{unknown}"
    );
}

#[tokio::test]
async fn no_orphans_are_accepted_where_none_were_found() {
    let cluster = Cluster::start_with(2, 2, &SETTINGS).await;
    let node = id(&cluster, 0).await;
    let order = ["node", "accept-orphans", &node[..8]];
    let refused = cluster.admin(&order).await.unwrap_err();
    assert!(refused.contains("no orphans of"), "{refused}");
}

#[tokio::test]
async fn a_job_that_was_paused_rests_until_it_is_resumed() {
    let cluster = Cluster::start_with(3, 2, &SETTINGS).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    put(&client, "k", Payload::new(1, MIB)).await;
    let state = async |wanted: &str| {
        eventually(wanted, MOVE_MAX, async || {
            (cluster.job("gc").await["state"] == wanted).then_some(())
        })
        .await;
    };
    cluster.admin(&["job", "pause", "gc"]).await.unwrap();
    state("paused").await;
    let status = cluster.admin(&["status"]).await.unwrap();
    assert!(status.contains("gateway admin job resume gc"), "{status}");
    cluster.admin(&["job", "resume", "gc"]).await.unwrap();
    state("resting").await;
    let unknown = cluster.admin(&["job", "pause", "sleep"]).await.unwrap_err();
    assert!(unknown.contains("there is no such job"), "{unknown}");
}
