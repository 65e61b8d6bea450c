//! Which permission an operation needs, and on what. Source: S3 user guide, "Required permissions
//! for Amazon S3 API operations".

use http::HeaderMap;
use metastore::Permission;

/// What an operation is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// No bucket, or one that is to be made.
    Service,
    /// The bucket in the path.
    Bucket,
    /// The object in the path, which must be looked up only where a list on it may grant access.
    Object,
}

/// The permission that one operation requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequiredPermission {
    /// The permission as policies name it.
    pub action: &'static str,
    /// On what.
    pub target: Target,
}

/// The permission for the operation that s3s calls `operation`; `versioned` says whether the request names
/// a version. None for an operation that is not built.
#[expect(
    clippy::too_many_lines,
    reason = "a table with a line for each operation"
)]
pub fn required_permission(operation: &str, versioned: bool) -> Option<RequiredPermission> {
    let either = |plain, of_version| if versioned { of_version } else { plain };
    let service = |action| permission_on(action, Target::Service);
    let bucket = |action| permission_on(action, Target::Bucket);
    let object = |action| permission_on(action, Target::Object);
    Some(match operation {
        "ListBuckets" => service("s3:ListAllMyBuckets"),
        "CreateBucket" => service("s3:CreateBucket"),
        "DeleteBucket" => bucket("s3:DeleteBucket"),
        "DeleteObjects" => bucket("s3:DeleteObject"),
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => bucket("s3:ListBucket"),
        "ListObjectVersions" => bucket("s3:ListBucketVersions"),
        "ListMultipartUploads" => bucket("s3:ListBucketMultipartUploads"),
        "GetBucketLocation" => bucket("s3:GetBucketLocation"),
        "GetBucketAcl" => bucket("s3:GetBucketAcl"),
        "PutBucketAcl" => bucket("s3:PutBucketAcl"),
        "GetBucketVersioning" => bucket("s3:GetBucketVersioning"),
        "PutBucketVersioning" => bucket("s3:PutBucketVersioning"),
        "GetBucketPolicy" => bucket("s3:GetBucketPolicy"),
        "GetBucketPolicyStatus" => bucket("s3:GetBucketPolicyStatus"),
        "PutBucketPolicy" => bucket("s3:PutBucketPolicy"),
        "DeleteBucketPolicy" => bucket("s3:DeleteBucketPolicy"),
        "GetPublicAccessBlock" => bucket("s3:GetBucketPublicAccessBlock"),
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => {
            bucket("s3:PutBucketPublicAccessBlock")
        }
        "GetBucketOwnershipControls" => bucket("s3:GetBucketOwnershipControls"),
        "PutBucketOwnershipControls" | "DeleteBucketOwnershipControls" => {
            bucket("s3:PutBucketOwnershipControls")
        }
        "GetBucketCors" => bucket("s3:GetBucketCORS"),
        "PutBucketCors" | "DeleteBucketCors" => bucket("s3:PutBucketCORS"),
        "GetBucketTagging" => bucket("s3:GetBucketTagging"),
        "PutBucketTagging" | "DeleteBucketTagging" => bucket("s3:PutBucketTagging"),
        "GetBucketLifecycleConfiguration" => bucket("s3:GetLifecycleConfiguration"),
        "PutBucketLifecycleConfiguration" | "DeleteBucketLifecycle" => {
            bucket("s3:PutLifecycleConfiguration")
        }
        "GetBucketEncryption" => bucket("s3:GetEncryptionConfiguration"),
        "PutBucketEncryption" | "DeleteBucketEncryption" => bucket("s3:PutEncryptionConfiguration"),
        "GetObjectLockConfiguration" => bucket("s3:GetBucketObjectLockConfiguration"),
        "PutObjectLockConfiguration" => bucket("s3:PutBucketObjectLockConfiguration"),
        "GetBucketWebsite" => bucket("s3:GetBucketWebsite"),
        "PutBucketWebsite" => bucket("s3:PutBucketWebsite"),
        "DeleteBucketWebsite" => bucket("s3:DeleteBucketWebsite"),
        "GetBucketLogging" => bucket("s3:GetBucketLogging"),
        "PutBucketLogging" => bucket("s3:PutBucketLogging"),
        "GetBucketNotificationConfiguration" => bucket("s3:GetBucketNotification"),
        "PutBucketNotificationConfiguration" => bucket("s3:PutBucketNotification"),
        "GetBucketRequestPayment" => bucket("s3:GetBucketRequestPayment"),
        "PutBucketRequestPayment" => bucket("s3:PutBucketRequestPayment"),
        "GetObject" | "HeadObject" => object(either("s3:GetObject", "s3:GetObjectVersion")),
        "GetObjectAttributes" => object(either("s3:GetObject", "s3:GetObjectVersion")),
        "GetObjectTorrent" => object("s3:GetObjectTorrent"),
        "PutObject"
        | "PostObject"
        | "CopyObject"
        | "RenameObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload" => object("s3:PutObject"),
        "AbortMultipartUpload" => object("s3:AbortMultipartUpload"),
        "ListParts" => object("s3:ListMultipartUploadParts"),
        "DeleteObject" => object(either("s3:DeleteObject", "s3:DeleteObjectVersion")),
        "GetObjectAcl" => object(either("s3:GetObjectAcl", "s3:GetObjectVersionAcl")),
        "PutObjectAcl" => object(either("s3:PutObjectAcl", "s3:PutObjectVersionAcl")),
        "GetObjectTagging" => object(either("s3:GetObjectTagging", "s3:GetObjectVersionTagging")),
        "PutObjectTagging" => object(either("s3:PutObjectTagging", "s3:PutObjectVersionTagging")),
        "DeleteObjectTagging" => object(either(
            "s3:DeleteObjectTagging",
            "s3:DeleteObjectVersionTagging",
        )),
        "GetObjectRetention" => object("s3:GetObjectRetention"),
        "PutObjectRetention" => object("s3:PutObjectRetention"),
        "GetObjectLegalHold" => object("s3:GetObjectLegalHold"),
        "PutObjectLegalHold" => object("s3:PutObjectLegalHold"),
        _ => return None,
    })
}

/// A permission that an operation needs beside its [`required_permission`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtraPermission {
    /// The permission as policies name it.
    pub action: &'static str,
    /// How it must be had.
    pub requirement: Requirement,
}

/// How a permission must be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// Something must grant it.
    Granted,
    /// No policy may deny it; who may write an object may say this of it.
    NotDenied,
}

/// What an operation asks for beside its [`required_permission`], by its headers.
pub fn extra_permissions(
    operation: &str,
    headers: &HeaderMap,
    versioned: bool,
) -> impl Iterator<Item = ExtraPermission> {
    let given = |name: &str| headers.get(name).is_some_and(|value| !value.is_empty());
    let makes_object = matches!(
        operation,
        "PutObject" | "PostObject" | "CopyObject" | "CreateMultipartUpload"
    );
    let retains = given("x-amz-object-lock-mode") || given("x-amz-object-lock-retain-until-date");
    let holds = given("x-amz-object-lock-legal-hold");
    // A condition tells the ETag to who may try.
    let deletes_by_etag = operation == "DeleteObject"
        && headers
            .get("if-match")
            .is_some_and(|etag| !etag.is_empty() && etag != "*");
    let either = |plain, of_version| if versioned { of_version } else { plain };
    let granted = |asked: bool, action| {
        let requirement = Requirement::Granted;
        asked.then_some(ExtraPermission {
            action,
            requirement,
        })
    };
    let not_denied = |asked: bool, action| {
        let requirement = Requirement::NotDenied;
        asked.then_some(ExtraPermission {
            action,
            requirement,
        })
    };
    [
        granted(makes_object && retains, "s3:PutObjectRetention"),
        granted(makes_object && holds, "s3:PutObjectLegalHold"),
        not_denied(makes_object && lists_others(headers), "s3:PutObjectAcl"),
        not_denied(makes_object && given("x-amz-tagging"), PUT_TAGS),
        granted(
            operation == "GetObjectAttributes",
            either("s3:GetObjectAttributes", "s3:GetObjectVersionAttributes"),
        ),
        granted(
            deletes_by_etag,
            either("s3:GetObject", "s3:GetObjectVersion"),
        ),
    ]
    .into_iter()
    .flatten()
}

/// To give a new object tags.
pub const PUT_TAGS: &str = "s3:PutObjectTagging";

/// Whether the headers of a write ask for a list on which others than its owner are.
fn lists_others(headers: &HeaderMap) -> bool {
    let canned = headers.get("x-amz-acl");
    let mut grants = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-amz-grant-"));
    canned.is_some_and(|acl| !acl.is_empty() && acl != "private")
        || grants.any(|(_, grant)| !grant.is_empty())
}

/// Whether this is about an upload, which whoever began it may list and abort.
pub fn is_on_upload(action: &str) -> bool {
    matches!(
        action,
        "s3:AbortMultipartUpload" | "s3:ListMultipartUploadParts"
    )
}

const fn permission_on(action: &'static str, target: Target) -> RequiredPermission {
    RequiredPermission { action, target }
}

/// What a list must grant for an action, and which list: the bucket's or the object's.
pub fn acl_need(action: &str) -> Option<(Target, Permission)> {
    Some(match action {
        "s3:ListBucket" | "s3:ListBucketVersions" | "s3:ListBucketMultipartUploads" => {
            (Target::Bucket, Permission::Read)
        }
        // Versions and others' uploads are the bucket's owner's, whoever may write beside them.
        "s3:PutObject" | "s3:DeleteObject" => (Target::Bucket, Permission::Write),
        "s3:GetBucketAcl" => (Target::Bucket, Permission::ReadAcp),
        "s3:PutBucketAcl" => (Target::Bucket, Permission::WriteAcp),
        "s3:GetObject" | "s3:GetObjectVersion" => (Target::Object, Permission::Read),
        "s3:GetObjectAcl" | "s3:GetObjectVersionAcl" => (Target::Object, Permission::ReadAcp),
        "s3:PutObjectAcl" | "s3:PutObjectVersionAcl" => (Target::Object, Permission::WriteAcp),
        _ => return None,
    })
}

/// Whether the owner of an object may do this to it, whoever owns the bucket. Writes and deletes
/// are the bucket's business.
pub fn is_on_object(action: &str) -> bool {
    matches!(
        action,
        "s3:GetObject"
            | "s3:GetObjectVersion"
            | "s3:GetObjectAttributes"
            | "s3:GetObjectVersionAttributes"
            | "s3:GetObjectAcl"
            | "s3:GetObjectVersionAcl"
            | "s3:PutObjectAcl"
            | "s3:PutObjectVersionAcl"
            | "s3:GetObjectTorrent"
    )
}

/// Whether this is about the policy itself, which its bucket's owner can never be locked out of.
pub fn is_on_policy(action: &str) -> bool {
    matches!(
        action,
        "s3:GetBucketPolicy" | "s3:PutBucketPolicy" | "s3:DeleteBucketPolicy"
    )
}
