//! Operations of a job whose client goes away: they go on to their end, and keep their fence until then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use chunkd::{Probe, Step};
use chunkproto::ChunkId;
use chunkproto::wire::{CopyRequest, FENCE_HEADER};
use reqwest::{Client, RequestBuilder, StatusCode};
use tokio::time::timeout;

use crate::http::{WithSecret as _, get_with};
use crate::kit::{Server, get, put};

/// A server that waits at a step, the first time, until it is let go on.
struct Waiting {
    server: Server,
    reached: mpsc::Receiver<()>,
    go_on: mpsc::Sender<()>,
    has_gone_on: Arc<AtomicBool>,
}

impl Waiting {
    async fn at(step: Step) -> Self {
        let (at_step, reached) = mpsc::channel();
        let (go_on, wait) = mpsc::channel::<()>();
        let has_gone_on = Arc::new(AtomicBool::new(false));
        let (wait, gone_on) = (Mutex::new(Some(wait)), Arc::clone(&has_gone_on));
        let server = Server::with(|options| {
            options.segment_max_bytes = 0;
            options.probe = Probe::new(move |asked| {
                let first = || wait.lock().unwrap().take();
                if asked == step
                    && let Some(wait) = first()
                {
                    at_step.send(()).unwrap();
                    let _ = wait.recv();
                    gone_on.store(true, Ordering::SeqCst);
                }
                Ok(())
            });
        })
        .await;
        Self {
            server,
            reached,
            go_on,
            has_gone_on,
        }
    }

    /// Sends `request`, and gives it up while the server is at the step.
    async fn give_up(&self, request: RequestBuilder) {
        let request = tokio::spawn(request.with_secret().header(FENCE_HEADER, "gc=1").send());
        tokio::task::block_in_place(|| self.reached.recv().unwrap());
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
    }

    /// Asserts that a newer token is let in after the operation that was given up, and not before.
    async fn assert_keeps_its_fence(self) -> Server {
        let other = self.server.chunk_url(ChunkId::generate());
        let delete = |token: &str| {
            let request = Client::new().delete(&other).with_secret();
            request.header(FENCE_HEADER, token).send()
        };
        let (newer, has_gone_on) = (delete("gc=2"), Arc::clone(&self.has_gone_on));
        let newer = tokio::spawn(async move {
            let status = newer.await.unwrap().status();
            (status, has_gone_on.load(Ordering::SeqCst))
        });
        let is_there = async {
            while delete("gc=1").await.unwrap().status() != StatusCode::PRECONDITION_FAILED {}
            // Were it let in, it would be answered before these.
            for _ in 0..100 {
                get_with(&self.server, "/health").await;
            }
        };
        timeout(Duration::from_secs(30), is_there).await.unwrap();
        drop(self.go_on);
        assert_eq!(newer.await.unwrap(), (StatusCode::NO_CONTENT, true));
        self.server
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_keeps_its_fence_when_its_client_goes_away() {
    let waiting = Waiting::at(Step::RemoveFile).await;
    let id = ChunkId::generate();
    put(&waiting.server.store, id, b"bytes").await.unwrap();
    let delete = Client::new().delete(waiting.server.chunk_url(id));
    waiting.give_up(delete).await;
    let server = waiting.assert_keeps_its_fence().await;
    assert!(server.store.head(id).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_keeps_its_fence_when_its_client_goes_away() {
    let (from, waiting) = (Server::start().await, Waiting::at(Step::NameFile).await);
    let id = ChunkId::generate();
    put(&from.store, id, b"bytes").await.unwrap();
    let copy = Client::new().post(format!("{}/copy", waiting.server.chunk_url(id)));
    let copy = copy.json(&CopyRequest {
        source: from.url.clone(),
        source_node: None,
    });
    waiting.give_up(copy).await;
    let server = waiting.assert_keeps_its_fence().await;
    assert_eq!(get(&server.store, id, None).await.unwrap(), b"bytes");
}
