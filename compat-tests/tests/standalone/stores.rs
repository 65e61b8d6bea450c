//! Stores that are missing at the start of a standalone gateway are not mistaken for new ones.

use std::fs;
use std::time::Duration;

use compat_tests::{Payload, Standalone, eventually};

use crate::kit::{MIB, assert_stored, client_with_bucket, put};

const PAYLOAD: Payload = Payload::new(1, 3 * MIB);
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_start_without_any_known_store_is_refused() {
    let mut server = Standalone::start().await;
    let client = client_with_bucket(server.endpoint()).await;
    put(&client, "k", PAYLOAD).await;
    server.gateway().terminate().await;
    let (nodes, away) = (server.data().join("nodes"), server.data().join("away"));
    fs::rename(&nodes, &away).unwrap();
    let said = server.gateway().refused_start().await;
    assert!(said.contains("mount their disks"), "{said}");

    fs::remove_dir_all(&nodes).unwrap();
    fs::rename(&away, &nodes).unwrap();
    server.gateway().start_again().await;
    assert_stored(&client, "k", PAYLOAD).await;
}

#[tokio::test]
async fn what_a_lost_store_held_is_copied_to_the_new_one_in_its_place() {
    let settings = ["--replicas", "2", "--node-down-after", "6"];
    let mut server = Standalone::start_with(&settings).await;
    let client = client_with_bucket(server.endpoint()).await;
    put(&client, "k", PAYLOAD).await;
    server.gateway().terminate().await;
    fs::remove_dir_all(server.data().join("nodes/1")).unwrap();
    server.gateway().start_again().await;
    let lost = eventually("the lost store in the status", DEADLINE, async || {
        let nodes = server.status().await["nodes"].as_array().cloned()?;
        nodes.into_iter().find(|node| node["state"] != "live")
    })
    .await;
    assert!(
        lost["address"]
            .as_str()
            .is_some_and(|dir| dir.ends_with("nodes/1")),
        "{lost}"
    );
    eventually("copies in the new store", DEADLINE, async || {
        let nodes = server.status().await["nodes"].as_array().cloned()?;
        let is_filled =
            |node: &serde_json::Value| node["state"] == "live" && node["chunk_count"] == 3;
        (nodes.iter().filter(|node| is_filled(node)).count() == 2).then_some(())
    })
    .await;
    assert_stored(&client, "k", PAYLOAD).await;
}
