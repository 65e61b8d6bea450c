//! Nodes that are lost at the worst moments: any two at once, and one while chunks move, on disks or
//! between nodes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use compat_tests::{Cluster, Payload, eventually};

use crate::kit::{MIB, assert_stored, client_with_bucket, put};

/// A silent node is given up as soon as it is suspected, garbage goes at once, nodes are kept even to
/// two chunks, slowly.
const SETTINGS: [(&str, &str); 4] = [
    ("--node-down-after", "6"),
    ("--gc-grace", "1"),
    ("--rebalance-threshold", "0"),
    ("--move-rate", "4MiB"),
];
const HEALED_WITHIN: Duration = Duration::from_secs(120);
/// A node compacts what has lost nothing for five seconds.
const COMPACTS_WITHIN: Duration = Duration::from_secs(120);
/// A compaction may be over before the kill comes; so many are tried.
const COMPACTIONS_MAX: usize = 3;

async fn put_all(client: &Client, payloads: &[Payload]) {
    for payload in payloads {
        put(client, &payload.seed.to_string(), *payload).await;
    }
}

async fn assert_all(client: &Client, payloads: &[Payload]) {
    for payload in payloads {
        assert_stored(client, &payload.seed.to_string(), *payload).await;
    }
}

#[tokio::test]
async fn losing_any_two_of_six_nodes_loses_nothing() {
    let mut cluster = Cluster::start(6, 3).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let payloads: Vec<_> = (1..=12)
        .map(|seed| Payload::new(seed, seed * seed * 70_000))
        .collect();
    put_all(&client, &payloads).await;
    put(&client, "long", Payload::new(99, 50 * MIB)).await;
    for one in 0..6 {
        for other in one + 1..6 {
            cluster.node(one).kill().await;
            cluster.node(other).kill().await;
            assert_all(&client, &payloads).await;
            assert_stored(&client, "long", Payload::new(99, 50 * MIB)).await;
            cluster.node(one).start_again().await;
            cluster.node(other).start_again().await;
            cluster.wait_for_live(6).await;
        }
    }
}

/// Lets an empty node join three and kills `victim` for good while chunks move to the newcomer.
async fn lose_while_rebalancing(victim: usize) {
    let mut cluster = Cluster::start_with(3, 2, &SETTINGS).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let payloads: Vec<_> = (1..=12).map(|seed| Payload::new(seed, 4 * MIB)).collect();
    put_all(&client, &payloads).await;
    cluster.add_node().await;
    eventually("the first moved chunk", HEALED_WITHIN, async || {
        let job = cluster.job("rebalance").await;
        (job["done_units"].as_u64() > Some(0) && job["state"] == "running").then_some(())
    })
    .await;

    cluster.node(victim).kill().await;

    assert_all(&client, &payloads).await;
    let is_whole = |copies: &BTreeMap<_, usize>| {
        copies.len() == 48 && copies.values().all(|count| *count == 2)
    };
    cluster.wait_for_copies(HEALED_WITHIN, is_whole).await;
    assert_all(&client, &payloads).await;
}

#[tokio::test]
async fn losing_a_node_that_gives_chunks_to_a_newcomer_loses_nothing() {
    lose_while_rebalancing(0).await;
}

#[tokio::test]
async fn losing_the_newcomer_that_gets_chunks_loses_nothing() {
    lose_while_rebalancing(3).await;
}

#[tokio::test]
async fn losing_a_node_while_it_compacts_loses_nothing() {
    for _ in 0..COMPACTIONS_MAX {
        if lose_while_compacting().await {
            return;
        }
    }
    panic!("{COMPACTIONS_MAX} kills came too late");
}

/// Kills a node while it compacts, and reads everything from it alone; false when it had done.
async fn lose_while_compacting() -> bool {
    let mut cluster = Cluster::start_with(3, 3, &SETTINGS).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let payloads: Vec<_> = (1..=90).map(|seed| Payload::new(seed, MIB)).collect();
    put_all(&client, &payloads).await;
    let data = cluster.nodes()[0].data();
    let pid = cluster.nodes()[0].process().pid();
    let (used, before_bytes) = (segments_in_use(&data), written_bytes(pid));
    // Less than half stays of each segment, but more than what is compacted while deletes still come.
    let (kept, deleted): (Vec<_>, Vec<_>) = payloads
        .into_iter()
        .partition(|payload| payload.seed % 5 < 2);
    for payload in &deleted {
        let delete = client.delete_object().bucket("big");
        let delete = delete.key(payload.seed.to_string()).send().await;
        delete.expect("it is deleted");
    }
    // What it writes while nobody puts anything is what compaction moves.
    eventually("the middle of a compaction", COMPACTS_WITHIN, async || {
        (written_bytes(pid) > before_bytes + 4 * MIB).then_some(())
    })
    .await;

    cluster.node(0).kill().await;

    if segments_in_use(&data) < used {
        return false;
    }
    cluster.node(0).start_again().await;
    cluster.wait_for_live(3).await;
    // Its own copies are all that there is.
    cluster.node(1).kill().await;
    cluster.node(2).kill().await;
    assert_all(&client, &kept).await;
    true
}

/// Bytes that a process has written to files and sockets.
fn written_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    let number = line.and_then(|number| number.parse().ok());
    number.expect("the kernel counts what is written")
}

/// Segments whose header says that they are in use (docs/chunk-format.md).
fn segments_in_use(data: &Path) -> usize {
    let segments = fs::read_dir(data.join("segments")).expect("a directory");
    let in_use = segments.filter(|segment| {
        let path = segment.as_ref().expect("an entry").path();
        let bytes = fs::read(path).expect("a segment can be read");
        bytes[10] == 1
    });
    in_use.count()
}
