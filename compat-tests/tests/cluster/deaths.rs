//! Nodes that die, and disks that lie, while objects go in and out.

use std::time::Duration;

use compat_tests::{ChunkServer, Cluster, Payload, eventually};

use crate::kit::{
    MIB, PIECE_BYTES, assert_stored, chunks_per_node, client_with_bucket, put, start_upload,
    turn_bytes,
};

/// Uploads 30 MiB to four nodes with two replicas; kills the node that `victim` picks while the
/// third chunk of six is under way; then reads without that node, and with it again.
async fn upload_over_a_death(victim: impl AsyncFn(&Cluster) -> Option<usize>) {
    let mut cluster = Cluster::start(4, 2).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let payload = Payload::new(1, 30 * MIB);
    let (pieces, upload) = start_upload(&client, payload);
    let mut rest = payload.pieces(PIECE_BYTES);
    for piece in rest.by_ref().take(12 * 16) {
        pieces.send(piece).await.expect("the upload goes on");
    }
    let number = eventually("a node to kill", Duration::from_secs(120), async || {
        victim(&cluster).await
    });
    let number = number.await;
    cluster.node(number).kill().await;
    for piece in rest {
        pieces.send(piece).await.expect("the upload goes on");
    }
    drop(pieces);

    assert!(upload.await.expect("no panic"), "the upload succeeds");
    assert_stored(&client, "k", payload).await;
    cluster.node(number).start_again().await;
    cluster.wait_for_live(4).await;
    assert_stored(&client, "k", payload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_with_a_stored_chunk_of_an_upload_costs_nothing() {
    upload_over_a_death(async |cluster| {
        let counts = chunks_per_node(cluster).await;
        counts.iter().position(|count| *count > 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_receiving_a_chunk_of_an_upload_costs_nothing() {
    upload_over_a_death(async |cluster| {
        let status = cluster.status().await;
        let receiving = status.iter().find(|node| node["in_flight"] != 0)?;
        let is_it = |node: &ChunkServer| receiving["address"] == node.address();
        cluster.nodes().iter().position(is_it)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_in_mid_download_costs_nothing() {
    let mut cluster = Cluster::start(3, 2).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let payload = Payload::new(1, 60 * MIB);
    put(&client, "k", payload).await;
    // Of three nodes with two replicas each of six chunks, any two hold all of them.
    for victim in 0..2 {
        let got = client.get_object().bucket("big").key("k").send().await;
        let mut body = got.unwrap().body;
        let mut received_bytes = 0;
        while let Some(piece) = body.next().await {
            let piece = piece.unwrap();
            let end = received_bytes + piece.len() as u64;
            let expected = payload.slice(received_bytes, end);
            assert!(piece == expected, "differs after {received_bytes}");
            received_bytes = end;
            if cluster.nodes()[victim].is_running() && received_bytes > 5 * MIB {
                cluster.node(victim).kill().await;
            }
        }
        assert_eq!(received_bytes, payload.length_bytes);
        cluster.node(victim).start_again().await;
        cluster.wait_for_live(3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_whose_last_replica_dies_breaks_off() {
    let mut cluster = Cluster::start(1, 1).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let payload = Payload::new(1, 60 * MIB);
    put(&client, "k", payload).await;
    let got = client.get_object().bucket("big").key("k").send().await;
    let mut body = got.unwrap().body;
    let mut received_bytes = 0;
    let outcome = loop {
        match body.next().await {
            Some(Ok(piece)) => {
                let end = received_bytes + piece.len() as u64;
                assert!(piece == payload.slice(received_bytes, end));
                received_bytes = end;
                cluster.node(0).kill().await;
            }
            Some(Err(_)) => break "broken off",
            None => break "ended as if it were whole",
        }
    };
    assert_eq!(outcome, "broken off", "after {received_bytes} bytes");

    cluster.node(0).start_again().await;
    cluster.wait_for_live(1).await;
    assert_stored(&client, "k", payload).await;
}

#[tokio::test]
async fn a_byte_that_turned_on_a_disk_never_reaches_a_client() {
    let mut cluster = Cluster::start(2, 2).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    let payload = Payload::new(1, 12 * MIB);
    put(&client, "k", payload).await;
    // Nothing that is turned is made good, however soon it is found.
    cluster.pause_job("repair").await;
    cluster.node(0).kill().await;
    turn_bytes(&cluster.nodes()[0].data().join("segments"));
    cluster.node(0).start_again().await;
    cluster.wait_for_live(2).await;
    // The good replica serves, whichever is asked first.
    for _ in 0..4 {
        assert_stored(&client, "k", payload).await;
    }

    // With the good replica away there is nothing true to send.
    cluster.node(1).kill().await;
    let got = client.get_object().bucket("big").key("k").send().await;
    if let Ok(got) = got {
        assert!(
            got.body.collect().await.is_err(),
            "a damaged chunk was sent"
        );
    }
}
