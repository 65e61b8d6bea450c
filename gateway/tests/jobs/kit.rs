//! A cluster in memory with a bucket, and rounds of jobs over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chunkproto::{ChunkId, Fence, JobName};
use gateway::Clock;
use gateway::chunks::RunningReads;
use gateway::jobs::{GarbageCollector, Job, JobBoard, JobError, Round, Throttle};
use metastore::{
    Bucket, BucketId, BucketName, CommitObject, GcEntry, LeaseAnswer, LeaseRequest,
    MemoryMetastore, Metastore, ObjectData, ObjectKey, ObjectVersion, Sequence, SystemHeaders,
    Timestamp, Upkeep as _, VersionId, WriteCondition,
};
use tokio::sync::watch;
use uuid::Uuid;

use crate::nodes::{Nodes, body_of, owner};

/// Later than everything that a scenario does.
pub const LATER: Timestamp = Timestamp(u64::MAX);

/// Nodes, metadata and a clock that a test owns.
pub struct World {
    pub nodes: Nodes,
    pub metastore: Arc<MemoryMetastore>,
    pub bucket: BucketId,
    pub board: JobBoard,
    pub reads: RunningReads,
    now_ms: Arc<AtomicU64>,
    stop: watch::Sender<()>,
}

impl World {
    /// `count` healthy nodes and an empty bucket; it is the moment 1,000,000.
    pub async fn new(count: u8) -> Self {
        let metastore = Arc::new(MemoryMetastore::new());
        let bucket = BucketId::generate();
        let row = Bucket {
            id: bucket,
            name: BucketName::parse("photos").unwrap(),
            created_at: Timestamp(1),
            owner: "alice".into(),
            region: String::new(),
        };
        metastore.create_bucket(row).await.unwrap();
        Self {
            nodes: Nodes::new(count),
            metastore,
            bucket,
            board: JobBoard::default(),
            reads: RunningReads::default(),
            now_ms: Arc::new(AtomicU64::new(1_000_000)),
            stop: watch::channel(()).0,
        }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.now_ms.load(Ordering::Relaxed))
    }

    pub fn wait(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap();
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub fn clock(&self) -> Clock {
        let now_ms = Arc::clone(&self.now_ms);
        Clock::of(move || Timestamp(now_ms.load(Ordering::Relaxed)))
    }

    /// Closes when the world does.
    pub fn stopped(&self) -> watch::Receiver<()> {
        self.stop.subscribe()
    }

    /// Writes an object by the write protocol, with as many replicas as asked for.
    pub async fn put(&self, key: &str, bytes: &Bytes, replicas: u8) -> ObjectVersion {
        let writer = self.nodes.writer(replicas);
        let length = bytes.len() as u64;
        let written = writer.write(owner(), length, body_of(bytes)).await;
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
            data: ObjectData::Chunks(written.unwrap().layout),
        };
        let commit = CommitObject {
            bucket: self.bucket,
            key: ObjectKey::parse(key).unwrap(),
            object: object.clone(),
            inline_body: None,
            condition: WriteCondition::Always,
            replicas_wanted: replicas,
        };
        self.metastore.commit_object(commit).await.unwrap();
        object
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
        let request = LeaseRequest {
            job: job.clone(),
            holder: Uuid::new_v4(),
            now: LATER,
            until: LATER,
        };
        match self.metastore.acquire_lease(request).await.unwrap() {
            LeaseAnswer::Granted(fence) => fence,
            held => panic!("{held:?}"),
        }
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
