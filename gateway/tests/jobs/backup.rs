//! The metadata's backup: it keeps up with writes, and what it would bring back is not deleted.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chunkproto::NodeId;
use gateway::jobs::{BackupJob, BackupParts, BackupSettings, BackupStatus, JobError};
use metastore::{JobControl, NodePhase, RocksMetastore, Upkeep as _};

use crate::kit::World;
use crate::nodes::{Fault, Nodes};

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
    assert_eq!(world.nodes.lists(), 0, "it is known what was shipped");

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

#[tokio::test]
async fn the_log_is_shipped_while_old_backups_are_collected() {
    let world = World::new(2).await;
    let earlier = world.backed_up();
    for _ in 0..300 {
        write(&earlier.database).await;
        world.run(&earlier.job).await.unwrap();
    }
    world.wait(8 * 24 * 60 * MINUTE);
    let backed_up = world.backed_up();
    let (nodes, database) = (world.nodes.clone(), Arc::clone(&backed_up.database));
    let sum = |of: fn(&Nodes, NodeId) -> usize, nodes: &Nodes| -> usize {
        nodes.all().into_iter().map(|node| of(nodes, node)).sum()
    };
    // Deletes and puts, as they were at each call.
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    world.nodes.on_the_wire(move || {
        let counts = (sum(Nodes::deletes_on, &nodes), sum(Nodes::puts_on, &nodes));
        noted.lock().unwrap().push(counts);
        let database = Arc::clone(&database);
        Box::pin(async move { write(&database).await })
    });
    write(&backed_up.database).await;
    world.run(&backed_up.job).await.unwrap();
    let deleted = sum(Nodes::deletes_on, &world.nodes);
    assert!(deleted >= 600, "{deleted}: all of the earlier run went");
    let seen = seen.lock().unwrap();
    let meanwhile = seen
        .iter()
        .filter(|(deletes, _)| (1..deleted).contains(deletes));
    let puts: BTreeSet<_> = meanwhile.map(|(_, puts)| *puts).collect();
    assert!(puts.len() > 2, "nothing was shipped between the deletes");
}

#[tokio::test]
async fn a_backup_leaves_a_node_that_is_to_leave() {
    let world = World::new(3).await;
    let backed_up = world.backed_up();
    write(&backed_up.database).await;
    world.run(&backed_up.job).await.unwrap();
    let holds = |node: &NodeId| world.nodes.chunks_on(*node) > 0;
    let leaving = world.nodes.all().into_iter().find(holds).unwrap();
    world.wait(MINUTE);
    world.run(&backed_up.job).await.unwrap();
    let made_at = || backed_up.status.report(world.now()).unwrap().checkpoint_at;
    assert!(
        made_at() < Some(world.now()),
        "nothing asks for another one"
    );

    let membership = &world.nodes.membership;
    membership.set_phase(leaving, NodePhase::Draining);
    world.run(&backed_up.job).await.unwrap();
    assert_eq!(made_at(), Some(world.now()));
    let after = world.nodes.puts_on(leaving);
    world.run(&backed_up.job).await.unwrap();
    assert_eq!(
        world.nodes.puts_on(leaving),
        after,
        "it is asked for nothing"
    );
}

#[tokio::test]
async fn what_has_no_copy_left_is_not_called_restorable() {
    let world = World::new(4).await;
    let nodes = world.nodes.all();
    let (first, others) = nodes.split_at(2);
    others.iter().for_each(|node| world.take_down(*node));
    let backed_up = world.backed_up();
    write(&backed_up.database).await;
    world.run(&backed_up.job).await.unwrap();
    let restorable = || {
        backed_up
            .status
            .report(world.now())
            .unwrap()
            .restorable_until
    };
    let shipped_at = Some(world.now());
    assert_eq!(restorable(), shipped_at);

    // Those that hold it are gone, and the others have no room for another checkpoint.
    for node in others {
        world.bring_back(*node);
        world.nodes.set_fault(*node, Fault::Full);
    }
    world.take_down(first[0]);
    world.wait(MINUTE);
    world.run(&backed_up.job).await.unwrap_err();
    assert_eq!(restorable(), Some(world.now()), "a copy of all is there");
    let last = restorable();
    world.take_down(first[1]);
    world.wait(MINUTE);
    let _ = world.run(&backed_up.job).await;
    assert_eq!(restorable(), last);
}
