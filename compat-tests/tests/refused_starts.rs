//! Data directories that a server must not touch, and internal calls without the secret.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use chunkproto::wire::{CHUNKS_PATH, HEARTBEAT_PATH, REGISTER_PATH};
use compat_tests::{CLUSTER_SECRET, Cluster, ServerProcess, Standalone};
use tempfile::TempDir;

const ANY_PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

/// Starts a server that must refuse to start, and returns what it says.
async fn refusal(program: &str, arguments: &[OsString]) -> String {
    let logs = TempDir::new().expect("a temporary directory");
    let settings = [("SEXTANT_CLUSTER_SECRET", CLUSTER_SECRET)];
    let process = ServerProcess::start(program, "refused", logs.path(), arguments, &settings);
    let said = process.refusal().await;
    assert!(!said.contains("panic"), "{said}");
    said
}

async fn standalone_refusal(data: &Path) -> String {
    let mut arguments: Vec<OsString> = vec!["standalone".into(), "--data".into(), data.into()];
    arguments.extend(ANY_PORTS.map(OsString::from));
    refusal("gateway", &arguments).await
}

async fn chunkd_refusal(data: &Path) -> String {
    let arguments = [
        "--data".into(),
        data.into(),
        "--listen".into(),
        "127.0.0.1:0".into(),
    ];
    refusal("chunkd", &arguments).await
}

/// Overwrites the beginning of every file below `dir` whose name passes `is_victim`.
fn damage(dir: &Path, is_victim: &dyn Fn(&str) -> bool) -> usize {
    let mut damaged = 0;
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            damaged += damage(&path, is_victim);
        } else if is_victim(&name) {
            fs::write(&path, "damaged").expect("the file can be written");
            damaged += 1;
        }
    }
    damaged
}

#[tokio::test]
async fn a_directory_in_use_is_refused() {
    let server = Standalone::start().await;
    let said = standalone_refusal(&server.data()).await;
    assert!(said.contains("in use by another process"), "{said}");
    let said = chunkd_refusal(&server.data().join("nodes/0")).await;
    assert!(said.contains("in use by another process"), "{said}");
}

#[tokio::test]
async fn a_damaged_database_is_refused() {
    let mut server = Standalone::start().await;
    server.gateway().terminate().await;
    let damaged = damage(&server.data().join("metadata"), &|name| {
        name.starts_with("MANIFEST")
    });
    assert_eq!(damaged, 1);
    let said = standalone_refusal(&server.data()).await;
    assert!(said.contains("damaged"), "{said}");
}

#[tokio::test]
async fn a_damaged_chunk_store_is_refused() {
    let mut server = Standalone::start().await;
    server.gateway().terminate().await;
    let store = server.data().join("nodes/0");
    assert_eq!(damage(&store, &|name| name == "node.json"), 1);
    let said = chunkd_refusal(&store).await;
    assert!(said.contains("node.json"), "{said}");
    let said = standalone_refusal(&server.data()).await;
    assert!(said.contains("node.json"), "{said}");
}

#[tokio::test]
async fn a_foreign_directory_is_refused_and_left_as_it_was() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    let said = chunkd_refusal(dir.path()).await;
    assert!(said.contains("thesis.tex"), "{said}");
    let said = standalone_refusal(dir.path()).await;
    assert!(said.contains("not empty"), "{said}");
    let mut url = OsString::from("rocksdb:");
    url.push(dir.path());
    let mut arguments: Vec<OsString> = vec!["serve".into(), "--metadata".into(), url];
    arguments.extend(ANY_PORTS.map(OsString::from));
    let said = refusal("gateway", &arguments).await;
    assert!(said.contains("not empty"), "{said}");
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test]
async fn a_path_that_is_a_file_is_refused() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let said = standalone_refusal(&file).await;
    assert!(said.contains("file"), "{said}");
    let said = chunkd_refusal(&file).await;
    assert!(said.contains("file"), "{said}");
}

#[tokio::test]
async fn fewer_stores_than_hold_data_are_refused() {
    let mut server = Standalone::start_with(&["--nodes", "6"]).await;
    server.gateway().terminate().await;
    let mut arguments: Vec<OsString> = vec!["standalone".into(), "--data".into()];
    arguments.extend([server.data().into(), "--nodes".into(), "5".into()]);
    arguments.extend(ANY_PORTS.map(OsString::from));
    let said = refusal("gateway", &arguments).await;
    assert!(said.contains("--nodes"), "{said}");
}

#[tokio::test]
async fn a_taken_address_is_told() {
    let server = Standalone::start().await;
    let dir = TempDir::new().unwrap();
    let mut arguments: Vec<OsString> = vec!["standalone".into(), "--data".into()];
    arguments.extend([
        dir.path().into(),
        "--admin-listen".into(),
        "127.0.0.1:0".into(),
    ]);
    arguments.extend(["--listen".into(), server.endpoint().authority().into()]);
    let said = refusal("gateway", &arguments).await;
    assert!(said.contains(server.endpoint().authority()), "{said}");
}

#[tokio::test]
async fn internal_calls_without_the_secret_get_401() {
    let mut cluster = Cluster::start(1, 1).await;
    let node = cluster.nodes()[0].address().to_owned();
    let admin = cluster.gateway().admin().to_owned();
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let client = reqwest::Client::new();
    let calls = [
        client.get(format!("{node}{CHUNKS_PATH}")),
        client.get(format!("{node}{CHUNKS_PATH}/{id}")),
        client.put(format!("{node}{CHUNKS_PATH}/{id}")).body("x"),
        client.delete(format!("{node}{CHUNKS_PATH}/{id}")),
        client
            .post(format!("{node}{CHUNKS_PATH}/{id}/copy"))
            .body("{}"),
        client.get(format!("{admin}/status")),
        client.post(format!("{admin}{REGISTER_PATH}")).body("{}"),
        client
            .post(format!("{admin}{HEARTBEAT_PATH}/{id}"))
            .body("{}"),
    ];
    for call in calls {
        for secret in [None, Some("another-secret-of-some-length"), Some("")] {
            let call = call.try_clone().expect("the body can be sent again");
            let call = match secret {
                Some(secret) => call.bearer_auth(secret),
                None => call,
            };
            let answer = call.send().await.unwrap();
            assert_eq!(answer.status(), 401, "{}", answer.url());
        }
    }
}
