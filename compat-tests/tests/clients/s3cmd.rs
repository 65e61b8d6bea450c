//! s3cmd.

use compat_tests::{ClientHome, Payload};

use crate::start_server;

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn a_bucket_lives_from_mb_to_rb() {
    let server = start_server().await;
    let home = ClientHome::new(server.endpoint());
    home.s3cmd(&["mb", "s3://bucket"]).await;
    assert!(home.s3cmd(&["ls"]).await.contains("s3://bucket"));
    home.write("up", b"hello");
    home.s3cmd(&["put", "up", "s3://bucket/with space+plus.txt"])
        .await;
    let listed = home.s3cmd(&["ls", "s3://bucket"]).await;
    assert!(
        listed.contains("s3://bucket/with space+plus.txt"),
        "{listed}"
    );

    home.s3cmd(&["get", "s3://bucket/with space+plus.txt", "down"])
        .await;
    assert_eq!(std::fs::read(home.path("down")).unwrap(), b"hello");
    home.s3cmd(&["del", "s3://bucket/with space+plus.txt"])
        .await;
    assert_eq!(home.s3cmd(&["ls", "s3://bucket"]).await, "");
    home.s3cmd(&["rb", "s3://bucket"]).await;
    assert_eq!(home.s3cmd(&["ls"]).await, "");
}

#[tokio::test]
async fn the_region_that_is_signed_for_by_default_is_set_right() {
    let server = start_server().await;
    let home = ClientHome::new(server.endpoint());
    // What s3cmd takes for a region where its settings name none.
    let s3cmd =
        async |arguments: &[&str]| home.s3cmd(&[&["--region=US"], arguments].concat()).await;
    s3cmd(&["mb", "s3://bucket"]).await;
    home.write("up", b"hello");
    s3cmd(&["put", "up", "s3://bucket/k"]).await;
    s3cmd(&["get", "s3://bucket/k", "down"]).await;
    assert_eq!(std::fs::read(home.path("down")).unwrap(), b"hello");
}

#[tokio::test]
async fn an_object_is_copied_and_moved_on_the_server() {
    let server = start_server().await;
    let home = ClientHome::new(server.endpoint());
    home.s3cmd(&["mb", "s3://bucket"]).await;
    home.write("up", b"hello");
    home.s3cmd(&["put", "up", "s3://bucket/a"]).await;
    home.s3cmd(&["cp", "s3://bucket/a", "s3://bucket/\u{fc}/b"])
        .await;
    home.s3cmd(&["mv", "s3://bucket/a", "s3://bucket/c"]).await;
    let listed = home.s3cmd(&["ls", "-r", "s3://bucket"]).await;
    let names: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_once("s3://bucket/"))
        .map(|(_, name)| name)
        .collect();
    assert_eq!(names, ["c", "\u{fc}/b"]);
}

#[tokio::test]
async fn a_large_file_goes_up_in_parts_and_comes_back() {
    let server = start_server().await;
    let home = ClientHome::new(server.endpoint());
    home.s3cmd(&["mb", "s3://bucket"]).await;
    let payload = Payload::new(1, 22 * MIB);
    payload.write_to(&home.path("up"));
    let put = [
        "put",
        "--multipart-chunk-size-mb=5",
        "up",
        "s3://bucket/large",
    ];
    home.s3cmd(&put).await;
    home.s3cmd(&["get", "s3://bucket/large", "down"]).await;
    payload.assert_in(&home.path("down"));
}

#[tokio::test]
async fn sync_carries_a_tree_both_ways() {
    let server = start_server().await;
    let home = ClientHome::new(server.endpoint());
    home.s3cmd(&["mb", "s3://bucket"]).await;
    for name in ["a", "deep/b c", "deep/er/\u{65e5}\u{672c}"] {
        home.write(&format!("tree/{name}"), name.as_bytes());
    }
    home.s3cmd(&["sync", "tree/", "s3://bucket/tree/"]).await;
    home.s3cmd(&["sync", "s3://bucket/tree/", "back/"]).await;
    for name in ["a", "deep/b c", "deep/er/\u{65e5}\u{672c}"] {
        let back = std::fs::read(home.path(&format!("back/{name}"))).unwrap();
        assert_eq!(back, name.as_bytes());
    }
    std::fs::remove_file(home.path("tree/a")).unwrap();
    home.s3cmd(&["sync", "--delete-removed", "tree/", "s3://bucket/tree/"])
        .await;
    let listed = home.s3cmd(&["ls", "-r", "s3://bucket"]).await;
    assert!(!listed.contains("tree/a"), "{listed}");
}
