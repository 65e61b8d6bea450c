//! The program itself: its first words, its last, and what it refuses.

use std::process::Stdio;
use std::time::Duration;

use reqwest::StatusCode;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::kit::open;

fn chunkd(dir: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chunkd"));
    command
        .env_clear()
        .env("SEXTANT_CLUSTER_SECRET", "the-secret-of-all-tests")
        .arg("--data")
        .arg(dir.path())
        .args(["--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Reads the log until the line that tells the address.
async fn address_of(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let line: String = strip_colours(&line);
        if let Some((_, rest)) = line.split_once("listen=") {
            let address = rest.split_whitespace().next().unwrap().to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return address;
        }
    }
    panic!("chunkd did not say its address");
}

fn strip_colours(line: &str) -> String {
    line.split('\u{1b}')
        .enumerate()
        .map(|(n, part)| {
            if n == 0 {
                part
            } else {
                part.split_once('m').map_or("", |(_, rest)| rest)
            }
        })
        .collect()
}

#[tokio::test]
async fn a_terminated_process_stops_cleanly_and_leaves_a_usable_directory() {
    let dir = TempDir::new().unwrap();
    let mut child = chunkd(&dir).spawn().unwrap();
    let address = address_of(&mut child).await;
    let health = reqwest::get(format!("http://{address}/health"))
        .await
        .unwrap();
    assert_eq!(health.status(), StatusCode::OK);

    let second = chunkd(&dir).output().await.unwrap();
    assert!(!second.status.success());
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(words.contains("in use by another process"), "{words}");

    let pid = child.id().unwrap().to_string();
    Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .await
        .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), child.wait())
        .await
        .unwrap();
    assert!(ended.unwrap().success());
    open(dir.path());
}

#[tokio::test]
async fn help_names_every_setting_and_a_missing_secret_is_explained() {
    let dir = TempDir::new().unwrap();
    let help = chunkd(&dir).arg("--help").output().await.unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for word in [
        "--data",
        "SEXTANT_GATEWAYS",
        "SEXTANT_CONFIG",
        "127.0.0.1:9100",
        "[default: 95]",
    ] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    assert!(!help.contains("the-secret-of-all-tests"));
    let output = chunkd(&dir)
        .env_remove("SEXTANT_CLUSTER_SECRET")
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && words.contains("SEXTANT_CLUSTER_SECRET"),
        "{words}"
    );
}
