//! Disks that hang: they stop nobody who does not need them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use chunkd::{Probe, Step};
use chunkproto::ChunkId;
use tokio::time::timeout;

use crate::kit::{KIB, data, eventually, fresh_with, get, put};

/// Far longer than anything here takes that does not hang.
const LONG: Duration = Duration::from_secs(30);

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
