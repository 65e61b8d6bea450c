//! The metadata's backup: it keeps up with writes, and what it would bring back is not deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gateway::jobs::{BackupJob, BackupParts, BackupSettings, BackupStatus, JobError};
use metastore::{JobControl, RocksMetastore, Upkeep as _};

use crate::kit::World;
use crate::nodes::Fault;

const MINUTE: Duration = Duration::from_secs(60);
/// Two puts, each a call and an answer.
const FULL_AFTER_CALLS: u32 = 4;

/// A database of its own, and the job that backs it up into the world's nodes.
struct BackedUp {
    _dir: tempfile::TempDir,
    database: Arc<RocksMetastore>,
    job: BackupJob,
    status: BackupStatus,
}

impl World {
    fn backed_up(&self) -> BackedUp {
        let dir = tempfile::tempdir().unwrap();
        let database = Arc::new(RocksMetastore::open(&dir.path().join("db")).unwrap());
        let status = BackupStatus::default();
        let parts = BackupParts {
            source: database.backup(),
            writer: self.nodes.writer(2),
            status: status.clone(),
        };
        let settings = BackupSettings {
            every: MINUTE,
            log_bytes: 1 << 20,
        };
        let (transport, membership) = (Arc::new(self.nodes.clone()), self.nodes.membership.clone());
        BackedUp {
            job: BackupJob::new(parts, transport, membership, settings),
            _dir: dir,
            database,
            status,
        }
    }
}

async fn write(database: &RocksMetastore) {
    let job = "gc".parse().unwrap();
    let control = JobControl::default();
    database.set_job_control(&job, control).await.unwrap();
}

#[tokio::test]
async fn a_backup_comes_to_its_end_while_writes_go_on() {
    let world = World::new(3).await;
    let backed_up = world.backed_up();
    let database = Arc::clone(&backed_up.database);
    // Whatever the job ships, there is more to ship by then.
    world.nodes.on_the_wire(move || {
        let database = Arc::clone(&database);
        Box::pin(async move { write(&database).await })
    });
    write(&backed_up.database).await;
    for _ in 0..2 {
        let round = world.run(&backed_up.job);
        let round = tokio::time::timeout(MINUTE, round).await;
        round.expect("the round ends").unwrap();
        let report = backed_up.status.report(world.now()).unwrap();
        assert_eq!(report.restorable_until, Some(world.now()));
        world.wait(MINUTE);
    }
}

#[tokio::test]
async fn what_the_backup_would_name_again_is_not_deleted() {
    let world = World::new(3).await;
    let backed_up = world.backed_up();
    let collector = || {
        let collector = world.collector(Duration::ZERO);
        collector.sparing(backed_up.status.clone())
    };
    let chunk = world.put_chunk("cat", 2).await;
    world.wait(MINUTE);
    world.delete("cat").await;
    world.wait(MINUTE);
    world.run(&collector()).await.unwrap();
    assert_eq!(world.copies(chunk.id), 2, "nothing is backed up yet");

    // The backup stands still, and in time somebody is told.
    world.wait(15 * MINUTE);
    let told = world.run(&collector()).await;
    assert!(matches!(told, Err(JobError::Alarm(_))), "{told:?}");
    assert_eq!(world.copies(chunk.id), 2);

    world.run(&backed_up.job).await.unwrap();
    world.wait(MINUTE);
    world.run(&collector()).await.unwrap();
    assert_eq!(world.copies(chunk.id), 0);
}

#[tokio::test]
async fn on_full_disks_garbage_goes_though_no_backup_can_be_written() {
    let world = World::new(2).await;
    let backed_up = world.backed_up();
    let chunk = world.put_chunk("cat", 2).await;
    world.delete("cat").await;
    world.wait(MINUTE);
    world.nodes.fault_everywhere(Fault::Full);
    world.nodes.report(1000);
    let collector = world.collector(Duration::ZERO);
    let collector = collector.sparing(backed_up.status.clone());
    world.run(&collector).await.unwrap();
    assert_eq!(world.copies(chunk.id), 0);
}

#[tokio::test]
async fn where_no_node_takes_chunks_garbage_goes_though_there_is_room_on_the_disks() {
    let world = World::new(2).await;
    let backed_up = world.backed_up();
    let chunk = world.put_chunk("cat", 2).await;
    world.delete("cat").await;
    world.wait(MINUTE);
    let membership = &world.nodes.membership;
    for node in membership.status() {
        let (id, mut state) = (node.registration.node_id, node.registration.state);
        state.writable = false;
        assert!(membership.heartbeat(id, state));
    }
    let collector = world.collector(Duration::ZERO);
    let collector = collector.sparing(backed_up.status.clone());
    world.run(&collector).await.unwrap();
    assert_eq!(world.copies(chunk.id), 0);
}

#[tokio::test]
async fn a_checkpoint_that_fails_leaves_nothing_behind_and_is_not_repeated_at_once() {
    let world = World::new(2).await;
    let backed_up = world.backed_up();
    write(&backed_up.database).await;
    // The first file finds room, the rest does not.
    let (nodes, calls) = (world.nodes.clone(), AtomicU32::new(0));
    world.nodes.on_the_wire(move || {
        if calls.fetch_add(1, Ordering::Relaxed) == FULL_AFTER_CALLS {
            nodes.fault_everywhere(Fault::Full);
        }
        Box::pin(async {})
    });
    world.run(&backed_up.job).await.unwrap_err();
    let puts = || {
        world
            .nodes
            .all()
            .into_iter()
            .map(|node| world.nodes.puts_on(node))
    };
    let tried: usize = puts().sum();
    assert!(tried > 2, "a file was shipped");
    for node in world.nodes.all() {
        assert_eq!(world.nodes.chunks_on(node), 0);
    }

    world.run(&backed_up.job).await.unwrap();
    assert_eq!(puts().sum::<usize>(), tried);
}

#[tokio::test]
async fn a_backup_that_stands_still_for_ever_does_not_keep_garbage_for_ever() {
    let world = World::new(2).await;
    let backed_up = world.backed_up();
    let chunk = world.put_chunk("cat", 2).await;
    world.delete("cat").await;
    world.wait(25 * 60 * MINUTE);
    let collector = world.collector(Duration::ZERO);
    let collector = collector.sparing(backed_up.status.clone());
    world.run(&collector).await.unwrap();
    assert_eq!(world.copies(chunk.id), 0);
}
