//! Settings of a bucket: versioning and object lock.

use metastore::{LockSettings, RetentionPeriod, Versioning};
use s3s::dto::{
    BucketVersioningStatus, DefaultRetention, GetBucketVersioningInput, GetBucketVersioningOutput,
    GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, MFADelete,
    ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule,
    PutBucketVersioningInput, PutBucketVersioningOutput, PutObjectLockConfigurationInput,
    PutObjectLockConfigurationOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use crate::s3::errors;
use crate::s3::gateway::S3Gateway;
use crate::s3::object::lock::{lock_mode, lock_mode_name};

/// Longest default retention. Source: S3 user guide, "Object Lock considerations".
const RETENTION_MAX_DAYS: i32 = 36_500;
const RETENTION_MAX_YEARS: i32 = 100;

impl S3Gateway {
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
