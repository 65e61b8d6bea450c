//! The process's budget for bytes held on behalf of requests (I13): a request waits until its
//! share is free, for a bounded time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One permit stands for this many bytes.
const PERMIT_BYTES: u64 = 1024;

/// A number of bytes that requests share.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    permits: Arc<Semaphore>,
    /// What first shares may hold: half of all, so that there is always something to complete them by.
    firsts: Arc<Semaphore>,
    total: u32,
    wait_max: Duration,
}

/// Bytes held; they return to the budget on drop.
#[derive(Debug)]
#[must_use]
pub struct BytesReserved {
    permit: OwnedSemaphorePermit,
}

impl BytesReserved {
    const fn new(permit: OwnedSemaphorePermit) -> Self {
        Self { permit }
    }

    /// Holds both from now on.
    pub fn join(&mut self, other: Self) {
        self.permit.merge(other.permit);
    }
}

/// The first of two shares that one request needs.
#[derive(Debug)]
#[must_use]
pub struct FirstShare {
    bytes: BytesReserved,
    place: OwnedSemaphorePermit,
}

/// The budget stayed taken for as long as a request may wait.
#[derive(Debug, thiserror::Error)]
#[error("too many requests hold memory; none was freed in {0:?}")]
pub struct BudgetExhausted(Duration);

impl ByteBudget {
    /// A budget of `total_bytes`; a request waits at most `wait_max` for its share.
    #[must_use]
    pub fn new(total_bytes: u64, wait_max: Duration) -> Self {
        let total = u32::try_from(total_bytes / PERMIT_BYTES)
            .unwrap_or(u32::MAX)
            .max(1);
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let total = total.min(most);
        Self {
            permits: Arc::new(Semaphore::new(total as usize)),
            firsts: Arc::new(Semaphore::new((total / 2).max(1) as usize)),
            total,
            wait_max,
        }
    }

    /// Waits for `bytes`, or for the whole budget where it is smaller than that.
    ///
    /// # Errors
    /// [`BudgetExhausted`] after the budget's longest wait.
    pub async fn reserve(&self, bytes: u64) -> Result<BytesReserved, BudgetExhausted> {
        let wanted = permits_of(bytes).min(self.total);
        self.in_time(take(&self.permits, wanted))
            .await
            .map(BytesReserved::new)
    }

    /// Waits for `bytes` for a request that will need more: see [`complete`](Self::complete). Together
    /// such requests hold at most half of the budget, or all of them could wait for each other.
    ///
    /// # Errors
    /// [`BudgetExhausted`] after the budget's longest wait.
    pub async fn reserve_first(&self, bytes: u64) -> Result<FirstShare, BudgetExhausted> {
        let wanted = permits_of(bytes).min((self.total / 2).max(1));
        let both = async {
            let place = take(&self.firsts, wanted).await;
            let bytes = BytesReserved::new(take(&self.permits, wanted).await);
            FirstShare { bytes, place }
        };
        self.in_time(both).await
    }

    /// Waits for `bytes` more, or for the half of the budget that no first share takes where it is
    /// smaller than that.
    ///
    /// # Errors
    /// [`BudgetExhausted`] after the budget's longest wait.
    pub async fn complete(
        &self,
        first: FirstShare,
        bytes: u64,
    ) -> Result<BytesReserved, BudgetExhausted> {
        let wanted = permits_of(bytes).min((self.total - self.total / 2).max(1));
        let rest = self.in_time(take(&self.permits, wanted)).await?;
        let FirstShare {
            bytes: mut all,
            place,
        } = first;
        drop(place);
        all.join(BytesReserved::new(rest));
        Ok(all)
    }

    async fn in_time<T>(&self, wait: impl Future<Output = T>) -> Result<T, BudgetExhausted> {
        let waited = tokio::time::timeout(self.wait_max, wait).await;
        waited.map_err(|_| BudgetExhausted(self.wait_max))
    }

    /// Takes `bytes` if more than half of the budget stays free: for what is useful and not needed.
    /// Requests go first.
    #[must_use]
    pub fn spare(&self, bytes: u64) -> Option<BytesReserved> {
        let wanted = permits_of(bytes);
        let free = self.permits.available_permits();
        if free < (self.total / 2).saturating_add(wanted) as usize {
            return None;
        }
        let permit = Arc::clone(&self.permits).try_acquire_many_owned(wanted);
        permit.ok().map(BytesReserved::new)
    }
}

async fn take(semaphore: &Arc<Semaphore>, permits: u32) -> OwnedSemaphorePermit {
    let permit = Arc::clone(semaphore).acquire_many_owned(permits).await;
    permit.expect("the budget's semaphores are never closed")
}

fn permits_of(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_needed_leaves_half_of_the_budget_to_requests() {
        let budget = ByteBudget::new(8192, Duration::from_millis(1));
        let mut held = budget.spare(1024).unwrap();
        held.join(budget.spare(3072).unwrap());
        assert!(budget.spare(1).is_none());
        let request = budget.reserve(4096).await.unwrap();
        drop((held, request));
        assert!(budget.spare(4096).is_some());
    }

    #[tokio::test]
    async fn a_request_waits_for_its_share_and_gives_up_in_time() {
        let budget = ByteBudget::new(4096, Duration::from_millis(1));
        let held = budget.reserve(1 << 40).await.unwrap();
        assert!(budget.reserve(1).await.is_err());
        drop(held);
        assert!(budget.reserve(1).await.is_ok());
    }
}
