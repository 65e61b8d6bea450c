//! rclone: copies, comparisons, times, and a mount.

use std::fs;
use std::path::Path;
use std::time::Duration;

use compat_tests::{ClientHome, Payload, eventually};

use crate::{TestServer, start_server};

const MIB: u64 = 1024 * 1024;
const DEADLINE: Duration = Duration::from_secs(120);

async fn home_with_bucket(server: &TestServer) -> ClientHome {
    let home = ClientHome::new(server.endpoint());
    home.rclone(&["mkdir", "sx:bucket"]).await;
    home
}

fn write_tree(home: &ClientHome) {
    home.write("tree/a.txt", b"a");
    home.write("tree/with space+plus.txt", b"b");
    home.write("tree/deep/\u{fc}n\u{ef}code \u{1f980}.txt", b"c");
    Payload::new(1, 20 * MIB).write_to(&home.path("tree/large"));
}

#[tokio::test]
async fn a_copied_tree_passes_check_in_both_directions() {
    let server = start_server().await;
    let home = home_with_bucket(&server).await;
    write_tree(&home);
    // Above the cut-off a file goes up in parts, so that both ways of storing are compared.
    home.rclone(&["copy", "tree", "sx:bucket/tree", "--s3-upload-cutoff=5M"])
        .await;
    home.rclone(&["check", "tree", "sx:bucket/tree"]).await;
    home.rclone(&["check", "--download", "tree", "sx:bucket/tree"])
        .await;
    home.rclone(&["copy", "sx:bucket/tree", "back"]).await;
    home.rclone(&["check", "tree", "back"]).await;
    let listed = home
        .rclone(&["lsf", "-R", "--files-only", "sx:bucket"])
        .await;
    assert_eq!(listed.lines().count(), 4, "{listed}");
}

#[tokio::test]
async fn sync_removes_what_the_source_no_longer_has() {
    let server = start_server().await;
    let home = home_with_bucket(&server).await;
    write_tree(&home);
    home.rclone(&["sync", "tree", "sx:bucket/tree"]).await;
    fs::remove_file(home.path("tree/a.txt")).unwrap();
    home.write("tree/new.txt", b"new");
    home.rclone(&["sync", "tree", "sx:bucket/tree"]).await;
    let listed = home.rclone(&["lsf", "sx:bucket/tree"]).await;
    assert_eq!(
        listed.lines().collect::<Vec<_>>(),
        ["deep/", "large", "new.txt", "with space+plus.txt"]
    );
    home.rclone(&["purge", "sx:bucket/tree"]).await;
    assert_eq!(home.rclone(&["lsf", "sx:bucket"]).await, "");
}

#[tokio::test]
async fn modification_times_travel_and_change_without_the_bytes() {
    let server = start_server().await;
    let home = home_with_bucket(&server).await;
    home.write("file", b"content");
    home.rclone(&["touch", "-t", "2020-01-02T03:04:05", "file"])
        .await;
    home.rclone(&["copyto", "file", "sx:bucket/file"]).await;
    let times = ["lsf", "--format", "tp", "sx:bucket"];
    let listed = home.rclone(&times).await;
    assert_eq!(listed, "2020-01-02 03:04:05;file\n");

    home.rclone(&["touch", "-t", "2021-06-07T08:09:10", "sx:bucket/file"])
        .await;
    assert_eq!(home.rclone(&times).await, "2021-06-07 08:09:10;file\n");
    assert_eq!(home.rclone(&["cat", "sx:bucket/file"]).await, "content");
    home.rclone(&["touch", "sx:bucket/new-and-empty"]).await;
    assert_eq!(home.rclone(&["cat", "sx:bucket/new-and-empty"]).await, "");
}

#[tokio::test]
async fn a_file_moves_on_the_server() {
    let server = start_server().await;
    let home = home_with_bucket(&server).await;
    home.write("file", b"content");
    home.rclone(&["copyto", "file", "sx:bucket/from"]).await;
    home.rclone(&["moveto", "sx:bucket/from", "sx:bucket/there/to"])
        .await;
    let listed = home
        .rclone(&["lsf", "-R", "--files-only", "sx:bucket"])
        .await;
    assert_eq!(listed, "there/to\n");
}

#[tokio::test]
async fn a_range_is_read_alone() {
    let server = start_server().await;
    let home = home_with_bucket(&server).await;
    home.write("file", b"0123456789");
    home.rclone(&["copyto", "file", "sx:bucket/file"]).await;
    let cat = ["cat", "sx:bucket/file", "--offset", "3", "--count", "4"];
    assert_eq!(home.rclone(&cat).await, "3456");
    let tail = ["cat", "sx:bucket/file", "--tail", "2"];
    assert_eq!(home.rclone(&tail).await, "89");
}

#[tokio::test]
async fn a_mount_reads_and_writes_like_a_disk() {
    if !Path::new("/dev/fuse").exists() {
        println!("skipped: this machine has no /dev/fuse");
        return;
    }
    let server = start_server().await;
    let home = home_with_bucket(&server).await;
    let large = Payload::new(1, 8 * MIB);
    large.write_to(&home.path("large"));
    home.rclone(&["copyto", "large", "sx:bucket/large"]).await;
    let mount = home.path("mount");
    fs::create_dir(&mount).unwrap();
    let flags = ["--vfs-cache-mode=writes", "--vfs-write-back=0s"];
    let mounting = ["mount", "sx:bucket", "mount", "--dir-cache-time=1s"];
    let mut rclone = home.start_rclone(&[&mounting[..], &flags].concat());
    eventually("the mount", DEADLINE, async || {
        mount.join("large").exists().then_some(())
    })
    .await;

    // Blocking system calls on a mount need a thread that the mount's own server does not use.
    let inside = mount.clone();
    tokio::task::spawn_blocking(move || {
        large.assert_in(&inside.join("large"));
        fs::create_dir(inside.join("dir")).unwrap();
        fs::write(inside.join("dir/written.txt"), "through the mount").unwrap();
        fs::rename(inside.join("large"), inside.join("dir/renamed")).unwrap();
        large.assert_in(&inside.join("dir/renamed"));
    })
    .await
    .unwrap();
    // What was written goes up in the background.
    let all = ["lsf", "-R", "--files-only", "sx:bucket"];
    eventually("all files in the bucket", DEADLINE, async || {
        let listed = home.rclone(&all).await;
        (listed == "dir/renamed\ndir/written.txt\n").then_some(())
    })
    .await;
    // A program that another test is starting holds the files that were open, until it runs.
    home.shell("until fusermount3 -u mount; do sleep 0.1; done")
        .await;
    let ended = tokio::time::timeout(DEADLINE, rclone.wait()).await;
    assert!(ended.unwrap().unwrap().success());

    let listed = home.rclone(&all).await;
    assert_eq!(listed, "dir/renamed\ndir/written.txt\n");
    let read = home.rclone(&["cat", "sx:bucket/dir/written.txt"]).await;
    assert_eq!(read, "through the mount");
}
