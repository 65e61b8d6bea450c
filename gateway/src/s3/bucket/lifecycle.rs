//! Lifecycle configurations of buckets, and the header that tells when an object goes. What the
//! rules say is carried out by a job. Source of the checks: S3 API reference,
//! PutBucketLifecycleConfiguration.

use std::collections::HashSet;
use std::sync::Arc;

use metastore::{Bucket, BucketDocument, ObjectKey, ObjectVersion, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use s3s::dto::{
    BucketLifecycleConfiguration, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput,
    GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput,
    PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput,
    Timestamp as DtoTimestamp, TransitionDefaultMinimumObjectSize as Minimum,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use uuid::Uuid;

use super::document_store::{document_of, kept_document};
use super::lifecycle_rule;
use crate::lifecycle::{Judge, Rule};
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;
use crate::s3::object::headers;

/// Most rules of a bucket, and their longest names.
const RULES_MAX: usize = 1000;
const ID_MAX_CHARS: usize = 255;

/// What stands in a rule's name in a header as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

impl S3Gateway {
    /// `GET /bucket?lifecycle`.
    pub(crate) async fn get_bucket_lifecycle_configuration(
        &self,
        request: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        let found =
            document_of::<BucketLifecycleConfiguration>(&bucket, BucketDocument::Lifecycle)?;
        let configuration = found.ok_or_else(|| {
            errors::custom(
                http::StatusCode::NOT_FOUND,
                "NoSuchLifecycleConfiguration",
                "The lifecycle configuration does not exist",
            )
        })?;
        Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
            rules: Some(configuration.rules),
            transition_default_minimum_object_size: Some(minimum_of(&bucket)),
        }))
    }

    /// `PUT /bucket?lifecycle`. Rules without a name get one.
    pub(crate) async fn put_bucket_lifecycle_configuration(
        &self,
        request: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        let input = request.input;
        let mut configuration = input
            .lifecycle_configuration
            .ok_or_else(|| s3_error!(MalformedXML))?;
        check(&mut configuration)?;
        let minimum = input
            .transition_default_minimum_object_size
            .unwrap_or_else(|| Minimum::from_static(Minimum::ALL_STORAGE_CLASSES_128K));
        if ![
            Minimum::ALL_STORAGE_CLASSES_128K,
            Minimum::VARIES_BY_STORAGE_CLASS,
        ]
        .contains(&minimum.as_str())
        {
            return Err(s3_error!(
                InvalidRequest,
                "Invalid value of x-amz-transition-default-minimum-object-size."
            ));
        }
        let text = kept_document(BucketDocument::Lifecycle, &configuration)?;
        self.amend_bucket(&input.bucket, |bucket| {
            let documents = &mut bucket.settings.documents;
            documents.insert(BucketDocument::Lifecycle, text.clone());
            let minimum = minimum.as_str().to_owned();
            documents.insert(BucketDocument::TransitionMinimum, minimum);
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketLifecycleConfigurationOutput {
            transition_default_minimum_object_size: Some(minimum),
        }))
    }

    /// `DELETE /bucket?lifecycle`.
    pub(crate) async fn delete_bucket_lifecycle(
        &self,
        request: S3Request<DeleteBucketLifecycleInput>,
    ) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
        self.amend_bucket(&request.input.bucket, |bucket| {
            let documents = &mut bucket.settings.documents;
            documents.remove(&BucketDocument::Lifecycle);
            documents.remove(&BucketDocument::TransitionMinimum);
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(
            DeleteBucketLifecycleOutput::default(),
            http::StatusCode::NO_CONTENT,
        ))
    }

    /// The `x-amz-expiration` header of a current version, if a rule lets it expire.
    pub(crate) fn expiration(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        object: &ObjectVersion,
    ) -> Option<String> {
        let rules = self.rules(bucket)?;
        let judge = Judge {
            rules: &rules,
            calendar: self.settings.calendar,
            now: Timestamp::now(),
        };
        let (at, id) = judge.expiry(key.as_str(), object)?;
        let seconds = i64::try_from(at.0 / 1000).ok()?;
        let date = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        let date = date.format(&Rfc2822).ok()?.replace("+0000", "GMT");
        let id = in_header(id);
        Some(format!("expiry-date=\"{date}\", rule-id=\"{id}\""))
    }

    /// When an upload is aborted, and the name of the rule that says so, as headers carry it.
    pub(crate) fn upload_abort_date(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        initiated_at: Timestamp,
    ) -> Option<(DtoTimestamp, String)> {
        let rules = self.rules(bucket)?;
        let judge = Judge {
            rules: &rules,
            calendar: self.settings.calendar,
            now: Timestamp::now(),
        };
        let (at, id) = judge.abortion(key.as_str(), initiated_at)?;
        Some((headers::to_timestamp(at), in_header(id)))
    }

    /// The enabled rules of a bucket, if they can be read.
    fn rules(&self, bucket: &Bucket) -> Option<Arc<Vec<Rule>>> {
        let documents = &bucket.settings.documents;
        documents.get(&BucketDocument::Lifecycle)?;
        let rules = self.lifecycle_rules.of(bucket, || enabled_rules(bucket));
        rules.ok()
    }
}

/// A rule's name as headers carry it.
fn in_header(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, KEPT).to_string()
}

/// The least size of what is transitioned, as the client set it. Here everything is, whatever its
/// size: a class is only a label. Tools wait until they read what they wrote.
fn minimum_of(bucket: &Bucket) -> Minimum {
    let kept = &bucket.settings.documents;
    match kept.get(&BucketDocument::TransitionMinimum) {
        Some(minimum) => Minimum::from(minimum.clone()),
        None => Minimum::from_static(Minimum::ALL_STORAGE_CLASSES_128K),
    }
}

/// The enabled rules of a bucket, for the job; none where its document cannot be read, which is
/// logged.
pub fn rules_of(bucket: &Bucket) -> Vec<Rule> {
    enabled_rules(bucket).unwrap_or_default()
}

fn enabled_rules(bucket: &Bucket) -> S3Result<Vec<Rule>> {
    let found = document_of::<BucketLifecycleConfiguration>(bucket, BucketDocument::Lifecycle)?;
    let rules = found.map(|configuration| configuration.rules);
    let enabled = rules.into_iter().flatten().map(lifecycle_rule::parse);
    let enabled = enabled.collect::<S3Result<Vec<_>>>()?;
    Ok(enabled.into_iter().flatten().collect())
}

/// Checks a configuration and names its nameless rules.
pub(crate) fn check(configuration: &mut BucketLifecycleConfiguration) -> S3Result<()> {
    if configuration.rules.is_empty() || configuration.rules.len() > RULES_MAX {
        return Err(s3_error!(MalformedXML));
    }
    let mut ids = HashSet::new();
    for rule in &mut configuration.rules {
        let id = rule
            .id
            .get_or_insert_with(|| Uuid::new_v4().simple().to_string());
        if id.chars().count() > ID_MAX_CHARS {
            return Err(s3_error!(
                InvalidArgument,
                "ID length should not exceed allowed limit of 255"
            ));
        }
        if !ids.insert(id.clone()) {
            return Err(s3_error!(
                InvalidArgument,
                "Rule ID must be unique. Found same ID for more than one rule"
            ));
        }
        lifecycle_rule::parse(rule.clone())?;
        lifecycle_rule::refuse_too_early(rule)?;
    }
    Ok(())
}
