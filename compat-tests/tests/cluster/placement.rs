//! What lies where.

use std::time::Duration;

use compat_tests::{Cluster, Payload, eventually};

use crate::kit::{MIB, assert_stored, chunks_per_node, client_with_bucket, put};

/// A copy that was made in place of one that lagged is garbage, and goes at once.
const SETTINGS: [(&str, &str); 1] = [("--gc-grace", "1")];
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// Waits until the nodes hold as many chunks each as `expected` says, the emptiest first.
async fn wait_for_counts(cluster: &Cluster, expected: impl Fn(&[usize]) -> bool) {
    eventually("chunks where they belong", SETTLED_WITHIN, async || {
        let mut counts = chunks_per_node(cluster).await;
        counts.sort_unstable();
        expected(&counts).then_some(())
    })
    .await;
}

#[tokio::test]
async fn three_mebibytes_lie_as_three_chunks_on_three_nodes() {
    let cluster = Cluster::start_with(6, 1, &SETTINGS).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    put(&client, "three", Payload::new(1, 3 * MIB)).await;

    wait_for_counts(&cluster, |counts| counts == [0, 0, 0, 1, 1, 1]).await;
    assert_eq!(cluster.copies().await.len(), 3);
    for node in cluster.nodes() {
        let chunks = node.chunks().await;
        assert!(chunks.iter().all(|chunk| chunk.length_bytes == MIB));
    }
    assert_stored(&client, "three", Payload::new(1, 3 * MIB)).await;
}

#[tokio::test]
async fn replicas_lie_on_distinct_nodes() {
    let cluster = Cluster::start_with(3, 2, &SETTINGS).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    put(&client, "one", Payload::new(1, MIB)).await;
    wait_for_counts(&cluster, |counts| counts == [0, 1, 1]).await;
}

#[tokio::test]
async fn large_objects_spread_over_all_nodes() {
    let cluster = Cluster::start_with(6, 1, &SETTINGS).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    for seed in 0..4 {
        put(&client, &seed.to_string(), Payload::new(seed, 12 * MIB)).await;
    }
    wait_for_counts(&cluster, |counts| {
        counts.iter().sum::<usize>() == 24 && counts.iter().all(|count| (2..=6).contains(count))
    })
    .await;
}

#[tokio::test]
async fn without_enough_nodes_a_write_is_refused_and_can_be_tried_again() {
    let mut cluster = Cluster::start(1, 1).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    cluster.node(0).kill().await;
    let payload = Payload::new(1, MIB);
    let refused = client.put_object().bucket("big").key("k");
    let refused = refused.body(payload.bytes().into()).send().await;
    let response = refused.expect_err("no node is there");
    let status = response
        .raw_response()
        .map(|response| response.status().as_u16());
    assert_eq!(status, Some(503), "{response:?}");
    cluster.node(0).start_again().await;
    cluster.wait_for_live(1).await;
    put(&client, "k", payload).await;
    assert_stored(&client, "k", payload).await;
}
