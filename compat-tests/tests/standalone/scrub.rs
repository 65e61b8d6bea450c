//! Rot in the stores of a standalone gateway: found by itself, mended from another copy where there is
//! one, and reported where there is none.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use compat_tests::{Payload, Standalone, eventually};

use crate::kit::{MIB, assert_stored, client_with_bucket, put, turn_bytes};

const DEADLINE: Duration = Duration::from_secs(60);
/// One chunk in a file of its own in each store.
const PAYLOAD: Payload = Payload::new(1, 50 * MIB);
const HASTY: [&str; 2] = ["--scrub-period", "2"];

/// The files of chunks in the store of that number.
fn records(data: &Path, store: u8) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![data.join("nodes").join(store.to_string()).join("chunks")];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => left.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_damaged_copy_is_found_and_made_anew_from_the_other_one() {
    let arguments = [&["--replicas", "2"], &HASTY[..]].concat();
    let server = Standalone::start_with(&arguments).await;
    let client = client_with_bucket(server.endpoint()).await;
    put(&client, "k", PAYLOAD).await;
    let before = records(&server.data(), 0);
    assert!(!before.is_empty(), "the object has chunks");
    let whole: Vec<_> = before.iter().map(|path| fs::read(path).unwrap()).collect();

    turn_bytes(before[0].parent().expect("a directory"));
    eventually("damage that was found", DEADLINE, async || {
        let found = server.metric("sextant_node_damaged_chunks_total").await;
        (found > 0).then_some(())
    })
    .await;
    eventually("copies that are whole again", DEADLINE, async || {
        let now = before.iter().map(|path| fs::read(path).ok());
        now.eq(whole.iter().cloned().map(Some)).then_some(())
    })
    .await;
    eventually("an empty repair queue", DEADLINE, async || {
        let waiting = server.metric("sextant_chunks_awaiting_repair").await;
        (waiting == 0).then_some(())
    })
    .await;
    // The other copies are not needed.
    for path in records(&server.data(), 1) {
        fs::remove_file(path).unwrap();
    }
    assert_stored(&client, "k", PAYLOAD).await;
}

#[tokio::test]
async fn damage_without_another_copy_is_told_with_the_object_s_name() {
    let server = Standalone::start_with(&HASTY).await;
    let client = client_with_bucket(server.endpoint()).await;
    put(&client, "only copy", PAYLOAD).await;
    let records = records(&server.data(), 0);
    turn_bytes(records[0].parent().expect("a directory"));
    let told = eventually("the damage in the status", DEADLINE, async || {
        let shown = server.admin(&["status"]).await.expect_success("status");
        shown.contains("have no good copy").then_some(shown)
    })
    .await;
    assert!(
        told.contains("DANGER") && told.contains("big/only copy"),
        "{told}"
    );
    assert!(told.contains("write these objects again"), "{told}");
    assert!(
        server
            .metric("sextant_chunks_awaiting_repair{copies=\"0\"}")
            .await
            > 0
    );
    let log = server.log();
    assert!(
        log.contains("the only copy of a chunk is missing or bad"),
        "{log}"
    );
}
