//! Settings of a bucket: versioning, object lock, and configurations that are kept as documents.
//! Every change is a compare-and-set on the bucket's row.

use metastore::{
    Bucket, BucketDocument, LockSettings, MetaError, RetentionPeriod, Sequence, Versioning,
};
use s3s::dto::{
    BucketVersioningStatus, DefaultRetention, GetBucketVersioningInput, GetBucketVersioningOutput,
    GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, MFADelete,
    ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule,
    PutBucketVersioningInput, PutBucketVersioningOutput, PutObjectLockConfigurationInput,
    PutObjectLockConfigurationOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use crate::s3::body::limits::{CONFIGURATION_MAX_BYTES, LIFECYCLE_MAX_BYTES};
use crate::s3::edge::xml_text::is_xml_text;
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;
use crate::s3::object::new_attributes::{lock_mode, lock_mode_name};

/// Times that a change looks again after another one got in between.
const ATTEMPTS_MAX: usize = 32;
/// Longest default retention. Source: S3 user guide, "Object Lock considerations".
const RETENTION_MAX_DAYS: i32 = 36_500;
const RETENTION_MAX_YEARS: i32 = 100;

impl S3Gateway {
    /// Changes a bucket's settings; `change` may be called again after another change.
    pub(crate) async fn amend_bucket(
        &self,
        name: &str,
        change: impl Fn(&mut Bucket) -> S3Result<()>,
    ) -> S3Result<()> {
        let _turn = self.settings_turn.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let mut bucket = self.bucket(name).await?;
            let seen = bucket.settings.revision;
            change(&mut bucket)?;
            bucket.settings.revision = Sequence::generate();
            match self.metastore.amend_bucket(bucket, seen).await {
                Err(MetaError::Conflict) => {}
                outcome => return outcome.map_err(errors::from_metadata),
            }
        }
        Err(s3_error!(OperationAborted))
    }

    /// Writes one of a bucket's documents over what is there.
    ///
    /// # Errors
    /// `MaxMessageLengthExceeded` for one that is too long, `MalformedXML` for one that could not be
    /// returned; as for any change of the bucket.
    pub(crate) async fn put_document<D: s3s::xml::Serialize>(
        &self,
        bucket: &str,
        kind: BucketDocument,
        document: &D,
    ) -> S3Result<()> {
        let text = kept_document(kind, document)?;
        self.amend_bucket(bucket, |bucket| {
            bucket.settings.documents.insert(kind, text.clone());
            Ok(())
        })
        .await
    }

    /// One of a bucket's documents, if it has it.
    pub(crate) async fn document<D: for<'x> s3s::xml::Deserialize<'x>>(
        &self,
        bucket: &str,
        kind: BucketDocument,
    ) -> S3Result<Option<D>> {
        let bucket = self.bucket(bucket).await?;
        document_of(&bucket, kind)
    }

    /// Removes one of a bucket's documents.
    pub(crate) async fn delete_document(&self, bucket: &str, kind: BucketDocument) -> S3Result<()> {
        self.amend_bucket(bucket, |bucket| {
            bucket.settings.documents.remove(&kind);
            Ok(())
        })
        .await
    }

    /// `GET /bucket?versioning`.
    pub(crate) async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        let status = match bucket.settings.versioning {
            Versioning::Off => None,
            Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
            Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
        };
        Ok(S3Response::new(GetBucketVersioningOutput {
            status: status.map(BucketVersioningStatus::from_static),
            ..GetBucketVersioningOutput::default()
        }))
    }

    /// `PUT /bucket?versioning`.
    pub(crate) async fn put_bucket_versioning(
        &self,
        request: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        let configuration = request.input.versioning_configuration;
        let mfa_delete = configuration.mfa_delete.as_ref().map(MFADelete::as_str);
        if mfa_delete == Some(MFADelete::ENABLED) {
            return Err(s3_error!(NotImplemented, "MFA delete is not implemented."));
        }
        let status = configuration.status;
        let versioning = match status.as_ref().map(BucketVersioningStatus::as_str) {
            Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
            Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
            _ => return Err(s3_error!(MalformedXML)),
        };
        self.amend_bucket(&request.input.bucket, |bucket| {
            if bucket.settings.lock.is_some() && versioning != Versioning::Enabled {
                return Err(S3Error::with_message(
                    S3ErrorCode::InvalidBucketState,
                    "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
                ));
            }
            bucket.settings.versioning = versioning;
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketVersioningOutput::default()))
    }

    /// `GET /bucket?object-lock`.
    pub(crate) async fn get_object_lock_configuration(
        &self,
        request: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        let lock = bucket.settings.lock;
        let lock = lock.ok_or_else(|| s3_error!(ObjectLockConfigurationNotFoundError))?;
        let rule = lock.default_retention.map(|(mode, period)| {
            let (days, years) = match period {
                RetentionPeriod::Days(days) => (i32::try_from(days).ok(), None),
                RetentionPeriod::Years(years) => (None, i32::try_from(years).ok()),
            };
            let mode = ObjectLockRetentionMode::from_static(lock_mode_name(mode));
            ObjectLockRule {
                default_retention: Some(DefaultRetention {
                    days,
                    mode: Some(mode),
                    years,
                }),
            }
        });
        let enabled = ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED);
        Ok(S3Response::new(GetObjectLockConfigurationOutput {
            object_lock_configuration: Some(ObjectLockConfiguration {
                object_lock_enabled: Some(enabled),
                rule,
            }),
        }))
    }

    /// `PUT /bucket?object-lock`.
    pub(crate) async fn put_object_lock_configuration(
        &self,
        request: S3Request<PutObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
        let configuration = request.input.object_lock_configuration;
        let lock = lock_settings(configuration.ok_or_else(|| s3_error!(MalformedXML))?)?;
        self.amend_bucket(&request.input.bucket, |bucket| {
            if bucket.settings.versioning != Versioning::Enabled {
                return Err(S3Error::with_message(
                    S3ErrorCode::InvalidBucketState,
                    "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
                ));
            }
            bucket.settings.lock = Some(lock.clone());
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
    }
}

/// One of a bucket's documents, if it has it.
pub fn document_of<D: for<'x> s3s::xml::Deserialize<'x>>(
    bucket: &Bucket,
    kind: BucketDocument,
) -> S3Result<Option<D>> {
    let Some(text) = bucket.settings.documents.get(&kind) else {
        return Ok(None);
    };
    let mut reader = s3s::xml::Deserializer::new(text.as_bytes());
    match D::deserialize(&mut reader) {
        Ok(document) => Ok(Some(document)),
        Err(error) => {
            tracing::error!(%error, bucket = %bucket.name, ?kind, "a kept document cannot be read");
            Err(s3_error!(InternalError))
        }
    }
}

/// A document as the bucket's row keeps it.
///
/// # Errors
/// `MaxMessageLengthExceeded`, because every request reads the row; `MalformedXML` for one that could
/// not be returned.
pub fn kept_document<D: s3s::xml::Serialize>(
    kind: BucketDocument,
    document: &D,
) -> S3Result<String> {
    let text = to_xml(document)?;
    let max_bytes = match kind {
        BucketDocument::Lifecycle => LIFECYCLE_MAX_BYTES,
        _ => CONFIGURATION_MAX_BYTES,
    };
    if text.len() > max_bytes {
        return Err(s3_error!(MaxMessageLengthExceeded));
    }
    match is_xml_text(&text) {
        true => Ok(text),
        false => Err(s3_error!(MalformedXML)),
    }
}

pub(crate) fn to_xml<D: s3s::xml::Serialize>(document: &D) -> S3Result<String> {
    let mut bytes = Vec::new();
    let written = document.serialize(&mut s3s::xml::Serializer::new(&mut bytes));
    let text = written.ok().and_then(|()| String::from_utf8(bytes).ok());
    text.ok_or_else(|| s3_error!(InternalError))
}

pub(crate) fn lock_settings(configuration: ObjectLockConfiguration) -> S3Result<LockSettings> {
    let malformed = || s3_error!(MalformedXML);
    let enabled = configuration.object_lock_enabled;
    if enabled.as_ref().map(ObjectLockEnabled::as_str) != Some(ObjectLockEnabled::ENABLED) {
        return Err(malformed());
    }
    let Some(rule) = configuration.rule else {
        return Ok(LockSettings::default());
    };
    let retention = rule.default_retention.ok_or_else(malformed)?;
    let mode = lock_mode(retention.mode.as_ref().ok_or_else(malformed)?.as_str())?;
    let invalid = || {
        errors::custom(
            http::StatusCode::BAD_REQUEST,
            "InvalidRetentionPeriod",
            "Default retention period must be a positive integer value.",
        )
    };
    let period = match (retention.days, retention.years) {
        (Some(days), None) if (1..=RETENTION_MAX_DAYS).contains(&days) => {
            RetentionPeriod::Days(days.unsigned_abs())
        }
        (None, Some(years)) if (1..=RETENTION_MAX_YEARS).contains(&years) => {
            RetentionPeriod::Years(years.unsigned_abs())
        }
        (Some(_), None) | (None, Some(_)) => return Err(invalid()),
        _ => return Err(malformed()),
    };
    Ok(LockSettings {
        default_retention: Some((mode, period)),
    })
}
