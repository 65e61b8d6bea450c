//! Who may use a bucket: its access control list, policy, public access block, ownership.

use http::StatusCode;
use metastore::{Acl, Bucket, Grant, Grantee, Ownership, PublicAccessBlock};
use s3s::dto::{
    DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput,
    DeleteBucketPolicyInput, DeleteBucketPolicyOutput, DeletePublicAccessBlockInput,
    DeletePublicAccessBlockOutput, GetBucketAclInput, GetBucketAclOutput,
    GetBucketOwnershipControlsInput, GetBucketOwnershipControlsOutput, GetBucketPolicyInput,
    GetBucketPolicyOutput, GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput,
    GetPublicAccessBlockInput, GetPublicAccessBlockOutput, ObjectOwnership, OwnershipControls,
    OwnershipControlsRule, PolicyStatus, PublicAccessBlockConfiguration, PutBucketAclInput,
    PutBucketAclOutput, PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput,
    PutBucketPolicyInput, PutBucketPolicyOutput, PutPublicAccessBlockInput,
    PutPublicAccessBlockOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use crate::s3::access::{
    AclRequest, POLICY_MAX_BYTES, Policy, acls_disabled_error, grants_public, ownership_name,
    parse_ownership, refuse_blocked_acl, shared_acl_error, to_dto_grants,
};
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;

impl S3Gateway {
    /// `GET /bucket?acl`.
    pub(crate) async fn get_bucket_acl(
        &self,
        request: S3Request<GetBucketAclInput>,
    ) -> S3Result<S3Response<GetBucketAclOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        let owner = self.directory.owner(&bucket.owner).await?;
        let acl = bucket.settings.acl.as_ref();
        let grants = to_dto_grants(&self.directory, acl, &owner).await?;
        Ok(S3Response::new(GetBucketAclOutput {
            grants: Some(grants),
            owner: Some(owner),
        }))
    }

    /// `PUT /bucket?acl`.
    pub(crate) async fn put_bucket_acl(
        &self,
        request: S3Request<PutBucketAclInput>,
    ) -> S3Result<S3Response<PutBucketAclOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        let asked = AclRequest {
            directory: &self.directory,
            owner: &bucket.owner,
            bucket_owner: &bucket.owner,
        };
        let acl = match request.input.access_control_policy {
            Some(document) => Some(asked.in_document(document).await?),
            None => asked.in_headers(&request.headers).await?,
        };
        if bucket.settings.ownership == Some(Ownership::BucketOwnerEnforced) {
            return Err(acls_disabled_error());
        }
        let acl = acl.ok_or_else(|| s3_error!(MissingSecurityHeader))?;
        refuse_blocked_acl(&bucket, Some(&acl))?;
        self.amend_bucket(&request.input.bucket, |bucket| {
            bucket.settings.acl = Some(acl.clone());
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketAclOutput::default()))
    }

    /// `GET /bucket?policy`.
    pub(crate) async fn get_bucket_policy(
        &self,
        request: S3Request<GetBucketPolicyInput>,
    ) -> S3Result<S3Response<GetBucketPolicyOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        let policy = bucket.settings.policy;
        let policy = policy.ok_or_else(|| s3_error!(NoSuchBucketPolicy))?;
        Ok(S3Response::new(GetBucketPolicyOutput {
            policy: Some(policy),
        }))
    }

    /// `PUT /bucket?policy`.
    pub(crate) async fn put_bucket_policy(
        &self,
        request: S3Request<PutBucketPolicyInput>,
    ) -> S3Result<S3Response<PutBucketPolicyOutput>> {
        let input = request.input;
        if input.policy.len() > POLICY_MAX_BYTES {
            return Err(malformed_policy("Policies must be at most 20 KB long"));
        }
        let policy = Policy::parse_new(&input.policy, &input.bucket)
            .map_err(|text| malformed_policy(&text))?;
        let is_public = policy.is_public();
        self.amend_bucket(&input.bucket, |bucket| {
            let block = bucket.settings.public_access_block.unwrap_or_default();
            if is_public && block.block_public_policy {
                return Err(s3_error!(AccessDenied));
            }
            bucket.settings.policy = Some(input.policy.clone());
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(
            PutBucketPolicyOutput::default(),
            StatusCode::NO_CONTENT,
        ))
    }

    /// `DELETE /bucket?policy`.
    pub(crate) async fn delete_bucket_policy(
        &self,
        request: S3Request<DeleteBucketPolicyInput>,
    ) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
        self.amend_bucket(&request.input.bucket, |bucket| {
            bucket.settings.policy = None;
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(
            DeleteBucketPolicyOutput::default(),
            StatusCode::NO_CONTENT,
        ))
    }

    /// `GET /bucket?policyStatus`.
    pub(crate) async fn get_bucket_policy_status(
        &self,
        request: S3Request<GetBucketPolicyStatusInput>,
    ) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        let is_public = is_public(&bucket);
        Ok(S3Response::new(GetBucketPolicyStatusOutput {
            policy_status: Some(PolicyStatus {
                is_public: Some(is_public),
            }),
        }))
    }

    /// `GET /bucket?publicAccessBlock`.
    pub(crate) async fn get_public_access_block(
        &self,
        request: S3Request<GetPublicAccessBlockInput>,
    ) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        let block = bucket.settings.public_access_block;
        let block = block.ok_or_else(no_block)?;
        Ok(S3Response::new(GetPublicAccessBlockOutput {
            public_access_block_configuration: Some(PublicAccessBlockConfiguration {
                block_public_acls: Some(block.block_public_acls),
                block_public_policy: Some(block.block_public_policy),
                ignore_public_acls: Some(block.ignore_public_acls),
                restrict_public_buckets: Some(block.restrict_public_buckets),
            }),
        }))
    }

    /// `PUT /bucket?publicAccessBlock`.
    pub(crate) async fn put_public_access_block(
        &self,
        request: S3Request<PutPublicAccessBlockInput>,
    ) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
        let given = request.input.public_access_block_configuration;
        let block = PublicAccessBlock {
            block_public_acls: given.block_public_acls.unwrap_or(false),
            ignore_public_acls: given.ignore_public_acls.unwrap_or(false),
            block_public_policy: given.block_public_policy.unwrap_or(false),
            restrict_public_buckets: given.restrict_public_buckets.unwrap_or(false),
        };
        self.amend_bucket(&request.input.bucket, |bucket| {
            bucket.settings.public_access_block = Some(block);
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
    }

    /// `DELETE /bucket?publicAccessBlock`.
    pub(crate) async fn delete_public_access_block(
        &self,
        request: S3Request<DeletePublicAccessBlockInput>,
    ) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
        self.amend_bucket(&request.input.bucket, |bucket| {
            bucket.settings.public_access_block = None;
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(
            DeletePublicAccessBlockOutput::default(),
            StatusCode::NO_CONTENT,
        ))
    }

    /// `GET /bucket?ownershipControls`.
    pub(crate) async fn get_bucket_ownership_controls(
        &self,
        request: S3Request<GetBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        let Some(ownership) = bucket.settings.ownership else {
            return Err(errors::custom(
                StatusCode::NOT_FOUND,
                "OwnershipControlsNotFoundError",
                "The bucket ownership controls were not found",
            ));
        };
        let rule = OwnershipControlsRule {
            object_ownership: ObjectOwnership::from_static(ownership_name(ownership)),
        };
        Ok(S3Response::new(GetBucketOwnershipControlsOutput {
            ownership_controls: Some(OwnershipControls { rules: vec![rule] }),
        }))
    }

    /// `PUT /bucket?ownershipControls`.
    pub(crate) async fn put_bucket_ownership_controls(
        &self,
        request: S3Request<PutBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
        let [rule] = request.input.ownership_controls.rules.as_slice() else {
            return Err(s3_error!(MalformedXML));
        };
        let ownership = parse_ownership(rule.object_ownership.as_str())?;
        self.amend_bucket(&request.input.bucket, |bucket| {
            // With lists off, a public one would stay behind unseen.
            let is_shared = bucket
                .settings
                .acl
                .as_ref()
                .is_some_and(|acl| shares(acl, &bucket.owner));
            if ownership == Ownership::BucketOwnerEnforced && is_shared {
                return Err(shared_acl_error());
            }
            bucket.settings.ownership = Some(ownership);
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
    }

    /// `DELETE /bucket?ownershipControls`.
    pub(crate) async fn delete_bucket_ownership_controls(
        &self,
        request: S3Request<DeleteBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<DeleteBucketOwnershipControlsOutput>> {
        self.amend_bucket(&request.input.bucket, |bucket| {
            bucket.settings.ownership = None;
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(
            DeleteBucketOwnershipControlsOutput::default(),
            StatusCode::NO_CONTENT,
        ))
    }
}

/// Whether a list grants anything to others than the owner.
fn shares(acl: &Acl, owner: &str) -> bool {
    let is_owner = |grant: &Grant| grant.grantee == Grantee::User(owner.to_owned());
    !acl.grants.iter().all(is_owner)
}

/// Whether policy or list open the bucket to everybody.
fn is_public(bucket: &Bucket) -> bool {
    let settings = &bucket.settings;
    let policy = settings.policy.as_deref();
    let policy = policy.and_then(|text| Policy::parse(text, bucket.name.as_str()).ok());
    policy.is_some_and(|policy| policy.is_public())
        || settings.acl.as_ref().is_some_and(grants_public)
}

fn no_block() -> S3Error {
    errors::custom(
        StatusCode::NOT_FOUND,
        "NoSuchPublicAccessBlockConfiguration",
        "The public access block configuration was not found",
    )
}

fn malformed_policy(text: &str) -> S3Error {
    S3Error::with_message(S3ErrorCode::MalformedPolicy, text.to_owned())
}
