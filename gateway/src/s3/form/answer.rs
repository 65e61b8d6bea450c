//! Answers to HTML forms where s3s says it otherwise than S3: a form that its policy does not allow is
//! denied, not malformed; headers tell of the object; the ETag that a redirect carries has its quotes.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use metastore::ChecksumAlgorithm;
use s3s::dto::PutObjectOutput;
use s3s::{Body, HttpResponse, S3Response};

use super::head::FormFields;
use crate::s3::body::checksums;
use crate::s3::edge::object_url::object_url;

const CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// How s3s's refusals by a policy's conditions begin.
const BY_CONDITION: [&str; 2] = [
    "<Code>InvalidPolicyDocument</Code><Message>Policy condition ",
    "<Code>InvalidPolicyDocument</Code><Message>Bucket in form field ",
];
const DENIED: &str = "Invalid according to Policy: Policy Condition failed";

/// The media type of HTML forms.
const FORM: &[u8] = b"multipart/form-data";

/// Whether a request may be an HTML form: every one that s3s takes for it is.
pub fn is_form(method: &Method, headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    *method == Method::POST
        && kinds.any(|kind| {
            let start = kind.as_bytes().get(..FORM.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(FORM))
        })
}

/// Tells of the object in headers, which s3s has for redirects and documents alone.
pub fn describe(
    mut stored: S3Response<PutObjectOutput>,
    form: &FormFields,
    key: &str,
) -> S3Response<PutObjectOutput> {
    let etag = stored.output.e_tag.as_ref();
    let url = form.bucket_url.as_ref();
    let told = [
        (
            header::ETAG,
            etag.map(|etag| format!("\"{}\"", etag.value())),
        ),
        (VERSION_ID, stored.output.version_id.clone()),
        (header::LOCATION, url.map(|url| object_url(url, key))),
    ];
    let told = told.into_iter().chain(checksums_of(&stored.output));
    for (name, text) in told {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            stored.headers.insert(name, value);
        }
    }
    stored
}

/// The checksums of what was stored, as a PUT answers them.
fn checksums_of(stored: &PutObjectOutput) -> [(HeaderName, Option<String>); 6] {
    let kind = stored.checksum_type.as_ref();
    let name = checksums::header;
    [
        (
            name(ChecksumAlgorithm::Crc32),
            stored.checksum_crc32.clone(),
        ),
        (
            name(ChecksumAlgorithm::Crc32c),
            stored.checksum_crc32c.clone(),
        ),
        (
            name(ChecksumAlgorithm::Crc64Nvme),
            stored.checksum_crc64nvme.clone(),
        ),
        (name(ChecksumAlgorithm::Sha1), stored.checksum_sha1.clone()),
        (
            name(ChecksumAlgorithm::Sha256),
            stored.checksum_sha256.clone(),
        ),
        (CHECKSUM_TYPE, kind.map(|kind| kind.as_str().to_owned())),
    ]
}

/// Says it as S3 does.
pub fn correct(response: &mut HttpResponse) {
    match response.status() {
        StatusCode::BAD_REQUEST => deny_by_condition(response),
        StatusCode::CREATED => complete_location(response),
        StatusCode::SEE_OTHER => quote_etag(response.headers_mut()),
        _ => {}
    }
}

fn deny_by_condition(response: &mut HttpResponse) {
    let Some(body) = response.body_mut().take_bytes() else {
        return;
    };
    let text = String::from_utf8_lossy(&body);
    if BY_CONDITION.iter().any(|refusal| text.contains(refusal)) {
        *response.status_mut() = StatusCode::FORBIDDEN;
        response.headers_mut().remove(header::CONTENT_LENGTH);
        let message = match failed_condition(&text) {
            Some(condition) => format!("{DENIED}: {condition}"),
            None => DENIED.to_owned(),
        };
        // Quotes stay as they are, as S3 writes them.
        let message = quick_xml::escape::partial_escape(&message);
        *response.body_mut() = Body::from(format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code>\
             <Message>{message}</Message></Error>"
        ));
    } else {
        *response.body_mut() = Body::from(body);
    }
}

/// The condition that failed, as the policy writes it, from s3s's words for it: an operator, a field
/// and a value, each in quotes.
fn failed_condition(document: &str) -> Option<String> {
    let (_, rest) = document.split_once("<Message>")?;
    let (message, _) = rest.split_once("</Message>")?;
    let message = quick_xml::escape::unescape(message).ok()?;
    let rest = message.strip_prefix("Policy condition '")?;
    let (operator, rest) = rest.split_once("' for field '")?;
    let (field, rest) = rest.split_once("' failed: expected ")?;
    let rest = rest.strip_prefix("prefix ").unwrap_or(rest);
    let (value, _) = rest.strip_prefix('\'')?.rsplit_once("', got '")?;
    let value = serde_json::to_string(value).ok()?;
    Some(format!("[\"{operator}\", \"${field}\", {value}]"))
}

/// Puts the whole URL into the document, where s3s has a path that is not encoded.
fn complete_location(response: &mut HttpResponse) {
    let url = response.headers().get(header::LOCATION);
    let url = url.and_then(|url| url.to_str().ok()).map(str::to_owned);
    let (Some(url), Some(body)) = (url, response.body_mut().take_bytes()) else {
        return;
    };
    let text = String::from_utf8_lossy(&body).into_owned();
    let url = quick_xml::escape::escape(&url);
    let completed = text.split_once("<Location>").and_then(|(before, rest)| {
        let (_, behind) = rest.split_once("</Location>")?;
        Some(format!("{before}<Location>{url}</Location>{behind}"))
    });
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(completed.unwrap_or(text));
}

/// Puts quotes around the ETag in `…&etag=…`, the last parameter.
fn quote_etag(headers: &mut HeaderMap) {
    let quoted = headers.get(header::LOCATION).and_then(|location| {
        let (rest, etag) = location.to_str().ok()?.rsplit_once("&etag=")?;
        let bare = etag.trim_start_matches("%22").trim_end_matches("%22");
        HeaderValue::from_str(&format!("{rest}&etag=%22{bare}%22")).ok()
    });
    if let Some(quoted) = quoted {
        headers.insert(header::LOCATION, quoted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_one_in_any_spelling() {
        for (kind, expected) in [
            ("multipart/form-data; boundary=x", true),
            ("Multipart/FORM-data;boundary=x", true),
            ("multipart/mixed; boundary=x", false),
            ("", false),
        ] {
            let kind = HeaderValue::from_static(kind);
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
            assert_eq!(is_form(&Method::POST, &headers), expected);
            assert!(!is_form(&Method::PUT, &headers));
        }
    }

    fn answer(status: StatusCode, body: &'static str) -> HttpResponse {
        let mut response =
            HttpResponse::new(Body::from(bytes::Bytes::from_static(body.as_bytes())));
        *response.status_mut() = status;
        response
    }

    #[test]
    fn a_form_that_its_policy_forbids_is_denied_and_a_malformed_one_is_not() {
        let failed = "<Error><Code>InvalidPolicyDocument</Code><Message>Policy condition 'eq' for \
            field 'acl' failed: expected 'a&amp;b', got 'x'</Message></Error>";
        let mut response = answer(StatusCode::BAD_REQUEST, failed);
        correct(&mut response);
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        let body = response.body_mut().take_bytes().unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let told = r#"Policy Condition failed: ["eq", "$acl", "a&amp;b"]</Message>"#;
        assert!(body.contains(told), "{body}");
        let parsed =
            "<Error><Code>InvalidPolicyDocument</Code><Message>failed to parse</Message></Error>";
        let mut response = answer(StatusCode::BAD_REQUEST, parsed);
        correct(&mut response);
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.body_mut().take_bytes().unwrap(), parsed);
    }

    #[test]
    fn the_etag_of_a_redirect_has_quotes_once() {
        for etag in ["abc", "%22abc%22"] {
            let mut response = answer(StatusCode::SEE_OTHER, "");
            let location = format!("http://x/?bucket=b&key=k&etag={etag}");
            let location = HeaderValue::from_str(&location).unwrap();
            response.headers_mut().insert(header::LOCATION, location);
            correct(&mut response);
            assert_eq!(
                response.headers()[header::LOCATION],
                "http://x/?bucket=b&key=k&etag=%22abc%22"
            );
        }
    }
}
