//! The guard in front of the S3 router: a query key that we do not know must not turn a request
//! for a sub-resource into a PutObject, DeleteObject, CreateBucket or DeleteBucket. Others lost
//! data that way.

use http::Method;

use super::sub_resource::{self, ANYWHERE, IDENTIFIED, VERSIONED, is_amz_parameter};
use crate::http::query_pairs;

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
    let Some(known) = sub_resource::known(method, names_object) else {
        return Ok(());
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
