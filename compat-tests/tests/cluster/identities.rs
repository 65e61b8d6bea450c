//! Chunk servers that are not who they say, or others than were there before: operators are told.

use std::fs;
use std::path::Path;
use std::time::Duration;

use compat_tests::{Cluster, eventually};

const DEADLINE: Duration = Duration::from_secs(120);

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match from.is_dir() {
            true => copy_directory(&from, &to),
            false => drop(fs::copy(&from, &to).expect("a file")),
        }
    }
}

#[tokio::test]
async fn of_two_chunk_servers_with_one_identity_both_are_named() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.node(0).terminate().await;
    copy_directory(&cluster.nodes()[0].data(), &cluster.next_data());
    cluster.node(0).start_again().await;
    cluster.add_node().await;

    let addresses = [0, 1].map(|at| cluster.nodes()[at].address().to_owned());
    eventually("a word about both", DEADLINE, async || {
        let status = cluster.admin(&["status"]).await.ok()?;
        let is_told = status.contains("is refused") && status.contains("the one that is used");
        (is_told && addresses.iter().all(|address| status.contains(address))).then_some(())
    })
    .await;
    let told = cluster.gateway().process().log();
    assert_eq!(
        told.matches("a chunk server was refused").count(),
        1,
        "{told}"
    );
}

#[tokio::test]
async fn a_chunk_server_whose_directory_was_lost_is_not_waited_for_at_its_address() {
    let mut cluster = Cluster::start(1, 1).await;
    let replaced = cluster.add_node_behind_proxy().await;
    cluster.wait_for_live(2).await;

    cluster.node(replaced).kill().await;
    fs::remove_dir_all(cluster.nodes()[replaced].data()).expect("the directory is lost");
    cluster.node(replaced).start_again().await;

    eventually("a word about the other one", DEADLINE, async || {
        let status = cluster.admin(&["status"]).await.ok()?;
        status.contains("on other data directories").then_some(())
    })
    .await;
}
