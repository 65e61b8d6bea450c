//! Documents are read whole: one that is too long is refused before any of it is read, and where its
//! length is not declared, as soon as it is longer.

use http::{Method, Request, StatusCode, header};
use s3s::Body;

use crate::http::Refused;

/// Longest document that is read: 10,000 parts with checksums take about 3 MiB.
pub const DOCUMENT_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Sub-resources of an object that are set by a document.
const DOCUMENTS: [&str; 4] = ["acl", "legal-hold", "retention", "tagging"];

/// The request, whose body ends at the limit unless it is an upload. `names_object` tells whether its
/// path names an object, `is_form` whether it is an HTML form.
///
/// # Errors
/// `MaxMessageLengthExceeded`.
pub fn limit(
    mut request: Request<Body>,
    names_object: bool,
    is_form: bool,
) -> Result<Request<Body>, Refused> {
    if is_form || (names_object && is_upload(&request)) {
        return Ok(request);
    }
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > DOCUMENT_MAX_BYTES as u64) {
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "MaxMessageLengthExceeded",
            "Your request was too large.",
        ));
    }
    request
        .body_mut()
        .set_limit(Some(DOCUMENT_MAX_BYTES as u64));
    Ok(request)
}

/// Whether a request for an object carries bytes of the object.
fn is_upload(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let mut keys = query
        .split('&')
        .map(|pair| pair.split_once('=').map_or(pair, |(key, _)| key));
    *request.method() == Method::PUT && !keys.any(|key| DOCUMENTS.contains(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(method: Method, path: &str, names_object: bool) -> bool {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_LENGTH, DOCUMENT_MAX_BYTES + 1)
            .body(Body::empty());
        limit(request.unwrap(), names_object, false).is_err()
    }

    #[test]
    fn documents_have_a_limit_and_uploads_do_not() {
        for (method, path, names_object, expected) in [
            (Method::PUT, "/b/k", true, false),
            (Method::PUT, "/b/k?partNumber=1&uploadId=x", true, false),
            (Method::PUT, "/b/k?tagging", true, true),
            (Method::PUT, "/b/k?versionId=1&acl=", true, true),
            (Method::PUT, "/b?policy", false, true),
            (Method::PUT, "/b", false, true),
            (Method::POST, "/b?delete", false, true),
            (Method::POST, "/b/k?uploadId=x", true, true),
        ] {
            let refused = is_refused(method.clone(), path, names_object);
            assert_eq!(refused, expected, "{method} {path}");
        }
    }

    #[test]
    fn a_document_of_unknown_length_ends_at_the_limit() {
        let body = Body::from(vec![b' '; DOCUMENT_MAX_BYTES + 1]);
        let request = Request::post("/b?delete").body(body).unwrap();
        let limited = limit(request, false, false).unwrap().into_body();
        let read = futures::executor::block_on(http_body_util::BodyExt::collect(limited));
        assert!(read.unwrap_err().is::<s3s::BodySizeLimitExceeded>());
    }
}
