//! [`Upkeep`] in RocksDB: every method of the trait, each handing on to the file that does it.

use async_trait::async_trait;
use chunkproto::{Fence, JobName};

use super::keys;
use super::metastore::RocksMetastore;
use super::read::Store;
use super::tables::JOB_CONTROLS;
use crate::{JobControl, LeaseAnswer, LeaseRequest, MetaResult, Timestamp, Upkeep};

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
}
