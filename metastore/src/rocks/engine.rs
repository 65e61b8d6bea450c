//! What the operations are made of: look under locks, then commit with them. Owns the one way off
//! the async runtime, [`Engine::blocking`].
//!
//! A write takes its locks, looks at the rows it depends on, and hands its batch and the locks to
//! the committer. Where memory holds those rows, none of this needs another thread but the
//! committer's.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::batch::Batch;
use super::committer::{Committer, Refused};
use super::ledger::Ledger;
use super::locks::{Guard, Locks};
use super::read::{Looked, Reader, Store, Unseen};
use super::tables::Table;
use crate::{MetaError, MetaResult};

/// Pages of listings that are read at a time: more threads than processors only take turns.
const PAGES_AT_ONCE_MAX: usize = 4;

/// An open store with all that writing to it takes.
pub(super) struct Engine {
    pub(super) locks: Locks,
    // IMPORTANT: before the store. Dropping the committer ends its thread, which has the store
    // open; so the database is closed, and the directory free, once this struct is dropped.
    committer: Committer,
    store: Arc<Store>,
    /// One permit for each page that may be read at a time.
    pages: Semaphore,
}

impl Engine {
    /// # Errors
    /// If the committer's thread cannot be started.
    pub(super) fn start(store: Store) -> std::io::Result<Self> {
        let store = Arc::new(store);
        let mut ledger = Ledger::new(Arc::clone(&store));
        let written = Arc::clone(&store);
        let write = move |batches: &[Batch]| {
            write_admitted(&written, &mut ledger, batches).map_err(rocksdb::Error::into_string)
        };
        Ok(Self {
            locks: Locks::new(),
            committer: Committer::start(write)?,
            store,
            pages: Semaphore::new(PAGES_AT_ONCE_MAX),
        })
    }

    /// The open store, for those who read it in other ways than by rows.
    pub(super) fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// What `look` sees: at once if memory holds all of it, else once more, from its beginning, on
    /// a thread that may wait for the disk. Only reads, so it does not matter if the caller goes
    /// away in the middle.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl Fn(&Reader<'_>) -> Looked<T> + Send + 'static,
    ) -> MetaResult<T> {
        match look(&self.store.in_memory()) {
            Ok(seen) => Ok(seen),
            Err(Unseen::Failed(error)) => Err(error),
            Err(Unseen::OnDisk) => {
                self.blocking(move |store| Ok(look(&store.on_disk())?))
                    .await
            }
        }
    }

    /// The row under `key`.
    pub(super) async fn get<R: DeserializeOwned + Send + 'static>(
        &self,
        table: Table<R>,
        key: Vec<u8>,
    ) -> MetaResult<Option<R>> {
        self.look(move |reader| reader.get(table, &key)).await
    }

    /// Does `work`, which only reads, on a thread that may wait. It runs to its end even if the
    /// caller goes away.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> MetaResult<T> + Send + 'static,
    ) -> MetaResult<T> {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(MetaError::Unavailable(
                    "the runtime is shutting down".into(),
                )),
            },
        }
    }

    /// As [`blocking`](Self::blocking), for pages of a listing: a thousand rows each, on as few threads
    /// as keep the processors busy. Others wait.
    pub(super) async fn page<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> MetaResult<T> + Send + 'static,
    ) -> MetaResult<T> {
        // Nobody closes it.
        let _permit = self.pages.acquire().await.ok();
        self.blocking(work).await
    }

    /// Makes a batch durable that was checked under the locks `held`. See [`Committer::commit`].
    ///
    /// # Errors
    /// `OutcomeUnknown` for a write that failed, `Unavailable` for every later one.
    pub(super) async fn commit(&self, batch: Batch, held: Vec<Guard>) -> MetaResult<()> {
        self.committer.commit(batch, held).await
    }
}

/// Writes those of a group's batches that the ledger admits, with the ledger's own rows.
fn write_admitted(
    store: &Store,
    ledger: &mut Ledger,
    batches: &[Batch],
) -> Result<Refused, rocksdb::Error> {
    let mut refused = Refused::new();
    for (at, batch) in batches.iter().enumerate() {
        if let Err(refusal) = ledger.admit(batch) {
            refused.insert(at, refusal);
        }
    }
    let rows = ledger.rows();
    let admitted = batches
        .iter()
        .enumerate()
        .filter(|(at, _)| !refused.contains_key(at))
        .map(|(_, batch)| batch)
        .chain([&rows])
        .filter(|batch| !batch.is_empty());
    if admitted.clone().next().is_some() {
        store.write(admitted)?;
    }
    Ok(refused)
}
