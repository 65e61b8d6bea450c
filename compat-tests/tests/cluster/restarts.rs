//! Stops, kills and restarts of everything: what was acknowledged is there, and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use compat_tests::{Cluster, Payload, Standalone, eventually};
use tokio::task::JoinSet;

use crate::kit::{MIB, PIECE_BYTES, assert_stored, client_with_bucket, put, start_upload};

const PAYLOADS: [Payload; 4] = [
    Payload::new(1, 0),
    Payload::new(2, 1),
    Payload::new(3, 3 * MIB),
    Payload::new(4, 20 * MIB),
];

async fn put_all(client: &Client) {
    for payload in PAYLOADS {
        put(client, &payload.seed.to_string(), payload).await;
    }
}

async fn assert_all_stored(client: &Client) {
    for payload in PAYLOADS {
        assert_stored(client, &payload.seed.to_string(), payload).await;
    }
}

#[tokio::test]
async fn everything_is_there_after_every_process_was_restarted() {
    let mut cluster = Cluster::start(6, 2).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    put_all(&client).await;
    for node in 0..6 {
        cluster.node(node).terminate().await;
    }
    cluster.gateway().terminate().await;
    cluster.gateway().start_again().await;
    for node in 0..6 {
        cluster.node(node).start_again().await;
    }
    cluster.wait_for_live(6).await;
    assert_all_stored(&client).await;
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_every_process_was_killed() {
    let mut cluster = Cluster::start(6, 2).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    put_all(&client).await;
    cluster.gateway().kill().await;
    for node in 0..6 {
        cluster.node(node).kill().await;
    }
    for node in 0..6 {
        cluster.node(node).start_again().await;
    }
    cluster.gateway().start_again().await;
    cluster.wait_for_live(6).await;
    assert_all_stored(&client).await;
    put_all(&client).await;
}

#[tokio::test]
async fn a_standalone_server_keeps_its_objects_over_a_stop_and_a_kill() {
    let mut server = Standalone::start().await;
    let client = client_with_bucket(server.endpoint()).await;
    put_all(&client).await;
    server.gateway().terminate().await;
    server.gateway().start_again().await;
    assert_all_stored(&client).await;
    let late = Payload::new(9, 9 * MIB);
    put(&client, "late", late).await;
    server.gateway().kill().await;
    server.gateway().start_again().await;
    assert_all_stored(&client).await;
    assert_stored(&client, "late", late).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_a_kill_cut_off_was_never_there() {
    let mut server = Standalone::start().await;
    let client = client_with_bucket(server.endpoint()).await;
    let before = Payload::new(1, 100);
    put(&client, "k", before).await;
    let payload = Payload::new(2, 30 * MIB);
    let (pieces, upload) = start_upload(&client, payload);
    for piece in payload.pieces(PIECE_BYTES).take(20 * 16) {
        pieces.send(piece).await.expect("the upload goes on");
    }
    server.gateway().kill().await;
    drop(pieces);
    assert!(!upload.await.expect("no panic"), "the upload fails");
    server.gateway().start_again().await;
    assert_stored(&client, "k", before).await;
    put(&client, "k", payload).await;
    assert_stored(&client, "k", payload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_kill_under_load_is_there_after_it() {
    const WRITERS: u64 = 8;
    let mut server = Standalone::start().await;
    let client = client_with_bucket(server.endpoint()).await;
    let acknowledged = std::sync::Arc::new(AtomicU64::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (client, acknowledged) = (client.clone(), acknowledged.clone());
        // Writes objects of growing size until one fails; returns how many did not.
        writers.spawn(async move {
            for number in 0.. {
                let payload = Payload::new(writer * 1000 + number, number * 5000);
                let put = client.put_object().bucket("big");
                let put = put.key(format!("{writer}/{number}"));
                let put = put.body(ByteStream::from(payload.bytes()));
                if put.send().await.is_err() {
                    return (writer, number);
                }
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            (writer, 0)
        });
    }
    eventually("a hundred writes", Duration::from_secs(60), async || {
        (acknowledged.load(Ordering::Relaxed) >= 100).then_some(())
    })
    .await;
    server.gateway().kill().await;
    let counts = writers.join_all().await;
    server.gateway().start_again().await;
    for (writer, count) in counts {
        for number in 0..count {
            let payload = Payload::new(writer * 1000 + number, number * 5000);
            assert_stored(&client, &format!("{writer}/{number}"), payload).await;
        }
    }
}
