//! DeleteObject and DeleteObjects: one commit for each key; the bytes are collected later. A version
//! that is locked stays; whether it is, and its deletion, are one compare-and-set.

use std::collections::HashMap;

use futures::{StreamExt as _, stream};
use http::HeaderMap;
use metastore::{
    Bucket, DeleteOutcome, DeletedVersion, Expected, MetaError, ObjectKey, StoredVersion,
    Timestamp, VersionId, WriteCondition,
};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETagCondition, Error, ObjectIdentifier,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};
use time::OffsetDateTime;

use super::conditions;
use super::lock::{BYPASS, refuse_locked};
use crate::s3::access::{Caller, RequestFacts};
use crate::s3::edge::xml_text::xml_text;
use crate::s3::errors;
use crate::s3::gateway::{S3Gateway, parse_version};

/// Most keys in one DeleteObjects.
const KEYS_MAX: usize = 1000;
/// Times that a delete of a version looks again after its row was changed.
const ATTEMPTS_MAX: usize = 8;

/// Keys of one DeleteObjects that are deleted at a time: their commits share a sync.
const AT_ONCE: usize = 32;

/// What a delete did, as answers show it.
#[derive(Default)]
struct DeleteResult {
    version: Option<String>,
    is_marker: Option<bool>,
}

/// One key to delete.
struct Deletion {
    key: ObjectKey,
    version: Option<VersionId>,
    condition: WriteCondition,
    bypass: bool,
}

impl S3Gateway {
    /// `DELETE /bucket/key`. Deleting what is not there succeeds, as on S3.
    pub(crate) async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let caller = Caller::of(&request);
        let request_facts = RequestFacts::of(&request);
        let input = request.input.clone();
        let expected = expected(
            input.if_match.as_ref(),
            input.if_match_size,
            input.if_match_last_modified_time,
        )?;
        let bucket = self.bucket(&input.bucket).await?;
        let deletion = Deletion {
            key: ObjectKey::parse(input.key).map_err(errors::from_name)?,
            version: parse_version(input.version_id.as_deref())?,
            condition: expected,
            bypass: asks_bypass(&request.headers),
        };
        let done = self
            .delete_key(&caller, &bucket, deletion, request_facts)
            .await?;
        Ok(S3Response::new(DeleteObjectOutput {
            version_id: done.version,
            delete_marker: done.is_marker,
            ..DeleteObjectOutput::default()
        }))
    }

    /// `POST /bucket?delete`. Each key is deleted by itself; failures are listed, not raised.
    pub(crate) async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let caller = Caller::of(&request);
        let request_facts = RequestFacts::of(&request);
        let input = &request.input;
        if input.delete.objects.is_empty() || input.delete.objects.len() > KEYS_MAX {
            return Err(s3_error!(MalformedXML));
        }
        let bucket = self.bucket(&input.bucket).await?;
        let quiet = input.delete.quiet.unwrap_or(false);
        let groups = by_key(input.delete.objects.clone());
        let done = stream::iter(groups)
            .map(|places| self.delete_in_turn(&caller, &bucket, places, request_facts))
            .buffer_unordered(AT_ONCE)
            .concat();
        let mut done = Box::pin(done).await;
        done.sort_unstable_by_key(|(place, ..)| *place);

        let mut deleted = Vec::new();
        let mut failed = Vec::new();
        for (_, object, outcome) in done {
            let ObjectIdentifier {
                key, version_id, ..
            } = object;
            match outcome {
                Ok(_) if quiet => {}
                Ok(done) => {
                    let is_marker = done.is_marker.unwrap_or(false);
                    deleted.push(DeletedObject {
                        key: Some(xml_text(key)),
                        delete_marker: done.is_marker.filter(|is_marker| *is_marker),
                        delete_marker_version_id: done.version.filter(|_| is_marker),
                        version_id,
                    });
                }
                Err(error) => failed.push(listed_error(key, version_id, &error)),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!deleted.is_empty()).then_some(deleted),
            errors: (!failed.is_empty()).then_some(failed),
            ..DeleteObjectsOutput::default()
        }))
    }

    /// Deletes what is listed of one key, one after another.
    async fn delete_in_turn(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        listed: Vec<(usize, ObjectIdentifier)>,
        request_facts: RequestFacts<'_>,
    ) -> Vec<(usize, ObjectIdentifier, S3Result<DeleteResult>)> {
        let mut done = Vec::with_capacity(listed.len());
        for (place, object) in listed {
            let outcome = self.delete_listed(caller, bucket, object.clone(), request_facts);
            done.push((place, object, outcome.await));
        }
        done
    }

    async fn delete_listed(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        object: ObjectIdentifier,
        request_facts: RequestFacts<'_>,
    ) -> S3Result<DeleteResult> {
        let if_match = object.e_tag.map(ETagCondition::ETag);
        let deletion = Deletion {
            key: ObjectKey::parse(object.key).map_err(errors::from_name)?,
            version: parse_version(object.version_id.as_deref())?,
            condition: expected(if_match.as_ref(), object.size, object.last_modified_time)?,
            bypass: asks_bypass(request_facts.headers),
        };
        let action = match deletion.version {
            Some(_) => "s3:DeleteObjectVersion",
            None => "s3:DeleteObject",
        };
        let version = deletion.version.map(|version| version.to_string());
        let on = Some((&deletion.key, version.as_deref()));
        self.gate
            .authorize(caller, bucket, action, on, request_facts)
            .await?;
        self.delete_key(caller, bucket, deletion, request_facts)
            .await
    }

    async fn delete_key(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        deletion: Deletion,
        request_facts: RequestFacts<'_>,
    ) -> S3Result<DeleteResult> {
        if let Some(version) = deletion.version {
            let named = version.to_string();
            let on = Some((&deletion.key, Some(named.as_str())));
            let may_bypass = deletion.bypass
                && self
                    .gate
                    .authorize(caller, bucket, BYPASS, on, request_facts)
                    .await
                    .is_ok();
            return self
                .delete_version(bucket, version, deletion, may_bypass)
                .await;
        }
        let outcome = self
            .metastore
            .delete_object(
                bucket.id,
                &deletion.key,
                deletion.condition,
                Timestamp::now(),
            )
            .await
            .map_err(errors::from_metadata)?;
        Ok(match outcome {
            DeleteOutcome::MarkerPlaced(version) => DeleteResult {
                version: Some(version.to_string()),
                is_marker: Some(true),
            },
            DeleteOutcome::Deleted | DeleteOutcome::Absent => DeleteResult::default(),
        })
    }

    async fn delete_version(
        &self,
        bucket: &Bucket,
        version: VersionId,
        deletion: Deletion,
        may_bypass: bool,
    ) -> S3Result<DeleteResult> {
        let key = &deletion.key;
        for _ in 0..ATTEMPTS_MAX {
            let condition = match self.metastore.object_version(bucket.id, key, version).await {
                Ok(StoredVersion::Object(object)) => {
                    deletion
                        .condition
                        .check(key, Some(&object))
                        .map_err(errors::from_metadata)?;
                    refuse_locked(&object, may_bypass, Timestamp::now())?;
                    WriteCondition::Revision(object.sequence)
                }
                Ok(StoredVersion::DeleteMarker(_)) => WriteCondition::Always,
                Err(MetaError::NoSuchVersion(..)) => return Ok(delete_result(version, false)),
                Err(error) => return Err(errors::from_metadata(error)),
            };
            let deleted = self
                .metastore
                .delete_version(bucket.id, key, version, condition, Timestamp::now())
                .await;
            match deleted {
                Ok(deleted) => {
                    return Ok(delete_result(
                        version,
                        deleted == DeletedVersion::DeleteMarker,
                    ));
                }
                Err(MetaError::Conflict) => {}
                Err(error) => return Err(errors::from_metadata(error)),
            }
        }
        Err(s3_error!(ConditionalRequestConflict))
    }
}

/// What is listed, by keys in the order of their first mention, each with its place in the list.
fn by_key(listed: Vec<ObjectIdentifier>) -> Vec<Vec<(usize, ObjectIdentifier)>> {
    let mut groups: Vec<Vec<_>> = Vec::new();
    let mut group_of = HashMap::new();
    for (place, object) in listed.into_iter().enumerate() {
        let group = *group_of.entry(object.key.clone()).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push((place, object));
    }
    groups
}

fn delete_result(version: VersionId, is_marker: bool) -> DeleteResult {
    DeleteResult {
        version: Some(version.to_string()),
        is_marker: is_marker.then_some(true),
    }
}

/// What the request expects of what it deletes.
fn expected(
    if_match: Option<&ETagCondition>,
    size: Option<i64>,
    modified_at: Option<s3s::dto::Timestamp>,
) -> S3Result<WriteCondition> {
    let (None, None) = (size, &modified_at) else {
        let etag = match if_match {
            Some(ETagCondition::ETag(etag)) => Some(etag.value().to_owned()),
            Some(ETagCondition::Any) | None => None,
        };
        let milliseconds = |moment: s3s::dto::Timestamp| {
            let nanoseconds = OffsetDateTime::from(moment).unix_timestamp_nanos();
            Timestamp(u64::try_from(nanoseconds / 1_000_000).unwrap_or_default())
        };
        return Ok(WriteCondition::Matching(Expected {
            etag,
            // A negative size is nobody's.
            size_bytes: size.map(|size| u64::try_from(size).unwrap_or(u64::MAX)),
            modified_at: modified_at.map(milliseconds),
        }));
    };
    Ok(conditions::write_condition(if_match, None))
}

fn asks_bypass(headers: &HeaderMap) -> bool {
    headers
        .get("x-amz-bypass-governance-retention")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

fn listed_error(key: String, version_id: Option<String>, error: &S3Error) -> Error {
    Error {
        key: Some(xml_text(key)),
        version_id: version_id.map(xml_text),
        code: Some(error.code().as_str().to_owned()),
        message: error.message().map(str::to_owned),
    }
}
