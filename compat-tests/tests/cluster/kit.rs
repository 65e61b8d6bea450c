//! Objects in the bucket `big`, and uploads that wait to be fed.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use compat_tests::{Cluster, Endpoint, Payload, body_of_pieces, eventually, sdk};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) const MIB: u64 = 1024 * 1024;
/// How an upload is fed.
pub(crate) const PIECE_BYTES: u64 = 64 * 1024;
/// A chunk server that a busy machine keeps silent for six seconds takes no chunks until it is heard
/// again. Where no other can, clients are told 503, and to try again, for no longer than this.
const SILENT_MAX: Duration = Duration::from_secs(60);

/// A client, and the bucket for it.
pub(crate) async fn client_with_bucket(endpoint: &Endpoint) -> Client {
    let client = sdk(endpoint);
    let created = client.create_bucket().bucket("big").send().await;
    created.expect("a bucket can be made");
    client
}

pub(crate) async fn put(client: &Client, key: &str, payload: Payload) {
    eventually("an object taken without a 503", SILENT_MAX, async || {
        let put = client.put_object().bucket("big").key(key);
        let put = put.body(ByteStream::from(payload.bytes()));
        let Err(refused) = put.send().await else {
            return Some(());
        };
        let answer = refused.raw_response();
        let status = answer.map(|answer| answer.status().as_u16());
        assert_eq!(status, Some(503), "the object is stored: {refused:?}");
        None
    })
    .await;
}

pub(crate) async fn assert_stored(client: &Client, key: &str, payload: Payload) {
    let got = client.get_object().bucket("big").key(key).send().await;
    let body = got.expect("the object is there").body.collect().await;
    let body = body.expect("the object arrives whole").into_bytes();
    assert!(body == payload.bytes(), "{key} differs");
}

/// An upload of `payload` to the key `k` that goes on as pieces are sent, and the way to send them.
pub(crate) fn start_upload(
    client: &Client,
    payload: Payload,
) -> (mpsc::Sender<Bytes>, JoinHandle<bool>) {
    let (pieces, body) = mpsc::channel::<Bytes>(1);
    let body = futures::stream::unfold(body, async |mut body| {
        body.recv().await.map(|piece| (piece, body))
    });
    let put = client.put_object().bucket("big").key("k");
    let put = put.body(body_of_pieces(payload.length_bytes, body));
    let upload = tokio::spawn(async move { put.send().await.is_ok() });
    (pieces, upload)
}

/// Chunks per node, by number of the node.
pub(crate) async fn chunks_per_node(cluster: &Cluster) -> Vec<usize> {
    let mut counts = Vec::new();
    for node in cluster.nodes() {
        counts.push(node.chunks().await.len());
    }
    counts
}

/// Turns a byte in every 512 KiB of every segment below `dir`.
pub(crate) fn turn_bytes(dir: &Path) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.expect("the file can be opened");
        let size_bytes = file.metadata().expect("the file has a size").len();
        for at in (300_000..size_bytes).step_by(512 << 10) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("it can be read");
            let written = file.write_all_at(&[!byte[0]], at);
            written.expect("it can be written");
        }
    }
}
