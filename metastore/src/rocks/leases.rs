//! Leases of background jobs, and what the operator has said about the jobs.

use std::path::Path;

use chunkproto::{Fence, JobName};

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::open::OpenError;
use super::read::{Looked, Reader, Store};
use super::tables::{JOB_CONTROLS, LEASES};
use crate::lease::LeaseRow;
use crate::{JobControl, LeaseAnswer, LeaseRequest, MetaError, MetaResult, Timestamp};

impl Engine {
    pub(super) async fn acquire_lease(&self, request: &LeaseRequest) -> MetaResult<LeaseAnswer> {
        let held = vec![self.locks.lease_changes(&request.job).await];
        let key = keys::job(&request.job);
        let row = self.get(LEASES, key.clone()).await?;
        let (row, answer) = LeaseRow::ask(row.as_ref(), request);
        if let Some(row) = row {
            let mut batch = Batch::default();
            batch.put(LEASES, key, &row);
            self.commit(batch, held).await?;
        }
        Ok(answer)
    }

    pub(super) async fn renew_lease(&self, fence: &Fence, until: Timestamp) -> MetaResult<()> {
        self.change_lease(fence, move |row| LeaseRow { until, ..row })
            .await
    }

    pub(super) async fn release_lease(&self, fence: &Fence) -> MetaResult<()> {
        match self.change_lease(fence, LeaseRow::ended).await {
            Err(MetaError::Fenced(_)) => Ok(()),
            other => other,
        }
    }

    async fn change_lease(
        &self,
        fence: &Fence,
        change: impl FnOnce(LeaseRow) -> LeaseRow,
    ) -> MetaResult<()> {
        let held = vec![self.locks.lease_changes(&fence.job).await];
        let key = keys::job(&fence.job);
        let row = LeaseRow::expect(self.get(LEASES, key.clone()).await?, fence)?;
        let mut batch = Batch::default();
        batch.put(LEASES, key, &change(row));
        self.commit(batch, held).await
    }

    pub(super) async fn set_job_control(
        &self,
        job: &JobName,
        control: &JobControl,
    ) -> MetaResult<()> {
        let mut batch = Batch::default();
        batch.put(JOB_CONTROLS, keys::job(job), control);
        self.commit(batch, Vec::new()).await
    }
}

impl Reader<'_> {
    /// The caller holds the lease's lock, so that the answer stays true until its commit.
    ///
    /// # Errors
    /// `Fenced`.
    pub(super) fn expect_fence(&self, fence: &Fence) -> Looked<()> {
        let row = self.get(LEASES, &keys::job(&fence.job))?;
        LeaseRow::expect(row, fence)?;
        Ok(())
    }
}

impl Store {
    pub(super) fn newest_fences(&self) -> MetaResult<Vec<Fence>> {
        let found = self.range(LEASES, Vec::new(), keys::past(&[]), usize::MAX)?;
        let fence = |(key, row): (Vec<u8>, LeaseRow)| {
            let job = keys::job_of(LEASES, key)?;
            Ok(row.fence(&job))
        };
        found.into_iter().map(fence).collect()
    }

    /// Ends all leases. Only one process has this store open at a time, so whoever held a lease
    /// when it is opened is gone; a successor need not wait.
    pub(super) fn end_leases(&self, path: &Path) -> Result<(), OpenError> {
        let found = self.range(LEASES, Vec::new(), keys::past(&[]), usize::MAX);
        let leases = found.map_err(|error| OpenError::Damaged {
            path: path.into(),
            detail: error.to_string(),
        })?;
        if leases.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for (key, row) in leases {
            batch.put(LEASES, key, &row.ended());
        }
        self.write(&[batch]).map_err(|source| OpenError::Database {
            path: path.into(),
            source,
        })
    }
}
