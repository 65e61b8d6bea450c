//! Chunk servers that join get their share, and whoever uses the cluster meanwhile notices nothing.

use std::time::Duration;

use compat_tests::{Cluster, Payload, eventually};

use crate::kit::{MIB, assert_stored, chunks_per_node, client_with_bucket, put};

/// Even means here: two chunks more or less.
const SETTINGS: [(&str, &str); 2] = [("--rebalance-threshold", "0"), ("--gc-grace", "1")];
const MOVE_MAX: Duration = Duration::from_secs(240);

#[tokio::test]
async fn a_node_that_joins_empty_gets_its_share_while_all_objects_stay_readable() {
    let mut cluster = Cluster::start_with(2, 2, &SETTINGS).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let payload = |seed: u64| Payload::new(seed, 6 * MIB);
    for seed in 0..8 {
        put(&client, &seed.to_string(), payload(seed)).await;
    }
    cluster.add_node().await;
    cluster.wait_for_live(3).await;
    eventually("an even cluster", MOVE_MAX, async || {
        for seed in 0..8 {
            assert_stored(&client, &seed.to_string(), payload(seed)).await;
        }
        let counts = chunks_per_node(&cluster).await;
        (counts.iter().sum::<usize>() == 96 && counts[2] >= 28).then_some(())
    })
    .await;
    cluster
        .wait_for_copies(MOVE_MAX, |copies| {
            copies.len() == 48 && copies.values().all(|count| *count == 2)
        })
        .await;
    for seed in 0..8 {
        assert_stored(&client, &seed.to_string(), payload(seed)).await;
    }
}
