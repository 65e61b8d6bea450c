//! What the operations that write objects share: the check before a body is read, the commit of its
//! row, and what becomes of its chunks where there is no commit.

use metastore::{
    Bucket, CommitObject, MetaError, MetaResult, ObjectData, ObjectKey, Timestamp, VersionId,
    WriteCondition,
};
use s3s::{S3Result, s3_error};
use tracing::warn;

use crate::s3::errors;
use crate::s3::gateway::S3Gateway;

impl S3Gateway {
    /// Refuses a write whose condition does not hold now, before its body is read. The commit checks
    /// it again; this spares the client the upload and the nodes the bytes.
    pub(crate) async fn expect_condition(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        condition: &WriteCondition,
    ) -> S3Result<()> {
        if *condition == WriteCondition::Always {
            return Ok(());
        }
        let current = match self.metastore.object(bucket.id, key).await {
            Ok(current) => Some(current),
            Err(MetaError::NoSuchKey(_)) => None,
            Err(error) => return Err(errors::from_metadata(error)),
        };
        condition
            .check(key, current.as_ref())
            .map_err(errors::from_metadata)
    }

    /// Commits a version with new bytes; if the commit is rejected for certain, its chunks are queued
    /// for garbage collection.
    pub(crate) async fn commit_new(&self, commit: CommitObject) -> S3Result<VersionId> {
        let data = commit.object.data.clone();
        match self.try_commit(commit).await {
            Ok(version) => Ok(version),
            Err(error) => {
                if is_refusal(&error) {
                    self.abandon_chunks(data).await;
                }
                Err(errors::from_metadata(error))
            }
        }
    }

    /// Commits a version. An unknown outcome is read back: the client hears of success only if the
    /// very revision stands there.
    async fn try_commit(&self, commit: CommitObject) -> MetaResult<VersionId> {
        let (bucket, key, sequence) = (commit.bucket, commit.key.clone(), commit.object.sequence);
        match self.metastore.commit_object(commit).await {
            Err(MetaError::OutcomeUnknown(detail)) => {
                warn!(%key, detail, "reading back a commit whose outcome is unknown");
                match self.metastore.object(bucket, &key).await {
                    Ok(current) if current.sequence == sequence => Ok(current.version),
                    _ => Err(MetaError::OutcomeUnknown(detail)),
                }
            }
            outcome => outcome,
        }
    }

    /// Queues chunks for garbage collection whose row will never be committed.
    pub(crate) async fn abandon_chunks(&self, data: ObjectData) {
        let ObjectData::Chunks(layout) = data else {
            return;
        };
        if layout.chunks.is_empty() {
            return;
        }
        if let Err(error) = self
            .metastore
            .queue_garbage(layout.chunks, Timestamp::now())
            .await
        {
            warn!(%error, "chunks of a failed write stay behind");
        }
    }
}

/// The id of a version just written, as answers show it: the `null` version is not named.
pub(crate) fn written_version(version: VersionId) -> Option<String> {
    (version != VersionId::Null).then(|| version.to_string())
}

/// Whether an error proves that nothing was committed (I10).
pub(crate) fn is_refusal(error: &MetaError) -> bool {
    !matches!(
        error,
        MetaError::OutcomeUnknown(_) | MetaError::Unavailable(_) | MetaError::Corrupt { .. }
    )
}

/// The length of a body that must be declared before it is read.
pub(crate) fn declared_length(content_length: Option<i64>) -> S3Result<u64> {
    let length = content_length.ok_or_else(|| s3_error!(MissingContentLength))?;
    u64::try_from(length).map_err(|_| s3_error!(InvalidArgument))
}
