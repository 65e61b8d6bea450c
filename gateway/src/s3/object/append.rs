//! PutObject with `x-amz-write-offset-bytes`: puts the body behind an object's last byte. Built for any
//! bucket that keeps no versions, while AWS has it for directory buckets alone
//! (`docs/adr/0023-renames-and-appends.md`). Source: S3 user guide, "Appending data to objects in
//! directory buckets", and the errors of PutObject in the API reference.

use bytes::Bytes;
use chunkproto::Crc64;
use futures::{StreamExt as _, stream};
use metastore::{
    AppendObject, BodyId, Bucket, ChunkLayout, MetaError, MetaResult, OBJECT_MAX_BYTES, ObjectData,
    ObjectKey, ObjectVersion, Part, PartNumber, Sequence, Timestamp, UploadId, Versioning,
    WriteCondition, next_number,
};
use s3s::dto::{ChecksumType, PutObjectInput, PutObjectOutput, StreamingBlob};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::append_row::{
    algorithm_of, checksum_after_append, etag_after_append, refuse_description,
    refuse_other_algorithm,
};
use super::commit::{declared_length, is_refusal, read_back};
use super::{conditions, headers};
use crate::chunks::{BodyKind, BodyOwner, BodyStream, WrittenBody};
use crate::object_details::ObjectDetails;
use crate::s3::body::check::{BodyCheck, Trailer};
use crate::s3::body::checksums::{kind_name, set_checksum};
use crate::s3::body::store::unless_replaced;
use crate::s3::errors::{self, invalid_offset};
use crate::s3::gateway::S3Gateway;

/// Times that an append looks again after the object's row was changed.
const ATTEMPTS_MAX: usize = 8;

/// The numbers of an object's first parts.
const FIRST: PartNumber = PartNumber::FIRST;
const SECOND: PartNumber = PartNumber::SECOND;

/// An object that an append goes behind, as it was seen.
struct AppendTarget {
    bucket: Bucket,
    key: ObjectKey,
    object: ObjectVersion,
    /// The id of its parts; with the first append it becomes a list of them.
    upload: UploadId,
    /// Its bytes as the first part, where they are one body until now.
    first: Option<Part>,
    /// Its bytes, where they stand in the metadata.
    inline: Option<BodyId>,
    /// How many parts it has.
    parts: usize,
    /// The number of the part that comes next.
    next: PartNumber,
}

impl S3Gateway {
    /// Puts the body behind the object whose last byte is before `offset`, or begins one.
    pub(super) async fn append_or_create(
        &self,
        request: S3Request<PutObjectInput>,
        offset: i64,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        match self.append_target(&request, offset).await? {
            Some(target) => self.append(request, target).await,
            // There is nothing to append to: the body begins an object, unless another one does.
            None => match self.put_whole(request, WriteCondition::Absent).await {
                Err(error) if *error.code() == S3ErrorCode::PreconditionFailed => {
                    Err(invalid_offset())
                }
                answer => answer,
            },
        }
    }

    /// The object that an append at `offset` goes behind; none where it begins one.
    ///
    /// # Errors
    /// `InvalidWriteOffset` where the object has another length, and whatever else forbids it.
    async fn append_target(
        &self,
        request: &S3Request<PutObjectInput>,
        offset: i64,
    ) -> S3Result<Option<AppendTarget>> {
        let input = &request.input;
        let offset = u64::try_from(offset)
            .map_err(|_| s3_error!(InvalidArgument, "The write offset must not be negative."))?;
        if declared_length(input.content_length)? == 0 {
            return Err(s3_error!(
                InvalidRequest,
                "Request body cannot be empty when 'write offset' is specified."
            ));
        }
        let key = ObjectKey::parse(input.key.as_str()).map_err(errors::from_name)?;
        let bucket = self.bucket(&input.bucket).await?;
        if bucket.settings.versioning != Versioning::Off {
            return Err(s3_error!(
                NotImplemented,
                "Appending to objects of a bucket that keeps versions is not implemented."
            ));
        }
        let object = match self.metastore.object(bucket.id, &key).await {
            Ok(object) => object,
            Err(MetaError::NoSuchKey(_)) if offset == 0 => return Ok(None),
            Err(MetaError::NoSuchKey(_)) => return Err(invalid_offset()),
            Err(error) => return Err(errors::from_metadata(error)),
        };
        conditions::write_condition(input.if_match.as_ref(), input.if_none_match.as_ref())
            .check(&key, Some(&object))
            .map_err(errors::from_metadata)?;
        if object.size_bytes != offset {
            return Err(invalid_offset());
        }
        refuse_description(&request.headers)?;
        let requested = self.requested_encryption(request)?;
        if object.attributes.encryption.is_some() || !requested.is_silent() {
            return Err(s3_error!(
                NotImplemented,
                "Appending to encrypted objects is not implemented."
            ));
        }
        self.append_target_of(bucket, key, object).await.map(Some)
    }

    /// Puts the body behind the object. Of appends at one offset exactly one succeeds; those that
    /// fail leave nothing.
    async fn append(
        &self,
        request: S3Request<PutObjectInput>,
        mut target: AppendTarget,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let check = BodyCheck::declared_in(&request.headers)?;
        let trailer = Trailer::of(&request);
        let algorithm = algorithm_of(&target.object);
        refuse_other_algorithm(algorithm, check.algorithm())?;
        let input = request.input;
        let body_bytes = declared_length(input.content_length)?;
        self.check_size(body_bytes)?;
        let size_bytes = target.object.size_bytes.saturating_add(body_bytes);
        if size_bytes > OBJECT_MAX_BYTES {
            return Err(s3_error!(EntityTooLarge));
        }
        self.expect_room(&target.bucket, &target.key, size_bytes)
            .await?;
        let body = input
            .body
            .unwrap_or_else(|| StreamingBlob::from_bytes(Bytes::new()));
        let (body, tally) = check.tally(body, algorithm);
        let sequence = Sequence::generate();
        let written = self
            .write_appended(&target, (target.next, sequence), body_bytes, body)
            .await?;
        let hashes = tally.finish(written.crc64);
        let checked = match check.verify(hashes, trailer.as_ref()) {
            Ok(checked) => checked,
            Err(mismatch) => {
                self.abandon_chunks(ObjectData::Chunks(written.layout))
                    .await;
                return Err(mismatch);
            }
        };
        let part = Part {
            number: target.next,
            sequence,
            modified_at: Timestamp::now(),
            size_bytes: body_bytes,
            etag: hex::encode(checked.md5),
            checksum: Some(checked.checksum),
            layout: written.layout,
        };
        if let Err(error) = self.move_inline_body(&mut target).await {
            self.give_up(&target, part).await;
            return Err(error);
        }
        let (bucket, key) = (target.bucket.clone(), target.key.clone());
        let object = self.commit_append(target, part, written.crc64).await?;
        let mut output = PutObjectOutput {
            e_tag: Some(headers::to_etag(&object.etag)),
            expiration: self.expiration(&bucket, &key, &object),
            size: i64::try_from(object.size_bytes).ok(),
            ..PutObjectOutput::default()
        };
        if let Some(checksum) = &object.checksum {
            set_checksum!(output, checksum);
            output.checksum_type = Some(ChecksumType::from_static(kind_name(checksum.kind)));
        }
        Ok(S3Response::new(output))
    }

    async fn append_target_of(
        &self,
        bucket: Bucket,
        key: ObjectKey,
        object: ObjectVersion,
    ) -> S3Result<AppendTarget> {
        let mut target = AppendTarget {
            upload: UploadId::generate(),
            first: None,
            inline: None,
            parts: 0,
            next: FIRST,
            bucket,
            key,
            object,
        };
        match &target.object.data {
            ObjectData::Parts(upload) => {
                let set = unless_replaced(self.metastore.part_set(*upload).await)?;
                // The object was replaced since it was looked at.
                let set = set.ok_or_else(invalid_offset)?;
                target.upload = *upload;
                target.parts = set.parts.len();
                target.next = next_number(&set.parts).map_err(errors::from_metadata)?;
            }
            ObjectData::Inline(body) => {
                target.inline = Some(*body);
                (target.parts, target.next) = (1, SECOND);
            }
            ObjectData::Chunks(layout) if layout.chunks.is_empty() => {}
            ObjectData::Chunks(layout) => {
                let sequence = Sequence::generate();
                target.first = Some(part_of(&target.object, sequence, layout.clone()));
                (target.parts, target.next) = (1, SECOND);
            }
        }
        Ok(target)
    }

    /// Writes an inline body as the chunks of a first part: parts have no other place.
    async fn move_inline_body(&self, target: &mut AppendTarget) -> S3Result<()> {
        let Some(inline) = target.inline else {
            return Ok(());
        };
        let found = unless_replaced(self.metastore.inline_body(inline).await)?;
        let bytes = Bytes::from(found.ok_or_else(invalid_offset)?.0);
        let (length, sequence) = (bytes.len() as u64, Sequence::generate());
        let body = stream::iter([Ok(bytes)]).boxed();
        let written = self
            .write_appended(target, (FIRST, sequence), length, body)
            .await?;
        target.first = Some(part_of(&target.object, sequence, written.layout));
        Ok(())
    }

    async fn write_appended(
        &self,
        target: &AppendTarget,
        (number, sequence): (PartNumber, Sequence),
        body_bytes: u64,
        body: BodyStream,
    ) -> S3Result<WrittenBody> {
        let details = ObjectDetails {
            bucket: (&target.bucket.owner, target.bucket.settings.versioning),
            owner: &target.object.owner,
            headers: &target.object.headers,
            user_metadata: &target.object.user_metadata,
            attributes: &target.object.attributes,
        };
        let owner = BodyOwner {
            kind: BodyKind::Object,
            bucket_id: target.bucket.id.0,
            bucket: target.bucket.name.as_str().to_owned(),
            key: target.key.as_str().to_owned(),
            sequence: sequence.0,
            part: Some((target.upload.0, number.get())),
            details: details.encode_appended(),
        };
        let written = self.writer.write(owner, body_bytes, body).await;
        written.map_err(errors::from_write)
    }

    /// Commits an append; where another write came first, the chunks are given up. Returns the row.
    async fn commit_append(
        &self,
        mut target: AppendTarget,
        part: Part,
        crc64: Crc64,
    ) -> S3Result<ObjectVersion> {
        for _ in 0..ATTEMPTS_MAX {
            let object = target.longer(&part, crc64);
            let append = AppendObject {
                bucket: target.bucket.id,
                key: target.key.clone(),
                seen: target.object.sequence,
                object: object.clone(),
                first: target.first.clone(),
                part: part.clone(),
                replicas_wanted: self.writer.replicas_wanted(),
            };
            let refusal = match self.try_append(append).await {
                Ok(()) => return Ok(object),
                Err(MetaError::Conflict) => match self.look_again(&mut target).await {
                    Ok(()) => continue,
                    Err(refusal) => refusal,
                },
                Err(error) if is_refusal(&error) => errors::from_metadata(error),
                Err(unknown) => return Err(errors::from_metadata(unknown)),
            };
            self.give_up(&target, part).await;
            return Err(refusal);
        }
        self.give_up(&target, part).await;
        Err(s3_error!(ConditionalRequestConflict))
    }

    async fn try_append(&self, append: AppendObject) -> MetaResult<()> {
        let (bucket, key, sequence) = (append.bucket, append.key.clone(), append.object.sequence);
        let outcome = self.metastore.append_object(append).await;
        let standing = async {
            let object = self.metastore.object(bucket, &key).await?;
            Ok((object.sequence, ()))
        };
        read_back(outcome, sequence, standing).await
    }

    /// Looks whether the object has the bytes that it had, and only its row has changed.
    async fn look_again(&self, target: &mut AppendTarget) -> S3Result<()> {
        let object = match self.metastore.object(target.bucket.id, &target.key).await {
            Ok(object) if object.size_bytes == target.object.size_bytes => object,
            Ok(_) | Err(MetaError::NoSuchKey(_)) => return Err(invalid_offset()),
            Err(error) => return Err(errors::from_metadata(error)),
        };
        if !has_same_bytes(&object, &target.object) {
            return Err(s3_error!(ConditionalRequestConflict));
        }
        target.object = object;
        Ok(())
    }

    async fn give_up(&self, target: &AppendTarget, part: Part) {
        self.abandon_chunks(ObjectData::Chunks(part.layout)).await;
        if let (Some(_), Some(first)) = (target.inline, &target.first) {
            self.abandon_chunks(ObjectData::Chunks(first.layout.clone()))
                .await;
        }
    }
}

impl AppendTarget {
    /// The row with `part` behind it.
    fn longer(&self, part: &Part, crc64: Crc64) -> ObjectVersion {
        ObjectVersion {
            sequence: Sequence::generate(),
            modified_at: part.modified_at,
            size_bytes: self.object.size_bytes + part.size_bytes,
            etag: etag_after_append(&self.object.etag, &part.etag, self.parts + 1),
            checksum: checksum_after_append(&self.object, part, crc64),
            data: ObjectData::Parts(self.upload),
            ..self.object.clone()
        }
    }
}

/// An object's one body as its first part.
fn part_of(object: &ObjectVersion, sequence: Sequence, layout: ChunkLayout) -> Part {
    Part {
        number: FIRST,
        sequence,
        modified_at: object.modified_at,
        size_bytes: object.size_bytes,
        etag: object.etag.clone(),
        checksum: object.checksum.clone(),
        layout,
    }
}

/// Whether two rows of a key name the same bytes, wherever their copies are.
fn has_same_bytes(one: &ObjectVersion, other: &ObjectVersion) -> bool {
    match (&one.data, &other.data) {
        (ObjectData::Chunks(one), ObjectData::Chunks(other)) => {
            let ids = |layout: &ChunkLayout| {
                let ids = layout.chunks.iter().map(|chunk| chunk.id);
                ids.collect::<Vec<_>>()
            };
            ids(one) == ids(other)
        }
        (one, other) => one == other,
    }
}
