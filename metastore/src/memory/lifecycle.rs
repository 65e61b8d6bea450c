//! Changes that rules and expiries ask for.

use super::state::State;
use crate::lifecycle::{StandingVersion, expect_untouched};
use crate::{
    JudgedVersion, LifecycleAction, LifecycleChange, MetaResult, StoredVersion, WriteCondition,
};

impl State {
    pub(super) fn apply_lifecycle(&mut self, change: LifecycleChange) -> MetaResult<()> {
        let settings = self.expect_bucket(change.bucket)?.settings;
        change.expect_settings(settings.revision)?;
        let (bucket, key, now) = (change.bucket, &change.key, change.now);
        match &change.action {
            LifecycleAction::Expire(revision) => {
                let unchanged = WriteCondition::Revision(*revision);
                self.delete_object(bucket, key, &unchanged, now).map(drop)
            }
            LifecycleAction::Remove(judged) => {
                self.expect_judged(&change, judged)?;
                let always = WriteCondition::Always;
                self.delete_version(bucket, key, judged.version, &always, now)
                    .map(drop)
            }
            LifecycleAction::Amend(object, seen) => {
                self.amend_object(bucket, key, (**object).clone(), *seen)
            }
            LifecycleAction::Abort(upload, since) => {
                if let Some(since) = since {
                    expect_untouched(&self.parts_of(*upload), *since)?;
                }
                self.abort_upload(bucket, key, *upload, now)
            }
        }
    }

    fn expect_judged(&self, change: &LifecycleChange, judged: &JudgedVersion) -> MetaResult<()> {
        let (bucket, key) = (change.bucket, &change.key);
        let found = self.object_version(bucket, key, judged.version).ok();
        let newest = self.newest_version(bucket, key);
        let is_current = usize::from(newest.as_ref().and_then(StoredVersion::object).is_some());
        judged.expect(&StandingVersion {
            version: found.as_ref(),
            is_latest: newest.is_some_and(|newest| newest.order() == judged.order),
            has_others: is_current + self.behind(bucket, key).take(2).count() > 1,
        })
    }
}
