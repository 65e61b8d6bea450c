//! Changes that rules and expiries ask for, under the lease of the job that judged.

use chunkproto::Fence;

use super::batch::Batch;
use super::engine::Engine;
use super::read::{Looked, Reader, Store};
use crate::lifecycle::{StandingVersion, expect_untouched};
use crate::{
    JudgedVersion, LifecycleAction, LifecycleChange, MetaResult, PartNumber, WriteCondition,
};

impl Engine {
    pub(super) async fn apply_lifecycle(
        &self,
        fence: &Fence,
        change: LifecycleChange,
    ) -> MetaResult<()> {
        let mut held = vec![
            self.locks.lease_stays(&fence.job).await,
            self.locks.bucket_stays(change.bucket).await,
        ];
        held.push(match &change.action {
            LifecycleAction::Abort(upload, _) => self.locks.upload_ends(*upload).await,
            _ => self.locks.key(change.bucket, &change.key).await,
        });
        let fence = fence.clone();
        let batch = if let LifecycleAction::Abort(..) = change.action {
            // A walk over parts, so it may wait from the beginning.
            self.blocking(move |store| store.abortion(&fence, &change))
                .await
        } else {
            self.look(move |reader| reader.lifecycle(&fence, &change))
                .await
        };
        self.commit(batch?, held).await
    }
}

impl Reader<'_> {
    fn lifecycle(&self, fence: &Fence, change: &LifecycleChange) -> Looked<Batch> {
        self.expect_judge(fence, change)?;
        let (bucket, key, now) = (change.bucket, &change.key, change.now);
        match &change.action {
            LifecycleAction::Expire(revision) => {
                let unchanged = WriteCondition::Revision(*revision);
                Ok(self.deletion(bucket, key, &unchanged, now)?.0)
            }
            LifecycleAction::Remove(judged) => {
                self.expect_judged(change, judged)?;
                let always = WriteCondition::Always;
                Ok(self.removal(bucket, key, judged.version, &always, now)?.0)
            }
            LifecycleAction::Amend(object, seen) => self.amendment(bucket, key, object, *seen),
            LifecycleAction::Abort(upload, _) => self.abortion(bucket, key, *upload, now),
        }
    }

    /// # Errors
    /// `Fenced`, `NoSuchBucket`, `Conflict`.
    fn expect_judge(&self, fence: &Fence, change: &LifecycleChange) -> Looked<()> {
        self.expect_fence(fence)?;
        let bucket = self.expect_bucket(change.bucket)?;
        change.expect_settings(bucket.settings.revision)?;
        Ok(())
    }

    fn expect_judged(&self, change: &LifecycleChange, judged: &JudgedVersion) -> Looked<()> {
        let (bucket, key) = (change.bucket, &change.key);
        let found = self.stored_version(bucket, key, judged.version)?;
        let current = self.current(bucket, key)?;
        let behind = self.newest_noncurrent(bucket, key, 2)?;
        let newest = match &current {
            Some(current) => Some(current.order),
            None => behind.first().map(|row| row.version.order()),
        };
        judged.expect(&StandingVersion {
            version: found.as_ref(),
            is_latest: newest == Some(judged.order),
            has_others: usize::from(current.is_some()) + behind.len() > 1,
        })?;
        Ok(())
    }
}

impl Store {
    fn abortion(&self, fence: &Fence, change: &LifecycleChange) -> MetaResult<Batch> {
        if let LifecycleAction::Abort(upload, Some(since)) = change.action {
            expect_untouched(&self.parts_of(upload, usize::from(PartNumber::MAX))?, since)?;
        }
        Ok(self.on_disk().lifecycle(fence, change)?)
    }
}
