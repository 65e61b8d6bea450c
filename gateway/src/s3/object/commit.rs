//! What the operations that write objects share: the check before a body is read, the commit of its
//! row, and what becomes of its chunks where there is no commit.

use metastore::{
    Bucket, CommitObject, MetaError, MetaResult, ObjectData, ObjectKey, Sequence, Timestamp,
    VersionId, WriteCondition,
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

    async fn try_commit(&self, commit: CommitObject) -> MetaResult<VersionId> {
        let (bucket, key, sequence) = (commit.bucket, commit.key.clone(), commit.object.sequence);
        let outcome = self.metastore.commit_object(commit).await;
        let standing = async {
            let object = self.metastore.object(bucket, &key).await?;
            Ok((object.sequence, object.version))
        };
        read_back(outcome, sequence, standing).await
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
            warn!(%error, "cannot queue the chunks of a failed write for deletion; reconciliation will find them");
        }
    }
}

/// The outcome of a commit of revision `committed`. An unknown one is read back: the client hears of
/// success only if that very revision is `standing` there.
///
/// # Errors
/// Those of the outcome.
pub(crate) async fn read_back<T>(
    outcome: MetaResult<T>,
    committed: Sequence,
    standing: impl Future<Output = MetaResult<(Sequence, T)>>,
) -> MetaResult<T> {
    let Err(MetaError::OutcomeUnknown(detail)) = outcome else {
        return outcome;
    };
    warn!(detail, "reading back a commit whose outcome is unknown");
    match standing.await {
        Ok((sequence, result)) if sequence == committed => Ok(result),
        _ => Err(MetaError::OutcomeUnknown(detail)),
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

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn an_unknown_outcome_is_a_success_only_where_the_very_revision_stands() {
        let (ours, theirs) = (Sequence::generate(), Sequence::generate());
        let unknown = || Err(MetaError::OutcomeUnknown("lost".into()));
        let stands = |sequence| async move { Ok((sequence, "standing")) };
        let told = |outcome, standing| block_on(read_back(outcome, ours, standing)).ok();
        assert_eq!(told(unknown(), stands(ours)), Some("standing"));
        assert_eq!(told(unknown(), stands(theirs)), None);
        assert_eq!(told(Ok("told"), stands(theirs)), Some("told"));
        assert_eq!(told(Err(MetaError::Conflict), stands(ours)), None);
        let gone = async { Err::<(Sequence, ()), _>(MetaError::PreconditionFailed) };
        let lost = Err(MetaError::OutcomeUnknown("lost".into()));
        let refused = block_on(read_back(lost, ours, gone)).unwrap_err();
        assert!(!is_refusal(&refused), "nothing is deleted on a guess");
    }
}
