//! [`Upkeep`] in RocksDB: every method of the trait, each handing on to the file that does it.

use async_trait::async_trait;
use chunkproto::{ChunkId, ChunkInfo, Fence, JobName, NodeId};

use super::keys;
use super::metastore::RocksMetastore;
use super::read::Store;
use super::tables::{JOB_CONTROLS, NODE_CHUNKS};
use crate::{
    GcEntry, JobControl, LeaseAnswer, LeaseRequest, LifecycleChange, MetaResult, NodeChunk,
    NodePhase, Orphan, OrphanFate, Placement, RepairCounts, RepairEntry, RepairNeed, ReplicaChange,
    Timestamp, Upkeep,
};

#[async_trait]
impl Upkeep for RocksMetastore {
    async fn acquire_lease(&self, request: LeaseRequest) -> MetaResult<LeaseAnswer> {
        self.engine.acquire_lease(&request).await
    }

    async fn renew_lease(&self, fence: &Fence, until: Timestamp) -> MetaResult<()> {
        self.engine.renew_lease(fence, until).await
    }

    async fn release_lease(&self, fence: &Fence) -> MetaResult<()> {
        self.engine.release_lease(fence).await
    }

    async fn newest_fences(&self) -> MetaResult<Vec<Fence>> {
        self.engine.blocking(Store::newest_fences).await
    }

    async fn job_control(&self, job: &JobName) -> MetaResult<JobControl> {
        let found = self.engine.get(JOB_CONTROLS, keys::job(job)).await?;
        Ok(found.unwrap_or_default())
    }

    async fn set_job_control(&self, job: &JobName, control: JobControl) -> MetaResult<()> {
        self.engine.set_job_control(job, &control).await
    }

    async fn placements(&self, chunks: &[ChunkId]) -> MetaResult<Vec<Option<Placement>>> {
        let chunks = chunks.to_vec();
        self.engine
            .blocking(move |store| store.placements(&chunks))
            .await
    }

    async fn node_chunks(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<NodeChunk>> {
        self.engine
            .blocking(move |store| store.node_chunks(node, after, limit))
            .await
    }

    async fn is_on_node(&self, node: NodeId, chunk: ChunkId) -> MetaResult<bool> {
        let key = keys::node_chunk(node, chunk);
        Ok(self.engine.get(NODE_CHUNKS, key).await?.is_some())
    }

    async fn change_replicas(&self, fence: &Fence, change: ReplicaChange) -> MetaResult<()> {
        self.engine.change_replicas(fence, change).await
    }

    async fn queue_repairs(&self, needs: Vec<RepairNeed>) -> MetaResult<()> {
        self.engine.queue_repairs(needs).await
    }

    fn damaged_rows(&self) -> u64 {
        self.engine.store().damaged.count()
    }

    async fn repairs_by_danger(
        &self,
        after: Option<(u8, ChunkId)>,
        limit: usize,
    ) -> MetaResult<Vec<RepairEntry>> {
        self.engine
            .blocking(move |store| store.repairs_by_danger(after, limit))
            .await
    }

    async fn finish_repair(
        &self,
        fence: &Fence,
        entry: &RepairEntry,
        left: Option<RepairNeed>,
    ) -> MetaResult<()> {
        self.engine.finish_repair(fence, entry, left).await
    }

    async fn count_repairs(&self, limit: usize) -> MetaResult<RepairCounts> {
        self.engine
            .blocking(move |store| store.count_repairs(limit))
            .await
    }

    async fn note_orphans(
        &self,
        fence: &Fence,
        node: NodeId,
        chunks: &[ChunkInfo],
        now: Timestamp,
    ) -> MetaResult<()> {
        self.engine
            .note_orphans(fence, node, chunks.to_vec(), now)
            .await
    }

    async fn orphans(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<Orphan>> {
        self.engine
            .blocking(move |store| store.orphans(node, after, limit))
            .await
    }

    async fn quarantine_orphan(
        &self,
        fence: &Fence,
        node: NodeId,
        chunk: ChunkId,
        now: Timestamp,
    ) -> MetaResult<()> {
        self.engine.quarantine_orphan(fence, node, chunk, now).await
    }

    async fn end_orphan(
        &self,
        fence: &Fence,
        node: NodeId,
        chunk: ChunkId,
        fate: OrphanFate,
    ) -> MetaResult<()> {
        self.engine.end_orphan(fence, node, chunk, fate).await
    }

    async fn gc_narrow(&self, fence: &Fence, entry: &GcEntry, done: &[NodeId]) -> MetaResult<()> {
        self.engine.gc_narrow(fence, entry, done).await
    }

    async fn apply_lifecycle(&self, fence: &Fence, change: LifecycleChange) -> MetaResult<()> {
        self.engine.apply_lifecycle(fence, change).await
    }

    async fn node_phases(&self) -> MetaResult<Vec<(NodeId, NodePhase)>> {
        self.engine.blocking(Store::node_phases).await
    }

    async fn set_node_phase(&self, node: NodeId, phase: NodePhase) -> MetaResult<()> {
        self.engine.set_node_phase(node, phase).await
    }
}
