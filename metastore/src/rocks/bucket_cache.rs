//! Buckets that were looked up lately: every request asks for one two or three times, and they
//! seldom change.
//!
//! What is here is never older than the database for whoever holds the bucket's lock: the thread
//! that writes forgets all buckets once it has changed one, before it lets go of the locks. A look
//! that was under way meanwhile keeps nothing.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{Bucket, BucketId, BucketName};

/// Buckets remembered; one more, and all are forgotten.
const BUCKETS_MAX: usize = 1024;
/// A bucket with a longer row (policies, lifecycle rules) is not remembered.
const ROW_BYTES_MAX: usize = 32 * 1024;

/// The buckets.
#[derive(Default)]
pub(super) struct BucketCache(RwLock<Known>);

#[derive(Default)]
struct Known {
    /// How often all were forgotten.
    epoch: Epoch,
    named: HashMap<BucketName, Arc<Bucket>>,
    names: HashMap<BucketId, BucketName>,
}

/// Generation of the cache; changes when any bucket does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(u64);

impl BucketCache {
    /// The bucket of that name, if it is remembered.
    pub(super) fn named(&self, name: &BucketName) -> Option<Arc<Bucket>> {
        self.read().named.get(name).cloned()
    }

    /// The name of the bucket with that id, if it is remembered.
    pub(super) fn name_of(&self, id: BucketId) -> Option<BucketName> {
        self.read().names.get(&id).cloned()
    }

    /// Read this before the row passed to [`keep`](Self::keep).
    pub(super) fn epoch(&self) -> Epoch {
        self.read().epoch
    }

    /// Remembers a bucket whose row of `row_bytes` was read in `epoch`, unless that is over.
    pub(super) fn keep(&self, bucket: &Arc<Bucket>, row_bytes: usize, epoch: Epoch) {
        if row_bytes > ROW_BYTES_MAX {
            return;
        }
        let mut known = self.write();
        if known.epoch != epoch {
            return;
        }
        if known.named.len() >= BUCKETS_MAX {
            known.forget();
        }
        known.names.insert(bucket.id, bucket.name.clone());
        known.named.insert(bucket.name.clone(), Arc::clone(bucket));
    }

    /// Forgets all buckets: one has changed in the database.
    pub(super) fn forget(&self) {
        self.write().forget();
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget(&mut self) {
        self.epoch.0 += 1;
        self.named.clear();
        self.names.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BucketSettings, Timestamp};

    fn bucket(name: &str) -> Arc<Bucket> {
        Arc::new(Bucket {
            id: BucketId::generate(),
            name: BucketName::parse(name).unwrap(),
            created_at: Timestamp(1),
            owner: "alice".into(),
            region: String::new(),
            settings: BucketSettings::default(),
        })
    }

    #[test]
    fn a_row_that_was_read_before_a_change_is_not_kept() {
        let (cache, photos) = (BucketCache::default(), bucket("photos"));
        let epoch = cache.epoch();
        cache.forget();
        cache.keep(&photos, 100, epoch);
        assert_eq!(cache.named(&photos.name), None);

        cache.keep(&photos, 100, cache.epoch());
        assert_eq!(cache.named(&photos.name), Some(Arc::clone(&photos)));
        assert_eq!(cache.name_of(photos.id), Some(photos.name.clone()));
    }

    #[test]
    fn many_buckets_and_long_rows_take_bounded_memory() {
        let cache = BucketCache::default();
        for number in 0..=BUCKETS_MAX {
            cache.keep(&bucket(&format!("bucket-{number}")), 100, cache.epoch());
        }
        assert_eq!(cache.read().named.len(), 1);
        let long = bucket("long");
        cache.keep(&long, ROW_BYTES_MAX + 1, cache.epoch());
        assert_eq!(cache.named(&long.name), None);
    }
}
