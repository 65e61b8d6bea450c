//! The cluster under test: one gateway and six chunk servers, each behind proxies and with a clock of
//! its own, the last one on a disk that can be filled.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use compat_tests::{ChunkServer, Cluster, ShiftedClock, SlowDisk, SmallDisk};

use crate::plan::{Means, NODES, Victim};

/// Copies of each chunk.
pub(crate) const REPLICAS: u8 = 3;
/// Every chunk is read from its disk and verified within so many seconds.
const SCRUB_PERIOD_S: u64 = 10;
/// Room for what the node holds at most, many times over.
const SMALL_DISK_BYTES: u64 = 2 << 30;

/// What takes hours in the life of a cluster takes seconds here. Uploads and orphans live long enough
/// for a write over a slow node.
const SETTINGS: [(&str, &str); 6] = [
    ("--node-down-after", "8"),
    ("--gc-grace", "2"),
    ("--reconcile-every", "4"),
    ("--orphan-age", "12"),
    ("--orphan-quarantine", "2"),
    ("--orphan-limit", "100"),
];

/// The cluster, and what can be done to it beyond its processes.
pub(crate) struct Ring {
    // Before the cluster, in whose directory it is mounted.
    disk: Option<SmallDisk>,
    clocks: Vec<ShiftedClock>,
    slow_disks: BTreeMap<usize, SlowDisk>,
    /// Faults that do not come, each with what the machine lacks for them.
    pub(crate) skipped: Vec<String>,
    pub(crate) cluster: Cluster,
}

impl Ring {
    /// Starts it, with as much as the machine allows.
    pub(crate) async fn start() -> Self {
        let mut cluster = Cluster::start_with(0, REPLICAS, &SETTINGS).await;
        let (mut disk, mut skipped) = (None, Vec::new());
        for number in 0..NODES {
            if number + 1 == NODES {
                disk = SmallDisk::mount(&cluster.next_data(), SMALL_DISK_BYTES)
                    .inspect_err(|why| skipped.push(format!("no disk is filled: {why}")))
                    .ok();
            }
            cluster.add_node_behind_two_proxies().await;
        }
        let dir = cluster.metadata();
        let dir = dir.parent().unwrap_or(Path::new("/"));
        let clock = |number| ShiftedClock::new(&dir.join(format!("clock-{number}")));
        let clocks: Option<Vec<_>> = (0..=NODES).map(clock).collect();
        if clocks.is_none() {
            skipped.push("no clock jumps: libfaketime is not installed".to_owned());
        }
        if !SlowDisk::is_possible() {
            skipped.push("no disk is slow: strace is not installed".to_owned());
        }
        let mut ring = Self {
            disk,
            clocks: clocks.unwrap_or_default(),
            slow_disks: BTreeMap::new(),
            skipped,
            cluster,
        };
        ring.start_again().await;
        ring
    }

    /// Starts everything again, with scrubbing and clocks.
    async fn start_again(&mut self) {
        let clock = |victim| self.clocks.get(Self::place(victim)).cloned();
        self.cluster.gateway().kill().await;
        self.cluster.gateway().clock = clock(Victim::Gateway);
        self.cluster.gateway().start_again().await;
        for number in 0..NODES {
            let node = self.cluster.node(number);
            node.kill().await;
            node.scrub_period_s = SCRUB_PERIOD_S;
            node.clock = clock(Victim::Node(number));
            node.start_again().await;
        }
        self.cluster.wait_for_live(NODES).await;
    }

    /// What the machine allows.
    pub(crate) fn means(&self) -> Means {
        Means {
            small_disk: self.disk.is_some(),
            clocks: !self.clocks.is_empty(),
            slow_disks: SlowDisk::is_possible(),
        }
    }

    /// A chunk server.
    pub(crate) fn node(&self, number: usize) -> &ChunkServer {
        &self.cluster.nodes()[number]
    }

    /// Makes the disk of a node slow.
    pub(crate) fn slow_down(&mut self, node: usize, pause: Duration) {
        let pid = self.node(node).process().pid();
        self.slow_disks.insert(node, SlowDisk::of(pid, pause));
    }

    /// Makes it as fast as it was.
    pub(crate) fn speed_up(&mut self, node: usize) {
        self.slow_disks.remove(&node);
    }

    /// The disk that can be filled.
    pub(crate) fn disk(&self) -> &SmallDisk {
        self.disk
            .as_ref()
            .expect("a plan fills disks that there are")
    }

    /// The clock of a process.
    pub(crate) fn clock(&self, victim: Victim) -> &ShiftedClock {
        let clock = self.clocks.get(Self::place(victim));
        clock.expect("a plan shifts clocks that there are")
    }

    fn place(victim: Victim) -> usize {
        match victim {
            Victim::Node(number) => number,
            Victim::Gateway => NODES,
        }
    }
}
