//! A cluster in memory with a bucket, and rounds of jobs over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chunkproto::{ByteRange, ChunkId, Fence, JobName, NodeId};
use futures::{StreamExt as _, stream};
use gateway::Clock;
use gateway::admin::{NodeAdmin, NodeOrder, OrderError};
use gateway::chunks::{ChunkSlice, RunningReads};
use gateway::cluster::NodeTimeouts;
use gateway::jobs::{
    DrainJob, Evenness, GarbageCollector, Job, JobBoard, JobError, MoveSettings, RebalanceJob,
    RebalanceSettings, RepairJob, RepairSettings, ReplicaMover, Round, Throttle,
};
use metastore::{
    Bucket, BucketId, BucketName, ChunkRef, CommitObject, GcEntry, LeaseAnswer, LeaseRequest,
    MemoryMetastore, Metastore, ObjectData, ObjectKey, ObjectVersion, Sequence, SystemHeaders,
    Timestamp, Upkeep as _, VersionId, WriteCondition,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::nodes::{Fault, Nodes, body_of, owner, patience, payload};

/// Length of the chunks that [`World::put_chunk`] writes.
pub const CHUNK_BYTES: usize = 1000;

/// Later than everything that a scenario does.
pub const LATER: Timestamp = Timestamp(u64::MAX);

/// Waits for what other tasks do in their own time.
pub async fn eventually<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(seen) = seen() {
            return seen;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(1)).await;
    }
}

/// The lease of `job`, taken from whoever has it.
pub async fn lease_of(metastore: &MemoryMetastore, job: &JobName) -> Fence {
    let request = LeaseRequest {
        job: job.clone(),
        holder: Uuid::new_v4(),
        now: LATER,
        until: LATER,
        token_above: 0,
    };
    match metastore.acquire_lease(request).await.unwrap() {
        LeaseAnswer::Granted(fence) => fence,
        held => panic!("{held:?}"),
    }
}

/// Nodes, metadata and a clock that a test owns.
pub struct World {
    pub nodes: Nodes,
    pub metastore: Arc<MemoryMetastore>,
    pub bucket: BucketId,
    pub board: JobBoard,
    pub reads: RunningReads,
    now_ms: Arc<AtomicU64>,
    passed_ms: Arc<AtomicU64>,
    stop: watch::Sender<()>,
}

impl World {
    /// `count` healthy nodes and an empty bucket; it is now. A node that is not
    /// heard from is taken for gone at once.
    pub async fn new(count: u8) -> Self {
        Self::giving_up_after(count, Duration::ZERO).await
    }

    /// As [`new`](Self::new), but a node that is not heard from is given up after `down_after`.
    pub async fn giving_up_after(count: u8, down_after: Duration) -> Self {
        let timeouts = NodeTimeouts {
            down_after,
            ..patience()
        };
        Self::with(Nodes::with(count, timeouts)).await
    }

    /// As [`new`](Self::new), but a node that is not heard from is expected to return.
    pub async fn patient(count: u8) -> Self {
        Self::with(Nodes::new(count)).await
    }

    async fn with(nodes: Nodes) -> Self {
        let metastore = Arc::new(MemoryMetastore::new());
        let bucket = BucketId::generate();
        let row = Bucket {
            id: bucket,
            name: BucketName::parse("photos").unwrap(),
            created_at: Timestamp(1),
            owner: "alice".into(),
            region: String::new(),
            settings: metastore::BucketSettings::default(),
        };
        metastore.create_bucket(row).await.unwrap();
        Self {
            nodes,
            metastore,
            bucket,
            board: JobBoard::default(),
            reads: RunningReads::default(),
            now_ms: Arc::new(AtomicU64::new(Timestamp::now().0)),
            passed_ms: Arc::default(),
            stop: watch::channel(()).0,
        }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.now_ms.load(Ordering::Relaxed))
    }

    /// Time passes.
    pub fn wait(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap();
        self.passed_ms.fetch_add(ms, Ordering::Relaxed);
        self.jump(time);
    }

    /// Puts the clock forward.
    pub fn jump(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap();
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Turns the clock back.
    pub fn turn_back(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap();
        self.now_ms.fetch_sub(ms, Ordering::Relaxed);
    }

    pub fn clock(&self) -> Clock {
        let now_ms = Arc::clone(&self.now_ms);
        Clock::of(move || Timestamp(now_ms.load(Ordering::Relaxed)))
    }

    /// Shows how much time has passed, whatever the clock does.
    pub fn steady_clock(&self) -> Clock {
        let passed_ms = Arc::clone(&self.passed_ms);
        Clock::of(move || Timestamp(passed_ms.load(Ordering::Relaxed)))
    }

    /// Closes when the world does.
    pub fn stopped(&self) -> watch::Receiver<()> {
        self.stop.subscribe()
    }

    /// Writes an object by the write protocol, with as many replicas as asked for.
    pub async fn put(&self, key: &str, bytes: &Bytes, replicas: u8) -> ObjectVersion {
        self.try_put(key, bytes, replicas).await.unwrap()
    }

    /// As [`put`](Self::put). After an error nothing of the object is visible.
    pub async fn try_put(
        &self,
        key: &str,
        bytes: &Bytes,
        replicas: u8,
    ) -> Result<ObjectVersion, String> {
        let writer = self.nodes.writer(replicas);
        let length = bytes.len() as u64;
        let written = writer.write(owner(), length, body_of(bytes)).await;
        let written = written.map_err(|error| error.to_string())?;
        let object = ObjectVersion {
            version: VersionId::Null,
            sequence: Sequence::generate(),
            modified_at: self.now(),
            size_bytes: length,
            etag: String::new(),
            checksum: None,
            headers: SystemHeaders::default(),
            user_metadata: Vec::new(),
            owner: "alice".into(),
            data: ObjectData::Chunks(written.layout),
            order: metastore::VersionOrder::FIRST,
            attributes: metastore::ObjectAttributes::default(),
        };
        let commit = CommitObject {
            bucket: self.bucket,
            key: ObjectKey::parse(key).unwrap(),
            object: object.clone(),
            inline_body: None,
            condition: WriteCondition::Always,
            replicas_wanted: replicas,
        };
        let committed = self.metastore.commit_object(commit).await;
        committed.map_err(|error| error.to_string())?;
        Ok(object)
    }

    /// Writes an object of one chunk, and returns that.
    pub async fn put_chunk(&self, key: &str, replicas: u8) -> ChunkRef {
        let object = self.put(key, &payload(CHUNK_BYTES), replicas).await;
        match object.data {
            ObjectData::Chunks(layout) => layout.chunks[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    /// As [`put_chunk`](Self::put_chunk), on exactly these nodes.
    pub async fn put_chunk_on(&self, key: &str, nodes: &[NodeId]) -> ChunkRef {
        let others = self.nodes.all().into_iter();
        let others: Vec<_> = others.filter(|node| !nodes.contains(node)).collect();
        others.iter().for_each(|node| self.take_down(*node));
        let replicas = u8::try_from(nodes.len()).unwrap();
        let chunk = self.put_chunk(key, replicas).await;
        others.iter().for_each(|node| self.bring_back(*node));
        chunk
    }

    /// The range of all of an object that [`put_chunk`](Self::put_chunk) wrote.
    pub fn whole(&self) -> ByteRange {
        ByteRange {
            start: 0,
            end: CHUNK_BYTES as u64,
        }
    }

    /// Reads as a request does, whatever comes of it.
    pub async fn read(&self, slices: Vec<ChunkSlice>) {
        let source = stream::iter(slices.into_iter().map(Ok)).boxed();
        let opened = self.nodes.reader().open(source, CHUNK_BYTES as u64).await;
        if let Ok(body) = opened {
            let mut body = std::pin::pin!(body);
            while let Some(Ok(_)) = body.next().await {}
        }
    }

    /// Makes a node unreachable.
    pub fn take_down(&self, node: NodeId) {
        self.nodes.set_fault(node, Fault::Gone);
        self.nodes.membership.suspect(node);
    }

    /// Lets time pass, where the clock stands still otherwise. All nodes but those `away` are heard.
    pub async fn pass_without(&self, away: &[NodeId], time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            sleep(Duration::from_secs(1)).await;
            let heard = self.nodes.all().into_iter();
            let heard = heard.filter(|node| !away.contains(node));
            heard.for_each(|node| self.nodes.register(node));
        }
    }

    /// Makes it reachable and known again.
    pub fn bring_back(&self, node: NodeId) {
        self.nodes.set_fault(node, Fault::None);
        self.nodes.register(node);
    }

    pub fn repair(&self, replicas: u8) -> RepairJob {
        let settings = RepairSettings {
            replicas,
            rate_bytes_per_s: None,
        };
        RepairJob::new(self.replica_mover(), settings, Arc::default())
    }

    pub fn drain(&self, replicas: u8) -> DrainJob {
        let settings = MoveSettings {
            replicas,
            rate_bytes_per_s: None,
        };
        DrainJob::new(self.replica_mover(), settings)
    }

    /// Gives an order about a node of a cluster with two replicas.
    pub async fn order(&self, node: NodeId, order: NodeOrder) -> Result<(), OrderError> {
        let membership = self.nodes.membership.clone();
        let admin = NodeAdmin::new(membership, self.metastore.clone(), 2);
        let admin = admin.asking(Arc::new(self.nodes.clone()), Duration::from_secs(3600));
        admin.carry_out(node, order).await
    }

    pub fn rebalance(&self, replicas: u8) -> RebalanceJob {
        let settings = RebalanceSettings {
            moves: MoveSettings {
                replicas,
                rate_bytes_per_s: None,
            },
            evenness: Evenness {
                threshold_percent: 5,
            },
        };
        RebalanceJob::new(self.replica_mover(), settings)
    }

    /// What jobs that move chunks work with.
    pub fn replica_mover(&self) -> ReplicaMover {
        ReplicaMover::new(
            self.metastore.clone(),
            Arc::new(self.nodes.clone()),
            Arc::clone(&self.nodes.membership),
        )
    }

    /// Waits long enough and collects all garbage that can be collected.
    pub async fn collect_everything(&self) {
        self.wait(Duration::from_secs(1));
        self.run(&self.collector(Duration::ZERO)).await.unwrap();
    }

    pub async fn delete(&self, key: &str) {
        let key = ObjectKey::parse(key).unwrap();
        let (always, now) = (WriteCondition::Always, self.now());
        let deleted = self.metastore.delete_object(self.bucket, &key, always, now);
        deleted.await.unwrap();
    }

    /// The garbage collection queue.
    pub async fn garbage(&self) -> Vec<GcEntry> {
        self.metastore.gc_due(LATER, None, 1000).await.unwrap()
    }

    pub fn collector(&self, grace: Duration) -> GarbageCollector {
        GarbageCollector::new(
            self.metastore.clone(),
            Arc::new(self.nodes.clone()),
            Arc::clone(&self.nodes.membership),
            self.reads.clone(),
            grace,
        )
    }

    /// Takes the lease of `job` from whoever has it.
    pub async fn lease(&self, job: &JobName) -> Fence {
        lease_of(self.metastore.as_ref(), job).await
    }

    /// A round under `fence`.
    pub fn round(&self, fence: Fence) -> Round {
        let progress = self.board.of(&fence.job);
        let throttle = Throttle::new(None);
        Round::new(fence, self.clock(), progress, throttle, self.stopped())
    }

    /// One round of `job` under a fresh lease.
    pub async fn run(&self, job: &impl Job) -> Result<(), JobError> {
        let round = self.round(self.lease(&job.name()).await);
        job.round(&round).await
    }

    /// How many nodes hold a chunk.
    pub fn copies(&self, chunk: ChunkId) -> usize {
        let all = self.nodes.all();
        all.iter()
            .filter(|node| self.nodes.has(**node, chunk))
            .count()
    }
}
