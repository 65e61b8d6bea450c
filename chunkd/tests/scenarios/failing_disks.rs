//! Disks that fail while the node serves: fenced off and reported, and the others go on. Failures of
//! a whole filesystem need one of their own, which takes root; elsewhere those scenarios say that
//! they are skipped.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chunkd::node::{DiskChecks, DiskHealth};
use chunkd::{ChunkNode, NodeOptions, Probe, Step};
use chunkproto::wire::ListPage;
use chunkproto::{ChunkError, ChunkId, ChunkResult};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::kit::{KIB, MIB, Server, data, get, put, receipt_of, secret};
use crate::loop_disk::LoopDisk;

fn loop_disks() -> Option<[LoopDisk; 2]> {
    Some([LoopDisk::new(64)?, LoopDisk::new(64)?])
}

/// A node of the directories `a` and `b`, with some chunks on each.
struct Fixture {
    node: ChunkNode,
    a: PathBuf,
    b: PathBuf,
    chunks: Vec<(ChunkId, Vec<u8>)>,
    home: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let home = TempDir::new().unwrap();
        let [a, b] = ["a", "b"].map(|name| home.path().join(name));
        Self::with(home, a, b).await
    }

    /// On filesystems of equal size, so that each gets about half of the chunks.
    async fn on([a, b]: &[LoopDisk; 2]) -> Self {
        Self::with(TempDir::new().unwrap(), a.data(), b.data()).await
    }

    async fn with(home: TempDir, a: PathBuf, b: PathBuf) -> Self {
        Self::with_probe(home, a, b, Probe::default()).await
    }

    async fn with_probe(home: TempDir, a: PathBuf, b: PathBuf, probe: Probe) -> Self {
        let mut options = NodeOptions::new([&a, &b]);
        options.store.probe = probe;
        options.store.segment_bytes = 1 << 20;
        options.checks = DiskChecks {
            period: Duration::MAX, // the scenarios look themselves
            timeout: Duration::from_secs(60),
        };
        let node = ChunkNode::open(options).unwrap();
        let mut chunks = Vec::new();
        for seed in 0..60 {
            let (id, data) = (ChunkId::generate(), data(100 * KIB, seed));
            put(&node, id, &data).await.unwrap();
            chunks.push((id, data));
        }
        Self {
            node,
            a,
            b,
            chunks,
            home,
        }
    }

    /// How the disk at `dir` is.
    fn health(&self, dir: &Path) -> DiskHealth {
        let disks = self.node.state().disks;
        let disk = disks.into_iter().find(|disk| disk.dir == dir);
        disk.unwrap().health
    }

    /// Reads all chunks: how many are good. None may be reported missing or damaged.
    async fn good_reads(&self) -> usize {
        let mut good = 0;
        for (id, data) in &self.chunks {
            match get(&self.node, *id, None).await {
                Ok(read) => {
                    assert!(read == *data);
                    good += 1;
                }
                Err(ChunkError::Refused(_) | ChunkError::Io(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        good
    }

    /// Puts chunks until one fails.
    async fn put_until_failure(&self, length: usize) -> ChunkError {
        for seed in 0..1000 {
            if let Err(error) = self.put_new(length, seed).await {
                return error;
            }
        }
        panic!("no put failed");
    }

    /// Puts chunks until one fails, or the disk at `dir` gets none any more: its own upkeep may meet the failure
    /// first.
    async fn put_until_disk_fails(&self, dir: &Path) {
        for seed in 0..1000 {
            let put = self.put_new(100 * KIB, seed).await;
            if let Err(error) = &put {
                assert!(matches!(error, ChunkError::Io(_)), "{error}");
            }
            if put.is_err() || self.health(dir) != DiskHealth::Serving {
                return;
            }
        }
        panic!("the disk did not fail");
    }

    async fn put_new(&self, length: usize, seed: u64) -> ChunkResult<()> {
        let (id, data) = (ChunkId::generate(), data(length, seed));
        let receipt = put(&self.node, id, &data).await?;
        assert_eq!(receipt, receipt_of(&data));
        Ok(())
    }

    /// The node goes on: new chunks are kept and read back.
    async fn assert_serves(&self) {
        for seed in 0..20 {
            let (id, data) = (ChunkId::generate(), data(50 * KIB, seed));
            put(&self.node, id, &data).await.unwrap();
            assert!(get(&self.node, id, None).await.unwrap() == data);
        }
        assert!(self.node.state().total.writable);
    }
}

#[tokio::test]
async fn a_directory_that_vanishes_is_fenced_and_the_others_serve() {
    let fixture = Fixture::new().await;
    let before = fixture.node.state().total;
    fs::rename(&fixture.b, fixture.home.path().join("gone")).unwrap();
    fixture.node.check_disks().await;

    let reason = fixture.health(&fixture.b);
    assert!(
        matches!(&reason, DiskHealth::Fenced(why) if why.contains("disk.json cannot be read")),
        "{reason:?}"
    );
    assert_eq!(fixture.health(&fixture.a), DiskHealth::Serving);
    let state = fixture.node.state();
    assert_eq!(state.total.disk_errors, before.disk_errors + 1);
    assert!(state.total.chunk_count < before.chunk_count);
    let good = fixture.good_reads().await;
    assert_eq!(good as u64, state.total.chunk_count);
    assert!(fixture.node.list(None, 100).await.unwrap().incomplete);
    let deleted = fixture.node.delete(fixture.chunks[0].0).await;
    assert!(matches!(deleted, Err(ChunkError::Refused(_))));
    fixture.assert_serves().await;
}

#[tokio::test]
async fn a_disk_that_takes_no_writes_is_fenced_at_the_first_one_and_still_read() {
    let fixture = Fixture::new().await;
    // Chunks of this size are written to files of their own, which begin in tmp/.
    fs::rename(fixture.b.join("tmp"), fixture.home.path().join("tmp")).unwrap();
    let error = fixture.put_until_failure(9 * MIB).await;
    assert!(matches!(error, ChunkError::Io(_)), "{error}");

    let health = fixture.health(&fixture.b);
    assert!(
        matches!(&health, DiskHealth::ReadOnly(why) if why.contains("trial write")),
        "{health:?}"
    );
    assert_eq!(fixture.good_reads().await, fixture.chunks.len());
    assert!(!fixture.node.list(None, 100).await.unwrap().incomplete);
    for seed in 0..10 {
        fixture.put_new(9 * MIB, seed).await.unwrap();
    }
    let deleted = fixture.node.delete(fixture.chunks[0].0).await;
    assert!(matches!(deleted, Err(ChunkError::Refused(_))));
}

#[tokio::test]
async fn a_failed_sync_fences_its_disk_alone() {
    let fail_next = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&fail_next);
    let probe = Probe::new(move |step| {
        if step == Step::SyncGroup && fails.swap(false, Ordering::SeqCst) {
            return Err(io::Error::other("made up"));
        }
        Ok(())
    });
    let home = TempDir::new().unwrap();
    let [a, b] = ["a", "b"].map(|name| home.path().join(name));
    let fixture = Fixture::with_probe(home, a, b, probe).await;
    fail_next.store(true, Ordering::SeqCst);
    let error = fixture.put_until_failure(4 * KIB).await;
    assert!(matches!(error, ChunkError::Io(_)), "{error}");

    let fenced = fixture.node.state().fenced_disks();
    assert!(fenced.len() == 1 && fenced[0].readable && fenced[0].reason.contains("made up"));
    assert_eq!(fixture.good_reads().await, fixture.chunks.len());
    fixture.assert_serves().await;
    let deleted = fixture.node.delete(fixture.chunks[0].0).await;
    assert!(matches!(deleted, Err(ChunkError::Refused(_))));
}

#[tokio::test]
async fn a_disk_that_hangs_is_fenced_until_it_answers() {
    let fixture = Fixture::new().await;
    let identity = fixture.b.join("disk.json");
    let content = fs::read(&identity).unwrap();
    fixture.node.close().await.unwrap();
    let Fixture { node, a, b, .. } = fixture;
    drop(node);
    let mut options = NodeOptions::new([&a, &b]);
    options.checks.timeout = Duration::from_millis(50);
    let node = ChunkNode::open(options).unwrap();

    // Who opens a pipe waits until it has a writer.
    fs::remove_file(&identity).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(&identity).status();
    assert!(pipe.unwrap().success());
    node.check_disks().await;
    let fenced = node.state().fenced_disks();
    let hangs = fenced
        .iter()
        .find(|disk| disk.path == b.display().to_string());
    assert!(hangs.unwrap().reason.contains("does not answer"));
    // The other disk is no faster than the machine.
    check_until(&node, |node| node.state().total.writable).await;

    let mut writer = File::options().write(true).open(&identity).unwrap();
    let aside = identity.with_extension("aside");
    fs::write(&aside, &content).unwrap();
    fs::rename(&aside, &identity).unwrap();
    writer.write_all(&content).unwrap();
    drop(writer);
    check_until(&node, |node| node.state().fenced_disks().is_empty()).await;
}

/// Looks at the disks until the node is as it should be.
async fn check_until(node: &ChunkNode, is_so: impl Fn(&ChunkNode) -> bool) {
    let look = async {
        while !is_so(node) {
            node.check_disks().await;
        }
    };
    timeout(Duration::from_secs(30), look).await.unwrap();
}

#[tokio::test]
async fn fenced_disks_show_in_health_metrics_and_listings() {
    let home = TempDir::new().unwrap();
    let (a, b) = (home.path().join("a"), home.path().join("b"));
    let gone = home.path().join("gone");
    let server = Server::of(home, NodeOptions::new([&a, &b])).await;
    let ask = async |path: &str| {
        let request = reqwest::Client::new().get(format!("{}{path}", server.url));
        let request = request.header("authorization", secret().to_authorization());
        request.send().await.unwrap()
    };
    assert_eq!(ask("/health").await.text().await.unwrap(), "ok\n");
    fs::rename(&b, &gone).unwrap();
    server.store.check_disks().await;

    let health = ask("/health").await.text().await.unwrap();
    let line = format!("ok\ndisk {} is fenced off: ", b.display());
    assert!(health.starts_with(&line), "{health}");
    assert!(ask("/ready").await.status().is_success());
    let metrics = ask("/metrics").await.text().await.unwrap();
    for (dir, up) in [(&a, 1), (&b, 0)] {
        let line = format!(
            "\nsextant_chunkd_disk_up{{disk=\"{}\"}} {up}\n",
            dir.display()
        );
        assert!(metrics.contains(&line), "{metrics}");
    }
    let errors = format!("disk_errors_total{{disk=\"{}\"}} 1\n", b.display());
    assert!(metrics.contains(&errors), "{metrics}");
    let page: ListPage = ask("/v1/chunks").await.json().await.unwrap();
    assert!(page.incomplete);
    let chunk = ask(&format!("/v1/chunks/{}", ChunkId::generate())).await;
    assert_eq!(chunk.status(), 503);

    fs::rename(&a, gone.join("as well")).unwrap();
    server.store.check_disks().await;
    let ready = ask("/ready").await;
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.text().await.unwrap().lines().count(), 3);
}

#[tokio::test]
async fn a_disk_that_shuts_down_is_fenced_and_its_chunks_return_with_it() {
    let Some(disks) = loop_disks() else { return };
    let fixture = Fixture::on(&disks).await;
    disks[1].cut();
    fixture.put_until_disk_fails(&fixture.b).await;
    fixture.node.check_disks().await;
    let health = fixture.health(&fixture.b);
    assert!(matches!(health, DiskHealth::Fenced(_)), "{health:?}");
    fixture.assert_serves().await;
    assert!(fixture.good_reads().await < fixture.chunks.len());

    let Fixture {
        node,
        a,
        b,
        chunks,
        home: _home,
    } = fixture;
    node.close().await.unwrap();
    drop(node);
    disks[1].mount_again();
    let node = ChunkNode::open(NodeOptions::new([a, b])).unwrap();
    assert!(node.state().fenced_disks().is_empty());
    for (id, data) in &chunks {
        assert!(get(&node, *id, None).await.unwrap() == *data);
    }
}

#[tokio::test]
async fn a_disk_that_shuts_down_is_noticed_without_a_request() {
    let Some(disks) = loop_disks() else { return };
    let fixture = Fixture::on(&disks).await;
    disks[1].cut();
    fixture.node.check_disks().await;
    let health = fixture.health(&fixture.b);
    assert!(matches!(health, DiskHealth::Fenced(_)), "{health:?}");
}

#[tokio::test]
async fn a_filesystem_that_goes_read_only_is_read_and_not_written() {
    let Some(disks) = loop_disks() else { return };
    let fixture = Fixture::on(&disks).await;
    disks[1].go_read_only();
    fixture.put_until_disk_fails(&fixture.b).await;
    let health = fixture.health(&fixture.b);
    assert!(matches!(health, DiskHealth::ReadOnly(_)), "{health:?}");
    assert_eq!(fixture.good_reads().await, fixture.chunks.len());
    fixture.assert_serves().await;
}

#[tokio::test]
async fn a_full_disk_leaves_new_chunks_to_the_others_and_admits_deletes() {
    let Some(disks) = loop_disks() else { return };
    let fixture = Fixture::on(&disks).await;
    disks[1].fill();
    fixture.assert_serves().await;
    assert_eq!(fixture.good_reads().await, fixture.chunks.len());
    assert_eq!(fixture.health(&fixture.b), DiskHealth::Serving);
    for (id, _) in &fixture.chunks {
        fixture.node.delete(*id).await.unwrap();
    }
    assert_eq!(fixture.health(&fixture.b), DiskHealth::Serving);
}

#[tokio::test]
async fn an_unmounted_disk_is_fenced_and_its_mount_point_left_alone() {
    let Some(disks) = loop_disks() else { return };
    let fixture = Fixture::on(&disks).await;
    disks[1].unmount();
    fixture.node.check_disks().await;
    let health = fixture.health(&fixture.b);
    assert!(matches!(health, DiskHealth::Fenced(_)), "{health:?}");
    fixture.assert_serves().await;
    let Fixture { node, a, b, .. } = fixture;
    node.close().await.unwrap();
    drop(node);

    let node = ChunkNode::open(NodeOptions::new([a, b.clone()])).unwrap();
    assert_eq!(node.state().fenced_disks().len(), 1);
    assert!(!b.exists());
}
