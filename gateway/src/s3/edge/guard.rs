//! The guard in front of the S3 router: a query key that we do not know must not turn a request
//! for a sub-resource into a PutObject, DeleteObject, CreateBucket or DeleteBucket. Others lost
//! data that way.

use http::Method;

use crate::http::query_pairs;

/// Query keys of presigned URLs of version 2, in which boto3 repeats the headers that it signs, and of
/// the SDKs; allowed everywhere, as is whatever begins with `x-amz-`.
const ANYWHERE: [&str; 6] = [
    "x-id",
    "AWSAccessKeyId",
    "Signature",
    "Expires",
    "content-md5",
    "content-type",
];

const PUT_BUCKET: &[&str] = &[
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "encryption",
    "id",
    "intelligent-tiering",
    "inventory",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "tagging",
    "versioning",
    "website",
];

const DELETE_BUCKET: &[&str] = &[
    "analytics",
    "cors",
    "encryption",
    "id",
    "intelligent-tiering",
    "inventory",
    "lifecycle",
    "metrics",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "replication",
    "tagging",
    "website",
];

const PUT_OBJECT: &[&str] = &[
    "acl",
    "legal-hold",
    "partNumber",
    "renameObject",
    "retention",
    "tagging",
    "uploadId",
    "versionId",
];

const DELETE_OBJECT: &[&str] = &["tagging", "uploadId", "versionId"];

const POST_BUCKET: &[&str] = &["delete"];

const POST_OBJECT: &[&str] = &[
    "restore",
    "select",
    "select-type",
    "uploadId",
    "uploads",
    "versionId",
];

/// Sub-resources of an object that a `versionId` may go with.
const VERSIONED: [&str; 4] = ["acl", "legal-hold", "retention", "tagging"];

/// Sub-resources of a bucket that have an `id`.
const IDENTIFIED: [&str; 4] = ["analytics", "intelligent-tiering", "inventory", "metrics"];

/// Why a request is refused before anything else is looked at.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// A query key that is unknown for the request's method.
    #[error("The query parameter '{0}' is not implemented for this request.")]
    Unknown(String),
    /// A query key that means nothing without another one.
    #[error("This operation does not accept the query parameter '{0}' alone.")]
    Alone(&'static str),
}

/// Lets a request pass unless it changes something and carries a query key that is unknown for its
/// method, or half of a pair. `names_object` tells whether the request's path names an object (else
/// a bucket). Reads pass with any key, as on AWS.
///
/// # Errors
/// [`Refusal`] with the key.
pub fn refuse_unknown_subresource(
    method: &Method,
    names_object: bool,
    query: Option<&str>,
) -> Result<(), Refusal> {
    let known = match (method, names_object) {
        (&Method::PUT, false) => PUT_BUCKET,
        (&Method::PUT, true) => PUT_OBJECT,
        (&Method::DELETE, false) => DELETE_BUCKET,
        (&Method::DELETE, true) => DELETE_OBJECT,
        (&Method::POST, false) => POST_BUCKET,
        (&Method::POST, true) => POST_OBJECT,
        _ => return Ok(()),
    };
    let keys: Vec<_> = query_pairs(query).map(|(key, _)| key).collect();
    for key in &keys {
        if !known.contains(&&**key) && !ANYWHERE.contains(&&**key) && !is_amz_parameter(key) {
            return Err(Refusal::Unknown(key.chars().take(100).collect()));
        }
    }
    let has = |key: &str| keys.iter().any(|given| given == key);
    if *method == Method::PUT && names_object {
        return refuse_half_of_a_pair(has);
    }
    if !names_object && has("id") && !IDENTIFIED.into_iter().any(has) {
        return Err(Refusal::Alone("id"));
    }
    Ok(())
}

/// Without its other half, such a key would let a PUT fall through to PutObject.
fn refuse_half_of_a_pair(has: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    match (has("partNumber"), has("uploadId")) {
        (true, false) => return Err(Refusal::Alone("partNumber")),
        (false, true) => return Err(Refusal::Alone("uploadId")),
        _ => {}
    }
    if has("versionId") && !VERSIONED.into_iter().any(has) {
        return Err(Refusal::Alone("versionId"));
    }
    Ok(())
}

/// Presigned URLs may carry any `x-amz-*` header as a query parameter; s3s checks that it is signed.
pub(crate) fn is_amz_parameter(key: &str) -> bool {
    key.get(..6)
        .is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, names_object: bool, query: &str) -> Result<(), Refusal> {
        refuse_unknown_subresource(&method, names_object, Some(query))
    }

    #[test]
    fn an_unknown_key_never_falls_through_to_a_write() {
        for method in [Method::PUT, Method::DELETE, Method::POST] {
            for names_object in [false, true] {
                let refused = check(method.clone(), names_object, "torrent");
                let unknown = Err(Refusal::Unknown("torrent".into()));
                assert_eq!(refused, unknown, "{method} {names_object}");
            }
        }
        assert!(check(Method::PUT, true, "partNumber=1&uploadId=x&restore").is_err());
        assert!(check(Method::DELETE, false, "lifecycl%65&acl").is_err());
    }

    #[test]
    fn known_keys_and_presigned_parameters_pass() {
        assert!(check(Method::PUT, true, "partNumber=1&uploadId=x&x-id=UploadPart").is_ok());
        assert!(check(Method::DELETE, false, "lifecycl%65").is_ok());
        assert!(
            check(
                Method::PUT,
                true,
                "X-Amz-Signature=1&x-amz-checksum-crc32=AA%3D%3D"
            )
            .is_ok()
        );
        assert!(refuse_unknown_subresource(&Method::PUT, true, None).is_ok());
    }

    #[test]
    fn half_of_a_pair_never_falls_through_to_a_put() {
        for (query, key) in [
            ("partNumber=1", "partNumber"),
            ("uploadId=x", "uploadId"),
            ("versionId=x", "versionId"),
        ] {
            assert_eq!(check(Method::PUT, true, query), Err(Refusal::Alone(key)));
        }
        assert!(check(Method::PUT, true, "tagging&versionId=x").is_ok());
        assert_eq!(
            check(Method::DELETE, false, "id=x"),
            Err(Refusal::Alone("id"))
        );
        assert!(check(Method::DELETE, false, "metrics&id=x").is_ok());
    }

    #[test]
    fn reads_pass_with_any_key() {
        assert!(check(Method::GET, true, "whatever=1").is_ok());
    }
}
