//! `gateway serve` over chunk servers that are processes of their own, some of which die.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use compat_tests::{
    ChunkServer, ClientHome, Cluster, Payload, Standalone, body_of_pieces, eventually, sdk,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const MIB: u64 = 1024 * 1024;
const PIECE_BYTES: u64 = 64 * 1024;

/// Chunks per node, by number of the node.
async fn chunks_per_node(cluster: &Cluster) -> Vec<usize> {
    let mut counts = Vec::new();
    for node in cluster.nodes() {
        counts.push(node.chunks().await.len());
    }
    counts
}

async fn put(client: &Client, key: &str, payload: Payload) {
    let put = client.put_object().bucket("big").key(key);
    put.body(ByteStream::from(payload.bytes()))
        .send()
        .await
        .unwrap();
}

async fn assert_stored(client: &Client, key: &str, payload: Payload) {
    let got = client.get_object().bucket("big").key(key).send().await;
    let body = got.unwrap().body.collect().await.unwrap().into_bytes();
    assert!(body == payload.bytes(), "{key} differs");
}

#[tokio::test]
async fn the_aws_cli_s_files_come_back_from_six_nodes() {
    let cluster = Cluster::start(6, 1).await;
    let home = ClientHome::new(cluster.endpoint());
    home.aws(&["s3", "mb", "s3://sizes"]).await;
    for (seed, length_bytes) in [(1, 1), (2, MIB), (3, 3 * MIB), (4, 100 * MIB)] {
        let payload = Payload::new(seed, length_bytes);
        payload.write_to(&home.path("up"));
        let url = format!("s3://sizes/{length_bytes}");
        home.aws(&["s3", "cp", "--no-progress", "up", &url]).await;
        home.aws(&["s3", "cp", "--no-progress", &url, "down"]).await;
        payload.assert_in(&home.path("down"));
    }
}

#[tokio::test]
async fn three_mebibytes_lie_as_three_chunks_on_three_nodes() {
    let cluster = Cluster::start(6, 1).await;
    let client = sdk(cluster.endpoint());
    client.create_bucket().bucket("big").send().await.unwrap();
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
    let client = sdk(cluster.endpoint());
    client.create_bucket().bucket("big").send().await.unwrap();
    put(&client, "one", Payload::new(1, MIB)).await;
    let mut counts = chunks_per_node(&cluster).await;
    counts.sort_unstable();
    assert_eq!(counts, [0, 1, 1]);
}

/// An upload that goes on as pieces are sent, and the way to send them.
fn start_upload(client: &Client, payload: Payload) -> (mpsc::Sender<Bytes>, JoinHandle<()>) {
    let (pieces, body) = mpsc::channel::<Bytes>(1);
    let body = futures::stream::unfold(body, async |mut body| {
        body.recv().await.map(|piece| (piece, body))
    });
    let put = client.put_object().bucket("big").key("k");
    let put = put.body(body_of_pieces(payload.length_bytes, body));
    let upload = tokio::spawn(async move {
        put.send().await.expect("the upload succeeds");
    });
    (pieces, upload)
}

/// Uploads 30 MiB to four nodes with two replicas; kills the node that `victim` picks while the
/// third chunk of six is under way; then reads without that node, and with it again.
async fn upload_over_a_death(victim: impl AsyncFn(&Cluster) -> Option<usize>) {
    let mut cluster = Cluster::start(4, 2).await;
    let client = sdk(cluster.endpoint());
    client
        .create_bucket()
        .bucket("big")
        .send()
        .await
        .expect("a bucket can be made");
    let payload = Payload::new(1, 30 * MIB);
    let (pieces, upload) = start_upload(&client, payload);
    let mut rest = payload.pieces(PIECE_BYTES);
    for piece in rest.by_ref().take(12 * 16) {
        pieces.send(piece).await.expect("the upload goes on");
    }
    let number = eventually("a node to kill", Duration::from_secs(20), async || {
        victim(&cluster).await
    })
    .await;
    cluster.node(number).kill().await;
    for piece in rest {
        pieces.send(piece).await.expect("the upload goes on");
    }
    drop(pieces);

    upload.await.expect("the upload succeeds");
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
    let client = sdk(cluster.endpoint());
    client.create_bucket().bucket("big").send().await.unwrap();
    let payload = Payload::new(1, 60 * MIB);
    put(&client, "k", payload).await;
    for victim in 0..2 {
        let got = client.get_object().bucket("big").key("k").send().await;
        let mut body = got.unwrap().body;
        let mut received_bytes = 0;
        while let Some(piece) = body.next().await {
            let piece = piece.unwrap();
            let end = received_bytes + piece.len() as u64;
            assert!(
                piece == payload.slice(received_bytes, end),
                "{received_bytes}"
            );
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

#[tokio::test]
async fn everything_is_there_after_every_process_was_restarted() {
    let mut cluster = Cluster::start(6, 2).await;
    let client = sdk(cluster.endpoint());
    client.create_bucket().bucket("big").send().await.unwrap();
    let payloads = [(1, 1), (2, 3 * MIB), (3, 20 * MIB)].map(|(n, bytes)| Payload::new(n, bytes));
    for payload in payloads {
        put(&client, &payload.seed.to_string(), payload).await;
    }
    for node in 0..6 {
        cluster.node(node).terminate().await;
    }
    cluster.gateway().terminate().await;
    cluster.gateway().start_again().await;
    for node in 0..6 {
        cluster.node(node).start_again().await;
    }
    cluster.wait_for_live(6).await;
    for payload in payloads {
        assert_stored(&client, &payload.seed.to_string(), payload).await;
    }
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_every_process_was_killed() {
    let mut cluster = Cluster::start(6, 2).await;
    let client = sdk(cluster.endpoint());
    client.create_bucket().bucket("big").send().await.unwrap();
    let payloads = [(1, 1), (2, 3 * MIB), (3, 20 * MIB)].map(|(n, bytes)| Payload::new(n, bytes));
    for payload in payloads {
        put(&client, &payload.seed.to_string(), payload).await;
    }
    cluster.gateway().kill().await;
    for node in 0..6 {
        cluster.node(node).kill().await;
    }
    for node in 0..6 {
        cluster.node(node).start_again().await;
    }
    cluster.gateway().start_again().await;
    cluster.wait_for_live(6).await;
    for payload in payloads {
        assert_stored(&client, &payload.seed.to_string(), payload).await;
    }
}

#[tokio::test]
async fn a_standalone_server_keeps_its_objects_over_a_stop_and_a_kill() {
    let mut server = Standalone::start().await;
    let client = sdk(server.endpoint());
    client.create_bucket().bucket("big").send().await.unwrap();
    let payload = Payload::new(1, 9 * MIB);
    put(&client, "k", payload).await;
    server.gateway().terminate().await;
    server.gateway().start_again().await;
    assert_stored(&client, "k", payload).await;
    put(&client, "k2", payload).await;
    server.gateway().kill().await;
    server.gateway().start_again().await;
    assert_stored(&client, "k", payload).await;
    assert_stored(&client, "k2", payload).await;
}
