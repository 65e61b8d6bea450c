//! The job, by what operators have.

use compat_tests::Cluster;

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
