//! What keeps a checked precondition true until its commit is durable. Locks are striped: a name
//! hashes to one of a fixed number of locks, so unrelated names sometimes wait for each other and
//! nothing grows. Held by blocking threads only, across the synced write.
//!
//! IMPORTANT: locks are taken in the order bucket name, bucket, upload, key, part, and at most one
//! of each kind; so there is no circle to wait in. Readers of rows take none.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{BucketId, BucketName, ObjectKey, PartNumber, UploadId};

/// Far more than threads that commit at the same time, so that few wait without need.
const KEY_STRIPES: usize = 1024;
const BUCKET_STRIPES: usize = 256;
const UPLOAD_STRIPES: usize = 256;
/// Buckets are seldom made and deleted.
const NAME_STRIPES: usize = 16;

/// All locks of a store.
pub(super) struct Locks {
    names: Striped<Mutex<()>>,
    buckets: Striped<RwLock<()>>,
    uploads: Striped<RwLock<()>>,
    keys: Striped<Mutex<()>>,
    parts: Striped<Mutex<()>>,
}

impl Locks {
    pub(super) fn new() -> Self {
        Self {
            names: Striped::new(NAME_STRIPES),
            buckets: Striped::new(BUCKET_STRIPES),
            uploads: Striped::new(UPLOAD_STRIPES),
            keys: Striped::new(KEY_STRIPES),
            parts: Striped::new(KEY_STRIPES),
        }
    }

    /// Held to create or delete the bucket of that name.
    pub(super) fn name(&self, name: &BucketName) -> MutexGuard<'_, ()> {
        // The locks guard no data, so a panic under one leaves nothing half done.
        self.names
            .of(name)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Held to write into a bucket: it stays while this is held.
    pub(super) fn bucket_stays(&self, bucket: BucketId) -> RwLockReadGuard<'_, ()> {
        self.buckets
            .of(&bucket)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Held to delete a bucket: nothing enters it while this is held.
    pub(super) fn bucket_ends(&self, bucket: BucketId) -> RwLockWriteGuard<'_, ()> {
        self.buckets
            .of(&bucket)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Held to write a part: the upload stays under way while this is held.
    pub(super) fn upload_stays(&self, upload: UploadId) -> RwLockReadGuard<'_, ()> {
        self.uploads
            .of(&upload)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Held to end an upload or to take its parts away: no part is written while this is held.
    pub(super) fn upload_ends(&self, upload: UploadId) -> RwLockWriteGuard<'_, ()> {
        self.uploads
            .of(&upload)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Held to change the current version of a key.
    pub(super) fn key(&self, bucket: BucketId, key: &ObjectKey) -> MutexGuard<'_, ()> {
        self.keys
            .of(&(bucket, key))
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Held to replace a part.
    pub(super) fn part(&self, upload: UploadId, number: PartNumber) -> MutexGuard<'_, ()> {
        self.parts
            .of(&(upload, number))
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fixed number of locks, shared by all names.
struct Striped<L> {
    hasher: RandomState,
    stripes: Vec<L>,
}

impl<L: Default> Striped<L> {
    fn new(count: usize) -> Self {
        let stripes = std::iter::repeat_with(L::default).take(count).collect();
        Self {
            hasher: RandomState::new(),
            stripes,
        }
    }

    fn of(&self, name: &impl Hash) -> &L {
        let index = self.hasher.hash_one(name) % self.stripes.len() as u64;
        &self.stripes[usize::try_from(index).expect("less than the number of stripes")]
    }
}
