//! The job, by what operators have.

use std::time::Duration;

use compat_tests::{Cluster, eventually};

/// A round ends within a second or two of the order.
const PAUSED_WITHIN: Duration = Duration::from_secs(30);

/// Pauses the job, and waits until it rests.
pub(crate) async fn pause(cluster: &Cluster) {
    let paused = cluster.admin(&["job", "pause", "rebalance"]).await;
    paused.expect("a job can be paused");
    eventually("a paused job", PAUSED_WITHIN, async || {
        (cluster.job("rebalance").await["state"] == "paused").then_some(())
    })
    .await;
}

/// What the job has moved since the gateway's start.
pub(crate) async fn moved_bytes(cluster: &Cluster) -> u64 {
    let job = cluster.job("rebalance").await;
    job["done_bytes"].as_u64().expect("a job counts bytes")
}

/// The job was not done before the measurement was.
///
/// # Panics
/// If it was: the figures would be of nothing.
pub(crate) async fn assert_running(cluster: &Cluster) {
    let job = cluster.job("rebalance").await;
    assert_eq!(
        job["state"], "running",
        "fill more: the nodes are even: {job}"
    );
}
