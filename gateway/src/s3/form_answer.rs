//! Answers to HTML forms where s3s says it otherwise than S3: a form that its policy does not allow is
//! denied, not malformed, and the ETag that a redirect carries has its quotes.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use s3s::{Body, HttpResponse};

/// How s3s's refusals by a policy's conditions begin.
const BY_CONDITION: [&str; 2] = [
    "<Code>InvalidPolicyDocument</Code><Message>Policy condition ",
    "<Code>InvalidPolicyDocument</Code><Message>Bucket in form field ",
];
const DENIED: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code>\
    <Message>Invalid according to Policy: Policy Condition failed</Message></Error>";

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

/// Says it as S3 does.
pub fn correct(response: &mut HttpResponse) {
    match response.status() {
        StatusCode::BAD_REQUEST => deny_by_condition(response),
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
        *response.body_mut() = Body::from(bytes::Bytes::from_static(DENIED.as_bytes()));
    } else {
        *response.body_mut() = Body::from(body);
    }
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
        let failed = "<Error><Code>InvalidPolicyDocument</Code><Message>Policy condition 'eq'</Message></Error>";
        let mut response = answer(StatusCode::BAD_REQUEST, failed);
        correct(&mut response);
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
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
