//! What buckets hold: counted anew whenever somebody asks.

use super::state::State;
use crate::{BucketId, BucketUsage, MetaResult, Quota, Usage};

impl State {
    pub(super) fn bucket_usage(&self, bucket: BucketId) -> MetaResult<BucketUsage> {
        self.expect_bucket(bucket)?;
        let quota = self.quotas.get(&bucket).copied().unwrap_or_default();
        let used = self.used_by(bucket);
        Ok(BucketUsage { used, quota })
    }

    pub(super) fn set_quota(&mut self, bucket: BucketId, quota: Quota) -> MetaResult<()> {
        self.expect_bucket(bucket)?;
        self.quotas.insert(bucket, quota);
        Ok(())
    }

    /// Does what `act` does, unless the bucket would hold more than it may then.
    pub(super) fn within_quota<T>(
        &mut self,
        bucket: BucketId,
        act: impl FnOnce(&mut Self) -> MetaResult<T>,
    ) -> MetaResult<T> {
        let quota = self.quotas.get(&bucket).copied().unwrap_or_default();
        if quota.is_none() {
            return act(self);
        }
        let mut after = self.clone();
        let done = act(&mut after)?;
        quota.check(self.used_by(bucket), after.used_by(bucket))?;
        *self = after;
        Ok(done)
    }

    fn used_by(&self, bucket: BucketId) -> Usage {
        let mut used = Usage::default();
        let current = self.current.iter().filter(|((of, _), _)| *of == bucket);
        current.for_each(|(_, object)| used.count(object));
        let behind = self.noncurrent.iter().filter(|((of, ..), _)| *of == bucket);
        let behind = behind.filter_map(|(_, row)| row.version.object());
        behind.for_each(|object| used.count(object));
        used
    }
}
