//! What keeps a checked precondition true until its commit is durable. Locks are striped: a name
//! hashes to one of a fixed number of locks, so unrelated names sometimes wait for each other and
//! nothing grows. A [`Guard`] is owned: it travels with the commit to the thread that writes, so
//! that a caller who goes away cannot let go of it too early.
//!
//! IMPORTANT: locks are taken in the order lease, bucket name, bucket, token, upload, key, part, and at
//! most one of each kind, or two keys in the order of their stripes; so there is no circle to wait in.
//! Readers of rows take none.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use chunkproto::JobName;

use crate::{BucketId, BucketName, ObjectKey, PartNumber, UploadId};

/// Far more than commits that are under way at the same time, so that few wait without need.
const KEY_STRIPES: usize = 1024;
const BUCKET_STRIPES: usize = 256;
const UPLOAD_STRIPES: usize = 256;
const TOKEN_STRIPES: usize = 256;
/// Buckets are seldom made and deleted.
const NAME_STRIPES: usize = 16;
/// There are few jobs.
const LEASE_STRIPES: usize = 16;

/// All locks of a store.
pub(super) struct Locks {
    leases: Striped,
    names: Striped,
    buckets: Striped,
    tokens: Striped,
    uploads: Striped,
    keys: Striped,
    parts: Striped,
    users: Arc<RwLock<()>>,
    counting: Arc<RwLock<()>>,
}

/// A lock that is held until this is dropped, wherever that happens.
#[expect(dead_code, reason = "a guard is held, not looked into")]
pub(super) enum Guard {
    /// Held together with other shared guards.
    Shared(OwnedRwLockReadGuard<()>),
    /// Held alone.
    Exclusive(OwnedRwLockWriteGuard<()>),
}

impl Locks {
    pub(super) fn new() -> Self {
        Self {
            leases: Striped::new(LEASE_STRIPES),
            names: Striped::new(NAME_STRIPES),
            buckets: Striped::new(BUCKET_STRIPES),
            tokens: Striped::new(TOKEN_STRIPES),
            uploads: Striped::new(UPLOAD_STRIPES),
            keys: Striped::new(KEY_STRIPES),
            parts: Striped::new(KEY_STRIPES),
            users: Arc::default(),
            counting: Arc::default(),
        }
    }

    /// Held to change what a job changes: its lease stays with its holder while this is held.
    pub(super) async fn lease_stays(&self, job: &JobName) -> Guard {
        self.leases.shared(job).await
    }

    /// Held to grant, renew or end a job's lease.
    pub(super) async fn lease_changes(&self, job: &JobName) -> Guard {
        self.leases.exclusive(job).await
    }

    /// Held to create or delete the bucket of that name.
    pub(super) async fn name(&self, name: &BucketName) -> Guard {
        self.names.exclusive(name).await
    }

    /// Held to write into a bucket: it stays while this is held.
    pub(super) async fn bucket_stays(&self, bucket: BucketId) -> Guard {
        self.buckets.shared(&bucket).await
    }

    /// Held to delete a bucket: nothing enters it while this is held.
    pub(super) async fn bucket_ends(&self, bucket: BucketId) -> Guard {
        self.buckets.exclusive(&bucket).await
    }

    /// Held to write a part: the upload stays under way while this is held.
    pub(super) async fn upload_stays(&self, upload: UploadId) -> Guard {
        self.uploads.shared(&upload).await
    }

    /// Held to end an upload or to take its parts away: no part is written while this is held.
    pub(super) async fn upload_ends(&self, upload: UploadId) -> Guard {
        self.uploads.exclusive(&upload).await
    }

    /// Held to change the current version of a key.
    pub(super) async fn key(&self, bucket: BucketId, key: &ObjectKey) -> Guard {
        self.keys.exclusive(&(bucket, key)).await
    }

    /// Held to change the current versions of two keys.
    pub(super) async fn two_keys(&self, bucket: BucketId, keys: [&ObjectKey; 2]) -> Vec<Guard> {
        self.keys.both(keys.map(|key| (bucket, key))).await
    }

    /// Held to carry out what a client's token stands for.
    pub(super) async fn token(&self, bucket: BucketId, token: &str) -> Guard {
        self.tokens.exclusive(&(bucket, token)).await
    }

    /// Held to change users: their names must stay unique.
    pub(super) async fn users(&self) -> Guard {
        Guard::Exclusive(Arc::clone(&self.users).write_owned().await)
    }

    /// Held to count a bucket, one at a time; taken before all others.
    pub(super) async fn counting(&self) -> Guard {
        Guard::Exclusive(Arc::clone(&self.counting).write_owned().await)
    }

    /// Held to replace a part.
    pub(super) async fn part(&self, upload: UploadId, number: PartNumber) -> Guard {
        self.parts.exclusive(&(upload, number)).await
    }
}

/// A fixed number of locks, shared by all names. Each serves its waiters in the order they came,
/// so neither writers nor readers starve.
struct Striped {
    hasher: RandomState,
    stripes: Vec<Arc<RwLock<()>>>,
}

impl Striped {
    fn new(count: usize) -> Self {
        let stripes = std::iter::repeat_with(Arc::default).take(count).collect();
        Self {
            hasher: RandomState::new(),
            stripes,
        }
    }

    async fn shared(&self, name: &impl Hash) -> Guard {
        Guard::Shared(self.of(name).read_owned().await)
    }

    async fn exclusive(&self, name: &impl Hash) -> Guard {
        Guard::Exclusive(self.of(name).write_owned().await)
    }

    /// The locks of two names, each once.
    async fn both(&self, names: [impl Hash; 2]) -> Vec<Guard> {
        let mut stripes = names.map(|name| self.stripe(&name));
        // IMPORTANT: whoever takes two takes them in this order.
        stripes.sort_unstable();
        let [first, second] = stripes;
        let mut guards = vec![self.at(first).await];
        if first != second {
            guards.push(self.at(second).await);
        }
        guards
    }

    async fn at(&self, stripe: usize) -> Guard {
        Guard::Exclusive(Arc::clone(&self.stripes[stripe]).write_owned().await)
    }

    fn of(&self, name: &impl Hash) -> Arc<RwLock<()>> {
        Arc::clone(&self.stripes[self.stripe(name)])
    }

    fn stripe(&self, name: &impl Hash) -> usize {
        let index = self.hasher.hash_one(name) % self.stripes.len() as u64;
        usize::try_from(index).expect("less than the number of stripes")
    }
}
