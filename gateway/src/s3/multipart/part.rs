//! UploadPart and UploadPartCopy: a part is a body of its own, committed as a row of its own.

use metastore::{
    Bucket, ChecksumAlgorithm, ObjectData, ObjectKey, Part, PartNumber, Sequence, Timestamp,
    Upload, UploadId,
};
use s3s::dto::{
    CopyPartResult, StreamingBlob, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::chunks::{BodyKind, BodyOwner};
use crate::object_details::ObjectDetails;
use crate::s3::access::{Caller, RequestFacts};
use crate::s3::body::check::{BodyCheck, Trailer};
use crate::s3::body::checksums::{name, set_checksum};
use crate::s3::body::store::IncomingBody;
use crate::s3::encryption::keys::{Sealing, etag_of};
use crate::s3::encryption::request::EncryptionRequest;
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;
use crate::s3::object::commit::{declared_length, is_refusal, read_back};
use crate::s3::object::conditions::ReadConditions;
use crate::s3::object::copy_source::{CopiedObject, CopyFrom};
use crate::s3::object::headers;
use crate::s3::object::range::{Selection, copy_source_range};

/// Where a part goes.
struct Target {
    bucket: Bucket,
    key: ObjectKey,
    upload: Upload,
    number: PartNumber,
    /// How its bytes are sealed.
    sealing: Option<Sealing>,
}

impl Target {
    /// What the part's chunks say of the object to come.
    fn details(&self) -> ObjectDetails<'_> {
        ObjectDetails {
            bucket: (&self.bucket.owner, self.bucket.settings.versioning),
            owner: &self.upload.owner,
            headers: &self.upload.headers,
            user_metadata: &self.upload.user_metadata,
            attributes: &self.upload.attributes,
        }
    }
}

/// A part's bytes on their way in.
struct PartBody {
    body: StreamingBlob,
    body_bytes: u64,
    check: BodyCheck,
    trailer: Option<Trailer>,
}

impl S3Gateway {
    /// `PUT /bucket/key?partNumber=&uploadId=`.
    pub(crate) async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let requested = self.requested_encryption(&request)?;
        let trailer = Trailer::of(&request);
        let input = request.input;
        let check = BodyCheck::declared_in(&request.headers)?;
        let body_bytes = declared_length(input.content_length)?;
        self.check_size(body_bytes)?;
        let target = self
            .target(
                &input.bucket,
                input.key,
                &input.upload_id,
                input.part_number,
                &requested,
            )
            .await?;
        refuse_other_algorithm(&target.upload, check.algorithm())?;

        let body = input
            .body
            .unwrap_or_else(|| StreamingBlob::from_bytes(bytes::Bytes::new()));
        let body = PartBody {
            body,
            body_bytes,
            check,
            trailer,
        };
        let part = self.write_part(&target, body).await?;
        let mut output = UploadPartOutput {
            e_tag: Some(headers::to_etag(&part.etag)),
            ..UploadPartOutput::default()
        };
        if let Some(checksum) = &part.checksum {
            set_checksum!(output, checksum);
        }
        let shown = requested.response_headers(target.upload.attributes.encryption.as_ref());
        Ok(S3Response::with_headers(output, shown))
    }

    /// `PUT /bucket/key?partNumber=&uploadId=` with `x-amz-copy-source`.
    pub(crate) async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let requested_encryption = self.requested_encryption(&request)?;
        let caller = Caller::of(&request);
        let request_facts = RequestFacts::of(&request);
        let input = request.input.clone();
        let target = self
            .target(
                &input.bucket,
                input.key,
                &input.upload_id,
                input.part_number,
                &requested_encryption,
            )
            .await?;
        let source = CopyFrom {
            source: &input.copy_source,
            customer: requested_encryption.source_customer.as_ref(),
        };
        let CopiedObject {
            object: source,
            key: source_key,
            shown_version: source_version,
        } = self.copy_source(&caller, source, request_facts).await?;
        ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        }
        .check_copy_source(&source)?;
        let range = match &input.copy_source_range {
            Some(text) => copy_source_range(text, source.size_bytes)?,
            None => Selection::whole(source.size_bytes).range,
        };
        let body_bytes = range.length_bytes();
        self.check_size(body_bytes)?;

        let body = self.copy_body(&source, source_key.as_ref(), range).await?;
        let check = BodyCheck::default();
        let body = PartBody {
            body,
            body_bytes,
            check,
            trailer: None,
        };
        let part = self.write_part(&target, body).await?;
        let mut result = CopyPartResult {
            e_tag: Some(headers::to_etag(&part.etag)),
            last_modified: Some(headers::to_precise_timestamp(part.modified_at)),
            ..CopyPartResult::default()
        };
        if let Some(checksum) = &part.checksum {
            set_checksum!(result, checksum);
        }
        let output = UploadPartCopyOutput {
            copy_part_result: Some(result),
            copy_source_version_id: source_version,
            ..UploadPartCopyOutput::default()
        };
        let shown =
            requested_encryption.response_headers(target.upload.attributes.encryption.as_ref());
        Ok(S3Response::with_headers(output, shown))
    }

    async fn target(
        &self,
        bucket: &str,
        key: String,
        upload: &str,
        number: i32,
        requested: &EncryptionRequest,
    ) -> S3Result<Target> {
        let number = PartNumber::parse(i64::from(number)).map_err(errors::from_name)?;
        let key = ObjectKey::parse(key).map_err(errors::from_name)?;
        let id = UploadId::parse(upload).map_err(errors::from_name)?;
        let bucket = self.bucket(bucket).await?;
        let upload = self
            .metastore
            .upload(bucket.id, &key, id)
            .await
            .map_err(errors::from_metadata)?;
        let encryption = upload.attributes.encryption.as_ref();
        requested.agree_with(encryption)?;
        let data_key = self.opening_key(bucket.id, encryption, requested.customer.as_ref())?;
        let sealing = encryption.cloned().zip(data_key);
        Ok(Target {
            bucket,
            key,
            number,
            sealing: sealing.map(|(row, key)| Sealing { row, key }),
            upload,
        })
    }

    async fn write_part(&self, target: &Target, body: PartBody) -> S3Result<Part> {
        let sequence = Sequence::generate();
        let owner = BodyOwner {
            kind: BodyKind::Object,
            bucket_id: target.bucket.id.0,
            bucket: target.bucket.name.as_str().to_owned(),
            key: target.key.as_str().to_owned(),
            sequence: sequence.0,
            part: Some((target.upload.id.0, target.number.get())),
            details: target.details().encode(),
        };
        self.expect_room(&target.bucket, &target.key, body.body_bytes)
            .await?;
        let algorithm = target.upload.checksum.map(|(algorithm, _)| algorithm);
        let (stream, tally) = body.check.tally(body.body, algorithm);
        let incoming = IncomingBody::new(stream, body.body_bytes, target.sealing.as_ref());
        let (stream, stored_bytes, plain_crc) =
            incoming.stored(|key| key.of_part(target.number.get(), sequence.0));
        let written = self
            .writer
            .write(owner, stored_bytes, stream)
            .await
            .map_err(errors::from_write)?;
        let crc64 = plain_crc.map_or(Some(written.crc64), |crc| crc.get());
        let crc64 = crc64.ok_or_else(|| s3_error!(IncompleteBody))?;
        let verified = body
            .check
            .verify(tally.finish(crc64), body.trailer.as_ref());
        let checked = match verified {
            Ok(checked) => checked,
            Err(mismatch) => {
                self.abandon_chunks(ObjectData::Chunks(written.layout))
                    .await;
                return Err(mismatch);
            }
        };
        let part = Part {
            number: target.number,
            sequence,
            modified_at: Timestamp::now(),
            size_bytes: body.body_bytes,
            etag: etag_of(checked.md5, target.sealing.as_ref()),
            checksum: Some(checked.checksum),
            layout: written.layout,
        };
        self.commit_part(target, part.clone()).await?;
        Ok(part)
    }

    /// Commits a part; if the commit is rejected for certain, its chunks are queued for garbage
    /// collection.
    async fn commit_part(&self, target: &Target, part: Part) -> S3Result<()> {
        let (upload, number, sequence) = (target.upload.id, part.number, part.sequence);
        let data = ObjectData::Chunks(part.layout.clone());
        let replicas_wanted = self.writer.replicas_wanted();
        let outcome = self
            .metastore
            .put_part(target.bucket.id, &target.key, upload, part, replicas_wanted)
            .await;
        let standing = async {
            let part = self.metastore.part(upload, number).await?;
            Ok((part.sequence, ()))
        };
        let outcome = read_back(outcome, sequence, standing).await;
        if let Err(error) = &outcome
            && is_refusal(error)
        {
            self.abandon_chunks(data).await;
        }
        outcome.map_err(errors::from_metadata)
    }
}

fn refuse_other_algorithm(upload: &Upload, declared: Option<ChecksumAlgorithm>) -> S3Result<()> {
    match (upload.checksum, declared) {
        (Some((expected, _)), Some(declared)) if expected != declared => Err(s3_error!(
            InvalidRequest,
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            name(expected).to_ascii_lowercase(),
            name(declared).to_ascii_lowercase()
        )),
        _ => Ok(()),
    }
}
