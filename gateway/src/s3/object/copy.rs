//! CopyObject: onto another key the bytes are written anew; onto itself only the row changes.

use http::HeaderMap;
use metastore::{
    Bucket, CommitObject, Encryption, EncryptionKind, MetaError, ObjectAttributes, ObjectKey,
    ObjectVersion, Sequence, SystemHeaders, Timestamp, VersionId, VersionOrder, Versioning,
    WriteCondition,
};
use s3s::dto::{
    ChecksumType, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, Metadata,
    MetadataDirective,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::commit::written_version;
use super::conditions::{self, ReadConditions};
use super::copy_source::{CopiedObject, CopyFrom, GET_CURRENT};
use super::headers;
use super::range::Selection;
use crate::object_details::ObjectDetails;
use crate::s3::access::{Caller, PUT_TAGS, RequestFacts};
use crate::s3::body::check::BodyCheck;
use crate::s3::body::checksums::{kind_name, parse_algorithm, set_checksum};
use crate::s3::body::store::IncomingBody;
use crate::s3::encryption::keys::{Sealing, etag_of};
use crate::s3::encryption::request::EncryptionRequest;
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;
use crate::sealing::DataKey;

/// Times that a copy of an object onto itself looks again after another write got in between.
const SELF_COPY_ATTEMPTS: usize = 8;

/// What the new object keeps of the old one.
struct Description {
    headers: SystemHeaders,
    user_metadata: Vec<(String, String)>,
}

/// What a copy's row says beside its bytes.
struct NewRow {
    description: Description,
    owner: String,
    attributes: ObjectAttributes,
    condition: WriteCondition,
    sealing: Option<Sealing>,
}

/// What a copy onto itself makes of the row that it finds.
struct Rewrite {
    replaces_metadata: bool,
    replaces_tags: bool,
    owner: String,
    /// Their tags count where they replace those that are there.
    attributes: ObjectAttributes,
}

impl S3Gateway {
    /// `PUT /bucket/key` with `x-amz-copy-source`.
    pub(crate) async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        headers::refuse_append(&request.headers)?;
        let requested_encryption = self.requested_encryption(&request)?;
        let caller = Caller::of(&request);
        let request_facts = RequestFacts::of(&request);
        let input = &request.input;
        let key = ObjectKey::parse(input.key.as_str()).map_err(errors::from_name)?;
        let condition =
            conditions::write_condition(input.if_match.as_ref(), input.if_none_match.as_ref());
        let replace = replaces_metadata(input.metadata_directive.as_ref())?;
        let onto_itself = is_onto_itself(input);
        let changes = replace || changes_something(&request.headers, &requested_encryption);
        if onto_itself && !changes {
            return Err(changes_nothing());
        }
        let bucket = self.bucket(&input.bucket).await?;
        let from = CopyFrom {
            source: &input.copy_source,
            customer: requested_encryption.source_customer.as_ref(),
        };
        let CopiedObject {
            object: source,
            key: source_key,
            shown_version: source_version,
        } = self.copy_source(&caller, from, request_facts).await?;
        let sealing = self.sealing(&bucket, &requested_encryption)?;
        let row = sealing.as_ref().map(|sealing| sealing.row.clone());
        let shown = requested_encryption.response_headers(row.as_ref());
        // A new checksum needs the bytes to be read, another encryption to be written.
        let row_alone = onto_itself
            && input.checksum_algorithm.is_none()
            && bucket.settings.versioning == Versioning::Off
            && is_sealed_alike(source.attributes.encryption.as_ref(), row.as_ref());
        let (owner, mut attributes) = self
            .new_attributes(&caller, &bucket, &request.headers, row)
            .await?;
        let replaces_tags = replaces_tags(&request.headers)?;
        let copied_to = key.clone();
        let (object, version) = if row_alone && condition == WriteCondition::Always {
            let rewrite = Rewrite {
                replaces_metadata: replace,
                replaces_tags,
                owner,
                attributes,
            };
            let object = self.rewrite_row(&request, &bucket, &key, rewrite).await?;
            (object, VersionId::Null)
        } else {
            if !replaces_tags {
                let target = (&bucket, &key);
                attributes.tags = self.carried_tags(&request, target, &source).await?;
            }
            self.check_copy(input, &source)?;
            let description = describe(&request.headers, input.metadata.clone(), &source, replace)?;
            let new = NewRow {
                description,
                owner,
                attributes,
                condition,
                sealing,
            };
            let source = (source, source_key);
            self.copy_bytes(input, source, &bucket, key, new).await?
        };
        let mut answer = answer(&object);
        answer.output.expiration = self.expiration(&bucket, &copied_to, &object);
        answer.output.version_id = written_version(version);
        answer.output.copy_source_version_id = source_version;
        answer.headers = shown;
        Ok(answer)
    }

    /// The tags that a copy takes over, if there are any: the caller must be let read them, and no
    /// policy may deny to write them.
    async fn carried_tags(
        &self,
        request: &S3Request<CopyObjectInput>,
        (bucket, key): (&Bucket, &ObjectKey),
        source: &ObjectVersion,
    ) -> S3Result<Vec<(String, String)>> {
        let CopySource::Bucket {
            bucket: from,
            key: source_key,
            version_id,
        } = &request.input.copy_source
        else {
            return Ok(Vec::new());
        };
        if source.attributes.tags.is_empty() {
            return Ok(Vec::new());
        }
        let (caller, request_facts) = (Caller::of(request), RequestFacts::of(request));
        let from = self.bucket(from).await?;
        let source_key = ObjectKey::parse(source_key.as_ref()).map_err(errors::from_name)?;
        let action = match version_id {
            Some(_) => "s3:GetObjectVersionTagging",
            None => "s3:GetObjectTagging",
        };
        let on = (Some(&source_key), Some(source));
        self.gate
            .authorize_seen(&caller, &from, action, on, request_facts)?;
        self.gate
            .check_not_denied(&caller, bucket, PUT_TAGS, (key, None), request_facts)?;
        Ok(source.attributes.tags.clone())
    }

    fn check_copy(&self, input: &CopyObjectInput, source: &ObjectVersion) -> S3Result<()> {
        ReadConditions {
            if_match: input.copy_source_if_match.clone(),
            if_none_match: input.copy_source_if_none_match.clone(),
            if_modified_since: input.copy_source_if_modified_since.clone(),
            if_unmodified_since: input.copy_source_if_unmodified_since.clone(),
        }
        .check_copy_source(source)?;
        self.check_size(source.size_bytes)
    }

    /// Copies an object onto itself: new owner, headers and attributes, same bytes. What is kept is
    /// kept of the very row that is compared and set, so that a write that gets in between is never
    /// undone.
    async fn rewrite_row(
        &self,
        request: &S3Request<CopyObjectInput>,
        bucket: &Bucket,
        key: &ObjectKey,
        rewrite: Rewrite,
    ) -> S3Result<ObjectVersion> {
        let input = &request.input;
        let (caller, request_facts) = (Caller::of(request), RequestFacts::of(request));
        for _ in 0..SELF_COPY_ATTEMPTS {
            let source = self.object(bucket, key, None).await?;
            // It may be another one than the caller was let read.
            let on = (Some(key), Some(&source));
            self.gate
                .authorize_seen(&caller, bucket, GET_CURRENT, on, request_facts)?;
            let encryption = source.attributes.encryption.clone();
            if !is_sealed_alike(encryption.as_ref(), rewrite.attributes.encryption.as_ref()) {
                break;
            }
            self.check_copy(input, &source)?;
            let tags = match rewrite.replaces_tags {
                true => rewrite.attributes.tags.clone(),
                false => self.carried_tags(request, (bucket, key), &source).await?,
            };
            let metadata = input.metadata.clone();
            let description = describe(
                &request.headers,
                metadata,
                &source,
                rewrite.replaces_metadata,
            )?;
            let seen = source.sequence;
            let object = ObjectVersion {
                sequence: Sequence::generate(),
                modified_at: Timestamp::now(),
                headers: description.headers,
                user_metadata: description.user_metadata,
                owner: rewrite.owner.clone(),
                attributes: ObjectAttributes {
                    tags,
                    encryption,
                    ..rewrite.attributes.clone()
                },
                ..source
            };
            match self
                .metastore
                .amend_object(bucket.id, key, object.clone(), seen)
                .await
            {
                Ok(()) => return Ok(object),
                Err(MetaError::Conflict | MetaError::NoSuchVersion(..)) => {}
                Err(error) => return Err(errors::from_metadata(error)),
            }
        }
        Err(s3_error!(ConditionalRequestConflict))
    }

    async fn copy_bytes(
        &self,
        input: &CopyObjectInput,
        (source, source_key): (ObjectVersion, Option<DataKey>),
        bucket: &Bucket,
        key: ObjectKey,
        new: NewRow,
    ) -> S3Result<(ObjectVersion, VersionId)> {
        let algorithm = match &input.checksum_algorithm {
            Some(algorithm) => Some(parse_algorithm(algorithm.as_str())?),
            None => source.checksum.as_ref().map(|checksum| checksum.algorithm),
        };
        self.expect_room(bucket, &key, source.size_bytes).await?;
        let sequence = Sequence::generate();
        let body = self
            .copy_body(
                &source,
                source_key.as_ref(),
                Selection::whole(source.size_bytes).range,
            )
            .await?;
        let check = BodyCheck::default();
        let (body, tally) = check.tally(body, algorithm);
        let details = ObjectDetails {
            bucket: (&bucket.owner, bucket.settings.versioning),
            owner: &new.owner,
            headers: &new.description.headers,
            user_metadata: &new.description.user_metadata,
            attributes: &new.attributes,
        };
        let stored = self
            .store_body(
                bucket,
                &key,
                (sequence, details),
                IncomingBody::new(body, source.size_bytes, new.sealing.as_ref()),
            )
            .await?;
        let checked = check.verify(tally.finish(stored.crc64), None)?;
        let object = ObjectVersion {
            version: VersionId::Null,
            sequence,
            modified_at: Timestamp::now(),
            size_bytes: source.size_bytes,
            etag: etag_of(checked.md5, new.sealing.as_ref()),
            checksum: Some(checked.checksum),
            headers: new.description.headers,
            user_metadata: new.description.user_metadata,
            owner: new.owner,
            data: stored.data,
            order: VersionOrder::FIRST,
            attributes: new.attributes,
        };
        let replicas_wanted = self.writer.replicas_wanted();
        let (bucket, row) = (bucket.id, object.clone());
        let commit = CommitObject {
            bucket,
            key,
            object: row,
            inline_body: stored.inline_body,
            condition: new.condition,
            replicas_wanted,
        };
        let version = self.commit_new(commit).await?;
        Ok((object, version))
    }
}

/// Whether a row with its bytes may stay as they are where this encryption is asked for. What a
/// client's key seals is sealed anew.
fn is_sealed_alike(there: Option<&Encryption>, wanted: Option<&Encryption>) -> bool {
    match (there, wanted) {
        (None, None) => true,
        (Some(there), Some(wanted)) => {
            there.kind == wanted.kind
                && there.kind != EncryptionKind::Customer
                && there.key_id == wanted.key_id
                && there.context == wanted.context
        }
        _ => false,
    }
}

fn replaces_metadata(directive: Option<&MetadataDirective>) -> S3Result<bool> {
    match directive.map(MetadataDirective::as_str) {
        None | Some(MetadataDirective::COPY) => Ok(false),
        Some(MetadataDirective::REPLACE) => Ok(true),
        Some(_) => Err(s3_error!(InvalidArgument, "Unknown metadata directive.")),
    }
}

/// Whether the copy's tags come from the request.
fn replaces_tags(headers: &HeaderMap) -> S3Result<bool> {
    match headers
        .get("x-amz-tagging-directive")
        .map(|value| value.as_bytes())
    {
        None | Some(b"" | b"COPY") => Ok(false),
        Some(b"REPLACE") => Ok(true),
        Some(_) => Err(s3_error!(InvalidArgument, "Unknown tagging directive.")),
    }
}

fn is_onto_itself(input: &CopyObjectInput) -> bool {
    matches!(
        &input.copy_source,
        CopySource::Bucket { bucket, key, version_id: None }
            if **bucket == *input.bucket && **key == *input.key
    )
}

/// Whether a copy onto itself changes anything besides metadata.
fn changes_something(headers: &HeaderMap, encryption: &EncryptionRequest) -> bool {
    let named = [
        "x-amz-storage-class",
        "x-amz-website-redirect-location",
        "x-amz-checksum-algorithm",
    ]
    .iter()
    .any(|name| headers.contains_key(*name));
    named || !encryption.is_silent()
}

/// A copy onto itself that keeps everything as it is.
fn changes_nothing() -> S3Error {
    s3_error!(
        InvalidRequest,
        "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."
    )
}

/// Headers and metadata of the copy. Storage class and redirect never come from the source.
fn describe(
    request: &HeaderMap,
    metadata: Option<Metadata>,
    source: &ObjectVersion,
    replace: bool,
) -> S3Result<Description> {
    let own = headers::system_headers(request)?;
    if replace {
        let user_metadata = headers::user_metadata(metadata)?;
        return Ok(Description {
            headers: own,
            user_metadata,
        });
    }
    let headers = SystemHeaders {
        storage_class: own.storage_class,
        website_redirect: own.website_redirect,
        ..source.headers.clone()
    };
    Ok(Description {
        headers,
        user_metadata: source.user_metadata.clone(),
    })
}

fn answer(object: &ObjectVersion) -> S3Response<CopyObjectOutput> {
    let mut result = CopyObjectResult {
        e_tag: Some(headers::to_etag(&object.etag)),
        last_modified: Some(headers::to_precise_timestamp(object.modified_at)),
        ..CopyObjectResult::default()
    };
    if let Some(checksum) = &object.checksum {
        set_checksum!(result, checksum);
        result.checksum_type = Some(ChecksumType::from_static(kind_name(checksum.kind)));
    }
    S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        ..CopyObjectOutput::default()
    })
}
