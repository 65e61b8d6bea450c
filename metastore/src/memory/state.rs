//! The tables, and the rows that name chunks beside whatever row holds them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chunkproto::{ChunkId, JobName, NodeId};
use uuid::Uuid;

use crate::lease::LeaseRow;
use crate::rename::RenameRow;
use crate::versions::Noncurrent;
use crate::{
    BodyId, Bucket, BucketId, BucketName, ChunkOwner, ChunkRef, GcItem, InlineBody, JobControl,
    MetaError, MetaResult, NodePhase, NodeRow, ObjectKey, ObjectVersion, Orphan, Part, PartNumber,
    PartSet, Quota, RepairNeed, RepairRow, Timestamp, Upload, UploadId, User, VersionOrder,
};

/// Everything that is stored.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) buckets: BTreeMap<BucketName, Bucket>,
    pub(super) current: BTreeMap<(BucketId, ObjectKey), ObjectVersion>,
    pub(super) noncurrent: BTreeMap<(BucketId, ObjectKey, Reverse<VersionOrder>), Noncurrent>,
    pub(super) quotas: BTreeMap<BucketId, Quota>,
    pub(super) renames: BTreeMap<(BucketId, String), RenameRow>,
    pub(super) users: BTreeMap<String, User>,
    pub(super) uploads: BTreeMap<(BucketId, ObjectKey, UploadId), Upload>,
    pub(super) parts: BTreeMap<(UploadId, PartNumber), Part>,
    pub(super) part_sets: BTreeMap<UploadId, PartSet>,
    pub(super) bodies: BTreeMap<BodyId, InlineBody>,
    pub(super) chunks: BTreeMap<ChunkId, ChunkOwner>,
    pub(super) node_chunks: BTreeSet<(NodeId, ChunkId)>,
    pub(super) gc: BTreeMap<(Timestamp, Uuid), GcItem>,
    pub(super) repair: BTreeMap<ChunkId, RepairRow>,
    pub(super) repair_order: BTreeMap<(u8, ChunkId), u64>,
    pub(super) nodes: BTreeMap<NodeId, NodeRow>,
    pub(super) orphans: BTreeMap<(NodeId, ChunkId), Orphan>,
    pub(super) phases: BTreeMap<NodeId, NodePhase>,
    pub(super) leases: BTreeMap<JobName, LeaseRow>,
    pub(super) controls: BTreeMap<JobName, JobControl>,
    /// Chunks whose rows cannot be read.
    pub(super) damaged: BTreeSet<ChunkId>,
}

impl State {
    /// # Errors
    /// `NoSuchBucket`.
    pub(super) fn expect_bucket(&self, bucket: BucketId) -> MetaResult<Bucket> {
        let row = self.buckets.values().find(|row| row.id == bucket);
        row.cloned().ok_or(MetaError::NoSuchBucket)
    }

    /// Names `chunks` as `owner`'s, places them on their nodes, and queues short ones for repair.
    pub(super) fn link(
        &mut self,
        chunks: &[ChunkRef],
        owner: &ChunkOwner,
        replicas_wanted: u8,
        since: Timestamp,
    ) {
        for chunk in chunks {
            self.chunks.insert(chunk.id, owner.clone());
            self.node_chunks
                .extend(chunk.replicas.iter().map(|&node| (node, chunk.id)));
            if let Some(need) = RepairNeed::of_short(chunk, replicas_wanted, since) {
                self.put_repair(&need);
            }
        }
    }

    /// Takes the name off `chunks` and queues them for garbage collection.
    pub(super) fn unlink(&mut self, chunks: Vec<ChunkRef>, unlinked_at: Timestamp) {
        if chunks.is_empty() {
            return;
        }
        for chunk in &chunks {
            self.chunks.remove(&chunk.id);
        }
        self.queue(GcItem::Chunks(chunks), unlinked_at);
    }

    /// Queues an item for garbage collection.
    pub(super) fn queue(&mut self, item: GcItem, unlinked_at: Timestamp) {
        self.gc.insert((unlinked_at, Uuid::now_v7()), item);
    }
}
