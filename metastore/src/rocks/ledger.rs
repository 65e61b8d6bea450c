//! What buckets hold, kept by the thread that writes: it alone sees every commit in its order, so a
//! quota is exact and no commit waits for another's count. Each group of commits writes one row for
//! each bucket that it changed, in the batch and under the sync that it writes anyway.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::batch::Batch;
use super::keys;
use super::read::Store;
use super::tables::USAGE;
use crate::usage::Growth;
use crate::{BucketId, BucketUsage, MetaResult, Quota, Usage};

/// What a batch means for what its bucket holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry {
    /// The bucket is new, and empty.
    Opened(BucketId),
    /// It holds so much more or less.
    Grown(BucketId, Growth),
    /// It may hold so much from now on.
    Limited(BucketId, Quota),
    /// Somebody begins to count it: what grows from now on is not in that count.
    CountBegun(BucketId),
    /// It was counted: so much was in it when that began.
    Counted(BucketId, Usage),
    /// It is gone.
    Closed(BucketId),
}

/// The account of each bucket that was written to.
pub(super) struct Ledger {
    store: Arc<Store>,
    accounts: HashMap<BucketId, Account>,
    /// Those whose rows are to be written.
    changed: BTreeSet<BucketId>,
}

/// What is known of one bucket.
#[derive(Default)]
struct Account {
    /// `None` if it was never counted: a store of an earlier version.
    row: Option<BucketUsage>,
    /// What it grew by since a count began.
    since_count: Growth,
}

impl Ledger {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            accounts: HashMap::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Takes what a batch means into account, if the bucket's quota admits it.
    ///
    /// # Errors
    /// `QuotaExceeded`, and what keeps the account from being read: the batch must not be written.
    pub(super) fn admit(&mut self, batch: &Batch) -> MetaResult<()> {
        let Some(entry) = batch.entry() else {
            return Ok(());
        };
        let bucket = match entry {
            Entry::Closed(bucket) => {
                self.accounts.remove(&bucket);
                self.changed.remove(&bucket);
                return Ok(());
            }
            Entry::Opened(bucket)
            | Entry::Grown(bucket, _)
            | Entry::Limited(bucket, _)
            | Entry::CountBegun(bucket)
            | Entry::Counted(bucket, _) => bucket,
        };
        let account = self.account(bucket)?;
        match entry {
            Entry::Opened(_) => account.row = Some(BucketUsage::default()),
            Entry::Grown(_, growth) => {
                account.since_count += growth;
                if let Some(row) = &mut account.row {
                    let wanted = row.used.after(growth);
                    row.quota.check(row.used, wanted)?;
                    row.used = wanted;
                }
            }
            Entry::Limited(_, quota) => {
                if let Some(row) = &mut account.row {
                    row.quota = quota;
                }
            }
            Entry::CountBegun(_) => account.since_count = Growth::default(),
            Entry::Counted(_, then) => {
                account.row = Some(BucketUsage {
                    used: then.after(account.since_count),
                    quota: Quota::default(),
                });
            }
            Entry::Closed(_) => {}
        }
        if account.row.is_some() {
            self.changed.insert(bucket);
        }
        Ok(())
    }

    /// The rows of all accounts that changed since the last time.
    pub(super) fn rows(&mut self) -> Batch {
        let mut batch = Batch::default();
        for bucket in std::mem::take(&mut self.changed) {
            let account = self.accounts.get(&bucket);
            if let Some(row) = account.and_then(|account| account.row) {
                batch.put(USAGE, keys::id(bucket.0), &row);
            }
        }
        batch
    }

    fn account(&mut self, bucket: BucketId) -> MetaResult<&mut Account> {
        use std::collections::hash_map::Entry as Place;
        Ok(match self.accounts.entry(bucket) {
            Place::Occupied(known) => known.into_mut(),
            Place::Vacant(place) => {
                let row = self.store.on_disk().get(USAGE, &keys::id(bucket.0))?;
                place.insert(Account {
                    row,
                    since_count: Growth::default(),
                })
            }
        })
    }
}
