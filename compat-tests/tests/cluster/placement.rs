//! What lies where.

use std::collections::BTreeSet;

use compat_tests::{Cluster, Payload};

use crate::kit::{MIB, assert_stored, chunks_per_node, client_with_bucket, put};

#[tokio::test]
async fn three_mebibytes_lie_as_three_chunks_on_three_nodes() {
    let cluster = Cluster::start(6, 1).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    put(&client, "three", Payload::new(1, 3 * MIB)).await;

    let mut holders = 0;
    let mut ids = BTreeSet::new();
    for node in cluster.nodes() {
        let chunks = node.chunks().await;
        holders += usize::from(!chunks.is_empty());
        for chunk in chunks {
            assert_eq!(chunk.length_bytes, MIB);
            ids.insert(chunk.id.to_string());
        }
    }
    assert_eq!((ids.len(), holders), (3, 3));
    assert_stored(&client, "three", Payload::new(1, 3 * MIB)).await;
}

#[tokio::test]
async fn replicas_lie_on_distinct_nodes() {
    let cluster = Cluster::start(3, 2).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    put(&client, "one", Payload::new(1, MIB)).await;
    let mut counts = chunks_per_node(&cluster).await;
    counts.sort_unstable();
    assert_eq!(counts, [0, 1, 1]);
}

#[tokio::test]
async fn large_objects_spread_over_all_nodes() {
    let cluster = Cluster::start(6, 1).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    for seed in 0..4 {
        put(&client, &seed.to_string(), Payload::new(seed, 12 * MIB)).await;
    }
    let counts = chunks_per_node(&cluster).await;
    assert_eq!(counts.iter().sum::<usize>(), 24);
    assert!(
        counts.iter().all(|count| (2..=6).contains(count)),
        "{counts:?}"
    );
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
