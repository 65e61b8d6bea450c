//! The guard in front of the S3 router: a query key that we do not know must not turn a request
//! for a sub-resource into a PutObject, DeleteObject, CreateBucket or DeleteBucket. Others lost
//! data that way.

use http::Method;
use percent_encoding::percent_decode_str;

/// Query keys of presigned URLs (SigV4 and SigV2) and of the SDKs; allowed everywhere.
const ANYWHERE: [&str; 12] = [
    "x-id",
    "X-Amz-Algorithm",
    "X-Amz-Content-Sha256",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
    "AWSAccessKeyId",
    "Signature",
    "Expires",
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

/// A query key that the request's method does not know.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("The query parameter '{0}' is not implemented for this request.")]
pub struct Refusal(pub String);

/// Lets a request pass unless it changes something and carries a query key that is unknown for its
/// method. `names_object` tells whether the request's path names an object (else a bucket). Reads
/// pass with any key, as on AWS.
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
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let key = pair.split_once('=').map_or(pair, |(key, _)| key);
        let key = percent_decode_str(key).decode_utf8_lossy();
        if !known.contains(&&*key) && !ANYWHERE.contains(&&*key) && !is_amz_parameter(&key) {
            return Err(Refusal(key.chars().take(100).collect()));
        }
    }
    Ok(())
}

/// Presigned URLs may carry any `x-amz-*` header as a query parameter; s3s checks that it is signed.
fn is_amz_parameter(key: &str) -> bool {
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
                assert_eq!(
                    refused,
                    Err(Refusal("torrent".into())),
                    "{method} {names_object}"
                );
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
    fn reads_pass_with_any_key() {
        assert!(check(Method::GET, true, "whatever=1").is_ok());
    }
}
