//! boto3; the scenarios are in `compat-tests/python`.

use compat_tests::{ClientHome, own_source};

use crate::start_server;

/// Runs a file of scenarios; unittest names those that fail.
async fn run(script: &str) {
    let server = start_server().await;
    let home = ClientHome::new(server.endpoint());
    let script = own_source("python").join(script);
    let script = script.to_str().expect("the checkout's path is UTF-8");
    // -B: no byte code beside the sources.
    home.python(&["-B", script]).await;
}

#[tokio::test]
async fn objects_and_buckets() {
    run("objects.py").await;
}

#[tokio::test]
async fn buckets_and_their_configurations() {
    run("buckets.py").await;
}

#[tokio::test]
async fn listings() {
    run("listing.py").await;
}

#[tokio::test]
async fn ranges_parts_and_conditions() {
    run("reading.py").await;
}

#[tokio::test]
async fn checksums() {
    run("checksums.py").await;
}

#[tokio::test]
async fn uploads_in_parts_and_copies() {
    run("multipart.py").await;
}

#[tokio::test]
async fn appends() {
    run("appending.py").await;
}

#[tokio::test]
async fn renames() {
    run("renaming.py").await;
}

#[tokio::test]
async fn presigned_urls() {
    run("presigned.py").await;
}

#[tokio::test]
async fn forms() {
    run("forms.py").await;
}

#[tokio::test]
async fn clients_without_credentials() {
    run("anonymous.py").await;
}
