//! The bench tool: what it reports is what happened, failures included.

use std::fs;
use std::path::Path;
use std::process::Output;

use compat_tests::{Endpoint, Standalone};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

/// Runs a short measurement of small objects.
async fn bench(endpoint: &Endpoint, json: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_s3-bench"))
        .args(["--endpoint", &endpoint.url, "--sizes", "4KiB"])
        .args(["--objects", "1000", "--connections", "4"])
        .args(["--seconds", "5", "--json"])
        .arg(json)
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", &endpoint.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &endpoint.secret_key)
        .output()
        .await
        .expect("the program can be started")
}

fn lines(json: &Path) -> Vec<Value> {
    let text = fs::read_to_string(json).expect("the figures were written");
    serde_json::from_str(&text).expect("the figures are JSON")
}

#[tokio::test]
async fn every_operation_is_measured_with_the_servers_cpu_time() {
    let mut server = Standalone::start().await;
    let dir = TempDir::new().unwrap();
    let json = dir.path().join("figures");
    let pid = server.gateway().process().pid().to_string();

    let output = bench(server.endpoint(), &json, &["--pid", &pid]).await;

    assert!(output.status.success(), "{output:?}");
    let lines = lines(&json);
    let operations: Vec<_> = lines.iter().map(|line| &line["operation"]).collect();
    assert_eq!(operations, ["put", "get", "head", "list", "delete"]);
    for line in lines {
        assert_eq!(line["failures"], 0, "{line}");
        let above_zero = ["requests", "ops_per_s", "p50_ms", "p99_ms"];
        for figure in above_zero.iter().chain(&["server_peak_mib"]) {
            assert!(line[figure].as_f64() > Some(0.0), "{figure}: {line}");
        }
        // Less than a tick of 10 ms counts as nothing.
        let cpu_us = line["server_cpu_us_per_op"].as_f64();
        assert!(cpu_us >= Some(0.0), "{line}");
    }
}

#[tokio::test]
async fn failures_are_counted_by_reason_and_fail_the_run() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::with_test_keys(&format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(refuse_objects(listener));
    let dir = TempDir::new().unwrap();
    let json = dir.path().join("figures");

    let output = bench(&endpoint, &json, &["--ops", "put"]).await;

    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = &lines(&json)[0];
    assert_eq!(line["requests"], 0, "{line}");
    assert!(line["failures"].as_u64() > Some(0), "{line}");
    assert_eq!(line["failure_reasons"]["503 SlowDown"], line["failures"]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("times: 503 SlowDown"), "{table}");
}

/// A server that makes every bucket and takes no object.
async fn refuse_objects(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(refuse_objects_on(stream));
    }
}

async fn refuse_objects_on(mut stream: TcpStream) -> std::io::Result<()> {
    let mut received = Vec::new();
    loop {
        let head_end = received.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(head_end) = head_end else {
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = String::from_utf8_lossy(&received[..head_end]).to_lowercase();
        let of_object = head.contains("content-length: 4096");
        let body_bytes = if of_object { 4096 } else { 0 };
        while received.len() < head_end + 4 + body_bytes {
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        }
        received.drain(..head_end + 4 + body_bytes);
        let error = "<Error><Code>SlowDown</Code></Error>";
        let reply = if of_object {
            let length = error.len();
            format!("HTTP/1.1 503 Slow Down\r\ncontent-length: {length}\r\n\r\n{error}")
        } else {
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()
        };
        stream.write_all(reply.as_bytes()).await?;
    }
}
