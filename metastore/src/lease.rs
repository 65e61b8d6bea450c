//! A lease's row and its rules, decided the same way in every implementation.

use chunkproto::{Fence, JobName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{LeaseAnswer, LeaseRequest, MetaError, MetaResult, Timestamp};

/// The row of a lease. It stays when the lease ends: the token must go on growing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseRow {
    pub(crate) holder: Uuid,
    pub(crate) token: u64,
    pub(crate) until: Timestamp,
}

/// A clock that is later than this (in milliseconds; the year 10889) is broken, and must not use the
/// tokens up.
const TOKEN_MOMENT_MAX: u64 = (1 << 48) - 1;

/// What has ended, whatever the time is.
const ENDED: Timestamp = Timestamp(0);

impl LeaseRow {
    /// The row after `request` and what the asker is told; no row where nothing changes.
    pub(crate) fn ask(row: Option<&Self>, request: &LeaseRequest) -> (Option<Self>, LeaseAnswer) {
        let is_free = |row: &Self| row.until <= request.now || row.holder == request.holder;
        if let Some(row) = row.filter(|row| !is_free(row)) {
            let (by, until) = (row.holder, row.until);
            return (None, LeaseAnswer::Held { by, until });
        }
        // Not before the moment either: nodes remember tokens of rows that were lost since.
        let moment = request.now.0.min(TOKEN_MOMENT_MAX);
        let above = request.token_above.min(TOKEN_MOMENT_MAX);
        let last = row.map_or(0, |row| row.token).max(above);
        let granted = Self {
            holder: request.holder,
            token: (last + 1).max(moment),
            until: request.until,
        };
        let fence = granted.fence(&request.job);
        (Some(granted), LeaseAnswer::Granted(fence))
    }

    /// The row with its lease ended.
    pub(crate) fn ended(self) -> Self {
        let until = ENDED;
        Self { until, ..self }
    }

    /// The newest fence of the job.
    pub(crate) fn fence(&self, job: &JobName) -> Fence {
        Fence {
            job: job.clone(),
            token: self.token,
        }
    }

    /// The row, if `fence` is the newest of its lease.
    ///
    /// # Errors
    /// `Fenced`.
    pub(crate) fn expect(row: Option<Self>, fence: &Fence) -> MetaResult<Self> {
        row.filter(|row| row.token == fence.token && row.until != ENDED)
            .ok_or_else(|| MetaError::Fenced(fence.clone()))
    }
}
