//! The first five minutes: what a fresh server prints works as printed.

use std::ffi::OsString;

use compat_tests::{ClientHome, Endpoint, ServerProcess};
use tempfile::TempDir;

/// Starts a standalone server without any settings but its ports and data.
async fn start(dir: &TempDir) -> ServerProcess {
    start_with(dir, &[]).await
}

async fn start_with(dir: &TempDir, more: &[&str]) -> ServerProcess {
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let data = dir.path().join("data").into();
    let mut arguments: Vec<OsString> = vec!["standalone".into(), "--data".into(), data];
    arguments.extend(ports.map(OsString::from));
    arguments.extend(more.iter().map(OsString::from));
    let mut process = ServerProcess::start("gateway", "gateway", dir.path(), &arguments, &[]);
    process.ready_line("Stop with Ctrl-C.").await;
    process
}

/// The lines to paste: those that are indented.
fn pasted(output: &str) -> Vec<&str> {
    output
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .collect()
}

#[tokio::test]
async fn the_printed_lines_work_as_printed() {
    let dir = TempDir::new().unwrap();
    let process = start(&dir).await;
    let home = ClientHome::new(&Endpoint::with_test_keys("http://127.0.0.1:1"));
    let output = process.output();
    let script = pasted(&output).join("\n");
    let printed = home.shell(&script).await;
    assert!(printed.contains("hello, world"), "{printed}");
    assert!(printed.contains("hello.txt"), "{printed}");
    process.terminate().await;
}

#[tokio::test]
async fn generated_keys_stay_the_same() {
    let dir = TempDir::new().unwrap();
    let keys = |process: &ServerProcess| {
        let output = process.output();
        let lines = output.lines().filter(|line| line.contains("KEY"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let process = start(&dir).await;
    let first = keys(&process);
    assert_eq!(first.len(), 2, "{}", process.output());
    process.terminate().await;
    let process = start(&dir).await;
    assert_eq!(keys(&process), first);
}

#[tokio::test]
async fn a_server_that_would_lose_data_in_a_power_cut_says_so() {
    let warning = "DURABILITY IS page-cache";
    for (durability, expected) in [("page-cache", true), ("power-safe", false)] {
        let dir = TempDir::new().unwrap();
        let process = start_with(&dir, &["--durability", durability]).await;
        assert_eq!(process.log().contains(warning), expected, "{durability}");
        process.terminate().await;
    }
}
