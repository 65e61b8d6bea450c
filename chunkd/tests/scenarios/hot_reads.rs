//! Chunks that are in memory are read on the thread that asks for them.

use std::sync::mpsc;
use std::time::Duration;

use chunkproto::ChunkId;
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::kit::{KIB, data, fresh, get, put};

/// Far longer than a read takes that waits for nobody.
const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_hot_chunk_is_read_while_no_thread_for_blocking_work_is_free() {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (_dir, store) = fresh();
        let (id, body) = (ChunkId::generate(), data(4 * KIB, 1));
        put(&store, id, &body).await.unwrap();
        let (go_on, wait) = mpsc::channel::<()>();
        let busy = spawn_blocking(move || wait.recv().is_ok());

        let read = timeout(LONG, get(&store, id, None)).await;

        drop(go_on);
        busy.await.unwrap();
        assert_eq!(read.expect("it waits for no thread").unwrap(), body);
    });
}
