//! One suite for every chunk transport: over HTTP to a chunk server, and into nodes of this process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use chunkd::{ChunkNode, Fences, NodeOptions};
use chunkproto::{
    ByteRange, ChunkError, ChunkId, ChunkInfo, ChunkPut, ChunkStream, ClusterSecret, Crc64, Fence,
    IdRange, InventoryDigest, NodeId, OwnerHint, Registration,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use gateway::chunks::{ChunkTransport, HttpTransport};
use gateway::cluster::{Membership, NodeTimeouts};
use gateway::standalone::EmbeddedTransport;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Two nodes behind a transport; gone when dropped.
struct Fixture {
    transport: Box<dyn ChunkTransport>,
    nodes: [NodeId; 2],
    membership: Arc<Membership>,
    _servers: JoinSet<()>,
    _dirs: [TempDir; 2],
}

fn dirs() -> [TempDir; 2] {
    [0, 1].map(|_| tempfile::tempdir().unwrap())
}

async fn embedded() -> Fixture {
    let dirs = dirs();
    let nodes = dirs
        .each_ref()
        .map(|dir| ChunkNode::open(NodeOptions::new([dir.path().join("data")])).unwrap());
    Fixture {
        nodes: [nodes[0].node_id(), nodes[1].node_id()],
        transport: Box::new(EmbeddedTransport::new(&nodes)),
        membership: Arc::new(Membership::new(NodeTimeouts::default())),
        _servers: JoinSet::new(),
        _dirs: dirs,
    }
}

/// Chunk servers of two disks each.
async fn http() -> Fixture {
    let dirs = dirs();
    let secret = ClusterSecret::parse("0123456789abcdef").unwrap();
    let membership = Arc::new(Membership::new(NodeTimeouts::default()));
    let mut servers = JoinSet::new();
    let chunk_nodes = dirs.each_ref().map(|dir| {
        let disks = ["disk0", "disk1"].map(|disk| dir.path().join(disk));
        ChunkNode::open(NodeOptions::new(disks)).unwrap()
    });
    let nodes = [chunk_nodes[0].node_id(), chunk_nodes[1].node_id()];
    for node in chunk_nodes {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let incarnation = Uuid::now_v7();
        membership
            .register(Registration {
                node_id: node.node_id(),
                incarnation,
                address: format!("http://{}", listener.local_addr().unwrap()),
                zone: String::new(),
                state: node.state().heartbeat(incarnation),
            })
            .unwrap();
        let never = std::future::pending();
        servers.spawn(chunkd::serve(
            listener,
            node,
            secret.clone(),
            Fences::fresh(),
            never,
        ));
    }
    Fixture {
        transport: Box::new(HttpTransport::new(Arc::clone(&membership), &secret).unwrap()),
        membership,
        nodes,
        _servers: servers,
        _dirs: dirs,
    }
}

#[tokio::test]
async fn a_server_at_another_nodes_address_takes_nothing_for_it() {
    let fixture = http().await;
    let [server, other] = fixture.nodes;
    let put = fixture.store(&payload(10)).await;
    // A node that was there before, as this gateway knows it still.
    let before = NodeId::generate();
    fixture.know(before, server);
    let elsewhere = put_of(10);
    let transport = &fixture.transport;
    let stored = transport.put(before, elsewhere.clone(), body(&payload(10)));
    let refusals = [
        stored.await.err(),
        transport.head(before, put.id).await.err(),
        transport.get(before, put.id, None).await.err(),
        transport.delete(before, put.id, None).await.err(),
        transport.list(before, None, 9).await.err(),
    ];
    for refusal in refusals {
        assert!(
            matches!(refusal, Some(ChunkError::Unreachable(_))),
            "{refusal:?}"
        );
    }
    let copied = transport.copy(other, put.id, before, None).await;
    assert!(
        matches!(copied, Err(ChunkError::SourceUnavailable(_))),
        "{copied:?}"
    );
    assert!(transport.head(server, put.id).await.is_ok());
    assert!(transport.head(server, elsewhere.id).await.is_err());
}

#[tokio::test]
async fn nobody_is_followed_elsewhere() {
    let fixture = http().await;
    let [strange, elsewhere] = [
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    ];
    let node = NodeId::generate();
    fixture.know_at(node, format!("http://{}", strange.local_addr().unwrap()));
    let there = elsewhere.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = strange.accept().await.unwrap();
        let answer = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{there}/\r\ncontent-length: 0\r\n\r\n"
        );
        socket.write_all(answer.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    let asked = fixture.transport.get(node, ChunkId::generate(), None);
    tokio::select! {
        answer = asked => assert!(answer.is_err()),
        _ = elsewhere.accept() => panic!("it was followed"),
    }
}

fn put_of(length: usize) -> ChunkPut {
    ChunkPut {
        id: ChunkId::generate(),
        length_bytes: length as u64,
        owner: OwnerHint {
            bucket_id: Uuid::now_v7(),
            bucket: "photos".into(),
            key: "cät/\u{1}".into(),
            sequence: Uuid::now_v7(),
            part: Some((Uuid::now_v7(), 7)),
            index: 0,
            offset_bytes: 0,
            body_bytes: Some(length as u64),
            details: Vec::new(),
        },
    }
}

fn payload(length: usize) -> Bytes {
    (0..length)
        .map(|at| u8::try_from(at % 249).unwrap())
        .collect()
}

fn body(bytes: &Bytes) -> ChunkStream {
    let pieces: Vec<_> = bytes.chunks(50_000).map(Bytes::copy_from_slice).collect();
    stream::iter(pieces.into_iter().map(Ok)).boxed()
}

impl Fixture {
    async fn store(&self, bytes: &Bytes) -> ChunkPut {
        let put = put_of(bytes.len());
        let stored = self
            .transport
            .put(self.nodes[0], put.clone(), body(bytes))
            .await;
        assert_eq!(stored.unwrap().crc64, Crc64::of(bytes));
        put
    }

    /// Makes the gateway believe that `node` is where `there` is.
    fn know(&self, node: NodeId, there: NodeId) {
        self.know_at(node, self.membership.address(there).unwrap());
    }

    /// Makes the gateway believe that `node` is at this address.
    fn know_at(&self, node: NodeId, address: String) {
        let nodes = self.membership.status();
        let mut known = nodes.into_iter().map(|known| known.registration);
        let known = Registration {
            node_id: node,
            address,
            ..known.next().unwrap()
        };
        self.membership.remember(known).unwrap();
    }

    async fn read(&self, node: NodeId, chunk: ChunkId, range: Option<ByteRange>) -> Vec<u8> {
        let read = self.transport.get(node, chunk, range).await.unwrap();
        read.stream.try_collect::<Vec<_>>().await.unwrap().concat()
    }
}

macro_rules! on_every_transport {
    ($($scenario:ident),+ $(,)?) => {
        mod over_http {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() { super::$scenario(super::http().await).await; })+
        }
        mod embedded_in_the_process {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() { super::$scenario(super::embedded().await).await; })+
        }
    };
}

on_every_transport! {
    a_chunk_comes_back_as_it_was_put,
    a_range_comes_back,
    the_same_bytes_again_are_welcome_and_others_a_conflict,
    a_body_of_another_length_keeps_nothing,
    what_is_not_there_is_not_found,
    a_deleted_chunk_is_gone_and_may_be_deleted_again,
    a_chunk_is_copied_from_node_to_node,
    a_copy_tells_what_is_wrong_with_its_source,
    an_overtaken_job_changes_nothing,
    a_digest_is_that_of_the_chunks_in_its_range,
    a_listing_comes_in_pages,
}

async fn a_chunk_comes_back_as_it_was_put(fixture: Fixture) {
    for length in [1, 65_536, 3_000_001, 9_000_000] {
        let bytes = payload(length);
        let put = fixture.store(&bytes).await;
        let head = fixture
            .transport
            .head(fixture.nodes[0], put.id)
            .await
            .unwrap();
        assert_eq!(
            (head.length_bytes, head.crc64),
            (length as u64, Crc64::of(&bytes))
        );
        assert!(fixture.read(fixture.nodes[0], put.id, None).await == bytes);
    }
}

async fn a_range_comes_back(fixture: Fixture) {
    let bytes = payload(300_000);
    let put = fixture.store(&bytes).await;
    let range = ByteRange {
        start: 65_530,
        end: 200_001,
    };
    let read = fixture.read(fixture.nodes[0], put.id, Some(range)).await;
    assert!(read == bytes[65_530..200_001]);
}

async fn the_same_bytes_again_are_welcome_and_others_a_conflict(fixture: Fixture) {
    let bytes = payload(1000);
    let put = fixture.store(&bytes).await;
    let again = fixture
        .transport
        .put(fixture.nodes[0], put.clone(), body(&bytes))
        .await;
    assert!(again.is_ok());
    let others = Bytes::from(vec![9; 1000]);
    let refused = fixture
        .transport
        .put(fixture.nodes[0], put, body(&others))
        .await;
    assert!(
        matches!(refused, Err(ChunkError::Conflict(_))),
        "{refused:?}"
    );
}

async fn a_body_of_another_length_keeps_nothing(fixture: Fixture) {
    let put = put_of(1000);
    let refused = fixture
        .transport
        .put(fixture.nodes[0], put.clone(), body(&payload(999)))
        .await;
    assert!(refused.is_err());
    let head = fixture.transport.head(fixture.nodes[0], put.id).await;
    assert!(matches!(head, Err(ChunkError::NotFound(_))), "{head:?}");
}

async fn what_is_not_there_is_not_found(fixture: Fixture) {
    let missing = ChunkId::generate();
    let read = fixture.transport.get(fixture.nodes[0], missing, None).await;
    assert!(matches!(read, Err(ChunkError::NotFound(id)) if id == missing));
    let nowhere = fixture.transport.head(NodeId::generate(), missing).await;
    assert!(matches!(nowhere, Err(ChunkError::Unreachable(_))));
}

async fn a_deleted_chunk_is_gone_and_may_be_deleted_again(fixture: Fixture) {
    let put = fixture.store(&payload(1000)).await;
    for _ in 0..2 {
        fixture
            .transport
            .delete(fixture.nodes[0], put.id, None)
            .await
            .unwrap();
    }
    let head = fixture.transport.head(fixture.nodes[0], put.id).await;
    assert!(matches!(head, Err(ChunkError::NotFound(_))));
}

async fn a_chunk_is_copied_from_node_to_node(fixture: Fixture) {
    let bytes = payload(2_000_000);
    let put = fixture.store(&bytes).await;
    let [source, target] = fixture.nodes;
    let copied = fixture
        .transport
        .copy(target, put.id, source, None)
        .await
        .unwrap();
    assert_eq!(copied.crc64, Crc64::of(&bytes));
    assert!(fixture.read(target, put.id, None).await == bytes);
}

async fn a_copy_tells_what_is_wrong_with_its_source(fixture: Fixture) {
    let put = fixture.store(&payload(1000)).await;
    let [source, target] = fixture.nodes;
    let transport = &fixture.transport;
    let missing = ChunkId::generate();
    let copied = transport.copy(target, missing, source, None).await;
    assert!(matches!(copied, Err(ChunkError::NotFound(_))), "{copied:?}");
    let nobody = NodeId::generate();
    let copied = transport.copy(target, put.id, nobody, None).await;
    assert!(
        matches!(copied, Err(ChunkError::SourceUnavailable(_))),
        "{copied:?}"
    );
    let copied = transport.copy(nobody, put.id, source, None).await;
    assert!(
        matches!(copied, Err(ChunkError::Unreachable(_))),
        "{copied:?}"
    );
}

async fn an_overtaken_job_changes_nothing(fixture: Fixture) {
    let put = fixture.store(&payload(1000)).await;
    let [holds, other] = fixture.nodes;
    let (older, newer): (Fence, Fence) = ("gc=1".parse().unwrap(), "gc=2".parse().unwrap());
    let missing = ChunkId::generate();
    for node in fixture.nodes {
        let newest = fixture.transport.delete(node, missing, Some(&newer));
        newest.await.unwrap();
    }
    let transport = &fixture.transport;
    let deleted = transport.delete(holds, put.id, Some(&older)).await;
    assert!(matches!(deleted, Err(ChunkError::Fenced(_))), "{deleted:?}");
    let copied = transport.copy(other, put.id, holds, Some(&older)).await;
    assert!(matches!(copied, Err(ChunkError::Fenced(_))), "{copied:?}");
    assert!(transport.head(holds, put.id).await.is_ok());
    assert!(transport.head(other, put.id).await.is_err());
    let copied = transport.copy(other, put.id, holds, Some(&newer)).await;
    assert!(copied.is_ok());
}

async fn a_digest_is_that_of_the_chunks_in_its_range(fixture: Fixture) {
    let mut held = Vec::new();
    for length in [10, 2000, 300_000] {
        let bytes = payload(length);
        let put = fixture.store(&bytes).await;
        held.push(ChunkInfo {
            id: put.id,
            length_bytes: length as u64,
            crc64: Crc64::of(&bytes),
        });
    }
    let ids: Vec<_> = held.iter().map(|chunk| chunk.id).collect();
    let ranges = [
        (None, None, &held[..]),
        (Some(ids[0]), None, &held[1..]),
        (None, Some(ids[1]), &held[..2]),
        (Some(ids[0]), Some(ids[1]), &held[1..2]),
        (Some(ids[2]), None, &[]),
    ];
    for (after, through, expected) in ranges {
        let range = IdRange { after, through };
        let digest = fixture.transport.digest(fixture.nodes[0], range).await;
        assert_eq!(digest.unwrap(), InventoryDigest::of(expected));
    }
    let elsewhere = fixture
        .transport
        .digest(fixture.nodes[1], IdRange::default());
    assert_eq!(elsewhere.await.unwrap(), InventoryDigest::default());
}

async fn a_listing_comes_in_pages(fixture: Fixture) {
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(fixture.store(&payload(10)).await.id);
    }
    let first = fixture
        .transport
        .list(fixture.nodes[0], None, 2)
        .await
        .unwrap();
    let rest = fixture.transport.list(fixture.nodes[0], Some(ids[1]), 2);
    let rest = rest.await.unwrap();
    let listed: Vec<_> = first
        .chunks
        .iter()
        .chain(&rest.chunks)
        .map(|chunk| chunk.id)
        .collect();
    assert_eq!(listed, ids);
    assert_eq!((first.truncated, rest.truncated), (true, false));
}
