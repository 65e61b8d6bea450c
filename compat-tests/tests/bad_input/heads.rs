//! Heads of requests that flood the server: refused by count or by length, and the server goes on.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::kit::{assert_nothing_changed, server};

/// The status line of the answer to a head, sent as far as the server reads it.
async fn status_of(authority: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(authority).await.expect("a connection");
    let (mut reading, mut writing) = stream.split();
    let mut said = Vec::new();
    // The server may close before it read everything.
    let (_, read) = tokio::join!(
        writing.write_all(head.as_bytes()),
        reading.read_to_end(&mut said)
    );
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().next().unwrap_or_default().to_owned();
    assert!(!line.is_empty(), "no answer: {read:?}");
    line
}

#[tokio::test]
async fn too_many_headers_or_too_long_ones_are_refused() {
    let server = server().await;
    let authority = server.endpoint().authority();
    let start = "PUT /bucket/k HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n";
    let many: String = (0..1000).map(|n| format!("x-h{n}: v\r\n")).collect();
    let long = format!("x-long: {}\r\n", "v".repeat(1024 * 1024));
    let metadata: String = (0..40)
        .map(|n| format!("x-amz-meta-{n}: {}\r\n", "v".repeat(4000)))
        .collect();
    for flood in [many, long, metadata] {
        let status = status_of(authority, &format!("{start}{flood}\r\n")).await;
        assert!(status.contains(" 431 "), "{status}");
    }
    let path = format!("PUT /bucket/{} HTTP/1.1\r\n", "k".repeat(1024 * 1024));
    let status = status_of(authority, &format!("{path}host: x\r\n\r\n")).await;
    assert!(
        status.contains(" 414 ") || status.contains(" 431 "),
        "{status}"
    );
    assert_nothing_changed(&server).await;
}
