//! [`Upkeep`] in RocksDB: every method of the trait, each handing on to the file that does it.

use async_trait::async_trait;
use chunkproto::{ChunkId, Fence, JobName, NodeId};

use super::keys;
use super::metastore::RocksMetastore;
use super::read::Store;
use super::tables::JOB_CONTROLS;
use crate::{
    JobControl, LeaseAnswer, LeaseRequest, MetaResult, NodeChunk, Placement, RepairCounts,
    RepairEntry, RepairNeed, ReplicaChange, Timestamp, Upkeep,
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

    async fn change_replicas(&self, fence: &Fence, change: ReplicaChange) -> MetaResult<()> {
        self.engine.change_replicas(fence, change).await
    }

    async fn queue_repairs(&self, needs: Vec<RepairNeed>) -> MetaResult<()> {
        self.engine.queue_repairs(needs).await
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

    async fn settle_repair(
        &self,
        fence: &Fence,
        entry: &RepairEntry,
        left: Option<RepairNeed>,
    ) -> MetaResult<()> {
        self.engine.settle_repair(fence, entry, left).await
    }

    async fn count_repairs(&self, limit: usize) -> MetaResult<RepairCounts> {
        self.engine
            .blocking(move |store| store.count_repairs(limit))
            .await
    }
}
