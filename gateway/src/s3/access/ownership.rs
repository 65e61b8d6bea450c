//! Ownership of a bucket's objects, and which access control lists a bucket takes.

use http::{HeaderMap, StatusCode};
use metastore::{Acl, Bucket, Ownership};
use s3s::dto::ObjectOwnership;
use s3s::{S3Error, S3Result, s3_error};

use super::acl::grants_public;
use crate::s3::errors;
use crate::s3::object::headers::text;

/// The list that says nothing but what a bucket of enforced ownership does anyway.
const ACL_OF_ENFORCED_OWNERSHIP: &str = "bucket-owner-full-control";

/// The ownership setting of that name.
///
/// # Errors
/// `InvalidArgument` for an unknown one.
pub fn parse_ownership(name: &str) -> S3Result<Ownership> {
    Ok(match name {
        ObjectOwnership::BUCKET_OWNER_ENFORCED => Ownership::BucketOwnerEnforced,
        ObjectOwnership::BUCKET_OWNER_PREFERRED => Ownership::BucketOwnerPreferred,
        ObjectOwnership::OBJECT_WRITER => Ownership::ObjectWriter,
        _ => return Err(s3_error!(InvalidArgument, "Unknown object ownership.")),
    })
}

/// The name of an ownership setting.
pub const fn ownership_name(ownership: Ownership) -> &'static str {
    match ownership {
        Ownership::BucketOwnerEnforced => ObjectOwnership::BUCKET_OWNER_ENFORCED,
        Ownership::BucketOwnerPreferred => ObjectOwnership::BUCKET_OWNER_PREFERRED,
        Ownership::ObjectWriter => ObjectOwnership::OBJECT_WRITER,
    }
}

/// Refuses the lists that headers ask for where ownership is enforced.
///
/// # Errors
/// `AccessControlListNotSupported`.
pub fn refuse_acls(headers: &HeaderMap) -> S3Result<()> {
    let canned = text(headers, "x-amz-acl")?;
    let is_harmless = canned.is_none_or(|acl| acl == ACL_OF_ENFORCED_OWNERSHIP);
    let grants = headers
        .keys()
        .any(|name| name.as_str().starts_with("x-amz-grant-"));
    match is_harmless && !grants {
        true => Ok(()),
        false => Err(acls_disabled_error()),
    }
}

/// Refuses a public list where the bucket blocks them.
pub fn refuse_blocked_acl(bucket: &Bucket, acl: Option<&Acl>) -> S3Result<()> {
    let block = bucket.settings.public_access_block.unwrap_or_default();
    match block.block_public_acls && acl.is_some_and(grants_public) {
        true => Err(s3_error!(AccessDenied)),
        false => Ok(()),
    }
}

/// The bucket's ownership setting takes no lists.
pub fn acls_disabled_error() -> S3Error {
    errors::custom(
        StatusCode::BAD_REQUEST,
        "AccessControlListNotSupported",
        "The bucket does not allow ACLs",
    )
}

/// A list that others are on and enforced ownership do not go together.
pub fn shared_acl_error() -> S3Error {
    errors::custom(
        StatusCode::BAD_REQUEST,
        "InvalidBucketAclWithObjectOwnership",
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
    )
}
