//! Carries out a plan of faults on a cluster, each from its beginning to its end.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use compat_tests::{ChunkServer, Cluster, Passage, ServerProcess};
use fastrand::Rng;

use crate::history::History;
use crate::plan::{Fault, Planned, Victim};
use crate::ring::Ring;

/// Damaged places for each fault of the kind.
const ROTTEN_PLACES: usize = 24;
/// Bytes that turn at each.
const ROTTEN_BYTES_MAX: usize = 64;

/// Lets the faults of `plan` come and go; returns when the last one is over, or when something was seen
/// that cannot be. Says in `log` what happened when.
pub(crate) async fn carry_out(
    plan: &[Planned],
    ring: &mut Ring,
    history: &History,
    log: &mut Vec<String>,
) {
    let mut moments: Vec<(Duration, bool, Fault)> = Vec::new();
    for Planned {
        begins,
        ends,
        fault,
    } in plan
    {
        moments.push((*begins, true, *fault));
        moments.push((*ends, false, *fault));
    }
    moments.sort_by_key(|(at, begins, _)| (*at, !*begins));
    for (at, begins, fault) in moments {
        // Time is the one thing that is waited for here: the plan says when.
        tokio::time::sleep(at.saturating_sub(history.elapsed())).await;
        if history.has_lies() && begins {
            continue;
        }
        let said = match begins {
            true => begin(fault, ring, history).await,
            false => end(fault, ring).await,
        };
        let word = if begins { "begins" } else { "ends" };
        let now = history.elapsed().as_secs_f64();
        log.push(format!("{now:9.3} s  {fault:?} {word}{said}"));
    }
}

/// Begins a fault; says what there is to say about it.
async fn begin(fault: Fault, ring: &mut Ring, history: &History) -> String {
    match fault {
        Fault::Kill(Victim::Gateway) => {
            ring.cluster.gateway().kill().await;
            history.settle();
        }
        Fault::Kill(Victim::Node(node)) => ring.cluster.node(node).kill().await,
        Fault::Pause(victim) => process(&mut ring.cluster, victim).pause(),
        Fault::CutData(node) => ring.node(node).proxy().set(Passage::Cut),
        Fault::CutHeartbeats(node) => ring.node(node).admin_proxy().set(Passage::Cut),
        Fault::Isolate(node) => set_both(ring.node(node), Passage::Cut),
        Fault::Silence(node) => set_both(ring.node(node), Passage::Silent),
        Fault::Slow(node, pause) => ring.node(node).proxy().set(Passage::Slow(pause)),
        Fault::SlowDisk(node, pause) => ring.slow_down(node, pause),
        Fault::FillDisk(_) => ring.disk().fill(),
        Fault::Rot(node, seed) => return rot(&ring.node(node).data(), seed),
        Fault::Clock(victim, seconds) => ring.clock(victim).shift_by(seconds),
    }
    String::new()
}

/// Ends it.
async fn end(fault: Fault, ring: &mut Ring) -> String {
    match fault {
        Fault::Kill(Victim::Gateway) => ring.cluster.gateway().start_again().await,
        Fault::Kill(Victim::Node(node)) => ring.cluster.node(node).start_again().await,
        Fault::Pause(victim) => process(&mut ring.cluster, victim).resume(),
        Fault::CutData(node)
        | Fault::CutHeartbeats(node)
        | Fault::Isolate(node)
        | Fault::Silence(node)
        | Fault::Slow(node, _) => set_both(ring.node(node), Passage::Open),
        Fault::SlowDisk(node, _) => ring.speed_up(node),
        Fault::FillDisk(node) => {
            ring.disk().free();
            // Where the index itself found no room, the store refuses changes until it is started
            // again (docs/operations.md, "Space").
            ring.cluster.node(node).kill().await;
            ring.cluster.node(node).start_again().await;
        }
        Fault::Rot(..) => {}
        Fault::Clock(victim, _) => ring.clock(victim).shift_by(0),
    }
    String::new()
}

fn process(cluster: &mut Cluster, victim: Victim) -> &ServerProcess {
    match victim {
        Victim::Gateway => cluster.gateway().process(),
        Victim::Node(node) => cluster.nodes()[node].process(),
    }
}

fn set_both(node: &ChunkServer, passage: Passage) {
    node.proxy().set(passage);
    node.admin_proxy().set(passage);
}

/// Turns bytes in the segments and in the chunks that have files of their own; says how many, where.
fn rot(data: &Path, seed: u64) -> String {
    let mut rng = Rng::with_seed(seed);
    let mut files = Vec::new();
    collect_files(&data.join("segments"), &mut files);
    collect_files(&data.join("chunks"), &mut files);
    // Directories have no order of their own.
    files.sort();
    let mut turned = 0;
    for _ in 0..ROTTEN_PLACES {
        let Some(path) = rng.choice(&files) else {
            break;
        };
        // The server may remove it at any time.
        if let Ok(file) = OpenOptions::new().read(true).write(true).open(path) {
            turned += turn(&file, &mut rng);
        }
    }
    format!(" ({turned} bytes in {} files)", files.len())
}

/// Turns some bytes of a file that are not zero: what was never written does not rot.
fn turn(file: &File, rng: &mut Rng) -> usize {
    let length_bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let at = rng.u64(..length_bytes.max(1));
    let mut bytes = vec![0; rng.usize(1..=ROTTEN_BYTES_MAX)];
    let Ok(read) = file.read_at(&mut bytes, at) else {
        return 0;
    };
    bytes.truncate(read);
    if bytes.iter().all(|byte| *byte == 0) {
        return 0;
    }
    for byte in &mut bytes {
        *byte ^= rng.u8(1..);
    }
    file.write_all_at(&bytes, at).map_or(0, |()| bytes.len())
}

fn collect_files(dir: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            collect_files(&path, found);
        } else {
            found.push(path);
        }
    }
}
