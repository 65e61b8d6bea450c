//! The aws cli.

use std::fs;

use compat_tests::{ClientHome, Payload};

use crate::start_server;

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn files_of_all_sizes_come_back_as_they_went() {
    let server = start_server().await;
    let home = ClientHome::new(server.endpoint());
    home.aws(&["s3", "mb", "s3://sizes"]).await;
    for (seed, length_bytes) in [(1, 0), (2, 1), (3, MIB), (4, 3 * MIB), (5, 100 * MIB)] {
        let payload = Payload::new(seed, length_bytes);
        payload.write_to(&home.path("up"));
        let url = format!("s3://sizes/{length_bytes} bytes");
        home.aws(&["s3", "cp", "--no-progress", "up", &url]).await;
        home.aws(&["s3", "cp", "--no-progress", &url, "down"]).await;
        payload.assert_in(&home.path("down"));
    }
}

#[tokio::test]
async fn a_large_file_goes_up_in_parts() {
    let server = start_server().await;
    let home = ClientHome::new(server.endpoint());
    home.aws(&["s3", "mb", "s3://parts"]).await;
    Payload::new(1, 20 * MIB).write_to(&home.path("up"));
    home.aws(&["s3", "cp", "--no-progress", "up", "s3://parts/up"])
        .await;
    let head = ["s3api", "head-object", "--bucket", "parts", "--key", "up"];
    let etag = home
        .aws(&[&head[..], &["--query", "ETag", "--output", "text"]].concat())
        .await;
    assert_eq!(
        etag.trim().trim_matches('"').split_once('-').unwrap().1,
        "3"
    );
}

#[tokio::test]
async fn sync_carries_a_tree_both_ways_and_deletes_what_is_gone() {
    let server = start_server().await;
    let home = ClientHome::new(server.endpoint());
    home.aws(&["s3", "mb", "s3://tree"]).await;
    let names = [
        "plain.txt",
        "with space.txt",
        "a+b=c&d.txt",
        "deep/er/ünï-code/日本語.bin",
        "deep/emoji 🦀.txt",
        "100%25.txt",
        "empty",
    ];
    for name in names {
        let content = if name == "empty" { "" } else { name };
        home.write(&format!("tree/{name}"), content.as_bytes());
    }
    home.aws(&["s3", "sync", "tree", "s3://tree/root"]).await;
    home.aws(&["s3", "sync", "s3://tree/root", "back"]).await;
    for name in names {
        let sent = fs::read(home.path(&format!("tree/{name}"))).unwrap();
        let received = fs::read(home.path(&format!("back/{name}"))).unwrap();
        assert_eq!(sent, received, "{name}");
    }
    let again = home.aws(&["s3", "sync", "tree", "s3://tree/root"]).await;
    assert_eq!(again, "", "nothing had changed");

    fs::remove_file(home.path("tree/a+b=c&d.txt")).unwrap();
    home.aws(&["s3", "sync", "--delete", "tree", "s3://tree/root"])
        .await;
    home.aws(&["s3", "sync", "--delete", "s3://tree/root", "back"])
        .await;
    assert!(!home.path("back/a+b=c&d.txt").exists());
    assert!(home.path("back/with space.txt").exists());
}

#[tokio::test]
async fn a_presigned_url_needs_no_keys() {
    let server = start_server().await;
    let home = ClientHome::new(server.endpoint());
    home.aws(&["s3", "mb", "s3://shared"]).await;
    home.write("up", b"for everybody with the link");
    home.aws(&["s3", "cp", "up", "s3://shared/a b+c"]).await;
    let url = home.aws(&["s3", "presign", "s3://shared/a b+c"]).await;
    let body = home
        .run("curl", &["--silent", "--show-error", "--fail", url.trim()])
        .await;
    assert_eq!(body, "for everybody with the link");
}

#[tokio::test]
async fn removal_empties_a_bucket_and_then_removes_it() {
    let server = start_server().await;
    let home = ClientHome::new(server.endpoint());
    home.aws(&["s3", "mb", "s3://short-lived"]).await;
    for number in 0..5 {
        home.write(&format!("files/{number}"), b"x");
    }
    home.aws(&["s3", "cp", "--recursive", "files", "s3://short-lived/d"])
        .await;
    let refusal = home.try_aws(&["s3", "rb", "s3://short-lived"]).await;
    assert!(refusal.expect_failure().contains("BucketNotEmpty"));

    home.aws(&["s3", "rm", "--recursive", "s3://short-lived/d/"])
        .await;
    assert_eq!(home.aws(&["s3", "ls", "s3://short-lived"]).await, "");
    home.aws(&["s3", "rb", "s3://short-lived"]).await;
    assert_eq!(home.aws(&["s3", "ls"]).await, "");
}

#[tokio::test]
async fn streams_go_in_and_out_through_pipes() {
    let server = start_server().await;
    let home = ClientHome::new(server.endpoint());
    Payload::new(1, 20 * MIB).write_to(&home.path("up"));
    let through_pipes = "aws s3 mb s3://pipes\n\
        cat up | aws s3 cp - s3://pipes/up\n\
        aws s3 cp s3://pipes/up - | cmp - up";
    let _ = home.shell(through_pipes).await;
}

#[tokio::test]
async fn a_checksum_sent_is_a_checksum_kept() {
    let server = start_server().await;
    let home = ClientHome::new(server.endpoint());
    home.aws(&["s3", "mb", "s3://sums"]).await;
    home.write("up", b"hello");
    let object = ["--bucket", "sums", "--key", "k"];
    let put = ["s3api", "put-object", "--body", "up"];
    let sha = ["--checksum-algorithm", "SHA256"];
    home.aws(&[&put[..], &object, &sha].concat()).await;
    let head = ["s3api", "head-object", "--checksum-mode", "ENABLED"];
    let head = home.aws(&[&head[..], &object].concat()).await;
    assert!(
        head.contains("LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="),
        "{head}"
    );
}

#[tokio::test]
async fn a_conditional_put_has_one_winner() {
    let server = start_server().await;
    let home = ClientHome::new(server.endpoint());
    home.aws(&["s3", "mb", "s3://locks"]).await;
    home.write("up", b"mine");
    let put = [
        "s3api",
        "put-object",
        "--body",
        "up",
        "--if-none-match",
        "*",
    ];
    let put = [&put[..], &["--bucket", "locks", "--key", "lock"]].concat();
    home.aws(&put).await;
    let refusal = home.try_aws(&put).await.expect_failure();
    assert!(refusal.contains("PreconditionFailed"), "{refusal}");
}
