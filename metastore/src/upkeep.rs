//! The [`Upkeep`] trait: the records by which background jobs keep the cluster's data where it
//! should be. Part of the [`Metastore`](crate::Metastore) contract, and under its rules: every
//! method is atomic, and a success is durable before it is returned.
//!
//! What a job changes, it changes under its lease: the methods that take a [`Fence`] check in the
//! commit that its token is still the newest of the job's lease, so that a holder who was paused
//! and overtaken changes nothing (I8). Clocks only decide when a lease may be taken over, never
//! whether it is safe; so gateways whose clocks differ lose time, not data.

use async_trait::async_trait;
use chunkproto::{ChunkId, ChunkInfo, Fence, JobName, NodeId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{ChunkOwner, ChunkRef, GcEntry, LifecycleChange, MetaResult, RepairRow, Timestamp};

/// Who wants a job's lease, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The job.
    pub job: JobName,
    /// The process that asks.
    pub holder: Uuid,
    /// The present moment.
    pub now: Timestamp,
    /// When the lease ends unless it is renewed.
    pub until: Timestamp,
    /// The token of the grant is to be greater than this: what nodes know of grants whose rows are lost.
    /// What no clock of ours can have made (later than the year 10889) is not followed.
    pub token_above: u64,
}

/// The answer to a [`LeaseRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// The caller holds the lease. The token is greater than that of every earlier grant.
    Granted(Fence),
    /// Another holds it.
    Held {
        /// Who.
        by: Uuid,
        /// Until when, if it is not renewed.
        until: Timestamp,
    },
}

/// What the operator has said about a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobControl {
    /// Whether the job is to rest until told otherwise.
    pub paused: bool,
    /// Bytes per second that the job may move; none: as the settings say.
    pub rate_bytes_per_s: Option<u64>,
}

/// Where a chunk is, and which row says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The row that names the chunk.
    pub owner: ChunkOwner,
    /// The chunk as it stands in that row.
    pub chunk: ChunkRef,
}

/// A chunk that a row placed on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeChunk {
    /// The chunk.
    pub id: ChunkId,
    /// Where its row places it now; none once no row names it. A placement without the node means
    /// that the node's copy waits to be deleted.
    pub placement: Option<Placement>,
}

/// A change of the nodes that a chunk's row names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaChange {
    /// The chunk.
    pub chunk: ChunkId,
    /// The nodes that the caller saw in the row, in their order.
    pub expected: Vec<NodeId>,
    /// The nodes that it is to name: each was seen to hold the chunk durably (I2), or stands in
    /// `expected`. At least one.
    pub replicas: Vec<NodeId>,
    /// The present moment; copies on nodes that are no longer named are garbage from then on.
    pub now: Timestamp,
}

/// A chunk that is to be looked at, and mended if need be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairNeed {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its length.
    pub length_bytes: u64,
    /// Replicas that it should have.
    pub wanted: u8,
    /// Good replicas that it is thought to have.
    pub have: u8,
    /// Since when.
    pub since: Timestamp,
}

/// An entry of the repair queue, which is ordered by how few good replicas a chunk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairEntry {
    /// Good replicas that the chunk is thought to have.
    pub have: u8,
    /// The chunk.
    pub chunk: ChunkId,
    /// Bytes to copy until it has enough.
    pub missing_bytes: u64,
}

/// The repair queue in figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairCounts {
    /// Chunks by the number of good replicas that they are thought to have, from 0; the last number stands
    /// for more too.
    pub chunks: [u64; 8],
    /// Bytes to copy.
    pub missing_bytes: u64,
    /// Whether the queue is longer than what was counted.
    pub truncated: bool,
}

/// A chunk that a node holds and that no row places there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// What the node holds.
    pub chunk: ChunkInfo,
    /// When it was first seen.
    pub since: Timestamp,
    /// From when on no row may name this copy any more.
    pub quarantined_at: Option<Timestamp>,
}

/// What becomes of an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanFate {
    /// It is none: a row places it there, or the node no longer holds it.
    Spared,
    /// It is garbage from this moment on. Only for one in quarantine.
    Garbage(Timestamp),
}

/// What an operator wants of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodePhase {
    /// To hold chunks.
    #[default]
    Active,
    /// To give its chunks to others and take no new ones.
    Draining,
    /// Nothing: it has left for good.
    Removed,
}

/// The records of background jobs.
#[async_trait]
pub trait Upkeep: Send + Sync + 'static {
    /// Grants a job's lease where it is free, has ended, or is the caller's own already.
    async fn acquire_lease(&self, request: LeaseRequest) -> MetaResult<LeaseAnswer>;

    /// Makes a lease end at `until`. One that has ended may be renewed until another takes it.
    ///
    /// # Errors
    /// `Fenced` once the lease was granted again or released.
    async fn renew_lease(&self, fence: &Fence, until: Timestamp) -> MetaResult<()>;

    /// Ends a lease early. Does nothing to one that was granted again.
    async fn release_lease(&self, fence: &Fence) -> MetaResult<()>;

    /// The newest fence of every job that ever had a lease, in order of their names.
    async fn newest_fences(&self) -> MetaResult<Vec<Fence>>;

    /// What the operator has said about a job; by default nothing.
    async fn job_control(&self, job: &JobName) -> MetaResult<JobControl>;

    /// Notes what the operator says about a job.
    async fn set_job_control(&self, job: &JobName, control: JobControl) -> MetaResult<()>;

    /// Where each of `chunks` is, in their order; `None` if no row names one.
    async fn placements(&self, chunks: &[ChunkId]) -> MetaResult<Vec<Option<Placement>>>;

    /// Chunks that rows placed on a node, in id order, after `after`, with where they are now.
    async fn node_chunks(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<NodeChunk>>;

    /// Whether anything of a chunk is to be expected on a node: a row places it there, or a copy waits
    /// there to be deleted.
    async fn is_on_node(&self, node: NodeId, chunk: ChunkId) -> MetaResult<bool>;

    /// Changes the nodes that a chunk's row names, if they still are those that the caller saw.
    /// Copies on nodes that are no longer named are queued for garbage collection, and stay placed
    /// there until they are collected. The row keeps its revision: to clients nothing has changed.
    ///
    /// # Errors
    /// `Fenced`; `NoSuchChunk` once no row names the chunk; `Conflict` where the row names other
    /// nodes than `expected`, and where a node to be added has a copy that waits to be deleted;
    /// `OutcomeUnknown`.
    async fn change_replicas(&self, fence: &Fence, change: ReplicaChange) -> MetaResult<()>;

    /// Queues chunks for repair. One that is queued already is taken for as endangered as the worse
    /// of both says; one that no row names is left out.
    async fn queue_repairs(&self, needs: Vec<RepairNeed>) -> MetaResult<()>;

    /// How many rows of the queues (garbage, repair, orphans) were passed over since the store was opened,
    /// because they cannot be decoded. What they name stays as it is.
    fn damaged_rows(&self) -> u64 {
        0
    }

    /// The repair queue behind `after` (good replicas and chunk of an entry), those with fewest good
    /// replicas first. An entry may be out of date: the chunk may be gone, or queued again as more or
    /// less endangered.
    async fn repairs_by_danger(
        &self,
        after: Option<(u8, ChunkId)>,
        limit: usize,
    ) -> MetaResult<Vec<RepairEntry>>;

    /// Takes an entry off the repair queue, or puts it where `left` belongs.
    ///
    /// # Errors
    /// `Fenced`.
    async fn finish_repair(
        &self,
        fence: &Fence,
        entry: &RepairEntry,
        left: Option<RepairNeed>,
    ) -> MetaResult<()>;

    /// Counts the repair queue, its `limit` most endangered entries at most.
    async fn count_repairs(&self, limit: usize) -> MetaResult<RepairCounts>;

    /// Notes chunks that a node holds and that no row places there; those that are noted already stay
    /// as they are.
    ///
    /// # Errors
    /// `Fenced`.
    async fn note_orphans(
        &self,
        fence: &Fence,
        node: NodeId,
        chunks: &[ChunkInfo],
        now: Timestamp,
    ) -> MetaResult<()>;

    /// The orphans of a node in id order, those behind `after`.
    async fn orphans(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<Orphan>>;

    /// Puts an orphan into quarantine: from now on the node's copy of the chunk is named by no row.
    /// (A write that takes so long that its own chunks are orphans by then must not be committed; see
    /// the gateway's limit on the time of a write.)
    ///
    /// # Errors
    /// `Fenced`; `Conflict` where a row places the chunk on the node after all.
    async fn quarantine_orphan(
        &self,
        fence: &Fence,
        node: NodeId,
        chunk: ChunkId,
        now: Timestamp,
    ) -> MetaResult<()>;

    /// Ends an orphan. Does nothing to one that is not noted, and none to one that is to be garbage and
    /// is not in quarantine.
    ///
    /// # Errors
    /// `Fenced`.
    async fn end_orphan(
        &self,
        fence: &Fence,
        node: NodeId,
        chunk: ChunkId,
        fate: OrphanFate,
    ) -> MetaResult<()>;

    /// Carries out what a rule or an expiry asks for, if what it judged is as it was.
    ///
    /// # Errors
    /// `Fenced`; `NoSuchBucket`; `Conflict` where anything that was judged is another by now, the
    /// bucket's rules too; `NoSuchVersion` and `NoSuchUpload` where it is gone; `OutcomeUnknown`.
    async fn apply_lifecycle(&self, fence: &Fence, change: LifecycleChange) -> MetaResult<()>;

    /// Takes nodes off an entry of the garbage collection queue on which its chunks were deleted; the
    /// others stay. Ends the entry when none is left, and removes what is left of its chunks in the
    /// node index and the repair queue. Does nothing to one that has ended: a copy may have come to be
    /// named there since.
    ///
    /// # Errors
    /// `Fenced`.
    ///
    /// # Panics
    /// For an entry of `Parts`.
    async fn gc_narrow(&self, fence: &Fence, entry: &GcEntry, done: &[NodeId]) -> MetaResult<()>;

    /// What operators want of the nodes, of which they said anything, in order of their ids.
    async fn node_phases(&self) -> MetaResult<Vec<(NodeId, NodePhase)>>;

    /// Notes what an operator wants of a node.
    async fn set_node_phase(&self, node: NodeId, phase: NodePhase) -> MetaResult<()>;
}

impl RepairNeed {
    /// The need of a chunk with `have` good replicas of `wanted`, noticed at `since`.
    #[must_use]
    pub fn new(chunk: &ChunkRef, wanted: u8, have: usize, since: Timestamp) -> Self {
        Self {
            chunk: chunk.id,
            length_bytes: chunk.length_bytes,
            wanted,
            have: u8::try_from(have).unwrap_or(u8::MAX),
            since,
        }
    }

    /// Bytes to copy until the chunk has enough replicas.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        let missing = u64::from(self.wanted.saturating_sub(self.have));
        self.length_bytes.saturating_mul(missing)
    }

    /// The row of the need, by its chunk.
    pub(crate) fn row(&self) -> RepairRow {
        RepairRow {
            chunk: self.chunk,
            wanted: self.wanted,
            have: self.have,
            since: self.since,
        }
    }

    /// The need of a chunk with fewer than `wanted` replicas; `None` for one with enough.
    pub(crate) fn of_short(chunk: &ChunkRef, wanted: u8, since: Timestamp) -> Option<Self> {
        let need = Self::new(chunk, wanted, chunk.replicas.len(), since);
        (need.have < wanted).then_some(need)
    }
}

impl Orphan {
    /// The copy that it is, as garbage collection wants it.
    pub(crate) fn copy_on(&self, node: NodeId) -> ChunkRef {
        ChunkRef {
            id: self.chunk.id,
            length_bytes: self.chunk.length_bytes,
            crc64: self.chunk.crc64,
            replicas: vec![node],
        }
    }
}

impl RepairCounts {
    /// Counts one more entry.
    pub(crate) fn add(&mut self, entry: &RepairEntry) {
        let most = self.chunks.len() - 1;
        self.chunks[usize::from(entry.have).min(most)] += 1;
        self.missing_bytes = self.missing_bytes.saturating_add(entry.missing_bytes);
    }
}
