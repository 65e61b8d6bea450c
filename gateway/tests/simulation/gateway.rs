//! A gateway's process: membership, writer, reader and all jobs, as the program puts them together. It
//! may crash at any moment, and another begins with the same metadata.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::Clock;
use gateway::admin::NodeAdmin;
use gateway::chunks::{
    AbandonedChunks, BodyReader, BodyWriter, ByteBudget, ChunkTransport, RepairHints, RunningReads,
};
use gateway::cluster::{Membership, learn_phases, remember_nodes};
use gateway::jobs::{JobBoard, JobParts, LifecycleSettings, SurveyBoard, run_jobs};
use gateway::lifecycle::Calendar;
use metastore::{Metastore as _, NodeRow, Upkeep as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::node::Node;
use crate::settings::{CAPACITY_BYTES, REPLICAS, jobs, patience, writer};
use crate::shown::Shown;
use crate::wire::Wire;

const BUDGET_BYTES: u64 = 64 << 20;

/// A place where a gateway runs, most of the time.
pub struct Gateway {
    pub number: usize,
    cluster: Arc<Cluster>,
    /// How wrong its clock is.
    ahead_ms: Arc<AtomicI64>,
    process: Mutex<Option<Arc<Process>>>,
}

/// A gateway's process.
pub struct Process {
    pub number: usize,
    pub cluster: Arc<Cluster>,
    pub clock: Clock,
    pub writer: BodyWriter,
    pub reader: BodyReader,
    pub admin: NodeAdmin,
    membership: Arc<Membership>,
    crashed: Shown<bool>,
    /// Open while the process runs.
    _stop: watch::Sender<()>,
    jobs: JoinHandle<()>,
}

/// What came of something that a gateway was asked to do.
pub enum Asked<T> {
    Answered(T),
    /// The gateway crashed meanwhile.
    CutOff,
    /// There was no gateway.
    Away,
}

impl Gateway {
    pub fn new(number: usize, cluster: Arc<Cluster>) -> Arc<Self> {
        let skew_ms = i64::try_from(cluster.dice.below(2000)).unwrap();
        Arc::new(Self {
            number,
            cluster,
            ahead_ms: Arc::new(AtomicI64::new(skew_ms)),
            process: Mutex::default(),
        })
    }

    pub fn process(&self) -> Option<Arc<Process>> {
        self.process.lock().unwrap().clone()
    }

    pub fn set_clock_ahead(&self, ms: i64) {
        self.ahead_ms.store(ms, Ordering::Relaxed);
    }

    /// Starts a process, if none runs.
    pub async fn start(&self) {
        if self.process().is_some() {
            return;
        }
        let membership = Arc::new(Membership::new(patience()));
        let metastore = self.cluster.metastore.as_ref();
        remember_nodes(metastore, &membership).await.unwrap();
        learn_phases(metastore, &membership).await.unwrap();
        let process = Process::begin(self, membership);
        *self.process.lock().unwrap() = Some(Arc::new(process));
    }

    /// Ends the process, whatever it does.
    pub fn crash(&self) {
        if let Some(process) = self.process.lock().unwrap().take() {
            process.crashed.change(|crashed| *crashed = true);
            process.jobs.abort();
        }
    }

    /// Has the gateway do something.
    pub async fn ask<T>(&self, request: impl AsyncFnOnce(&Process) -> T) -> Asked<T> {
        let Some(process) = self.process() else {
            return Asked::Away;
        };
        let crashed = process.crashed.until(|crashed| crashed.then_some(()));
        tokio::select! {
            biased;
            () = crashed => Asked::CutOff,
            answer = Box::pin(request(&process)) => Asked::Answered(answer),
        }
    }

    /// Takes a node's word that it is there: a heartbeat, or a registration unless that is known.
    pub async fn hear(&self, node: &Node, is_known: bool) -> bool {
        let Some(process) = self.process() else {
            return false;
        };
        let incarnation = node.incarnation();
        if is_known {
            let heartbeat = node.heartbeat(incarnation);
            return process.membership.heartbeat(node.id, heartbeat);
        }
        if process
            .membership
            .register(node.registration(incarnation))
            .is_err()
        {
            return false;
        }
        let metastore = &self.cluster.metastore;
        let row = NodeRow {
            id: node.id,
            incarnation,
            address: node.id.to_string(),
            zone: node.zone(),
            capacity_bytes: CAPACITY_BYTES,
            first_seen_at: process.clock.now(),
        };
        metastore.put_node(row).await.unwrap();
        node.learn(&metastore.newest_fences().await.unwrap());
        true
    }
}

impl Process {
    fn begin(place: &Gateway, membership: Arc<Membership>) -> Self {
        let cluster = &place.cluster;
        let clock = cluster.clock(&place.ahead_ms);
        let chance = cluster.chance(&clock);
        let transport: Arc<dyn ChunkTransport> = Arc::new(Wire {
            gateway: place.number,
            network: Arc::clone(&cluster.network),
            witness: Arc::clone(&cluster.witness),
        });
        let (reads, board) = (RunningReads::default(), JobBoard::default());
        let (hints, hint_queue) = RepairHints::new();
        let (abandoned, abandoned_queue) = AbandonedChunks::new();
        let budget = ByteBudget::new(BUDGET_BYTES, Duration::from_secs(30));
        let (stop, stopped) = watch::channel(());
        let parts = JobParts {
            metastore: cluster.metastore.clone(),
            transport: Arc::clone(&transport),
            membership: Arc::clone(&membership),
            reads: reads.clone(),
            hints: hint_queue,
            abandoned: abandoned_queue,
            board,
            replicas: REPLICAS,
            lifecycle: LifecycleSettings {
                rules_of: |_| Vec::new(),
                calendar: Calendar::with_days_of(86_400),
                period: Duration::from_secs(3600),
            },
            survey: SurveyBoard::default(),
            backup: None,
            clock: clock.clone(),
            chance: chance.clone(),
        };
        let witness = Arc::clone(&cluster.witness);
        let jobs = tokio::spawn(async move {
            run_jobs(parts, &jobs(), stopped).await;
            witness.accuse("the jobs ended by themselves".into());
        });
        let nodes = Arc::clone(&membership);
        Self {
            number: place.number,
            cluster: Arc::clone(cluster),
            clock: clock.clone(),
            writer: BodyWriter::new(Arc::clone(&transport), nodes, budget.clone(), writer())
                .with_abandoned(abandoned)
                .drawing(chance),
            reader: BodyReader::new(transport, Arc::clone(&membership), budget, reads, hints)
                .timed_by(clock),
            admin: NodeAdmin::new(Arc::clone(&membership), cluster.metastore.clone(), REPLICAS),
            membership,
            crashed: Shown::new(false),
            _stop: stop,
            jobs,
        }
    }
}
