//! PutObject: stream the body into chunks, compare it with what the client declared, commit one
//! row.

use metastore::{
    Bucket, CommitObject, MetaError, MetaResult, ObjectData, ObjectKey, ObjectVersion, Sequence,
    Timestamp, VersionId, VersionOrder, WriteCondition,
};
use s3s::dto::{ChecksumType, PutObjectInput, PutObjectOutput, StreamingBlob};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tracing::warn;

use super::access::Caller;
use super::append::invalid_offset;
use super::bodies::IncomingBody;
use super::body_check::{BodyCheck, Trailer};
use super::checksums::{kind_name, set_checksum};
use super::encryption::etag_of;
use super::form_head::FormFields;
use super::service::S3Gateway;
use super::{conditions, errors, form_answer, headers};
use crate::object_details::ObjectDetails;

impl S3Gateway {
    /// `PUT /bucket/key`. On success the object is durable and current; on failure nothing changed.
    pub(super) async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        headers::refuse_rename_source(&request.headers)?;
        if let Some(form) = request.extensions.get::<FormFields>().cloned() {
            let key = request.input.key.clone();
            let stored = self.put_whole(request, WriteCondition::Always).await?;
            return Ok(form_answer::describe(stored, &form, &key));
        }
        let Some(offset) = request.input.write_offset_bytes else {
            return self.put_whole(request, WriteCondition::Always).await;
        };
        match self.tail(&request, offset).await? {
            Some(tail) => self.append(request, tail).await,
            // There is nothing to append to: the body begins an object, unless another one does.
            None => match self.put_whole(request, WriteCondition::Absent).await {
                Err(error) if *error.code() == S3ErrorCode::PreconditionFailed => {
                    Err(invalid_offset())
                }
                answer => answer,
            },
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "to be cut with the move of what commits share"
    )]
    async fn put_whole(
        &self,
        request: S3Request<PutObjectInput>,
        beside: WriteCondition,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let asked = self.encryption_asked(&request)?;
        let caller = Caller::of(&request);
        let trailer = Trailer::of(&request);
        let input = request.input;
        let key = ObjectKey::parse(input.key).map_err(errors::from_name)?;
        let system_headers = headers::system_headers(&request.headers)?;
        let user_metadata = headers::user_metadata(input.metadata)?;
        let condition =
            conditions::write_condition(input.if_match.as_ref(), input.if_none_match.as_ref());
        let condition = conditions::both(condition, beside);
        let check = BodyCheck::declared_in(&request.headers)?;
        let body_bytes = declared_length(input.content_length)?;
        self.check_size(body_bytes)?;
        let bucket = self.bucket(&input.bucket).await?;
        self.expect_room(&bucket, &key, body_bytes).await?;
        let sealing = self.sealing(&bucket, &asked)?;
        let row = sealing.as_ref().map(|sealing| sealing.row.clone());
        let (owner, attributes) = self
            .new_attributes(&caller, &bucket, &request.headers, row)
            .await?;
        self.expect_condition(&bucket, &key, &condition).await?;

        let sequence = Sequence::generate();
        let body = input
            .body
            .unwrap_or_else(|| StreamingBlob::from_bytes(bytes::Bytes::new()));
        let (body, tally) = check.tally(body, None);
        let details = ObjectDetails {
            bucket: (&bucket.owner, bucket.settings.versioning),
            owner: &owner,
            headers: &system_headers,
            user_metadata: &user_metadata,
            attributes: &attributes,
        };
        let stored = self
            .store_body(
                &bucket,
                &key,
                (sequence, details),
                IncomingBody::new(body, body_bytes, sealing.as_ref()),
            )
            .await?;
        let verified = check.verify(tally.finish(stored.crc64), trailer.as_ref());
        let checked = match verified {
            Ok(checked) => checked,
            Err(mismatch) => {
                self.discard(stored.data).await;
                return Err(mismatch);
            }
        };

        let object = ObjectVersion {
            version: VersionId::Null,
            sequence,
            modified_at: Timestamp::now(),
            size_bytes: body_bytes,
            etag: etag_of(checked.md5, sealing.as_ref()),
            checksum: Some(checked.checksum.clone()),
            headers: system_headers,
            user_metadata,
            owner,
            data: stored.data,
            order: VersionOrder::FIRST,
            attributes,
        };
        let shown = asked.shown(object.attributes.encryption.as_ref());
        let mut output = PutObjectOutput {
            e_tag: Some(headers::to_etag(&object.etag)),
            expiration: self.expiration(&bucket, &key, &object),
            size: input
                .write_offset_bytes
                .and_then(|_| i64::try_from(body_bytes).ok()),
            checksum_type: Some(ChecksumType::from_static(kind_name(checked.checksum.kind))),
            ..PutObjectOutput::default()
        };
        set_checksum!(output, &checked.checksum);
        let replicas_wanted = self.writer.replicas_wanted();
        let commit = CommitObject {
            bucket: bucket.id,
            key,
            object,
            inline_body: stored.inline_body,
            condition,
            replicas_wanted,
        };
        let version = self.commit_new(commit).await?;
        output.version_id = written_version(version);
        Ok(S3Response::with_headers(output, shown))
    }

    /// Refuses a write whose condition does not hold now, before its body is read. The commit checks
    /// it again; this spares the client the upload and the nodes the bytes.
    pub(super) async fn expect_condition(
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

    /// Commits a version with new bytes. Where it is refused for certain, its chunks are given up.
    pub(super) async fn commit_new(&self, commit: CommitObject) -> S3Result<VersionId> {
        let data = commit.object.data.clone();
        match self.try_commit(commit).await {
            Ok(version) => Ok(version),
            Err(error) => {
                if is_refusal(&error) {
                    self.discard(data).await;
                }
                Err(errors::from_metadata(error))
            }
        }
    }

    /// Commits a version. An unknown outcome is read back: the client hears of success only if the
    /// very revision stands there.
    pub(super) async fn try_commit(&self, commit: CommitObject) -> MetaResult<VersionId> {
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

    /// Gives up chunks that were written for a row that will never be.
    pub(super) async fn discard(&self, data: ObjectData) {
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
pub(super) fn written_version(version: VersionId) -> Option<String> {
    (version != VersionId::Null).then(|| version.to_string())
}

/// Whether an error proves that nothing was committed (I10).
pub(super) fn is_refusal(error: &MetaError) -> bool {
    !matches!(
        error,
        MetaError::OutcomeUnknown(_) | MetaError::Unavailable(_) | MetaError::Corrupt { .. }
    )
}

/// The length of a body that must be declared before it is read.
pub(super) fn declared_length(content_length: Option<i64>) -> S3Result<u64> {
    let length = content_length.ok_or_else(|| s3_error!(MissingContentLength))?;
    u64::try_from(length).map_err(|_| s3_error!(InvalidArgument))
}
