//! The attributes that a write gives its object: owner, grants, tags and lock, from the request's
//! headers and the bucket's settings.

use http::HeaderMap;
use metastore::{Acl, Bucket, Encryption, ObjectAttributes, Ownership, Timestamp};
use s3s::{S3Result, s3_error};

use super::headers::text;
use super::lock::{default_retention, requested_hold, requested_retention};
use super::tags::parse_tags;
use crate::s3::access::{AclRequest, Caller, refuse_acls, refuse_blocked_acl};
use crate::s3::gateway::S3Gateway;

impl S3Gateway {
    /// Owner and attributes of an object that the caller writes into `bucket`, encrypted as said.
    ///
    /// # Errors
    /// `AccessControlListNotSupported`, `AccessDenied` for a public list that is blocked,
    /// `InvalidTag`, and what is wrong with the lock's headers.
    pub(crate) async fn new_attributes(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        headers: &HeaderMap,
        encryption: Option<Encryption>,
    ) -> S3Result<(String, ObjectAttributes)> {
        let owner = new_owner(caller, bucket, headers);
        let acl = self.new_acl(bucket, &owner, headers).await?;
        let tags = match text(headers, "x-amz-tagging")? {
            Some(tags) => parse_tags(tags)?,
            None => Vec::new(),
        };
        let retention = match requested_retention(headers)? {
            Some(retention) => Some(retention),
            None => default_retention(bucket, Timestamp::now()),
        };
        let legal_hold = requested_hold(headers)?;
        let asks_for_lock =
            text(headers, "x-amz-object-lock-mode")?.is_some() || legal_hold.is_some();
        if asks_for_lock && bucket.settings.lock.is_none() {
            return Err(s3_error!(
                InvalidRequest,
                "Bucket is missing Object Lock Configuration"
            ));
        }
        let attributes = ObjectAttributes {
            acl,
            tags,
            retention,
            legal_hold,
            encryption,
        };
        Ok((owner, attributes))
    }

    /// The list that the headers ask for on an object of `owner`.
    pub(crate) async fn new_acl(
        &self,
        bucket: &Bucket,
        owner: &str,
        headers: &HeaderMap,
    ) -> S3Result<Option<Acl>> {
        if bucket.settings.ownership == Some(Ownership::BucketOwnerEnforced) {
            return refuse_acls(headers).map(|()| None);
        }
        let request = AclRequest {
            directory: &self.directory,
            owner,
            bucket_owner: &bucket.owner,
        };
        let acl = request.in_headers(headers).await?;
        refuse_blocked_acl(bucket, acl.as_ref())?;
        Ok(acl)
    }
}

fn new_owner(caller: &Caller, bucket: &Bucket, headers: &HeaderMap) -> String {
    let canned = headers.get("x-amz-acl");
    let gives_control = canned.is_some_and(|acl| acl == "bucket-owner-full-control");
    match bucket.settings.ownership {
        Some(Ownership::BucketOwnerEnforced) => bucket.owner.clone(),
        Some(Ownership::BucketOwnerPreferred) if gives_control => bucket.owner.clone(),
        // What nobody signed for belongs to whoever let nobody write.
        _ => caller.id().unwrap_or(&bucket.owner).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_asked_for_in_no_text_is_refused_and_not_passed_over() {
        for name in [
            "x-amz-object-lock-legal-hold",
            "x-amz-object-lock-mode",
            "x-amz-acl",
        ] {
            let value = HeaderValue::from_bytes(b"ON\xff").unwrap();
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value)]);
            let refused = requested_hold(&headers).is_err()
                || requested_retention(&headers).is_err()
                || refuse_acls(&headers).is_err();
            assert!(refused, "{name}");
        }
    }
}
