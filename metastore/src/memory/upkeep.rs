//! [`Upkeep`] in memory.

use async_trait::async_trait;
use chunkproto::{ChunkId, ChunkInfo, Fence, JobName, NodeId};

use super::MemoryMetastore;
use super::state::State;
use crate::lease::LeaseRow;
use crate::{
    GcEntry, JobControl, LeaseAnswer, LeaseRequest, LifecycleChange, MetaResult, NodeChunk,
    NodePhase, Orphan, OrphanFate, Placement, RepairCounts, RepairEntry, RepairNeed, ReplicaChange,
    Timestamp, Upkeep,
};

#[async_trait]
impl Upkeep for MemoryMetastore {
    async fn acquire_lease(&self, request: LeaseRequest) -> MetaResult<LeaseAnswer> {
        let mut state = self.state();
        let (row, answer) = LeaseRow::ask(state.leases.get(&request.job), &request);
        if let Some(row) = row {
            state.leases.insert(request.job, row);
        }
        Ok(answer)
    }

    async fn renew_lease(&self, fence: &Fence, until: Timestamp) -> MetaResult<()> {
        let mut state = self.state();
        let row = state.expect_fence(fence)?;
        let renewed = LeaseRow { until, ..row };
        state.leases.insert(fence.job.clone(), renewed);
        Ok(())
    }

    async fn release_lease(&self, fence: &Fence) -> MetaResult<()> {
        let mut state = self.state();
        if let Ok(row) = state.expect_fence(fence) {
            state.leases.insert(fence.job.clone(), row.ended());
        }
        Ok(())
    }

    async fn newest_fences(&self) -> MetaResult<Vec<Fence>> {
        let state = self.state();
        Ok(state
            .leases
            .iter()
            .map(|(job, row)| row.fence(job))
            .collect())
    }

    async fn job_control(&self, job: &JobName) -> MetaResult<JobControl> {
        Ok(self.state().controls.get(job).copied().unwrap_or_default())
    }

    async fn set_job_control(&self, job: &JobName, control: JobControl) -> MetaResult<()> {
        self.state().controls.insert(job.clone(), control);
        Ok(())
    }

    async fn placements(&self, chunks: &[ChunkId]) -> MetaResult<Vec<Option<Placement>>> {
        let state = self.state();
        chunks.iter().map(|chunk| state.placement(*chunk)).collect()
    }

    async fn node_chunks(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<NodeChunk>> {
        self.state().node_chunks(node, after, limit)
    }

    async fn is_on_node(&self, node: NodeId, chunk: ChunkId) -> MetaResult<bool> {
        Ok(self.state().node_chunks.contains(&(node, chunk)))
    }

    async fn change_replicas(&self, fence: &Fence, change: ReplicaChange) -> MetaResult<()> {
        let mut state = self.state();
        state.expect_fence(fence)?;
        state.change_replicas(&change)
    }

    async fn queue_repairs(&self, needs: Vec<RepairNeed>) -> MetaResult<()> {
        self.state().queue_repairs(&needs);
        Ok(())
    }

    async fn repairs_by_danger(
        &self,
        after: Option<(u8, ChunkId)>,
        limit: usize,
    ) -> MetaResult<Vec<RepairEntry>> {
        Ok(self.state().repairs_by_danger(after, limit))
    }

    async fn finish_repair(
        &self,
        fence: &Fence,
        entry: &RepairEntry,
        left: Option<RepairNeed>,
    ) -> MetaResult<()> {
        let mut state = self.state();
        state.expect_fence(fence)?;
        state.finish_repair(entry, left.as_ref());
        Ok(())
    }

    async fn count_repairs(&self, limit: usize) -> MetaResult<RepairCounts> {
        Ok(self.state().count_repairs(limit))
    }

    async fn note_orphans(
        &self,
        fence: &Fence,
        node: NodeId,
        chunks: &[ChunkInfo],
        now: Timestamp,
    ) -> MetaResult<()> {
        let mut state = self.state();
        state.expect_fence(fence)?;
        state.note_orphans(node, chunks, now);
        Ok(())
    }

    async fn orphans(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<Orphan>> {
        Ok(self.state().orphans_of(node, after, limit))
    }

    async fn quarantine_orphan(
        &self,
        fence: &Fence,
        node: NodeId,
        chunk: ChunkId,
        now: Timestamp,
    ) -> MetaResult<()> {
        let mut state = self.state();
        state.expect_fence(fence)?;
        state.quarantine_orphan(node, chunk, now)
    }

    async fn end_orphan(
        &self,
        fence: &Fence,
        node: NodeId,
        chunk: ChunkId,
        fate: OrphanFate,
    ) -> MetaResult<()> {
        let mut state = self.state();
        state.expect_fence(fence)?;
        state.end_orphan(node, chunk, fate);
        Ok(())
    }

    async fn gc_narrow(&self, fence: &Fence, entry: &GcEntry, done: &[NodeId]) -> MetaResult<()> {
        let mut state = self.state();
        state.expect_fence(fence)?;
        state.gc_narrow(entry, done);
        Ok(())
    }

    async fn apply_lifecycle(&self, fence: &Fence, change: LifecycleChange) -> MetaResult<()> {
        let mut state = self.state();
        state.expect_fence(fence)?;
        state.apply_lifecycle(change)
    }

    async fn node_phases(&self) -> MetaResult<Vec<(NodeId, NodePhase)>> {
        let state = self.state();
        Ok(state
            .phases
            .iter()
            .map(|(node, phase)| (*node, *phase))
            .collect())
    }

    async fn set_node_phase(&self, node: NodeId, phase: NodePhase) -> MetaResult<()> {
        self.state().phases.insert(node, phase);
        Ok(())
    }
}

impl State {
    /// # Errors
    /// `Fenced`.
    fn expect_fence(&self, fence: &Fence) -> MetaResult<LeaseRow> {
        LeaseRow::expect(self.leases.get(&fence.job).cloned(), fence)
    }
}
