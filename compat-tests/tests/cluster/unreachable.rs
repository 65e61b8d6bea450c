//! A chunk server whose heartbeats arrive and that nobody can reach, as behind a firewall or with a
//! wrong `--advertise`: it is treated as gone, operators are told what to do, and it comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use compat_tests::{Cluster, Passage, Payload, eventually};

use crate::kit::{MIB, assert_stored, client_with_bucket, put};

/// A node is given up as soon as it is suspected.
const SETTINGS: [(&str, &str); 2] = [("--node-down-after", "6"), ("--gc-grace", "1")];
const DEADLINE: Duration = Duration::from_secs(120);
const OBJECTS: u64 = 12;

#[tokio::test]
async fn a_chunk_server_that_is_heard_and_cannot_be_reached_is_told_of_and_given_up_in_time() {
    let mut cluster = Cluster::start_with(3, 2, &SETTINGS).await;
    let cut_off = cluster.add_node_behind_proxy().await;
    cluster.wait_for_live(4).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    for seed in 0..OBJECTS {
        put(&client, &seed.to_string(), Payload::new(seed, MIB)).await;
    }
    assert!(!cluster.nodes()[cut_off].chunks().await.is_empty());

    cluster.node(cut_off).proxy().set(Passage::Cut);
    let told = eventually("a word on it", DEADLINE, async || {
        let said = cluster.admin(&["status"]).await.ok()?;
        said.contains("unreachable for data").then_some(said)
    })
    .await;
    assert!(told.contains("--advertise"), "{told}");
    eventually("two copies of all on the others", DEADLINE, async || {
        let mut copies = BTreeMap::<_, usize>::new();
        for node in &cluster.nodes()[..cut_off] {
            for chunk in node.chunks().await {
                *copies.entry(chunk.id).or_default() += 1;
            }
        }
        let are_two = copies.values().all(|count| *count == 2);
        (copies.len() as u64 == OBJECTS && are_two).then_some(())
    })
    .await;
    let before = cluster.nodes()[cut_off].chunks().await.len();
    put(&client, "new", Payload::new(99, 6 * MIB)).await;
    assert_eq!(cluster.nodes()[cut_off].chunks().await.len(), before);

    cluster.node(cut_off).proxy().set(Passage::Open);
    cluster.wait_for_live(4).await;
    cluster
        .wait_for_copies(DEADLINE, |copies| copies.values().all(|count| *count == 2))
        .await;
    for seed in 0..OBJECTS {
        assert_stored(&client, &seed.to_string(), Payload::new(seed, MIB)).await;
    }
}
