//! Encryption at rest: with boto3 from outside, and by looking at what lies in the data directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use compat_tests::{ClientHome, Endpoint, SignedRequest, Standalone, own_source};
use http::Method;
use md5::{Digest as _, Md5};
use tempfile::TempDir;

const METHOD: &str = "x-amz-server-side-encryption";
const CUSTOMER_KEY: [u8; 32] = *b"a key of thirty-two bytes length";

/// A file with the named keys `one` and `two`.
fn named_keys(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("keys.toml");
    let entry = |id: &str, digit: &str| {
        format!(
            "[[key]]\nid = \"{id}\"\nsecret = \"{}\"\n",
            digit.repeat(64)
        )
    };
    fs::write(&path, entry("one", "1") + &entry("two", "2")).expect("the directory can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    path
}

async fn server(dir: &TempDir, more: &[&str]) -> Standalone {
    let keys = named_keys(dir);
    let keys = ["--kms-keys-file", keys.to_str().expect("a UTF-8 path")];
    Standalone::start_with(&[&keys, more].concat()).await
}

fn put(endpoint: &Endpoint, path: &str) -> SignedRequest {
    SignedRequest::new(endpoint, Method::PUT, path)
}

fn get(endpoint: &Endpoint, path: &str) -> SignedRequest {
    SignedRequest::new(endpoint, Method::GET, path)
}

fn with_customer_key(request: SignedRequest) -> SignedRequest {
    let family = "x-amz-server-side-encryption-customer";
    request
        .header(&format!("{family}-algorithm"), "AES256")
        .header(&format!("{family}-key"), &STANDARD.encode(CUSTOMER_KEY))
        .header(
            &format!("{family}-key-md5"),
            &STANDARD.encode(Md5::digest(CUSTOMER_KEY)),
        )
}

/// Whether any file below `dir` holds these bytes.
fn holds(dir: &Path, wanted: &[u8]) -> bool {
    fs::read_dir(dir).expect("a directory").any(|entry| {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => holds(&path, wanted),
            false => {
                let bytes = fs::read(&path).unwrap_or_default();
                bytes.windows(wanted.len()).any(|window| window == wanted)
            }
        }
    })
}

#[tokio::test]
async fn every_mode_reads_back_through_every_way_in_and_out() {
    let dir = TempDir::new().unwrap();
    let server = server(&dir, &["--sse-c-over-http"]).await;
    let home = ClientHome::new(server.endpoint());
    let script = own_source("python").join("encryption.py");
    home.python(&["-B", script.to_str().unwrap()]).await;
}

#[tokio::test]
async fn no_plaintext_and_no_clients_key_lies_in_the_data_directory() {
    let dir = TempDir::new().unwrap();
    let mut server = server(&dir, &["--sse-c-over-http"]).await;
    let at = server.endpoint().clone();
    assert_eq!(put(&at, "/bucket").send().await.status, 200);
    // A short body stands in the metadata, a long one in chunks.
    for filler in [0, 2 * 1024 * 1024] {
        let body = |mark: &str| format!("{mark}{}{mark}", "-".repeat(filler));
        let path = |name: &str| format!("/bucket/{name}-{filler}");
        let open = put(&at, &path("open")).body(body("lies open"));
        let s3 = put(&at, &path("s3"))
            .header(METHOD, "AES256")
            .body(body("sealed by s3"));
        let kms = put(&at, &path("kms"))
            .header(METHOD, "aws:kms")
            .header(&format!("{METHOD}-aws-kms-key-id"), "one")
            .body(body("sealed by kms"));
        let own = with_customer_key(put(&at, &path("own"))).body(body("sealed by client"));
        for request in [open, s3, kms, own] {
            let answer = request.send().await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    server.gateway().terminate().await;
    assert!(
        holds(&server.data(), b"lies open"),
        "the search finds what is there"
    );
    for mark in ["sealed by s3", "sealed by kms", "sealed by client"] {
        assert!(!holds(&server.data(), mark.as_bytes()), "{mark}");
    }
    assert!(!holds(&server.data(), &CUSTOMER_KEY));
    assert!(!holds(
        &server.data(),
        STANDARD.encode(CUSTOMER_KEY).as_bytes()
    ));
    let digest = STANDARD.encode(Md5::digest(CUSTOMER_KEY));
    assert!(!holds(&server.data(), digest.as_bytes()));
}

#[tokio::test]
async fn sealed_objects_need_the_master_key_that_sealed_them() {
    let dir = TempDir::new().unwrap();
    let mut server = server(&dir, &[]).await;
    let at = server.endpoint().clone();
    assert_eq!(put(&at, "/bucket").send().await.status, 200);
    let sealed = put(&at, "/bucket/k")
        .header(METHOD, "AES256")
        .body("secret");
    assert_eq!(sealed.send().await.status, 200);
    let file = server.data().join("master-key");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let kept = fs::read(&file).unwrap();
    server.gateway().terminate().await;
    fs::write(&file, "ab".repeat(32)).unwrap();
    server.gateway().start_again().await;
    let at = server.endpoint().clone();
    assert_eq!(get(&at, "/bucket/k").send().await.status, 500);

    server.gateway().terminate().await;
    fs::write(&file, kept).unwrap();
    server.gateway().start_again().await;
    let at = server.endpoint().clone();
    assert_eq!(get(&at, "/bucket/k").send().await.text(), "secret");
}

#[tokio::test]
async fn clients_keys_are_refused_without_tls_unless_the_operator_allows_it() {
    let dir = TempDir::new().unwrap();
    let server = server(&dir, &[]).await;
    let at = server.endpoint();
    assert_eq!(put(at, "/bucket").send().await.status, 200);
    let answer = with_customer_key(put(at, "/bucket/k"))
        .body("x")
        .send()
        .await;
    answer.assert_error(400, "InvalidRequest");
    let answer = get(at, "/bucket/k").send().await;
    answer.assert_error(404, "NoSuchKey");
}
