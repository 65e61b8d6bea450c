//! The metadata of a standalone gateway is lost, and brought back: from what the chunks say, from a copy
//! that an operator made, from the backup on other disks.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::Command;
use std::time::Duration;

use aws_sdk_s3::Client;
use compat_tests::{Payload, Standalone, eventually};

use crate::kit::{MIB, assert_stored, client_with_bucket, put};

const LARGE: Payload = Payload::new(1, 20 * MIB);
const MIDDLE: Payload = Payload::new(2, 9 * 1024);
/// Kept in the metadata itself.
const SMALL: Payload = Payload::new(3, 100);
const DEADLINE: Duration = Duration::from_secs(60);

async fn keys(client: &Client) -> Vec<(String, String)> {
    let page = client.list_objects_v2().bucket("big").send().await;
    let objects = page.expect("the bucket is listed").contents;
    let shown = objects.unwrap_or_default().into_iter();
    shown
        .map(|object| {
            (
                object.key.unwrap_or_default(),
                object.e_tag.unwrap_or_default(),
            )
        })
        .collect()
}

#[tokio::test]
async fn objects_return_from_their_chunks_and_those_without_are_said_to_be_lost() {
    let mut server = Standalone::start_with(&["--nodes", "2"]).await;
    let client = client_with_bucket(server.endpoint()).await;
    for (key, payload) in [("large", LARGE), ("middle", MIDDLE), ("small", SMALL)] {
        put(&client, key, payload).await;
    }
    let mut before = keys(&client).await;
    server.gateway().kill().await;
    fs::remove_dir_all(server.data().join("metadata")).unwrap();

    let rebuilt = server.admin(&["rebuild-metadata"]).await;
    let said = rebuilt.expect_success("rebuild-metadata");
    assert!(said.contains("2  objects and versions rebuilt"), "{said}");
    assert!(said.contains("only the lost metadata had them"), "{said}");
    let report = fs::read_to_string(server.data().join("rebuild-report.txt")).unwrap();
    assert!(report.contains("--inline-max-size"), "{report}");

    server.gateway().start_again().await;
    before.retain(|(key, _)| key != "small");
    assert_eq!(
        keys(&client).await,
        before,
        "keys and ETags are as they were"
    );
    assert_stored(&client, "large", LARGE).await;
    assert_stored(&client, "middle", MIDDLE).await;
    let status = server.status().await;
    assert_eq!(
        status["data"]["chunks_by_copies"][1], 0,
        "one copy is enough here"
    );
    put(&client, "small", SMALL).await;
    assert_stored(&client, "small", SMALL).await;
}

#[tokio::test]
async fn a_copy_that_was_made_while_it_ran_is_put_back() {
    let mut server = Standalone::start().await;
    let client = client_with_bucket(server.endpoint()).await;
    put(&client, "small", SMALL).await;
    put(&client, "large", LARGE).await;
    let copy = server.data().with_file_name("copy");
    let path = copy.to_str().expect("a path in ASCII");
    let saved = server.admin(&["save-metadata", path]).await;
    let _ = saved.expect_success("save-metadata");
    let mode = fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "others cannot read it");
    put(&client, "later", MIDDLE).await;
    let refused = server
        .admin(&["save-metadata", path])
        .await
        .expect_failure();
    assert!(refused.contains("choose an empty directory"), "{refused}");

    server.gateway().kill().await;
    let database = server.data().join("metadata");
    fs::rename(&database, server.data().with_file_name("lost")).unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .args([&copy, &database])
        .status();
    assert!(copied.unwrap().success());
    server.gateway().start_again().await;
    let names: Vec<_> = keys(&client)
        .await
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(names, ["large", "small"]);
    assert_stored(&client, "small", SMALL).await;
    assert_stored(&client, "large", LARGE).await;
}

#[tokio::test]
async fn stores_on_another_disk_keep_a_backup_that_is_restored() {
    let elsewhere = tempfile::tempdir_in("/dev/shm").expect("/dev/shm can be written");
    let here = std::env::temp_dir();
    let device = |dir: &std::path::Path| fs::metadata(dir).unwrap().dev();
    assert_ne!(
        device(elsewhere.path()),
        device(&here),
        "another filesystem than {here:?}"
    );
    let stores = elsewhere.path().to_owned();
    let mut server = Standalone::start_in(
        move |data| {
            fs::create_dir(data).unwrap();
            fs::write(data.join("SEXTANT"), "sextant gateway standalone 1\n").unwrap();
            symlink(stores, data.join("nodes")).unwrap();
        },
        &["--metadata-backup-every", "1"],
    )
    .await;
    let client = client_with_bucket(server.endpoint()).await;
    put(&client, "small", SMALL).await;
    put(&client, "large", LARGE).await;
    let before = keys(&client).await;
    let began = std::time::SystemTime::now();
    eventually("a backup of all that", DEADLINE, async || {
        let until = server.status().await["metadata_backup"]["restorable_until"].as_u64()?;
        let at = std::time::UNIX_EPOCH + Duration::from_millis(until);
        (at > began).then_some(())
    })
    .await;
    server.gateway().kill().await;
    fs::remove_dir_all(server.data().join("metadata")).unwrap();
    let restored = server.admin(&["restore-metadata"]).await;
    let _ = restored.expect_success("restore-metadata");
    server.gateway().start_again().await;
    assert_eq!(keys(&client).await, before);
    assert_stored(&client, "small", SMALL).await;
    assert_stored(&client, "large", LARGE).await;
}
