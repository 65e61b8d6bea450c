//! Sub-resources: query keys that make something else of a request than its method and address say.
//! All that the gateway must know of them stands side by side here, so that a new one is entered in
//! every list that it belongs in. Which operation one names is s3s's affair.

use http::Method;

use crate::http::has_query_key;

/// The query keys that a request of this method may have, to an object or to a bucket; none for methods
/// whose keys are not looked at.
pub fn known(method: &Method, names_object: bool) -> Option<&'static [&'static str]> {
    Some(match (method, names_object) {
        (&Method::PUT, false) => PUT_BUCKET,
        (&Method::PUT, true) => PUT_OBJECT,
        (&Method::DELETE, false) => DELETE_BUCKET,
        (&Method::DELETE, true) => DELETE_OBJECT,
        (&Method::POST, false) => POST_BUCKET,
        (&Method::POST, true) => POST_OBJECT,
        _ => return None,
    })
}

/// Whether a request to an object with this query makes one whole: a PUT or copy of one, a form, or the
/// completion of an upload.
pub fn creates_object(method: &Method, query: Option<&str>) -> bool {
    let others: &[&str] = match *method {
        Method::PUT => &CREATE_NO_OBJECT,
        Method::POST => &["delete", "restore", "select", "uploads"],
        _ => return false,
    };
    !others.iter().any(|key| has_query_key(query, key))
}

/// Presigned URLs may carry any `x-amz-*` header as a query parameter; s3s checks that it is signed.
pub fn is_amz_parameter(key: &str) -> bool {
    key.get(..6)
        .is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
}

/// Query keys of presigned URLs of version 2, in which boto3 repeats the headers that it signs, and of
/// the SDKs; allowed everywhere, as is whatever begins with `x-amz-`.
pub const ANYWHERE: [&str; 6] = [
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

/// Sub-resources of an object: a PUT with one of these creates none.
const CREATE_NO_OBJECT: [&str; 6] = [
    "acl",
    "legal-hold",
    "partNumber",
    "renameObject",
    "retention",
    "tagging",
];

/// Sub-resources of an object that a `versionId` may go with.
pub const VERSIONED: [&str; 4] = ["acl", "legal-hold", "retention", "tagging"];

/// Sub-resources of a bucket that have an `id`.
pub const IDENTIFIED: [&str; 4] = ["analytics", "intelligent-tiering", "inventory", "metrics"];

/// Sub-resources of an object that are written by a document.
pub const OBJECT_DOCUMENTS: [&str; 7] = [
    "acl",
    "annotation",
    "encryption",
    "legal-hold",
    "renameObject",
    "retention",
    "tagging",
];

/// Query keys under the signature. Source: S3 developer guide, "Signing and authenticating REST
/// requests", as s3s-sigv2 0.17 has it.
pub const SIGNED_BY_VERSION_2: [&str; 35] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Query keys that carry the signature itself, or say nothing of what is done: clients repeat the
/// headers that they sign.
pub const INERT_IN_VERSION_2: [&str; 6] = [
    "AWSAccessKeyId",
    "Expires",
    "Signature",
    "content-md5",
    "content-type",
    "x-id",
];

/// Query keys that make another operation of a read and are not under the signature. Keys that only
/// select from a listing pass, as on AWS.
pub const READS_UNSIGNED_BY_VERSION_2: [&str; 14] = [
    "abac",
    "annotation",
    "attributes",
    "encryption",
    "intelligent-tiering",
    "legal-hold",
    "metadataConfiguration",
    "metadataTable",
    "ownershipControls",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "retention",
    "session",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_of_an_object_creates_it_unless_it_is_of_a_sub_resource() {
        for key in PUT_OBJECT {
            // They stand beside another one.
            let selects = ["uploadId", "versionId"].contains(key);
            assert_eq!(creates_object(&Method::PUT, Some(key)), selects, "{key}");
        }
        assert!(creates_object(&Method::PUT, None));
        assert!(creates_object(&Method::POST, Some("uploadId=x")));
        assert!(!creates_object(&Method::POST, Some("upl%6Fads")));
        assert!(!creates_object(&Method::GET, None));
    }

    #[test]
    fn what_a_version_or_an_id_goes_with_is_known() {
        for key in VERSIONED {
            assert!(PUT_OBJECT.contains(&key), "{key}");
        }
        for key in IDENTIFIED {
            let known = PUT_BUCKET.contains(&key) && DELETE_BUCKET.contains(&key);
            assert!(known, "{key}");
        }
    }

    #[test]
    fn version_2_lets_no_key_be_signed_and_unsigned() {
        for key in READS_UNSIGNED_BY_VERSION_2 {
            assert!(!SIGNED_BY_VERSION_2.contains(&key), "{key}");
        }
    }
}
