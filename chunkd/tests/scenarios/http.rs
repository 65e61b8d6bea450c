//! The HTTP API over real sockets.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use chunkproto::wire::{
    CRC64_HEADER, CopyRequest, ErrorBody, LENGTH_HEADER, OWNER_HEADER, error_from_wire,
};
use chunkproto::{ChunkError, ChunkId, ChunkReceipt, Crc64, OwnerHint};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::kit::{
    KIB, MIB, Server, data, eventually, get, names_in, owner, put, receipt_of, record_path, secret,
};

pub trait WithSecret {
    fn with_secret(self) -> Self;
}

impl WithSecret for RequestBuilder {
    fn with_secret(self) -> Self {
        self.header("authorization", secret().to_authorization())
    }
}

pub fn put_request(server: &Server, id: ChunkId, body: &[u8]) -> RequestBuilder {
    let request = Client::new().put(server.chunk_url(id)).with_secret();
    request
        .header(OWNER_HEADER, owner().to_header())
        .body(body.to_vec())
}

pub async fn get_with(server: &Server, path: &str) -> Response {
    let request = Client::new()
        .get(format!("{}{path}", server.url))
        .with_secret();
    request.send().await.unwrap()
}

async fn send(request: RequestBuilder) -> Response {
    request.with_secret().send().await.unwrap()
}

pub async fn chunk_error(id: ChunkId, response: Response) -> ChunkError {
    let status = response.status();
    assert!(!status.is_success(), "{status}");
    error_from_wire(id, status, response.json::<ErrorBody>().await.ok())
}

#[tokio::test]
async fn a_chunk_goes_in_comes_out_and_goes_away() {
    let server = Server::start().await;
    let (id, data) = (ChunkId::generate(), data(3 * MIB + 7, 1));
    let response = put_request(&server, id, &data).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.json::<ChunkReceipt>().await.unwrap(),
        receipt_of(&data)
    );

    let response = send(Client::new().get(server.chunk_url(id))).await;
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header(LENGTH_HEADER), data.len().to_string());
    assert_eq!(header("content-length"), data.len().to_string());
    assert_eq!(
        header(CRC64_HEADER).parse::<Crc64>().unwrap(),
        Crc64::of(&data)
    );
    assert_eq!(
        OwnerHint::from_header(&header(OWNER_HEADER)).unwrap(),
        owner()
    );
    assert!(response.bytes().await.unwrap() == data);

    let range = Client::new()
        .get(server.chunk_url(id))
        .header("range", "bytes=65530-65540");
    let response = range.with_secret().send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    let content_range = format!("bytes 65530-65540/{}", data.len());
    assert_eq!(response.headers()["content-range"], content_range.as_str());
    assert_eq!(
        response.headers()[LENGTH_HEADER],
        data.len().to_string().as_str()
    );
    assert_eq!(response.bytes().await.unwrap(), data[65530..=65540]);

    let response = send(Client::new().head(server.chunk_url(id))).await;
    assert_eq!(
        response.headers()[CRC64_HEADER],
        Crc64::of(&data).to_string().as_str()
    );
    assert_eq!(
        response.headers()["content-length"],
        data.len().to_string().as_str()
    );

    for _ in 0..2 {
        let delete = Client::new().delete(server.chunk_url(id)).with_secret();
        assert_eq!(
            delete.send().await.unwrap().status(),
            StatusCode::NO_CONTENT
        );
    }
    let gone = send(Client::new().get(server.chunk_url(id))).await;
    assert!(matches!(
        chunk_error(id, gone).await,
        ChunkError::NotFound(_)
    ));
    let gone = send(Client::new().head(server.chunk_url(id))).await;
    assert!(matches!(
        error_from_wire(id, gone.status(), None),
        ChunkError::NotFound(_)
    ));
}

#[tokio::test]
async fn without_the_secret_only_health_ready_and_metrics_answer() {
    let server = Server::start().await;
    let id = ChunkId::generate();
    for path in ["/health", "/ready", "/metrics"] {
        let response = reqwest::get(format!("{}{path}", server.url)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    let client = Client::new();
    let url = server.chunk_url(id);
    let requests = [
        client
            .put(&url)
            .body("data")
            .header(OWNER_HEADER, owner().to_header()),
        client.get(&url),
        client.delete(&url),
        client.post(format!("{url}/copy")).json(&CopyRequest {
            source: server.url.clone(),
            source_node: None,
        }),
        client.get(format!("{}/v1/chunks", server.url)),
        client
            .get(format!("{}/v1/chunks", server.url))
            .bearer_auth("the-secret-of-all-guests"),
        client.get(format!("{}/elsewhere", server.url)),
    ];
    for request in requests {
        let error = chunk_error(id, request.send().await.unwrap()).await;
        assert!(matches!(error, ChunkError::Unauthorized), "{error}");
    }
    assert_eq!(server.store.state().total.chunk_count, 0);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_with_a_reason() {
    let server = Server::start().await;
    let (id, client) = (ChunkId::generate(), Client::new());
    put(&server.store, id, b"five!").await.unwrap();
    let url = server.chunk_url(id);
    let list = format!("{}/v1/chunks", server.url);
    let put_with =
        |body: &'static str, owner: &str| client.put(&url).body(body).header(OWNER_HEADER, owner);
    let ranged = |range: &str| client.get(&url).header("range", range);
    let from_ftp = CopyRequest {
        source: "ftp://x".into(),
        source_node: None,
    };
    let copy = client.post(format!("{url}/copy"));
    let elsewhere = client.get(format!("{list}/{id}/other"));
    let nothing = put_with("", &owner().to_header()).header("content-length", "0");
    let requests = [
        (client.get(format!("{list}/no-id")), 400, "no-id"),
        (
            client.get(format!("{list}/..%2f..%2fetc")),
            400,
            "not a chunk id",
        ),
        (elsewhere, 404, "no such path"),
        (
            client.get(format!("{}/v2", server.url)),
            404,
            "no such path",
        ),
        (client.patch(&url), 405, "no such method"),
        (client.get(format!("{url}/copy")), 405, "no such method"),
        (client.get(format!("{list}?limit=0")), 400, "limit"),
        (client.get(format!("{list}?after=x")), 400, "not a chunk id"),
        (ranged("bytes=0-5"), 400, "of 5 bytes"),
        (ranged("bytes=-1"), 400, "bytes=-1"),
        (client.put(&url).body("data"), 400, OWNER_HEADER),
        (put_with("data", "@"), 400, OWNER_HEADER),
        (nothing, 400, "at least one"),
        (
            client.post(format!("{url}/copy")).body("{"),
            400,
            "copy request",
        ),
        (copy.json(&from_ftp), 400, "ftp"),
    ];
    for (request, status, reason) in requests {
        let response = request.with_secret().send().await.unwrap();
        assert_eq!(response.status(), status, "{reason}");
        let body: ErrorBody = response.json().await.unwrap();
        assert!(
            body.error == "invalid" && body.detail.contains(reason),
            "{body:?}"
        );
    }
}

#[tokio::test]
async fn store_errors_keep_their_kind_over_the_wire() {
    let server = Server::start().await;
    let id = ChunkId::generate();
    put(&server.store, id, b"these").await.unwrap();
    let conflict = put_request(&server, id, b"those").send().await.unwrap();
    assert!(matches!(
        chunk_error(id, conflict).await,
        ChunkError::Conflict(_)
    ));

    let wrong = put_request(&server, ChunkId::generate(), b"data");
    let wrong = wrong
        .header(CRC64_HEADER, Crc64::of(b"other").to_string())
        .send()
        .await
        .unwrap();
    assert!(matches!(
        chunk_error(id, wrong).await,
        ChunkError::BadBody(_)
    ));

    let full = Server::with(|options| options.full_percent = 0).await;
    for length in [10, 100 * KIB, 8 * MIB] {
        let response = put_request(&full, id, &data(length, 1))
            .send()
            .await
            .unwrap();
        assert!(
            matches!(chunk_error(id, response).await, ChunkError::Full(_)),
            "{length}"
        );
    }
    let ready = reqwest::get(format!("{}/ready", full.url)).await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_sender_that_goes_away_leaves_nothing() {
    let server = Server::start().await;
    let id = ChunkId::generate();
    let address = server.url.strip_prefix("http://").unwrap();
    for declared in [1000, 4 * MIB] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "PUT /v1/chunks/{id} HTTP/1.1\r\nhost: x\r\ncontent-length: {declared}\r\n\
             authorization: {}\r\n{OWNER_HEADER}: {}\r\n\r\n",
            secret().to_authorization(),
            owner().to_header(),
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&data(declared / 2, 1)).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Hyper closes, with or without an answer.
        let _ = socket.read_to_end(&mut answer).await;
    }
    let dir = server.stop().await;
    assert!(names_in(&dir.path().join("tmp")).is_empty());
    assert!(!record_path(dir.path(), id).exists());
}

#[tokio::test]
async fn rot_in_mid_stream_cuts_the_connection_and_is_never_a_short_success() {
    let server = Server::with(|options| options.segment_max_bytes = 0).await;
    let (id, data) = (ChunkId::generate(), data(2 * MIB, 1));
    put(&server.store, id, &data).await.unwrap();
    rot_last_byte(&server, id, data.len());
    let response = send(Client::new().get(server.chunk_url(id))).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.bytes().await.is_err());
    let metrics = reqwest::get(format!("{}/metrics", server.url))
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("\nsextant_chunkd_quarantined_total 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("\nsextant_chunkd_chunks 0\n"), "{metrics}");
}

#[tokio::test]
async fn a_shutdown_lets_requests_under_way_end() {
    let server = Server::start().await;
    let (id, data) = (ChunkId::generate(), data(4 * MIB, 1));
    let (mut sender, body) = slow_body(&data[..MIB]).await;
    let request = Client::new().put(server.chunk_url(id)).with_secret();
    let request = request
        .header(OWNER_HEADER, owner().to_header())
        .header("content-length", data.len())
        .body(body);
    let request = tokio::spawn(request.send());
    let store = server.store.clone();
    let is_under_way = || store.state().total.in_flight > 0;
    eventually("a request under way", is_under_way).await;
    let stopping = tokio::spawn(server.stop());
    sender.write_all(&data[MIB..]).await.unwrap();
    drop(sender);
    assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
    let dir = stopping.await.unwrap();
    drop(store);
    let store = crate::kit::open(dir.path());
    assert!(get(&store, id, None).await.unwrap() == data);
}

/// A body whose first bytes are there and whose rest comes through the writer.
async fn slow_body(first: &[u8]) -> (tokio::io::DuplexStream, reqwest::Body) {
    let (mut writer, reader) = tokio::io::duplex(8 * MIB);
    writer.write_all(first).await.unwrap();
    let pieces = futures::stream::try_unfold(reader, |mut reader| async move {
        let mut piece = vec![0; 64 * KIB];
        let read = reader.read(&mut piece).await?;
        piece.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then_some((piece, reader)))
    });
    (writer, reqwest::Body::wrap_stream(pieces))
}

pub fn rot_last_byte(server: &Server, id: ChunkId, length: usize) {
    let path = record_path(server.dir(), id);
    let file = File::options().write(true).read(true).open(path).unwrap();
    let mut byte = [0];
    let at = 4096 + length as u64 - 1;
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}
