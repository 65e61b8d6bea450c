//! Disks that are full, fail to sync or fail altogether, as a store tells of them.

use std::io;

use tempfile::TempDir;

use super::super::{StoreOptions, open};
use super::*;

fn fresh() -> (TempDir, Disk) {
    let dir = TempDir::new().unwrap();
    let disk = open::open(StoreOptions::new(dir.path())).unwrap();
    (dir, disk)
}

fn failed_sync() -> Fault {
    Fault::sync(Path::new("/disk/file"))(io::Error::from_raw_os_error(5))
}

#[tokio::test]
async fn a_failed_sync_ends_writing_for_good_and_is_told() {
    let (_dir, disk) = fresh();
    let id = ChunkId::generate();
    assert!(matches!(disk.report(id, failed_sync()), ChunkError::Io(_)));
    let refusal = disk.gate().admit(1).map(|_| ()).unwrap_err();
    assert!(matches!(&refusal, ChunkError::Refused(why) if why.contains("/disk/file")));
    assert!(disk.gate().admit_removal().await.is_err());
    assert!(!disk.state().writable && disk.state().disk_errors == 1);
    assert!(matches!(
        disk.open(id).map(|_| ()),
        Err(ChunkError::NotFound(_))
    ));
}

#[test]
fn a_failed_disk_leaves_no_mark_of_a_clean_stop() {
    let (_dir, disk) = fresh();
    disk.report(ChunkId::generate(), failed_sync());
    disk.mark_clean().unwrap();
    assert!(!disk.index.take_clean_mark().unwrap());
}

#[test]
fn a_disk_without_room_is_full_and_not_failed() {
    let (_dir, disk) = fresh();
    let full = Fault::io("write", Path::new("f"))(ErrorKind::StorageFull.into());
    assert!(matches!(
        disk.report(ChunkId::generate(), full),
        ChunkError::Full(_)
    ));
    assert!(disk.state().writable && disk.state().disk_errors == 0);
}

#[test]
fn room_is_reserved_while_a_write_is_under_way() {
    let (_dir, disk) = fresh();
    // Of what may be filled; the disk may be nearly full of other things.
    let state = disk.state();
    let kept_free = state.capacity_bytes / 100 * u64::from(100 - StoreOptions::FULL_PERCENT);
    let most = state.free_bytes.saturating_sub(kept_free) / 100 * 60;
    let first = disk.gate().admit(most).unwrap();
    assert!(matches!(
        disk.gate().admit(most).map(|_| ()),
        Err(ChunkError::Full(_))
    ));
    drop(first);
    assert!(disk.gate().admit(most).is_ok());
}

#[tokio::test]
async fn a_damaged_chunk_that_is_being_changed_is_not_waited_for() {
    let (_dir, disk) = fresh();
    let id = ChunkId::generate();
    let changing = disk.chunk_locks().lock(id).await;
    let place = RecordPlace::OwnFile {
        device: 0,
        inode: 0,
    };
    let damaged = Fault::Damaged("made up".into());
    assert!(disk.quarantine::<()>(id, damaged, place).is_err());
    drop(changing);
    assert!(disk.chunk_locks().try_lock(id).is_some());
}
