//! Several data directories under one node: where chunks go, what a restart finds, and which
//! directories are refused.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use chunkd::node::{DiskHealth, NodeState};
use chunkd::{ChunkNode, ChunkStore, NodeError, NodeOptions, OpenError, StoreOptions};
use chunkproto::{ChunkError, ChunkId, DiskId};
use futures::future::join_all;
use tempfile::TempDir;

use crate::kit::{MIB, data, get, info_of, names_in, open, put, receipt_of};

/// Directories for disks, made by whoever opens them.
fn dirs<const N: usize>() -> (TempDir, [PathBuf; N]) {
    let home = TempDir::new().unwrap();
    let names = ["a", "b", "c", "d"];
    let dirs = std::array::from_fn(|number| home.path().join(names[number]));
    (home, dirs)
}

fn open_node(dirs: &[PathBuf]) -> ChunkNode {
    ChunkNode::open(NodeOptions::new(dirs)).unwrap()
}

fn open_forgetting(dirs: &[PathBuf], forget: DiskId) -> Result<ChunkNode, NodeError> {
    ChunkNode::open(NodeOptions {
        forget: vec![forget],
        ..NodeOptions::new(dirs)
    })
}

fn refusal(dirs: &[PathBuf]) -> NodeError {
    match ChunkNode::open(NodeOptions::new(dirs)) {
        Ok(_) => panic!("{dirs:?} were opened"),
        Err(error) => error,
    }
}

async fn close(node: ChunkNode) {
    node.close().await.unwrap();
}

/// Puts `count` chunks of 1000 bytes.
async fn put_some(node: &ChunkNode, count: u64) -> Vec<(ChunkId, Vec<u8>)> {
    let mut chunks = Vec::new();
    for seed in 0..count {
        let (id, data) = (ChunkId::generate(), data(1000, seed));
        assert_eq!(put(node, id, &data).await.unwrap(), receipt_of(&data));
        chunks.push((id, data));
    }
    chunks
}

/// The chunks in one directory, while no node has it open.
async fn held(dir: &Path) -> BTreeSet<ChunkId> {
    let store = open(dir);
    let chunks = store.list(None, 10_000).await.unwrap();
    store.close().await.unwrap();
    chunks.into_iter().map(|chunk| chunk.id).collect()
}

/// Paths and reasons of the disks that are fenced off.
fn fenced(state: &NodeState) -> Vec<(PathBuf, String)> {
    let fenced = state.fenced_disks().into_iter();
    fenced
        .map(|disk| (PathBuf::from(disk.path), disk.reason))
        .collect()
}

fn disk_at(state: &NodeState, dir: &Path) -> DiskId {
    let disk = state.disks.iter().find(|disk| disk.dir == dir);
    disk.unwrap().disk_id
}

fn copy_dir(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

#[tokio::test]
async fn chunks_spread_over_the_disks_and_read_back_after_a_restart_in_another_order() {
    let (_home, [a, b, c]) = dirs();
    let node = open_node(&[a.clone(), b.clone(), c.clone()]);
    let mut chunks = put_some(&node, 60).await;
    let large = (ChunkId::generate(), data(9 * MIB, 1));
    put(&node, large.0, &large.1).await.unwrap();
    chunks.push(large);
    let node_id = node.node_id();
    close(node).await;
    for dir in [&a, &b, &c] {
        assert!(held(dir).await.len() > 5, "{}", dir.display());
    }

    let node = open_node(&[c, a, b]);
    assert_eq!(node.node_id(), node_id);
    for (id, data) in &chunks {
        assert!(get(&node, *id, None).await.unwrap() == *data);
        assert_eq!(node.head(*id).await.unwrap(), info_of(*id, data));
        node.owner(*id).await.unwrap();
    }
    let all: Vec<_> = chunks.iter().map(|(id, data)| info_of(*id, data)).collect();
    let listing = node.list(None, 100).await.unwrap();
    assert_eq!((&listing.chunks, listing.incomplete), (&all, false));
    let page = node.list(Some(all[9].id), 7).await.unwrap();
    assert_eq!(page.chunks, all[10..17]);
    let total = node.state().total;
    let bytes: usize = chunks.iter().map(|(_, data)| data.len()).sum();
    assert_eq!((total.chunk_count, total.used_bytes), (61, bytes as u64));

    for (id, _) in &chunks {
        node.delete(*id).await.unwrap();
        assert!(matches!(
            get(&node, *id, None).await,
            Err(ChunkError::NotFound(_))
        ));
    }
    assert_eq!(node.state().total.chunk_count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_of_one_chunk_end_on_one_disk() {
    let (_home, dirs) = dirs::<3>();
    let node = open_node(&dirs);
    let chunks: Vec<_> = (0..20)
        .map(|seed| (ChunkId::generate(), data(2000, seed)))
        .collect();
    let twice = chunks.iter().chain(&chunks).chain(&chunks);
    let puts = twice.map(|(id, data)| put(&node, *id, data));
    for result in join_all(puts).await {
        result.unwrap();
    }
    assert_eq!(node.state().total.chunk_count, 20);
}

#[tokio::test]
async fn a_chunk_that_is_put_again_stays_on_its_disk_when_another_one_came() {
    let (_home, [a, b, c]) = dirs();
    let node = open_node(&[a.clone(), b.clone()]);
    let chunks = put_some(&node, 40).await;
    close(node).await;

    let node = open_node(&[a.clone(), b.clone(), c.clone()]);
    for (id, data) in &chunks {
        assert_eq!(put(&node, *id, data).await.unwrap(), receipt_of(data));
    }
    assert_eq!(node.state().total.chunk_count, 40);
    let other = put(&node, chunks[0].0, b"other bytes").await;
    assert!(matches!(other, Err(ChunkError::Conflict(_))), "{other:?}");
    put_some(&node, 40).await;
    close(node).await;
    assert!(!held(&c).await.is_empty());
}

#[tokio::test]
async fn an_empty_directory_where_a_disk_was_is_fenced_and_left_alone() {
    let (home, [a, b]) = dirs();
    let both = [a.clone(), b.clone()];
    let node = open_node(&both);
    let chunks = put_some(&node, 30).await;
    close(node).await;
    let on_b = held(&b).await;
    let away = home.path().join("unmounted");
    fs::rename(&b, &away).unwrap();
    fs::create_dir(&b).unwrap();

    let node = open_node(&both);
    let state = node.state();
    let fenced = fenced(&state);
    assert_eq!(fenced.len(), 1);
    assert!(fenced[0].0 == b && fenced[0].1.contains("directory is empty; mount the disk"));
    assert!(names_in(&b).is_empty());
    assert!(state.total.writable && state.total.chunk_count == 30 - on_b.len() as u64);

    for (id, data) in &chunks {
        match get(&node, *id, None).await {
            Ok(read) => assert!(read == *data && !on_b.contains(id)),
            Err(ChunkError::Refused(why)) => assert!(on_b.contains(id), "{why}"),
            Err(error) => panic!("{error}"),
        }
    }
    let listing = node.list(None, 100).await.unwrap();
    assert!(listing.incomplete && listing.chunks.len() == 30 - on_b.len());
    let newer = put_some(&node, 10).await;
    close(node).await;

    fs::remove_dir(&b).unwrap();
    fs::rename(&away, &b).unwrap();
    let node = open_node(&both);
    assert!(node.state().fenced_disks().is_empty());
    for (id, data) in chunks.iter().chain(&newer) {
        assert!(get(&node, *id, None).await.unwrap() == *data);
    }
}

#[tokio::test]
async fn a_delete_succeeds_only_once_every_disk_was_asked() {
    let (home, [a, b]) = dirs();
    let both = [a.clone(), b.clone()];
    let node = open_node(&both);
    let chunks = put_some(&node, 30).await;
    close(node).await;
    let away = home.path().join("unmounted");
    fs::rename(&b, &away).unwrap();

    let node = open_node(&both);
    for (id, _) in &chunks {
        let deleted = node.delete(*id).await;
        assert!(
            matches!(deleted, Err(ChunkError::Refused(_))),
            "{deleted:?}"
        );
    }
    assert_eq!(node.state().total.chunk_count, 0);
    close(node).await;

    // The disk returns with its chunks, and whoever was refused asks again (I11).
    fs::rename(&away, &b).unwrap();
    let node = open_node(&both);
    assert!(node.state().total.chunk_count > 0);
    for (id, _) in &chunks {
        node.delete(*id).await.unwrap();
    }
    assert_eq!(node.state().total.chunk_count, 0);
}

#[tokio::test]
async fn a_chunk_that_was_put_again_while_its_disk_was_away_is_one_chunk() {
    let (home, [a, b]) = dirs();
    let both = [a.clone(), b.clone()];
    let node = open_node(&both);
    let chunks = put_some(&node, 20).await;
    close(node).await;
    let away = home.path().join("unmounted");
    fs::rename(&b, &away).unwrap();
    let node = open_node(&both);
    for (id, data) in &chunks {
        put(&node, *id, data).await.unwrap();
    }
    close(node).await;
    fs::rename(&away, &b).unwrap();

    let node = open_node(&both);
    let listed = node.list(None, 100).await.unwrap().chunks;
    let all: Vec<_> = chunks.iter().map(|(id, data)| info_of(*id, data)).collect();
    assert_eq!(listed, all);
    node.delete(chunks[0].0).await.unwrap();
    close(node).await;
    for dir in &both {
        assert!(!held(dir).await.contains(&chunks[0].0));
    }
}

#[tokio::test]
async fn a_forgotten_disk_makes_room_for_a_new_one_and_may_not_return() {
    let (home, [a, b, c]) = dirs();
    let both = [a.clone(), b.clone()];
    let node = open_node(&both);
    let chunks = put_some(&node, 30).await;
    let lost = disk_at(&node.state(), &b);
    close(node).await;
    let on_b = held(&b).await;
    let away = home.path().join("broken");
    fs::rename(&b, &away).unwrap();
    fs::create_dir(&b).unwrap();

    for _ in 0..2 {
        let node = open_forgetting(&both, lost).unwrap();
        let state = node.state();
        assert!(state.fenced_disks().is_empty() && state.disks.len() == 2);
        assert_ne!(disk_at(&state, &b), lost);
        close(node).await;
    }
    let node = open_node(&both);
    for (id, _) in &chunks {
        let found = node.head(*id).await;
        let is_lost = matches!(found, Err(ChunkError::NotFound(_)));
        assert!(found.is_ok() || is_lost);
        assert_eq!(is_lost, on_b.contains(id));
        node.delete(*id).await.unwrap();
    }
    close(node).await;

    fs::rename(&away, &c).unwrap();
    let error = refusal(&[a, b, c.clone()]);
    assert!(
        matches!(&error, NodeError::Returned { dir, disk } if *dir == c && *disk == lost),
        "{error}"
    );
}

#[tokio::test]
async fn only_disks_that_the_node_had_and_that_are_away_can_be_forgotten() {
    let (_home, [a, b]) = dirs();
    let both = [a.clone(), b.clone()];
    let node = open_node(&both);
    let disk = disk_at(&node.state(), &a);
    close(node).await;
    let error = open_forgetting(&both, disk).map(|_| ()).unwrap_err();
    assert!(matches!(error, NodeError::ForgetPresent { .. }), "{error}");
    let unknown = open_forgetting(&both, DiskId::generate());
    let error = unknown.map(|_| ()).unwrap_err().to_string();
    let known = format!("{disk} at {}", a.display());
    assert!(error.contains(&known), "{error}");
}

#[tokio::test]
async fn a_disk_that_is_not_given_is_missed_and_one_that_moved_is_not() {
    let (home, [a, b]) = dirs();
    let node = open_node(&[a.clone(), b.clone()]);
    let chunks = put_some(&node, 20).await;
    close(node).await;

    let node = open_node(std::slice::from_ref(&a));
    let fenced = fenced(&node.state());
    assert!(fenced.len() == 1 && fenced[0].0 == b, "{fenced:?}");
    assert!(fenced[0].1.contains("none of the data directories"));
    close(node).await;

    let moved = home.path().join("moved");
    fs::rename(&b, &moved).unwrap();
    for _ in 0..2 {
        // What is new at the place where the disk was is a new disk.
        let node = open_node(&[moved.clone(), a.clone(), b.clone()]);
        let state = node.state();
        assert!(state.fenced_disks().is_empty() && state.disks.len() == 3);
        for (id, data) in &chunks {
            assert!(get(&node, *id, None).await.unwrap() == *data);
        }
        close(node).await;
    }
}

#[tokio::test]
async fn a_damaged_disk_and_one_under_other_files_are_fenced() {
    let (_home, [a, b, c]) = dirs();
    let all = [a, b.clone(), c.clone()];
    close(open_node(&all)).await;
    fs::write(b.join("node.json"), "{").unwrap();
    fs::remove_dir_all(&c).unwrap();
    fs::create_dir(&c).unwrap();
    fs::write(c.join("NOT-MOUNTED"), "").unwrap();

    let node = open_node(&all);
    let mut fenced = fenced(&node.state());
    fenced.sort();
    assert_eq!([&fenced[0].0, &fenced[1].0], [&b, &c]);
    assert!(fenced[0].1.contains("node.json is unreadable"));
    assert!(fenced[1].1.contains("'NOT-MOUNTED'"));
    assert_eq!(names_in(&c), ["NOT-MOUNTED"]);
    put_some(&node, 5).await;
}

#[tokio::test]
async fn a_directory_from_before_there_were_several_is_one_disk_of_many() {
    let (_home, [a, b]) = dirs();
    let store = ChunkStore::open(StoreOptions::new(&a)).unwrap();
    let (id, node_id) = (ChunkId::generate(), store.node_id());
    put(&store, id, b"from before").await.unwrap();
    store.close().await.unwrap();
    drop(store);

    let node = open_node(&[b, a]);
    assert_eq!(node.node_id(), node_id);
    assert_eq!(get(&node, id, None).await.unwrap(), b"from before");
    let disks = node.state().disks;
    assert!(disks.len() == 2 && disks.iter().all(|disk| disk.health == DiskHealth::Serving));
}

#[tokio::test]
async fn directories_of_two_nodes_are_refused() {
    let (_home, [a, b]) = dirs();
    let nodes = [&a, &b].map(|dir| open_node(std::slice::from_ref(dir)));
    let [first, second] = nodes.each_ref().map(ChunkNode::node_id);
    for node in nodes {
        close(node).await;
    }
    let error = refusal(&[a.clone(), b.clone()]).to_string();
    for part in [&first.to_string(), &second.to_string(), a.to_str().unwrap()] {
        assert!(error.contains(part), "{error}");
    }
    let other = ChunkStore::open(StoreOptions {
        node_id: Some(second),
        ..StoreOptions::new(&a)
    });
    assert!(matches!(other, Err(OpenError::OtherNode { .. })));
}

#[tokio::test]
async fn one_directory_under_two_names_is_refused() {
    let (home, [a, b]) = dirs();
    let twice = refusal(&[a.clone(), home.path().join("./a/")]);
    assert!(matches!(twice, NodeError::Twice(..)), "{twice}");
    fs::create_dir(&a).unwrap();
    symlink(&a, &b).unwrap();
    let linked = refusal(&[a.clone(), b]);
    assert!(matches!(linked, NodeError::Twice(..)), "{linked}");
    assert!(names_in(&a).is_empty());
}

#[tokio::test]
async fn a_copy_of_a_disk_is_refused() {
    let (_home, [a, b]) = dirs();
    close(open_node(std::slice::from_ref(&a))).await;
    copy_dir(&a, &b);
    let error = refusal(&[a, b]);
    assert!(matches!(error, NodeError::Copied { .. }), "{error}");
}

#[tokio::test]
async fn what_keeps_one_directory_from_being_a_disk_is_told() {
    let (_home, [a, b, c]) = dirs();
    let all = [a.clone(), b.clone(), c.clone()];
    let node = open_node(&all[..2]);
    let in_use = refusal(&all[..2]).to_string();
    assert!(in_use.contains("in use by another process"), "{in_use}");
    close(node).await;

    fs::create_dir(&c).unwrap();
    fs::write(c.join("thesis.tex"), "years of work").unwrap();
    let foreign = refusal(&all).to_string();
    assert!(foreign.contains("thesis.tex"), "{foreign}");
    assert_eq!(names_in(&c), ["thesis.tex"]);

    fs::write(b.join("disk.json"), r#"{"format":2}"#).unwrap();
    let newer = refusal(&all[..2]).to_string();
    assert!(newer.contains("start the newer program"), "{newer}");
    assert!(matches!(refusal(&[]), NodeError::Number(0)));
}
