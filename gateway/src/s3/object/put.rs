//! PutObject: stream the body into chunks, compare it with what the client declared, commit one
//! row.

use metastore::{
    Bucket, CommitObject, ObjectAttributes, ObjectKey, ObjectVersion, Sequence, SystemHeaders,
    Timestamp, VersionId, VersionOrder, WriteCondition,
};
use s3s::dto::{ChecksumType, PutObjectInput, PutObjectOutput, StreamingBlob};
use s3s::{S3Request, S3Response, S3Result};

use super::commit::{declared_length, written_version};
use super::{conditions, headers};
use crate::object_details::ObjectDetails;
use crate::s3::access::Caller;
use crate::s3::body::check::{BodyCheck, CheckedBody, Trailer};
use crate::s3::body::checksums::{kind_name, set_checksum};
use crate::s3::body::store::{IncomingBody, StoredBody};
use crate::s3::encryption::keys::{Sealing, etag_of};
use crate::s3::encryption::request::EncryptionRequest;
use crate::s3::errors;
use crate::s3::form;
use crate::s3::form::head::FormFields;
use crate::s3::gateway::S3Gateway;

/// An object to be, as its request describes it.
struct NewObject {
    bucket: Bucket,
    key: ObjectKey,
    condition: WriteCondition,
    headers: SystemHeaders,
    user_metadata: Vec<(String, String)>,
    owner: String,
    attributes: ObjectAttributes,
    sealing: Option<Sealing>,
    body_bytes: u64,
    check: BodyCheck,
}

impl NewObject {
    /// What its chunks say of it.
    fn details(&self) -> ObjectDetails<'_> {
        ObjectDetails {
            bucket: (&self.bucket.owner, self.bucket.settings.versioning),
            owner: &self.owner,
            headers: &self.headers,
            user_metadata: &self.user_metadata,
            attributes: &self.attributes,
        }
    }
}

impl S3Gateway {
    /// `PUT /bucket/key`. On success the object is durable and current; on failure nothing changed.
    pub(crate) async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        headers::refuse_rename_source(&request.headers)?;
        if let Some(form) = request.extensions.get::<FormFields>().cloned() {
            return self.put_form(request, &form).await;
        }
        match request.input.write_offset_bytes {
            Some(offset) => self.append_or_create(request, offset).await,
            None => self.put_whole(request, WriteCondition::Always).await,
        }
    }

    /// Puts the file of an HTML form, and answers as forms are answered.
    async fn put_form(
        &self,
        request: S3Request<PutObjectInput>,
        form: &FormFields,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let key = request.input.key.clone();
        let stored = self.put_whole(request, WriteCondition::Always).await?;
        Ok(form::answer::describe(stored, form, &key))
    }

    /// Puts a whole object where the request's conditions and `beside` hold.
    pub(super) async fn put_whole(
        &self,
        request: S3Request<PutObjectInput>,
        beside: WriteCondition,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let encryption = self.requested_encryption(&request)?;
        let new = self.new_object(&request, &encryption, beside).await?;
        let trailer = Trailer::of(&request);
        let input = request.input;
        let sequence = Sequence::generate();
        let (stored, checked) = self
            .store_checked(&new, sequence, input.body, trailer.as_ref())
            .await?;

        let object = ObjectVersion {
            version: VersionId::Null,
            sequence,
            modified_at: Timestamp::now(),
            size_bytes: new.body_bytes,
            etag: etag_of(checked.md5, new.sealing.as_ref()),
            checksum: Some(checked.checksum.clone()),
            headers: new.headers,
            user_metadata: new.user_metadata,
            owner: new.owner,
            data: stored.data,
            order: VersionOrder::FIRST,
            attributes: new.attributes,
        };
        let shown = encryption.response_headers(object.attributes.encryption.as_ref());
        let mut output = PutObjectOutput {
            e_tag: Some(headers::to_etag(&object.etag)),
            expiration: self.expiration(&new.bucket, &new.key, &object),
            size: input
                .write_offset_bytes
                .and_then(|_| i64::try_from(new.body_bytes).ok()),
            checksum_type: Some(ChecksumType::from_static(kind_name(checked.checksum.kind))),
            ..PutObjectOutput::default()
        };
        set_checksum!(output, &checked.checksum);
        let commit = CommitObject {
            bucket: new.bucket.id,
            key: new.key,
            object,
            inline_body: stored.inline_body,
            condition: new.condition,
            replicas_wanted: self.writer.replicas_wanted(),
        };
        let version = self.commit_new(commit).await?;
        output.version_id = written_version(version);
        Ok(S3Response::with_headers(output, shown))
    }

    /// Checks all that can be checked before the body is read.
    async fn new_object(
        &self,
        request: &S3Request<PutObjectInput>,
        encryption: &EncryptionRequest,
        beside: WriteCondition,
    ) -> S3Result<NewObject> {
        let input = &request.input;
        let key = ObjectKey::parse(input.key.as_str()).map_err(errors::from_name)?;
        let system_headers = headers::system_headers(&request.headers)?;
        let user_metadata = headers::user_metadata(input.metadata.clone())?;
        let condition =
            conditions::write_condition(input.if_match.as_ref(), input.if_none_match.as_ref());
        let condition = conditions::both(condition, beside);
        let check = BodyCheck::declared_in(&request.headers)?;
        let body_bytes = declared_length(input.content_length)?;
        self.check_size(body_bytes)?;
        let bucket = self.bucket(&input.bucket).await?;
        self.expect_room(&bucket, &key, body_bytes).await?;
        let sealing = self.sealing(&bucket, encryption)?;
        let row = sealing.as_ref().map(|sealing| sealing.row.clone());
        let (owner, attributes) = self
            .new_attributes(&Caller::of(request), &bucket, &request.headers, row)
            .await?;
        self.expect_condition(&bucket, &key, &condition).await?;
        Ok(NewObject {
            bucket,
            key,
            condition,
            headers: system_headers,
            user_metadata,
            owner,
            attributes,
            sealing,
            body_bytes,
            check,
        })
    }

    /// Reads the body to its end, stores it, and compares it with what the client declared. If
    /// it is another one, its chunks are queued for garbage collection.
    async fn store_checked(
        &self,
        new: &NewObject,
        sequence: Sequence,
        body: Option<StreamingBlob>,
        trailer: Option<&Trailer>,
    ) -> S3Result<(StoredBody, CheckedBody)> {
        let body = body.unwrap_or_else(|| StreamingBlob::from_bytes(bytes::Bytes::new()));
        let (body, tally) = new.check.tally(body, None);
        let stored = self
            .store_body(
                &new.bucket,
                &new.key,
                (sequence, new.details()),
                IncomingBody::new(body, new.body_bytes, new.sealing.as_ref()),
            )
            .await?;
        match new.check.verify(tally.finish(stored.crc64), trailer) {
            Ok(checked) => Ok((stored, checked)),
            Err(mismatch) => {
                self.abandon_chunks(stored.data).await;
                Err(mismatch)
            }
        }
    }
}
