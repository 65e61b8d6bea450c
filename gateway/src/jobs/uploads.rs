//! Multipart uploads that nobody goes on with: after a while they are aborted, and their parts become
//! garbage.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::JobName;
use metastore::{
    BucketId, LifecycleAction, LifecycleChange, ListEntry, ListedUpload, MetaError, MetaResult,
    Metastore, Timestamp, UploadQuery,
};
use tracing::info;

use super::clock_watch::ClockWatch;
use super::job::{Job, JobError, Round};

/// Uploads read at a time.
const PAGE: usize = 1000;
/// Buckets read at a time: their rows come whole, with all their documents.
const BUCKETS_PAGE: usize = 50;
/// Rest between two looks at all uploads; shorter where they are to live for less.
const PERIOD: Duration = Duration::from_secs(600);

/// Aborts uploads that are too old.
pub struct UploadExpiry {
    metastore: Arc<dyn Metastore>,
    age: Duration,
    clock: Option<ClockWatch>,
}

impl UploadExpiry {
    /// A job that aborts what began longer than `age` ago, and got no part since.
    #[must_use]
    pub fn new(metastore: Arc<dyn Metastore>, age: Duration) -> Self {
        Self {
            metastore,
            age,
            clock: None,
        }
    }

    /// As it is, but nothing expires while `clock` is not believed.
    #[must_use]
    pub fn watching(self, clock: ClockWatch) -> Self {
        let clock = Some(clock);
        Self { clock, ..self }
    }

    /// Goes through the uploads of a bucket. Aborting one that was completed meanwhile does nothing.
    async fn expire(&self, bucket: BucketId, before: Timestamp, round: &Round) -> MetaResult<()> {
        let mut after = None;
        while round.goes_on() {
            let query = UploadQuery {
                bucket,
                prefix: String::new(),
                delimiter: None,
                after,
                limit: PAGE,
            };
            let page = self.metastore.list_uploads(query).await?;
            after = page.entries.last().and_then(place_of);
            for listed in page.entries.into_iter().filter_map(item) {
                if listed.upload.initiated_at < before && round.goes_on() {
                    self.abort(bucket, &listed, before, round).await?;
                }
            }
            if !page.truncated {
                break;
            }
        }
        Ok(())
    }

    async fn abort(
        &self,
        bucket: BucketId,
        listed: &ListedUpload,
        before: Timestamp,
        round: &Round,
    ) -> MetaResult<()> {
        let upload = listed.upload.id;
        let change = LifecycleChange {
            bucket,
            key: listed.key.clone(),
            settings: None,
            action: LifecycleAction::Abort(upload, Some(before)),
            now: round.now(),
        };
        let applied = self.metastore.apply_lifecycle(round.fence(), change).await;
        match round.unless_fenced(applied) {
            Ok(applied) => {
                if applied.is_some() {
                    info!(%upload, key = %listed.key, "a multipart upload expired");
                    round.progress().done(0);
                }
                Ok(())
            }
            // It ended, or somebody goes on with it.
            Err(MetaError::NoSuchUpload(_) | MetaError::NoSuchBucket | MetaError::Conflict) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

fn item(entry: ListEntry<ListedUpload>) -> Option<ListedUpload> {
    match entry {
        ListEntry::Item(listed) => Some(listed),
        ListEntry::CommonPrefix(_) => None,
    }
}

fn place_of(entry: &ListEntry<ListedUpload>) -> Option<(String, Option<metastore::UploadId>)> {
    match entry {
        ListEntry::Item(listed) => Some((listed.key.as_str().to_owned(), Some(listed.upload.id))),
        ListEntry::CommonPrefix(_) => None,
    }
}

#[async_trait]
impl Job for UploadExpiry {
    fn name(&self) -> JobName {
        "uploads".parse().expect("a job's name")
    }

    fn period(&self) -> Duration {
        (self.age / 10).clamp(Duration::from_secs(1), PERIOD)
    }

    async fn round(&self, round: &Round) -> Result<(), JobError> {
        if let Some(clock) = &self.clock
            && !clock.is_believed(round).await?
        {
            return Ok(());
        }
        let before = round.now().before(self.age);
        let mut after: Option<String> = None;
        while round.goes_on() {
            let page = self
                .metastore
                .list_buckets("", after.as_deref(), BUCKETS_PAGE)
                .await?;
            for bucket in &page.buckets {
                let expired = self.expire(bucket.id, before, round).await;
                round.readable(&bucket.name, expired)?;
            }
            after = page
                .buckets
                .last()
                .map(|last| last.name.as_str().to_owned());
            if !page.truncated {
                break;
            }
        }
        Ok(())
    }
}
