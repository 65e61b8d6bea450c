//! What Signature Version 2 leaves open, refused before s3s verifies it. The string that is signed
//! holds only the sub-resources of a fixed list, and s3s leaves out one that is given twice, while
//! its router sees it: who holds a presigned PUT of an object could append `&acl&acl` or
//! `&legal-hold` and do that instead, with the signer's rights.

use std::collections::HashSet;

use http::Method;

use super::signature::{Signature, SignatureVersion};
use super::sub_resource::{
    INERT_IN_VERSION_2, READS_UNSIGNED_BY_VERSION_2, SIGNED_BY_VERSION_2, is_amz_parameter,
};
use crate::http::query_pairs;

/// Why a request with Signature Version 2 is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Uncovered {
    /// A query key that stands there more than once.
    #[error("The query parameter '{0}' is given more than once.")]
    Repeated(String),
    /// A query key that changes what is done and that no presigned URL of this version covers.
    #[error("The query parameter '{0}' needs a signature of version 4.")]
    Unsigned(String),
}

/// Refuses a request whose Signature Version 2 does not cover what the query asks for.
///
/// # Errors
/// [`Uncovered`] with the key.
pub fn refuse_uncovered(
    method: &Method,
    signature: Option<Signature>,
    query: Option<&str>,
) -> Result<(), Uncovered> {
    if !signature.is_some_and(Signature::is_v2) {
        return Ok(());
    }
    let is_presigned = signature == Some(Signature::Query(SignatureVersion::V2));
    let shown = |key: &str| key.chars().take(100).collect();
    let mut seen = HashSet::new();
    for (key, _) in query_pairs(query) {
        if is_presigned && !is_covered(method, &key) {
            return Err(Uncovered::Unsigned(shown(&key)));
        }
        if !seen.insert(key.clone()) {
            return Err(Uncovered::Repeated(shown(&key)));
        }
    }
    Ok(())
}

fn is_covered(method: &Method, key: &str) -> bool {
    match *method {
        Method::GET | Method::HEAD => !READS_UNSIGNED_BY_VERSION_2.contains(&key),
        // Clients of that age repeat the headers that they sign in the query; nobody reads them there.
        _ => {
            SIGNED_BY_VERSION_2.contains(&key)
                || INERT_IN_VERSION_2.contains(&key)
                || is_amz_parameter(key)
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    const PRESIGNED: &str = "AWSAccessKeyId=AK&Signature=c2ln&Expires=1";

    fn presigned(method: Method, further: &str) -> Result<(), Uncovered> {
        let query = format!("{PRESIGNED}{further}");
        let signature = Signature::of(&method, &HeaderMap::new(), Some(&query));
        refuse_uncovered(&method, signature, Some(&query))
    }

    #[test]
    fn what_a_presigned_url_does_not_cover_is_refused() {
        for key in [
            "legal-hold",
            "retention",
            "encryption",
            "publicAccessBlock",
            "ownershipControls",
            "renameObject",
        ] {
            let refused = Err(Uncovered::Unsigned(key.into()));
            assert_eq!(presigned(Method::PUT, &format!("&{key}")), refused);
        }
        let hidden = presigned(Method::PUT, "&legal-h%6Fld");
        assert_eq!(hidden, Err(Uncovered::Unsigned("legal-hold".into())));
        assert!(presigned(Method::GET, "&policyStatus").is_err());
    }

    #[test]
    fn a_key_that_is_given_twice_is_refused() {
        let twice = |key: &str| Err(Uncovered::Repeated(key.into()));
        assert_eq!(presigned(Method::PUT, "&acl&acl"), twice("acl"));
        assert_eq!(presigned(Method::PUT, "&acl=&%61cl"), twice("acl"));
        assert_eq!(presigned(Method::GET, "&Expires=2"), twice("Expires"));
        let in_header = Some(Signature::Header(SignatureVersion::V2));
        let by_header = |query| refuse_uncovered(&Method::PUT, in_header, Some(query));
        assert_eq!(by_header("tagging&tagging"), twice("tagging"));
        assert_eq!(by_header("legal-hold"), Ok(()));
    }

    #[test]
    fn what_it_covers_passes_and_other_signatures_are_left_alone() {
        assert_eq!(presigned(Method::PUT, "&partNumber=1&uploadId=x"), Ok(()));
        assert_eq!(presigned(Method::PUT, "&x-amz-acl=private"), Ok(()));
        assert_eq!(presigned(Method::DELETE, "&versionId=x"), Ok(()));
        assert_eq!(presigned(Method::GET, "&prefix=a&marker=b"), Ok(()));
        for other in [
            Signature::Query(SignatureVersion::V4),
            Signature::Form(None),
        ] {
            let refused = refuse_uncovered(&Method::PUT, Some(other), Some("acl&acl"));
            assert_eq!(refused, Ok(()));
        }
    }
}
