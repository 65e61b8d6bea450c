//! Listing and copying over real sockets.

use std::time::Duration;

use chunkproto::wire::{CRC64_HEADER, CopyRequest, LENGTH_HEADER, ListPage, OWNER_HEADER};
use chunkproto::{ChunkError, ChunkId, ChunkReceipt, Crc64, NodeId};
use reqwest::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::kit::{KIB, MIB, Server, data, get, info_of, names_in, owner, put, receipt_of};

use crate::http::{WithSecret as _, chunk_error, get_with, rot_last_byte};

#[tokio::test]
async fn pages_of_the_listing_concatenate_to_all() {
    let server = Server::start().await;
    let mut all = Vec::new();
    for seed in 0..7 {
        let (id, data) = (ChunkId::generate(), data(10, seed));
        put(&server.store, id, &data).await.unwrap();
        all.push(info_of(id, &data));
    }
    let (mut listed, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let path = format!("/v1/chunks?after={after}&limit=3");
        let page: ListPage = get_with(&server, &path).await.json().await.unwrap();
        listed.extend(page.chunks);
        pages += 1;
        if !page.truncated {
            break;
        }
        after = listed.last().unwrap().id.to_string();
    }
    assert_eq!((listed, pages), (all, 3));
}

#[tokio::test]
async fn a_chunk_is_copied_from_node_to_node() {
    let (from, to) = (Server::start().await, Server::start().await);
    let (id, data) = (ChunkId::generate(), data(2 * MIB + 1, 1));
    put(&from.store, id, &data).await.unwrap();
    let copy = |id: ChunkId, source: &str| {
        let request = Client::new()
            .post(format!("{}/copy", to.chunk_url(id)))
            .with_secret();
        request
            .json(&CopyRequest {
                source: source.to_owned(),
                source_node: None,
            })
            .send()
    };
    for _ in 0..2 {
        let response = copy(id, &from.url).await.unwrap();
        assert_eq!(
            response.json::<ChunkReceipt>().await.unwrap(),
            receipt_of(&data)
        );
    }
    assert!(get(&to.store, id, None).await.unwrap() == data);
    assert_eq!(to.store.owner(id).await.unwrap(), owner());

    let absent = ChunkId::generate();
    let error = chunk_error(absent, copy(absent, &from.url).await.unwrap()).await;
    assert!(matches!(error, ChunkError::NotFound(_)), "{error}");
    let url = from.url.clone();
    from.stop().await;
    let error = chunk_error(id, copy(id, &url).await.unwrap()).await;
    assert!(matches!(error, ChunkError::SourceUnavailable(_)), "{error}");
}

#[tokio::test]
async fn a_copy_of_a_rotten_chunk_keeps_nothing() {
    let (from, to) = (
        Server::with(|options| options.segment_max_bytes = 0).await,
        Server::with(|options| options.segment_max_bytes = 0).await,
    );
    let (id, data) = (ChunkId::generate(), data(2 * MIB, 1));
    put(&from.store, id, &data).await.unwrap();
    rot_last_byte(&from, id, data.len());
    let request = Client::new()
        .post(format!("{}/copy", to.chunk_url(id)))
        .with_secret();
    let request = request.json(&CopyRequest {
        source: from.url.clone(),
        source_node: None,
    });
    let error = chunk_error(id, request.send().await.unwrap()).await;
    assert!(matches!(error, ChunkError::SourceUnavailable(_)), "{error}");
    assert!(matches!(
        to.store.head(id).await,
        Err(ChunkError::NotFound(_))
    ));
    assert!(names_in(&to.dir().join("tmp")).is_empty());
}

#[tokio::test]
async fn a_copy_whose_bytes_are_not_what_the_source_declared_keeps_nothing() {
    let to = Server::start().await;
    let id = ChunkId::generate();
    let liar = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = format!("http://{}", liar.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n{LENGTH_HEADER}: 5\r\n{CRC64_HEADER}: {}\r\n\
         {OWNER_HEADER}: {}\r\n\r\nwrong",
        Crc64::of(b"right"),
        owner().to_header(),
    );
    let lies = tokio::spawn(async move {
        let (mut socket, _) = liar.accept().await.unwrap();
        socket.write_all(answer.as_bytes()).await.unwrap();
        let mut request = Vec::new();
        let _ = socket.read_to_end(&mut request).await;
    });
    let request = Client::new().post(format!("{}/copy", to.chunk_url(id)));
    let request = request.with_secret().json(&CopyRequest {
        source,
        source_node: None,
    });
    let error = chunk_error(id, request.send().await.unwrap()).await;
    assert!(matches!(error, ChunkError::SourceUnavailable(_)), "{error}");
    assert!(matches!(
        to.store.head(id).await,
        Err(ChunkError::NotFound(_))
    ));
    lies.abort();
}

#[tokio::test]
async fn a_source_that_refuses_is_told_from_a_target_that_does() {
    let [from, to] = [
        Server::start().await,
        Server::with(|options| options.full_percent = 0).await,
    ];
    let id = ChunkId::generate();
    put(&from.store, id, b"bytes").await.unwrap();
    let copy = |source: &str, source_node: Option<NodeId>| {
        let request = Client::new().post(format!("{}/copy", to.chunk_url(id)));
        let source = source.to_owned();
        request
            .with_secret()
            .json(&CopyRequest {
                source,
                source_node,
            })
            .send()
    };
    let full = chunk_error(id, copy(&from.url, None).await.unwrap()).await;
    assert!(matches!(full, ChunkError::Full(_)), "{full}");
    let another = copy(&from.url, Some(NodeId::generate())).await.unwrap();
    let another = chunk_error(id, another).await;
    assert!(
        matches!(another, ChunkError::SourceUnavailable(_)),
        "{another}"
    );
}

#[tokio::test]
async fn no_more_is_read_of_a_sources_refusal_than_a_sentence_needs() {
    let to = Server::start().await;
    let id = ChunkId::generate();
    let talker = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = format!("http://{}", talker.local_addr().unwrap());
    let talks = tokio::spawn(async move {
        let (mut socket, _) = talker.accept().await.unwrap();
        let head = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 1000000000\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&[b' '; 64 * KIB]).await.unwrap();
        // The rest does not come.
        std::future::pending::<()>().await;
    });
    let request = Client::new().post(format!("{}/copy", to.chunk_url(id)));
    let request = request.with_secret().json(&CopyRequest {
        source,
        source_node: None,
    });
    let answered = timeout(Duration::from_secs(20), request.send()).await;
    let error = chunk_error(id, answered.expect("an answer").unwrap()).await;
    assert!(matches!(error, ChunkError::SourceUnavailable(_)), "{error}");
    talks.abort();
}
