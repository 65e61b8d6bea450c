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
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The address in the line that tells that the process serves.
async fn address_of(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let (_, address) = line.split_once("ready at ").unwrap();
    address.to_owned()
}

#[tokio::test]
async fn a_terminated_process_stops_cleanly_and_leaves_a_usable_directory() {
    let dir = TempDir::new().unwrap();
    let mut child = chunkd(&dir).stderr(Stdio::null()).spawn().unwrap();
    let address = address_of(&mut child).await;
    let health = reqwest::get(format!("{address}/health")).await.unwrap();
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

#[tokio::test]
async fn a_process_that_misses_a_disk_serves_and_says_what_to_do() {
    let (dir, second) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let both = || {
        let mut command = chunkd(&dir);
        command.arg("--data").arg(second.path().join("disk"));
        command
    };
    let mut child = both().stderr(Stdio::null()).spawn().unwrap();
    let address = address_of(&mut child).await;
    let health = reqwest::get(format!("{address}/health")).await.unwrap();
    assert_eq!(health.text().await.unwrap(), "ok\n");
    child.kill().await.unwrap();
    let moved = second.path().join("moved");
    std::fs::rename(second.path().join("disk"), moved).unwrap();

    let mut child = both().stderr(Stdio::piped()).spawn().unwrap();
    let address = address_of(&mut child).await;
    let health = reqwest::get(format!("{address}/health")).await.unwrap();
    let health = health.text().await.unwrap();
    assert!(health.contains("the directory is missing"), "{health}");
    child.kill().await.unwrap();
    let said = child.wait_with_output().await.unwrap().stderr;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("--forget-disk"), "{said}");
}
