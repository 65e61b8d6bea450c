//! Disks that hang: they cost the work on others neither threads nor locks.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use chunkd::{Probe, Step};
use chunkproto::ChunkId;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::time::timeout;

use crate::kit::{KIB, data, eventually, fresh_with, fresh_with_files, get, put, record_path};

/// Far longer than anything here takes that does not hang.
const LONG: Duration = Duration::from_secs(30);
/// Threads that the runtime has for blocking work, and more requests than that.
const REQUESTS: usize = 600;

/// Whoever opens the record of a chunk waits from now on. The file that is given back ends that.
fn make_hang(dir: &Path, id: ChunkId) -> impl FnOnce() -> File {
    let path = record_path(dir, id);
    fs::remove_file(&path).unwrap();
    // Who opens a pipe to read waits until it has a writer.
    mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    move || {
        let both = File::options().read(true).write(true).open(&path);
        both.unwrap()
    }
}

#[tokio::test]
async fn reads_that_hang_on_one_disk_leave_threads_to_others() {
    let (dir, store) = fresh_with_files();
    let (_other_dir, other) = fresh_with_files();
    let (hangs, id) = (ChunkId::generate(), ChunkId::generate());
    put(&store, hangs, b"hangs").await.unwrap();
    put(&other, id, b"reads").await.unwrap();
    let release = make_hang(dir.path(), hangs);
    let reads: Vec<_> = (0..REQUESTS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { get(&store, hangs, None).await })
        })
        .collect();
    let have_begun = || store.state().in_flight as usize == REQUESTS;
    eventually("reads that have begun", have_begun).await;

    let read = timeout(LONG, get(&other, id, None)).await;

    let released = release();
    for hung in reads {
        assert!(hung.await.unwrap().is_err());
    }
    drop(released);
    assert_eq!(read.expect("it does not wait").unwrap(), b"reads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_segment_that_is_slow_to_begin_keeps_nobody_from_reading() {
    let (armed, reached) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (go_on, wait) = mpsc::channel::<()>();
    let (arms, reaches, wait) = (Arc::clone(&armed), Arc::clone(&reached), Mutex::new(wait));
    let (_dir, store) = fresh_with(|options| {
        options.segment_bytes = 512 << 10;
        options.probe = Probe::new(move |step| {
            if step == Step::BeginSegment && arms.swap(false, Ordering::SeqCst) {
                reaches.store(true, Ordering::SeqCst);
                // Ends when the other side is dropped.
                let _ = wait.lock().unwrap().recv();
            }
            Ok(())
        });
    });
    let id = ChunkId::generate();
    put(&store, id, b"hot").await.unwrap();
    armed.store(true, Ordering::SeqCst);
    let writer = store.clone();
    let writing = tokio::spawn(async move {
        for seed in 0..20 {
            let bytes = data(40 * KIB, seed);
            put(&writer, ChunkId::generate(), &bytes).await.unwrap();
        }
    });
    eventually("a segment that begins", || reached.load(Ordering::SeqCst)).await;

    let reader = store.clone();
    let reading = tokio::spawn(async move { get(&reader, id, None).await });
    let read = timeout(LONG, reading).await;
    let asked = store.clone();
    let asking = tokio::spawn(async move { (asked.state(), asked.has_room_for(1)) });
    let state = timeout(LONG, asking).await;

    drop(go_on);
    assert_eq!(read.expect("it does not wait").unwrap().unwrap(), b"hot");
    assert!(state.expect("it does not wait").unwrap().1);
    writing.await.unwrap();
}
