//! What can be set on an object that is there: access control list, tags, retention, legal hold.
//! Each change is a compare-and-set on the version's row; the bytes stay.

use metastore::{
    Acl, Bucket, MetaError, ObjectAttributes, ObjectKey, ObjectVersion, Ownership, Sequence,
    Timestamp,
};
use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectAclInput, GetObjectAclOutput,
    GetObjectLegalHoldInput, GetObjectLegalHoldOutput, GetObjectRetentionInput,
    GetObjectRetentionOutput, GetObjectTaggingInput, GetObjectTaggingOutput, ObjectLockLegalHold,
    ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode, PutObjectAclInput,
    PutObjectAclOutput, PutObjectLegalHoldInput, PutObjectLegalHoldOutput, PutObjectRetentionInput,
    PutObjectRetentionOutput, PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::headers;
use super::lock::{BYPASS, hold_status, lock_mode_name, refuse_weaker, retention};
use super::tags::{Tagged, tags_of};
use crate::s3::access::{
    AclRequest, Caller, RequestFacts, acls_disabled_error, refuse_blocked_acl, to_dto_grants,
};
use crate::s3::errors;
use crate::s3::gateway::{S3Gateway, shown_version};

/// Times that a change looks again after another one got in between.
const ATTEMPTS_MAX: usize = 32;

/// Names a version of an object.
struct VersionRef<'a> {
    bucket: &'a str,
    key: &'a str,
    version: Option<&'a str>,
}

/// Who changes something, and what the change is called in policies.
struct NeededAction<'a> {
    caller: Caller,
    request_facts: RequestFacts<'a>,
    /// The permission, for the current version and for one that is named.
    action: [&'static str; 2],
}

impl<'a> NeededAction<'a> {
    fn of<T>(request: &'a S3Request<T>, action: [&'static str; 2]) -> Self {
        Self {
            caller: Caller::of(request),
            request_facts: RequestFacts::of(request),
            action,
        }
    }
}

macro_rules! version_ref {
    ($input:expr) => {
        VersionRef {
            bucket: &$input.bucket,
            key: &$input.key,
            version: $input.version_id.as_deref(),
        }
    };
}

impl S3Gateway {
    /// `GET /bucket/key?acl`.
    pub(crate) async fn get_object_acl(
        &self,
        request: S3Request<GetObjectAclInput>,
    ) -> S3Result<S3Response<GetObjectAclOutput>> {
        let (bucket, object) = self.find_version(&version_ref!(request.input)).await?;
        let enforced = bucket.settings.ownership == Some(Ownership::BucketOwnerEnforced);
        let owner = if enforced {
            &bucket.owner
        } else {
            &object.owner
        };
        let owner = self.directory.owner(owner).await?;
        let acl = object.attributes.acl.as_ref().filter(|_| !enforced);
        let grants = to_dto_grants(&self.directory, acl, &owner).await?;
        Ok(S3Response::new(GetObjectAclOutput {
            grants: Some(grants),
            owner: Some(owner),
            ..GetObjectAclOutput::default()
        }))
    }

    /// `PUT /bucket/key?acl`.
    pub(crate) async fn put_object_acl(
        &self,
        request: S3Request<PutObjectAclInput>,
    ) -> S3Result<S3Response<PutObjectAclOutput>> {
        let needed = NeededAction::of(&request, ["s3:PutObjectAcl", "s3:PutObjectVersionAcl"]);
        let version_ref = version_ref!(request.input);
        for _ in 0..ATTEMPTS_MAX {
            // A list is made for an owner: each time for that of the row that it is written to.
            let (bucket, object) = self.find_version(&version_ref).await?;
            let acl = self.requested_acl(&request, &bucket, &object.owner).await?;
            let set = |attributes: &mut ObjectAttributes| {
                attributes.acl = Some(acl);
                Ok(())
            };
            let row = (bucket, object);
            let amended = self.try_amend(&version_ref, &needed, row, set).await?;
            if amended.is_some() {
                return Ok(S3Response::new(PutObjectAclOutput::default()));
            }
        }
        Err(s3_error!(OperationAborted))
    }

    /// The list that the request describes, on an object of `owner`.
    async fn requested_acl(
        &self,
        request: &S3Request<PutObjectAclInput>,
        bucket: &Bucket,
        owner: &str,
    ) -> S3Result<Acl> {
        if bucket.settings.ownership == Some(Ownership::BucketOwnerEnforced) {
            return Err(acls_disabled_error());
        }
        let list = AclRequest {
            directory: &self.directory,
            owner,
            bucket_owner: &bucket.owner,
        };
        let acl = match request.input.access_control_policy.clone() {
            Some(document) => Some(list.in_document(document).await?),
            None => list.in_headers(&request.headers).await?,
        };
        let acl = acl.ok_or_else(|| s3_error!(MissingSecurityHeader))?;
        refuse_blocked_acl(bucket, Some(&acl))?;
        Ok(acl)
    }

    /// `GET /bucket/key?tagging`.
    pub(crate) async fn get_object_tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let (bucket, object) = self.find_version(&version_ref!(request.input)).await?;
        Ok(S3Response::new(GetObjectTaggingOutput {
            version_id: shown_version(&bucket, object.version),
            tag_set: shown_tags(&object.attributes.tags),
        }))
    }

    /// `PUT /bucket/key?tagging`.
    pub(crate) async fn put_object_tagging(
        &self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        let needed = NeededAction::of(
            &request,
            ["s3:PutObjectTagging", "s3:PutObjectVersionTagging"],
        );
        let tags = tags_of(&request.input.tagging, Tagged::Object)?;
        let version_ref = version_ref!(request.input);
        let version_id = self.set_tags(&version_ref, &needed, &tags).await?;
        Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
    }

    /// `DELETE /bucket/key?tagging`.
    pub(crate) async fn delete_object_tagging(
        &self,
        request: S3Request<DeleteObjectTaggingInput>,
    ) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
        let needed = NeededAction::of(
            &request,
            ["s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"],
        );
        let version_ref = version_ref!(request.input);
        let version_id = self.set_tags(&version_ref, &needed, &[]).await?;
        Ok(S3Response::with_status(
            DeleteObjectTaggingOutput { version_id },
            http::StatusCode::NO_CONTENT,
        ))
    }

    async fn set_tags(
        &self,
        version_ref: &VersionRef<'_>,
        needed: &NeededAction<'_>,
        tags: &[(String, String)],
    ) -> S3Result<Option<String>> {
        let (bucket, object) = self
            .amend(version_ref, needed, |attributes| {
                attributes.tags = tags.to_vec();
                Ok(())
            })
            .await?;
        Ok(shown_version(&bucket, object.version))
    }

    /// `GET /bucket/key?retention`.
    pub(crate) async fn get_object_retention(
        &self,
        request: S3Request<GetObjectRetentionInput>,
    ) -> S3Result<S3Response<GetObjectRetentionOutput>> {
        let (bucket, object) = self.find_version(&version_ref!(request.input)).await?;
        expect_lock(&bucket)?;
        let retention = object.attributes.retention;
        let retention = retention.ok_or_else(|| s3_error!(NoSuchObjectLockConfiguration))?;
        let mode = ObjectLockRetentionMode::from_static(lock_mode_name(retention.mode));
        Ok(S3Response::new(GetObjectRetentionOutput {
            retention: Some(ObjectLockRetention {
                mode: Some(mode),
                retain_until_date: Some(headers::to_precise_timestamp(retention.until)),
            }),
        }))
    }

    /// `PUT /bucket/key?retention`.
    pub(crate) async fn put_object_retention(
        &self,
        request: S3Request<PutObjectRetentionInput>,
    ) -> S3Result<S3Response<PutObjectRetentionOutput>> {
        let needed = NeededAction::of(&request, ["s3:PutObjectRetention"; 2]);
        let input = &request.input;
        let bucket = self.bucket(&input.bucket).await?;
        expect_lock(&bucket)?;
        let now = Timestamp::now();
        let next = match input.retention.clone() {
            None => None,
            Some(given) => match (given.mode, given.retain_until_date) {
                (None, None) => None,
                (Some(mode), Some(until)) => Some(retention(mode.as_str(), until, now)?),
                _ => return Err(s3_error!(MalformedXML)),
            },
        };
        let key = ObjectKey::parse(input.key.as_str()).map_err(errors::from_name)?;
        let on = Some((&key, input.version_id.as_deref()));
        let may_bypass = input.bypass_governance_retention == Some(true)
            && self
                .gate
                .authorize(&needed.caller, &bucket, BYPASS, on, needed.request_facts)
                .await
                .is_ok();
        self.amend(&version_ref!(input), &needed, |attributes| {
            refuse_weaker(attributes.retention, next, may_bypass, now)?;
            attributes.retention = next;
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutObjectRetentionOutput::default()))
    }

    /// `GET /bucket/key?legal-hold`.
    pub(crate) async fn get_object_legal_hold(
        &self,
        request: S3Request<GetObjectLegalHoldInput>,
    ) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
        let (bucket, object) = self.find_version(&version_ref!(request.input)).await?;
        expect_lock(&bucket)?;
        let hold = object.attributes.legal_hold;
        let hold = hold.ok_or_else(|| s3_error!(NoSuchObjectLockConfiguration))?;
        Ok(S3Response::new(GetObjectLegalHoldOutput {
            legal_hold: Some(ObjectLockLegalHold {
                status: Some(hold_status(hold)),
            }),
        }))
    }

    /// `PUT /bucket/key?legal-hold`.
    pub(crate) async fn put_object_legal_hold(
        &self,
        request: S3Request<PutObjectLegalHoldInput>,
    ) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
        let needed = NeededAction::of(&request, ["s3:PutObjectLegalHold"; 2]);
        let bucket = self.bucket(&request.input.bucket).await?;
        expect_lock(&bucket)?;
        let hold = request.input.legal_hold.clone();
        let status = hold.and_then(|hold| hold.status);
        let hold = match status.as_ref().map(ObjectLockLegalHoldStatus::as_str) {
            Some(ObjectLockLegalHoldStatus::ON) => true,
            Some(ObjectLockLegalHoldStatus::OFF) => false,
            _ => return Err(s3_error!(MalformedXML)),
        };
        self.amend(&version_ref!(request.input), &needed, |attributes| {
            attributes.legal_hold = Some(hold);
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
    }

    async fn find_version(
        &self,
        version_ref: &VersionRef<'_>,
    ) -> S3Result<(Bucket, ObjectVersion)> {
        let bucket = self.bucket(version_ref.bucket).await?;
        let key = ObjectKey::parse(version_ref.key).map_err(errors::from_name)?;
        let object = self.object(&bucket, &key, version_ref.version).await?;
        Ok((bucket, object))
    }

    /// Changes a version's attributes; `change` may be called again after another change.
    async fn amend(
        &self,
        version_ref: &VersionRef<'_>,
        needed: &NeededAction<'_>,
        change: impl Fn(&mut ObjectAttributes) -> S3Result<()>,
    ) -> S3Result<(Bucket, ObjectVersion)> {
        for _ in 0..ATTEMPTS_MAX {
            let row = self.find_version(version_ref).await?;
            let amended = self.try_amend(version_ref, needed, row, &change).await?;
            if let Some(amended) = amended {
                return Ok(amended);
            }
        }
        Err(s3_error!(OperationAborted))
    }

    /// Changes the attributes of a row that was read; none where another change got in between. Since
    /// the gate let the request pass, the object may have become somebody else's: the very row that is
    /// changed is asked about again.
    async fn try_amend(
        &self,
        version_ref: &VersionRef<'_>,
        needed: &NeededAction<'_>,
        (bucket, mut object): (Bucket, ObjectVersion),
        change: impl FnOnce(&mut ObjectAttributes) -> S3Result<()>,
    ) -> S3Result<Option<(Bucket, ObjectVersion)>> {
        let key = ObjectKey::parse(version_ref.key).map_err(errors::from_name)?;
        let action = needed.action[usize::from(version_ref.version.is_some())];
        let on = (Some(&key), Some(&object));
        self.gate
            .authorize_seen(&needed.caller, &bucket, action, on, needed.request_facts)?;
        let seen = object.sequence;
        change(&mut object.attributes)?;
        object.sequence = Sequence::generate();
        let amended = self
            .metastore
            .amend_object(bucket.id, &key, object.clone(), seen)
            .await;
        match amended {
            Ok(()) => Ok(Some((bucket, object))),
            Err(MetaError::Conflict | MetaError::NoSuchVersion(..)) => Ok(None),
            Err(error) => Err(errors::from_metadata(error)),
        }
    }
}

/// Refuses what is about locks in a bucket that has none.
fn expect_lock(bucket: &Bucket) -> S3Result<()> {
    match bucket.settings.lock {
        Some(_) => Ok(()),
        None => Err(s3_error!(
            InvalidRequest,
            "Bucket is missing Object Lock Configuration"
        )),
    }
}

/// Tags as S3's documents show them, in order of their keys.
fn shown_tags(tags: &[(String, String)]) -> Vec<Tag> {
    let mut tags: Vec<_> = tags.iter().collect();
    tags.sort();
    let tag = |(key, value): &(String, String)| Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    tags.into_iter().map(tag).collect()
}
