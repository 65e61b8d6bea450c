//! The store on its own: what it promises across puts, reads, deletes and restarts.

use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use chunkd::{CHUNK_MAX_BYTES, ChunkStore, OpenError, StoreOptions};
use chunkproto::{ByteRange, ChunkError, ChunkId};
use futures::future::join_all;
use futures::stream::{self, StreamExt as _};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::kit::{
    KIB, MIB, body, data, fresh, fresh_with_files, get, info_of, names_in, open, owner, put,
    put_of, receipt_of, record_path,
};

#[tokio::test]
async fn a_chunk_reads_back_with_its_description_and_owner() {
    let (_dir, store) = fresh();
    for length in [
        1,
        64 * KIB - 1,
        64 * KIB,
        64 * KIB + 1,
        MIB,
        MIB + 1,
        5 * MIB + 3,
        40 * MIB,
    ] {
        let (id, data) = (ChunkId::generate(), data(length, 1));
        assert_eq!(
            put(&store, id, &data).await.unwrap(),
            receipt_of(&data),
            "{length}"
        );
        assert!(get(&store, id, None).await.unwrap() == data, "{length}");
        assert_eq!(store.head(id).await.unwrap(), info_of(id, &data));
        assert_eq!(store.owner(id).await.unwrap(), owner());
    }
    let state = store.state();
    assert_eq!((state.chunk_count, state.in_flight), (8, 0));
    assert!(state.writable && state.capacity_bytes > state.free_bytes);
}

#[tokio::test]
async fn ranges_across_blocks_and_pieces_give_exactly_their_bytes() {
    let (_dir, store) = fresh();
    let (id, data) = (ChunkId::generate(), data(700 * KIB + 5, 2));
    put(&store, id, &data).await.unwrap();
    let length = data.len() as u64;
    let edges = [
        0,
        1,
        65_535,
        65_536,
        65_537,
        262_143,
        262_144,
        262_145,
        length - 1,
        length,
    ];
    for start in edges {
        for end in edges.into_iter().filter(|&end| end > start) {
            let got = get(&store, id, Some(ByteRange { start, end }))
                .await
                .unwrap();
            assert!(got == data[start as usize..end as usize], "{start}..{end}");
        }
    }
    for (start, end) in [
        (0, length + 1),
        (length, length + 1),
        (5, 5),
        (6, 5),
        (0, u64::MAX),
    ] {
        let error = get(&store, id, Some(ByteRange { start, end }))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ChunkError::Invalid(_)),
            "{start}..{end}: {error}"
        );
    }
}

#[tokio::test]
async fn after_a_clean_stop_the_index_answers_without_a_walk() {
    let (dir, store) = fresh_with_files();
    let (kept, removed) = (ChunkId::generate(), ChunkId::generate());
    put(&store, kept, b"kept").await.unwrap();
    put(&store, removed, b"removed").await.unwrap();
    store.delete(removed).await.unwrap();
    let (node_id, before) = (store.node_id(), store.list(None, 10).await.unwrap());
    store.close().await.unwrap();
    drop(store);
    // A walk would notice that this one is gone.
    fs::remove_file(record_path(dir.path(), kept)).unwrap();

    let store = open(dir.path());
    assert_eq!(store.node_id(), node_id);
    assert_eq!(store.list(None, 10).await.unwrap(), before);
    assert_eq!(
        (store.state().chunk_count, store.state().used_bytes),
        (1, 4)
    );
}

#[tokio::test]
async fn after_an_unclean_stop_rows_lost_and_rows_left_over_are_put_right() {
    let (dir, store) = fresh();
    let (old, new) = (ChunkId::generate(), ChunkId::generate());
    put(&store, old, b"old").await.unwrap();
    let (index, stale) = (dir.path().join("index"), dir.path().join("../stale"));
    let stale = stale.with_file_name(format!("stale-{old}"));
    copy_dir(&index, &stale);
    put(&store, new, b"newer").await.unwrap();
    store.delete(old).await.unwrap();
    drop(store);
    fs::remove_dir_all(&index).unwrap();
    fs::rename(&stale, &index).unwrap();

    let store = open(dir.path());
    assert_eq!(
        store.list(None, 10).await.unwrap(),
        [info_of(new, b"newer")]
    );
    assert_eq!(
        (store.state().chunk_count, store.state().used_bytes),
        (1, 5)
    );
    assert_eq!(get(&store, new, None).await.unwrap(), b"newer");
}

#[tokio::test]
async fn a_lost_or_damaged_index_is_rebuilt_equal() {
    let (dir, store) = fresh();
    for seed in 0..50 {
        put(
            &store,
            ChunkId::generate(),
            &data(1 + 1000 * seed as usize, seed),
        )
        .await
        .unwrap();
    }
    let (before, state) = (store.list(None, 100).await.unwrap(), store.state());
    store.close().await.unwrap();
    drop(store);

    let index = dir.path().join("index");
    let damages: [&dyn Fn(); 3] = [
        &|| fs::remove_dir_all(&index).unwrap(),
        &|| fs::write(index.join("CURRENT"), "nonsense").unwrap(),
        &|| {
            for name in names_in(&index)
                .iter()
                .filter(|name| name.starts_with("MANIFEST"))
            {
                fs::write(index.join(name), "nonsense").unwrap();
            }
        },
    ];
    for damage in damages {
        damage();
        let store = open(dir.path());
        assert_eq!(store.list(None, 100).await.unwrap(), before);
        assert_eq!(store.state().chunk_count, state.chunk_count);
        assert_eq!(store.state().used_bytes, state.used_bytes);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn listing_pages_concatenate_to_all_chunks_in_order() {
    let (_dir, store) = fresh();
    let mut ids: Vec<_> = (0..25).map(|_| ChunkId::generate()).collect();
    for id in ids.iter().rev() {
        put(&store, *id, id.as_bytes()).await.unwrap();
    }
    ids.sort();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(after, 10).await.unwrap();
        listed.extend(page.iter().map(|info| info.id));
        after = page.last().map(|info| info.id);
        if page.len() < 10 {
            break;
        }
    }
    assert_eq!(listed, ids);
}

#[tokio::test]
async fn the_same_bytes_again_are_fine_and_others_are_not() {
    let (dir, store) = fresh();
    let id = ChunkId::generate();
    let first = put(&store, id, b"the same").await.unwrap();
    assert_eq!(put(&store, id, b"the same").await.unwrap(), first);
    let error = put(&store, id, b"not same").await.unwrap_err();
    assert!(matches!(error, ChunkError::Conflict(_)), "{error}");
    assert_eq!(get(&store, id, None).await.unwrap(), b"the same");
    assert_eq!(store.state().chunk_count, 1);
    assert!(names_in(&dir.path().join("tmp")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_of_one_id_leave_one_whole_chunk() {
    let (dir, store) = fresh();
    let id = ChunkId::generate();
    let bodies: Vec<_> = (0..16).map(|n| data(2 * MIB, n % 2)).collect();
    let results = join_all(bodies.iter().map(|data| put(&store, id, data))).await;

    let winner = store.head(id).await.unwrap();
    for (data, result) in bodies.iter().zip(results) {
        match result {
            Ok(receipt) => assert_eq!(receipt.crc64, winner.crc64),
            Err(ChunkError::Conflict(_)) => assert_ne!(receipt_of(data).crc64, winner.crc64),
            Err(error) => panic!("{error}"),
        }
    }
    let read = get(&store, id, None).await.unwrap();
    assert_eq!(receipt_of(&read).crc64, winner.crc64);
    assert_eq!(store.state().chunk_count, 1);
    assert!(names_in(&dir.path().join("tmp")).is_empty());
}

#[tokio::test]
async fn a_body_that_is_not_as_declared_leaves_nothing() {
    let (dir, store) = fresh();
    for declared in [100, 3 * MIB] {
        for sent in [0, declared - 1, declared + 1] {
            let id = ChunkId::generate();
            let sent = store.put(put_of(id, declared), body(&data(sent, 1))).await;
            assert!(matches!(sent, Err(ChunkError::BadBody(_))), "{sent:?}");
            assert!(matches!(store.head(id).await, Err(ChunkError::NotFound(_))));
        }
        let id = ChunkId::generate();
        let broken = stream::iter([
            Ok(Bytes::from_static(b"some")),
            Err(ChunkError::Unreachable("the source died".into())),
        ]);
        let error = store
            .put(put_of(id, declared), broken.boxed())
            .await
            .unwrap_err();
        assert!(matches!(error, ChunkError::Unreachable(_)), "{error}");
    }
    assert!(names_in(&dir.path().join("tmp")).is_empty());
    assert_eq!(store.state().chunk_count, 0);
}

#[tokio::test]
async fn lengths_out_of_bounds_are_refused() {
    let (_dir, store) = fresh();
    for length_bytes in [0, CHUNK_MAX_BYTES + 1, u64::MAX] {
        let mut put = put_of(ChunkId::generate(), 0);
        put.length_bytes = length_bytes;
        let error = store.put(put, body(b"")).await.unwrap_err();
        assert!(matches!(error, ChunkError::Invalid(_)), "{error}");
    }
}

#[tokio::test]
async fn a_put_that_is_dropped_in_the_middle_leaves_nothing() {
    let (dir, store) = fresh();
    let id = ChunkId::generate();
    let (waiting, reached) = oneshot::channel();
    let half = stream::iter([Ok(Bytes::from(data(2 * MIB, 1)))]);
    let stall = stream::once(async move {
        waiting.send(()).unwrap();
        futures::future::pending().await
    });
    let writer = store.clone();
    let put = tokio::spawn(async move {
        writer
            .put(put_of(id, 4 * MIB), half.chain(stall).boxed())
            .await
    });
    reached.await.unwrap();
    assert_eq!(store.state().in_flight, 1);
    put.abort();
    assert!(put.await.unwrap_err().is_cancelled());

    store.close().await.unwrap(); // waits for the write's end
    assert!(names_in(&dir.path().join("tmp")).is_empty());
    assert!(matches!(store.head(id).await, Err(ChunkError::NotFound(_))));
    assert_eq!(store.state().in_flight, 0);
}

#[tokio::test]
async fn deleting_is_idempotent_and_running_reads_go_on() {
    let (_dir, store) = fresh();
    let (id, data) = (ChunkId::generate(), data(3 * MIB, 1));
    put(&store, id, &data).await.unwrap();
    let read = store.get(id, None).await.unwrap();
    store.delete(id).await.unwrap();
    store.delete(id).await.unwrap();
    assert!(matches!(store.head(id).await, Err(ChunkError::NotFound(_))));
    assert_eq!(
        (store.state().chunk_count, store.state().used_bytes),
        (0, 0)
    );
    let rest: Vec<_> = read.stream.map(|piece| piece.unwrap()).collect().await;
    assert!(rest.concat() == data);
}

#[tokio::test]
async fn a_full_disk_refuses_chunks_and_admits_deletes() {
    let (dir, store) = fresh();
    let id = ChunkId::generate();
    put(&store, id, b"before").await.unwrap();
    drop(store);
    let full = StoreOptions {
        full_percent: 0,
        ..StoreOptions::new(dir.path())
    };
    let store = ChunkStore::open(full).unwrap();
    assert!(!store.state().writable);
    let error = put(&store, ChunkId::generate(), b"after")
        .await
        .unwrap_err();
    assert!(matches!(error, ChunkError::Full(_)), "{error}");
    assert_eq!(get(&store, id, None).await.unwrap(), b"before");
    store.delete(id).await.unwrap();
}

#[tokio::test]
async fn a_closed_store_refuses_changes_and_still_reads() {
    let (_dir, store) = fresh();
    let id = ChunkId::generate();
    put(&store, id, b"bytes").await.unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(
        put(&store, ChunkId::generate(), b"x").await,
        Err(ChunkError::Refused(_))
    ));
    assert!(matches!(
        store.delete(id).await,
        Err(ChunkError::Refused(_))
    ));
    assert_eq!(get(&store, id, None).await.unwrap(), b"bytes");
}

#[tokio::test]
async fn leftovers_of_unfinished_writes_are_removed_at_start() {
    let (dir, store) = fresh();
    drop(store);
    fs::write(dir.path().join("tmp/leftover"), "half a chunk").unwrap();
    let _store = open(dir.path());
    assert!(names_in(&dir.path().join("tmp")).is_empty());
}

#[tokio::test]
async fn a_directory_that_is_in_use_is_refused() {
    let (dir, _store) = fresh();
    let error = open_error(dir.path());
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
}

#[test]
fn directories_that_are_not_ours_are_refused_untouched() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    let error = open_error(dir.path());
    assert!(
        matches!(&error, OpenError::Foreign { found, .. } if found == "thesis.tex"),
        "{error}"
    );
    assert_eq!(names_in(dir.path()), ["thesis.tex"]);

    let error = open_error(&dir.path().join("thesis.tex"));
    assert!(matches!(error, OpenError::NotADirectory { .. }), "{error}");
}

#[test]
fn damaged_and_newer_directories_are_refused() {
    type Spoil = fn(&Path);
    let spoils: [(Spoil, &str); 6] = [
        (
            |dir| fs::write(dir.join("node.json"), "{").unwrap(),
            "unreadable",
        ),
        (
            |dir| fs::write(dir.join("node.json"), r#"{"format":3,"disks":[]}"#).unwrap(),
            "format 3",
        ),
        (
            |dir| fs::write(dir.join("node.json"), r#"{"format":1}"#).unwrap(),
            "node_id",
        ),
        (
            |dir| fs::remove_dir(dir.join("chunks/7f")).unwrap(),
            "7f is missing",
        ),
        (
            |dir| fs::remove_dir_all(dir.join("segments")).unwrap(),
            "segments is missing",
        ),
        (
            |dir| {
                fs::remove_file(dir.join("node.json")).unwrap();
                fs::write(dir.join("chunks/00/x"), "").unwrap();
            },
            "no node.json",
        ),
    ];
    for (spoil, expected) in spoils {
        let (dir, store) = fresh();
        drop(store);
        spoil(dir.path());
        let error = open_error(dir.path()).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_first_start_that_was_interrupted_is_taken_up_again() {
    let dir = TempDir::new().unwrap();
    for name in ["chunks", "chunks/00", "chunks/01", "tmp", "lost+found"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("node.json.new"), "{").unwrap();
    open(dir.path());
    open(dir.path());
}

fn open_error(dir: &Path) -> OpenError {
    match ChunkStore::open(StoreOptions::new(dir)) {
        Ok(_) => panic!("{} was opened", dir.display()),
        Err(error) => error,
    }
}

fn copy_dir(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(copied.success());
}
