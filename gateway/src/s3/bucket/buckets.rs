//! The bucket operations: list, create, head, delete, location.

use http::HeaderMap;
use metastore::{
    Bucket, BucketDocument, BucketId, BucketName, BucketPage, BucketSettings, LockSettings,
    MetaError, Ownership, Timestamp, Versioning,
};
use s3s::dto::{
    BucketLocationConstraint, CreateBucketConfiguration, CreateBucketInput, CreateBucketOutput,
    DeleteBucketInput, DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput,
    HeadBucketInput, HeadBucketOutput, ListBucketsInput, ListBucketsOutput, Tagging,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::document_store::kept_bucket_tags;
use crate::s3::access::{Caller, parse_ownership, refuse_blocked_acl, shared_acl_error};
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;
use crate::s3::object::headers;

/// Most buckets in one page of ListBuckets.
const BUCKETS_MAX: i32 = 10_000;
/// Buckets looked at in one step of a listing: their rows come whole, with all their documents.
const BUCKETS_BATCH: usize = 50;
/// The region whose buckets have no location constraint, and where creating one's own bucket again
/// succeeds. Source: S3 API reference, CreateBucket.
const CLASSIC_REGION: &str = "us-east-1";

/// S3 keeps names that end so for buckets of tables. Buckets of before that have them stay.
const TABLE_SUFFIX: &str = "--table-s3";

/// Refuses a directory bucket: it would behave otherwise than the client believes.
fn refuse_directory(configuration: &CreateBucketConfiguration) -> S3Result<()> {
    match configuration.bucket.is_some() || configuration.location.is_some() {
        true => Err(s3_error!(
            NotImplemented,
            "Directory buckets are not implemented."
        )),
        false => Ok(()),
    }
}

impl S3Gateway {
    /// `GET /`.
    pub(crate) async fn list_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let caller = Caller::of(&request);
        let input = request.input;
        let limit = input.max_buckets.unwrap_or(BUCKETS_MAX);
        if !(1..=BUCKETS_MAX).contains(&limit) {
            return Err(s3_error!(
                InvalidArgument,
                "max-buckets must be between 1 and 10000."
            ));
        }
        let prefix = input.prefix.unwrap_or_default();
        let after = input.continuation_token.as_deref();
        let limit = usize::try_from(limit).unwrap_or_default();
        let page = self.own_buckets(&caller, &prefix, after, limit).await?;
        let continuation_token = match page.buckets.last() {
            Some(last) if page.truncated => Some(last.name.as_str().to_owned()),
            _ => None,
        };
        let owner = match caller.id() {
            Some(id) => Some(self.directory.owner(id).await?),
            None => None,
        };
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(page.buckets.iter().map(listed).collect()),
            continuation_token,
            owner,
            prefix: (!prefix.is_empty()).then_some(prefix),
        }))
    }

    /// A page of the caller's buckets; the root user sees all.
    async fn own_buckets(
        &self,
        caller: &Caller,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> S3Result<BucketPage> {
        let mut after = after.map(str::to_owned);
        let mut own = Vec::new();
        loop {
            let page = self
                .metastore
                .list_buckets(prefix, after.as_deref(), BUCKETS_BATCH)
                .await
                .map_err(errors::from_metadata)?;
            after = page
                .buckets
                .last()
                .map(|last| last.name.as_str().to_owned());
            for mut bucket in page.buckets {
                if *caller == Caller::Root || caller.is(&bucket.owner) {
                    if own.len() == limit {
                        return Ok(BucketPage {
                            buckets: own,
                            truncated: true,
                        });
                    }
                    // What is not shown is not kept until the page is full.
                    bucket.settings = BucketSettings::default();
                    own.push(bucket);
                }
            }
            if !page.truncated {
                return Ok(BucketPage {
                    buckets: own,
                    truncated: false,
                });
            }
        }
    }

    /// `PUT /bucket`.
    pub(crate) async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        headers::refuse_append(&request.headers)?;
        let caller = Caller::of(&request);
        let owner = caller
            .id()
            .ok_or_else(|| s3_error!(AccessDenied))?
            .to_owned();
        let input = request.input;
        let bucket = self
            .new_bucket(owner.clone(), &input, &request.headers)
            .await?;
        let location = format!("/{}", bucket.name);
        let asked_acl = bucket.settings.acl.clone().unwrap_or_default();
        match self.metastore.create_bucket(bucket).await {
            Ok(()) => {}
            Err(MetaError::BucketExists { owner: other, .. }) if other == owner => {
                let standing = self.bucket(&input.bucket).await?;
                if standing.settings.acl.unwrap_or_default() != asked_acl {
                    return Err(s3_error!(BucketAlreadyExists));
                }
                if self.settings.region != CLASSIC_REGION {
                    return Err(s3_error!(BucketAlreadyOwnedByYou));
                }
            }
            Err(error) => return Err(errors::from_metadata(error)),
        }
        Ok(S3Response::new(CreateBucketOutput {
            location: Some(location),
            ..CreateBucketOutput::default()
        }))
    }

    /// The bucket that a CreateBucket asks for.
    async fn new_bucket(
        &self,
        owner: String,
        input: &CreateBucketInput,
        headers: &HeaderMap,
    ) -> S3Result<Bucket> {
        let name = BucketName::parse(&input.bucket).map_err(errors::from_name)?;
        let configuration = input.create_bucket_configuration.clone();
        let configuration = configuration.unwrap_or_default();
        refuse_directory(&configuration)?;
        if name.as_str().ends_with(TABLE_SUFFIX) {
            return Err(s3_error!(InvalidBucketName));
        }
        let constraint = configuration.location_constraint.as_ref();
        let constraint = constraint.map(BucketLocationConstraint::as_str);
        let elsewhere = |region: &str| !region.is_empty() && region != self.settings.region;
        if let Some(region) = constraint.filter(|region| elsewhere(region)) {
            return Err(another_region(region));
        }
        let mut settings = BucketSettings::default();
        if input.object_lock_enabled_for_bucket == Some(true) {
            settings.lock = Some(LockSettings::default());
            settings.versioning = Versioning::Enabled;
        }
        if let Some(ownership) = &input.object_ownership {
            settings.ownership = Some(parse_ownership(ownership.as_str())?);
        }
        let tags = Tagging {
            tag_set: configuration.tags.unwrap_or_default(),
        };
        if !tags.tag_set.is_empty() {
            let text = kept_bucket_tags(&tags)?;
            settings.documents.insert(BucketDocument::Tagging, text);
        }
        let mut bucket = Bucket {
            id: BucketId::generate(),
            name,
            created_at: Timestamp::now(),
            owner,
            region: self.settings.region.clone(),
            settings,
        };
        let enforced = bucket.settings.ownership == Some(Ownership::BucketOwnerEnforced);
        if enforced && opens(headers) {
            return Err(shared_acl_error());
        }
        // A private list is what such a bucket has in any case.
        if !(enforced && is_private(headers)) {
            bucket.settings.acl = self.new_acl(&bucket, &bucket.owner, headers).await?;
        }
        refuse_blocked_acl(&bucket, bucket.settings.acl.as_ref())?;
        Ok(bucket)
    }

    /// `HEAD /bucket`.
    pub(crate) async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region: Some(bucket.region),
            ..HeadBucketOutput::default()
        }))
    }

    /// `DELETE /bucket`.
    pub(crate) async fn delete_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        let name = BucketName::parse(&request.input.bucket).map_err(errors::from_name)?;
        self.metastore
            .delete_bucket(&name, Timestamp::now())
            .await
            .map_err(errors::from_metadata)?;
        Ok(S3Response::with_status(
            DeleteBucketOutput::default(),
            http::StatusCode::NO_CONTENT,
        ))
    }

    /// `GET /bucket?location`.
    pub(crate) async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        let constraint = (bucket.region != CLASSIC_REGION)
            .then(|| BucketLocationConstraint::from(bucket.region));
        Ok(S3Response::new(GetBucketLocationOutput {
            location_constraint: constraint,
        }))
    }
}

/// The refusal of a bucket for another region: S3 tells a region that is not the endpoint's from a
/// name that is no region's.
fn another_region(named: &str) -> S3Error {
    if named == "EU" || is_region_name(named) {
        let message = format!(
            "The {named} location constraint is incompatible for the region specific endpoint this request was sent to."
        );
        return S3Error::with_message(S3ErrorCode::IllegalLocationConstraintException, message);
    }
    s3_error!(
        InvalidLocationConstraint,
        "The specified location-constraint is not valid"
    )
}

/// Whether a name is written like those of AWS's regions: `eu-central-1`, `us-gov-west-1`.
fn is_region_name(name: &str) -> bool {
    let words: Vec<&str> = name.split('-').collect();
    let is_word =
        |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    match words.split_last() {
        Some((number, words)) => {
            words.len() >= 2
                && words.iter().all(is_word)
                && number.len() <= 2
                && number.parse::<u8>().is_ok()
        }
        None => false,
    }
}

/// Whether a new bucket is to be open to others.
fn is_private(headers: &HeaderMap) -> bool {
    headers.get("x-amz-acl").is_some_and(|acl| acl == "private")
        && !headers
            .keys()
            .any(|name| name.as_str().starts_with("x-amz-grant-"))
}

fn opens(headers: &HeaderMap) -> bool {
    headers.get("x-amz-acl").is_some_and(|acl| {
        acl.as_bytes().starts_with(b"public") || acl.as_bytes().starts_with(b"authenticated")
    })
}

fn listed(bucket: &Bucket) -> s3s::dto::Bucket {
    s3s::dto::Bucket {
        name: Some(bucket.name.as_str().to_owned()),
        creation_date: Some(headers::to_precise_timestamp(bucket.created_at)),
        bucket_region: Some(bucket.region.clone()),
        ..s3s::dto::Bucket::default()
    }
}
