//! CompleteMultipartUpload: check the client's list of parts against the rows, compute the
//! object's ETag and checksum from theirs, commit.

use std::collections::HashMap;

use md5::{Digest as _, Md5};
use metastore::{
    Bucket, ChecksumAlgorithm, ChecksumKind, CompleteUpload, Completed, MetaError,
    OBJECT_MAX_BYTES, ObjectChecksum, ObjectData, ObjectKey, ObjectVersion, PART_MIN_BYTES, Part,
    PartNumber, Sequence, Timestamp, Upload, UploadId, VersionId, VersionOrder,
};
use s3s::dto::{
    ChecksumType, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::s3::body::check::BodyCheck;
use crate::s3::body::checksums::{self, kind_name, of_parts, parse_kind, set_checksum};
use crate::s3::edge::object_url::{bucket_url, object_url};
use crate::s3::edge::xml_text::xml_text;
use crate::s3::encryption::request::EncryptionRequest;
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;
use crate::s3::object::commit::written_version;
use crate::s3::object::{conditions, headers};

/// Part rows read at a time.
const PARTS_PAGE: usize = 1000;

impl S3Gateway {
    /// `POST /bucket/key?uploadId=`. Asking again for an upload that was completed to the current
    /// object answers as the first time.
    pub(crate) async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let requested = self.requested_encryption(&request)?;
        let declared = BodyCheck::declared_in(&request.headers)?;
        let declared = declared_value(&declared, &request.headers);
        let bucket_url = bucket_url(&request.extensions, &request.headers);
        let input = request.input;
        let location = object_url(&bucket_url, &input.key);
        let key = ObjectKey::parse(input.key.as_str()).map_err(errors::from_name)?;
        let id = UploadId::parse(&input.upload_id).map_err(errors::from_name)?;
        let bucket = self.bucket(&input.bucket).await?;
        let object = match self.metastore.upload(bucket.id, &key, id).await {
            Ok(upload) => {
                // No byte is sealed here, but an object whose key nobody has any longer must not be
                // made.
                let encryption = upload.attributes.encryption.as_ref();
                requested.agree_with(encryption)?;
                self.opening_key(bucket.id, encryption, requested.customer.as_ref())?;
                self.complete(&bucket, &key, &upload, &input, declared)
                    .await?
            }
            Err(MetaError::NoSuchUpload(_)) => self.completed_before(&bucket, &key, id).await?,
            Err(error) => return Err(errors::from_metadata(error)),
        };
        Ok(answer(
            &object,
            &requested,
            self.expiration(&bucket, &key, &object),
            input.bucket,
            input.key,
            location,
        ))
    }

    /// Makes an upload the object that the client lists the parts of.
    async fn complete(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &Upload,
        input: &CompleteMultipartUploadInput,
        declared: Option<(ChecksumAlgorithm, String)>,
    ) -> S3Result<ObjectVersion> {
        let listed = input.multipart_upload.as_ref();
        let listed = listed.and_then(|list| list.parts.as_deref());
        let parts = self
            .chosen_parts(upload.id, listed.unwrap_or_default())
            .await?;
        let asked_kind = input.checksum_type.as_ref().map(parse_kind).transpose()?;
        let object = assemble(upload, &parts, asked_kind)?;
        check_declared(&object, input.mpu_object_size, declared)?;

        let complete = CompleteUpload {
            bucket: bucket.id,
            key: key.clone(),
            upload: upload.id,
            object: object.clone(),
            parts: parts
                .iter()
                .map(|part| (part.number, part.sequence))
                .collect(),
            condition: conditions::write_condition(
                input.if_match.as_ref(),
                input.if_none_match.as_ref(),
            ),
        };
        match self.metastore.complete_upload(complete).await {
            Ok(Completed::Now(version)) => Ok(ObjectVersion { version, ..object }),
            Ok(Completed::Before(_)) => self.completed_before(bucket, key, upload.id).await,
            Err(MetaError::OutcomeUnknown(detail)) => self
                .completed_before(bucket, key, upload.id)
                .await
                .map_err(|_| errors::from_metadata(MetaError::OutcomeUnknown(detail))),
            Err(error) => Err(errors::from_metadata(error)),
        }
    }

    /// The current object, if it is what this upload was completed to.
    async fn completed_before(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
    ) -> S3Result<ObjectVersion> {
        match self.metastore.object(bucket.id, key).await {
            Ok(object) if object.data == ObjectData::Parts(upload) => Ok(object),
            Ok(_) | Err(MetaError::NoSuchKey(_)) => Err(s3_error!(NoSuchUpload)),
            Err(error) => Err(errors::from_metadata(error)),
        }
    }

    /// The rows of the parts that the client lists, checked against what it says of them.
    async fn chosen_parts(
        &self,
        upload: UploadId,
        listed: &[CompletedPart],
    ) -> S3Result<Vec<Part>> {
        let listed = numbered(listed)?;
        let mut rows = self.all_parts(upload).await?;
        let mut chosen = Vec::with_capacity(listed.len());
        for (number, listed) in listed {
            let part = rows.remove(&number).ok_or_else(|| s3_error!(InvalidPart))?;
            let etag = listed.e_tag.as_ref().map(s3s::dto::ETag::value);
            if etag != Some(&part.etag) || !agrees(&part, listed) {
                return Err(s3_error!(InvalidPart));
            }
            chosen.push(part);
        }
        let all_but_last = chosen.split_last().map_or(&[][..], |(_, rest)| rest);
        if all_but_last
            .iter()
            .any(|part| part.size_bytes < PART_MIN_BYTES)
        {
            return Err(s3_error!(EntityTooSmall));
        }
        Ok(chosen)
    }

    async fn all_parts(&self, upload: UploadId) -> S3Result<HashMap<PartNumber, Part>> {
        let mut parts = HashMap::new();
        let mut after = None;
        loop {
            let page = self
                .metastore
                .list_parts(upload, after, PARTS_PAGE)
                .await
                .map_err(errors::from_metadata)?;
            after = page.parts.last().map(|part| part.number);
            parts.extend(page.parts.into_iter().map(|part| (part.number, part)));
            if !page.truncated {
                return Ok(parts);
            }
        }
    }
}

/// The listed parts with their numbers: at least one, in ascending order. Of a part that is listed several
/// times in a row, because it was sent several times, the last mention counts.
fn numbered(listed: &[CompletedPart]) -> S3Result<Vec<(PartNumber, &CompletedPart)>> {
    if listed.is_empty() || listed.len() > usize::from(PartNumber::MAX) {
        return Err(s3_error!(MalformedXML));
    }
    let mut numbered: Vec<(PartNumber, &CompletedPart)> = Vec::with_capacity(listed.len());
    for part in listed {
        let number = PartNumber::parse(i64::from(part.part_number.unwrap_or(0)))
            .map_err(errors::from_name)?;
        match numbered.last_mut() {
            Some(last) if last.0 > number => return Err(s3_error!(InvalidPartOrder)),
            Some(last) if last.0 == number => last.1 = part,
            _ => numbered.push((number, part)),
        }
    }
    Ok(numbered)
}

/// Whether the checksums that the client lists for a part are the part's.
fn agrees(part: &Part, listed: &CompletedPart) -> bool {
    let stored = |algorithm| {
        part.checksum
            .as_ref()
            .filter(|checksum| checksum.algorithm == algorithm)
            .map(|checksum| checksum.value.as_str())
    };
    [
        (ChecksumAlgorithm::Crc32, &listed.checksum_crc32),
        (ChecksumAlgorithm::Crc32c, &listed.checksum_crc32c),
        (ChecksumAlgorithm::Crc64Nvme, &listed.checksum_crc64nvme),
        (ChecksumAlgorithm::Sha1, &listed.checksum_sha1),
        (ChecksumAlgorithm::Sha256, &listed.checksum_sha256),
    ]
    .into_iter()
    .all(|(algorithm, listed)| listed.is_none() || listed.as_deref() == stored(algorithm))
}

/// The object that the parts make up.
fn assemble(
    upload: &Upload,
    parts: &[Part],
    asked_kind: Option<ChecksumKind>,
) -> S3Result<ObjectVersion> {
    let size_bytes: u64 = parts.iter().map(|part| part.size_bytes).sum();
    if size_bytes > OBJECT_MAX_BYTES {
        return Err(s3_error!(EntityTooLarge));
    }
    let (algorithm, kind) = upload
        .checksum
        .unwrap_or((ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject));
    if asked_kind.is_some_and(|requested| requested != kind) {
        return Err(s3_error!(
            InvalidRequest,
            "The upload was created with the checksum type {}.",
            kind_name(kind)
        ));
    }
    let sealed = upload.attributes.encryption.is_some();
    let checksum = match upload.checksum {
        // Parts of sealed uploads may carry checksums of another kind, which do not add up.
        None if sealed && !parts.iter().all(has_crc64) => None,
        _ => {
            let digests = parts
                .iter()
                .map(|part| Ok((digest(part, algorithm, sealed)?, part.size_bytes)))
                .collect::<S3Result<Vec<_>>>()?;
            Some(of_parts(algorithm, kind, &digests))
        }
    };
    Ok(ObjectVersion {
        version: VersionId::Null,
        sequence: Sequence::generate(),
        modified_at: Timestamp::now(),
        size_bytes,
        etag: etag_of(parts)?,
        checksum,
        headers: upload.headers.clone(),
        user_metadata: upload.user_metadata.clone(),
        owner: upload.owner.clone(),
        data: ObjectData::Parts(upload.id),
        order: VersionOrder::FIRST,
        attributes: upload.attributes.clone(),
    })
}

fn has_crc64(part: &Part) -> bool {
    let checksum = part.checksum.as_ref();
    checksum.is_some_and(|checksum| checksum.algorithm == ChecksumAlgorithm::Crc64Nvme)
}

fn digest(part: &Part, algorithm: ChecksumAlgorithm, sealed: bool) -> S3Result<Vec<u8>> {
    // The chunks of a sealed part have checksums of sealed bytes.
    if algorithm == ChecksumAlgorithm::Crc64Nvme && !sealed && !has_crc64(part) {
        return Ok(part.layout.crc64().0.to_be_bytes().to_vec());
    }
    part.checksum
        .as_ref()
        .filter(|checksum| checksum.algorithm == algorithm)
        .and_then(|checksum| checksums::decode(algorithm, &checksum.value))
        .ok_or_else(|| s3_error!(InvalidPart))
}

/// `md5(md5s)-N`.
fn etag_of(parts: &[Part]) -> S3Result<String> {
    let mut md5 = Md5::new();
    for part in parts {
        let digest = hex::decode(&part.etag).map_err(|_| s3_error!(InternalError))?;
        md5.update(digest);
    }
    Ok(format!("{}-{}", hex::encode(md5.finalize()), parts.len()))
}

/// The checksum of the whole object that the request's headers declare, if any.
fn declared_value(
    declared: &BodyCheck,
    headers: &http::HeaderMap,
) -> Option<(ChecksumAlgorithm, String)> {
    let algorithm = declared.algorithm()?;
    let value = headers.get(checksums::header(algorithm))?.to_str().ok()?;
    Some((algorithm, value.to_owned()))
}

fn check_declared(
    object: &ObjectVersion,
    size_bytes: Option<i64>,
    checksum: Option<(ChecksumAlgorithm, String)>,
) -> S3Result<()> {
    if size_bytes.is_some_and(|size| u64::try_from(size) != Ok(object.size_bytes)) {
        return Err(s3_error!(
            InvalidRequest,
            "The provided 'x-amz-mp-object-size' header value does not match the object's size."
        ));
    }
    let Some((algorithm, value)) = checksum else {
        return Ok(());
    };
    let stated = |checksum: &ObjectChecksum| {
        let without_count = checksum.value.split('-').next().unwrap_or_default();
        checksum.algorithm == algorithm && (checksum.value == value || without_count == value)
    };
    if object.checksum.as_ref().is_some_and(stated) {
        return Ok(());
    }
    Err(s3_error!(
        BadDigest,
        "The {} you specified did not match the calculated checksum.",
        checksums::name(algorithm)
    ))
}

fn answer(
    object: &ObjectVersion,
    requested: &EncryptionRequest,
    expiration: Option<String>,
    bucket: String,
    key: String,
    location: String,
) -> S3Response<CompleteMultipartUploadOutput> {
    let mut output = CompleteMultipartUploadOutput {
        bucket: Some(bucket),
        key: Some(xml_text(key)),
        location: Some(location),
        e_tag: Some(headers::to_etag(&object.etag)),
        expiration,
        version_id: written_version(object.version),
        ..CompleteMultipartUploadOutput::default()
    };
    if let Some(checksum) = &object.checksum {
        set_checksum!(output, checksum);
        output.checksum_type = Some(ChecksumType::from_static(kind_name(checksum.kind)));
    }
    S3Response::with_headers(
        output,
        requested.response_headers(object.attributes.encryption.as_ref()),
    )
}
