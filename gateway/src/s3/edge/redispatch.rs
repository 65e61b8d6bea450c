//! Requests that s3s interprets differently from S3. They can only be corrected after signature
//! verification, because the signature covers what must change. This route rewrites them and
//! dispatches them again.
//!
//! - A `Range` that is malformed or names several ranges counts as absent (RFC 9110, 14.2), and one
//!   beyond the largest object ends there; s3s refuses both.
//! - A date in a condition that is none counts as absent, and may stand in the older forms too (RFC
//!   9110, 5.6.7 and 13.1.3); s3s knows the newest one.
//! - Metadata that is given in several headers of one name is one value, joined by commas (RFC 9110,
//!   5.3); s3s keeps one of them.
//! - Some SDKs move headers into the query of a presigned URL, under its signature, where s3s does not
//!   look: the object would silently lose its metadata, its grants or its encryption, and a copy would
//!   be taken for an empty object.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, RANGE};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use s3s::dto::{Range, Timestamp, TimestampFormat};
use s3s::route::S3Route;
use s3s::service::S3Service;
use s3s::{Body, S3Request, S3Response, S3Result, s3_error};

use crate::http::{has_query_key, query_pairs};
use crate::s3::access::Verified;
use crate::s3::body::check::Trailer;
use crate::s3::form::answer::is_form;

/// Query keys that belong to a signature.
const SIGNATURE_KEYS: [&str; 11] = [
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

/// Headers that do not count when they stand in the query of a presigned URL of version 4. Some SDKs
/// put the checksum of an empty body there, when they do not have the body yet.
const STAY: [&str; 4] = [
    "x-amz-checksum-",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-trailer",
    "x-amz-decoded-content-length",
];

/// How the headers of user metadata begin.
const METADATA_PREFIX: &str = "x-amz-meta-";

/// Furthest position that s3s reads; no object is so long.
const POSITION_MAX: u128 = i64::MAX as u128;

/// Rewrites authenticated requests and dispatches them again.
pub struct Redispatch {
    authenticated: S3Service,
}

impl Redispatch {
    /// A route into `authenticated`, a service whose gate takes [`Verified`] for the signature.
    pub fn new(authenticated: S3Service) -> Self {
        Self { authenticated }
    }
}

#[async_trait::async_trait]
impl S3Route for Redispatch {
    fn is_match(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        _extensions: &mut Extensions,
    ) -> bool {
        has_malformed_range(method, headers)
            || repeated_metadata(headers).next().is_some()
            || (is_read(method) && odd_dates(headers).next().is_some())
            || (has_moved_headers(uri) && !is_form(method, headers))
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        // The operation that it turns out to be is decided on when it is dispatched again.
        let credentials = request.credentials.take();
        request.extensions.insert(Verified(credentials));
        Ok(())
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        // Of a body that is taken apart already: s3s will find none behind it again.
        let trailer = request.trailing_headers.map(Trailer::Signed);
        let mut headers = request.headers;
        if has_malformed_range(&request.method, &headers)
            && let Some(range) = headers.remove(RANGE)
            && let Some(range) = within_numbers(&range)
        {
            headers.insert(RANGE, range);
        }
        join_metadata(&mut headers)?;
        if is_read(&request.method) {
            set_dates_right(&mut headers);
        }
        headers.remove(AUTHORIZATION);
        move_headers(&request.uri, &mut headers)?;
        let mut again = Request::new(request.input);
        *again.uri_mut() = without_signature(&request.uri)?;
        *again.method_mut() = request.method;
        *again.headers_mut() = headers;
        *again.extensions_mut() = request.extensions;
        if let Some(trailer) = trailer {
            again.extensions_mut().insert(trailer);
        }
        let response = self
            .authenticated
            .call(again)
            .await
            .map_err(|_| s3_error!(InternalError))?;
        let (parts, body) = response.into_parts();
        let mut answer = S3Response::with_headers(body, parts.headers);
        answer.status = Some(parts.status);
        Ok(answer)
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn has_malformed_range(method: &Method, headers: &HeaderMap) -> bool {
    is_read(method)
        && headers
            .get(RANGE)
            .is_some_and(|range| !is_well_formed(range))
}

pub(crate) fn is_well_formed(range: &HeaderValue) -> bool {
    range.is_empty()
        || range
            .to_str()
            .is_ok_and(|range| Range::parse(range).is_ok())
}

/// A well-formed range with numbers that no object reaches, as one whose numbers s3s reads.
fn within_numbers(range: &HeaderValue) -> Option<HeaderValue> {
    let (first, last) = range
        .to_str()
        .ok()?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u128::MAX))
    };
    let bounded = |number: u128| number.min(POSITION_MAX);
    let range = match (first, last) {
        ("", length) => format!("bytes=-{}", bounded(number(length)?)),
        (first, "") => format!("bytes={}-", bounded(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            format!("bytes={}-{}", bounded(first), bounded(last))
        }
    };
    HeaderValue::try_from(range).ok()
}

/// Conditions with a date that s3s does not read.
fn odd_dates(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE]
        .into_iter()
        .filter(|name| {
            let date = headers.get(name).filter(|date| !date.is_empty());
            date.is_some_and(|date| {
                let date = date.to_str().unwrap_or_default();
                Timestamp::parse(TimestampFormat::HttpDate, date).is_err()
            })
        })
}

fn set_dates_right(headers: &mut HeaderMap) {
    let odd: Vec<_> = odd_dates(headers).collect();
    for name in odd {
        let date = headers.remove(&name);
        let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let date = date.map(httpdate::fmt_http_date);
        if let Some(date) = date.and_then(|date| HeaderValue::try_from(date).ok()) {
            headers.insert(name, date);
        }
    }
}

/// Names of metadata that the headers give several times.
fn repeated_metadata(headers: &HeaderMap) -> impl Iterator<Item = &HeaderName> {
    headers.keys().filter(|name| {
        name.as_str().starts_with(METADATA_PREFIX) && headers.get_all(*name).iter().nth(1).is_some()
    })
}

fn join_metadata(headers: &mut HeaderMap) -> S3Result<()> {
    let repeated: Vec<_> = repeated_metadata(headers).cloned().collect();
    for name in repeated {
        let values: Vec<_> = headers.get_all(&name).iter().collect();
        let joined = values
            .iter()
            .map(|value| value.as_bytes())
            .collect::<Vec<_>>()
            .join(&b","[..]);
        let invalid = |_| s3_error!(InvalidArgument, "The header {name} is invalid.");
        let joined = HeaderValue::from_bytes(&joined).map_err(invalid)?;
        headers.insert(&name, joined);
    }
    Ok(())
}

fn has_moved_headers(uri: &Uri) -> bool {
    has_query_key(uri.query(), "X-Amz-Signature")
        && query_pairs(uri.query()).any(|(key, _)| moved_header(&key).is_some())
}

/// The header that stands under this key of a presigned URL.
fn moved_header(key: &str) -> Option<String> {
    let name = key.to_ascii_lowercase();
    let is_moved = name.starts_with("x-amz-")
        && !belongs_to_signature(&name)
        && !STAY.iter().any(|stays| name.starts_with(stays));
    is_moved.then_some(name)
}

/// Puts headers that stand in a signed query beside the others. One that the request has beside the
/// query is under the signature too, and counts.
fn move_headers(uri: &Uri, headers: &mut HeaderMap) -> S3Result<()> {
    if !has_moved_headers(uri) {
        return Ok(());
    }
    let mut moved = HeaderMap::new();
    for (key, value) in query_pairs(uri.query()) {
        let Some(name) = moved_header(&key) else {
            continue;
        };
        let invalid = || s3_error!(InvalidArgument, "The query parameter {key} is invalid.");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| invalid())?;
        if moved.insert(name, value).is_some() {
            return Err(invalid());
        }
    }
    for (name, value) in moved {
        if let Some(name) = name.filter(|name| !headers.contains_key(name)) {
            headers.insert(name, value);
        }
    }
    Ok(())
}

fn belongs_to_signature(key: &str) -> bool {
    SIGNATURE_KEYS
        .iter()
        .any(|own| own.eq_ignore_ascii_case(key))
}

pub(crate) fn without_signature(uri: &Uri) -> S3Result<Uri> {
    let is_kept = |key: Cow<'_, str>| !belongs_to_signature(&key) && moved_header(&key).is_none();
    let query: Vec<_> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| {
            let mut named = query_pairs(Some(pair));
            named.next().is_some_and(|(key, _)| is_kept(key))
        })
        .collect();
    let path = uri.path();
    let path_and_query = if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", query.join("&"))
    };
    path_and_query.parse().map_err(|_| s3_error!(InvalidURI))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_in_a_signed_query_are_put_beside_the_others() {
        let uri = Uri::from_static(
            "/b/k?X-Amz-Meta-Color=light%20blue&x-amz-acl=private&x-amz-checksum-crc32=AAAAAA%3D%3D\
             &x-id=PutObject&x-amz-storage-class=GLACIER&x-amz-copy-source=%2Fb%2Fs%2520&X-Amz-Signature=0",
        );
        assert!(has_moved_headers(&uri));
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-amz-storage-class",
            HeaderValue::from_static("STANDARD_IA"),
        );
        move_headers(&uri, &mut headers).unwrap();
        assert_eq!(headers["x-amz-meta-color"], "light blue");
        assert_eq!(headers["x-amz-acl"], "private");
        assert_eq!(headers["x-amz-storage-class"], "STANDARD_IA");
        assert_eq!(headers["x-amz-copy-source"], "/b/s%20");
        assert_eq!(headers.len(), 4);
        let served = without_signature(&uri).unwrap();
        let kept = "/b/k?x-amz-checksum-crc32=AAAAAA%3D%3D&x-id=PutObject";
        assert_eq!(served.to_string(), kept);
    }

    #[test]
    fn a_range_beyond_all_numbers_ends_where_objects_do() {
        let within = |range: &'static str| {
            let range = within_numbers(&HeaderValue::from_static(range))?;
            assert!(is_well_formed(&range), "{range:?}");
            Some(range.to_str().unwrap().to_owned())
        };
        let most = i64::MAX;
        for (range, expected) in [
            (
                "bytes=0-18446744073709551615",
                Some(format!("bytes=0-{most}")),
            ),
            (
                "bytes=18446744073709551616-",
                Some(format!("bytes={most}-")),
            ),
            (
                "bytes=-999999999999999999999999999999999999999999",
                Some(format!("bytes=-{most}")),
            ),
            ("bytes=18446744073709551616-5", None),
            ("bytes=0-1,3-18446744073709551616", None),
            ("bytes=+1-18446744073709551616", None),
            ("bytes=-", None),
            ("lines=0-18446744073709551616", None),
        ] {
            assert_eq!(within(range), expected, "{range}");
        }
    }

    #[test]
    fn dates_may_stand_in_all_the_forms_of_http_and_bad_ones_do_not_count() {
        let newest = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (date, expected) in [
            (newest, Some(newest)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(newest)),
            ("Sun Nov  6 08:49:37 1994", Some(newest)),
            ("yesterday", None),
        ] {
            for name in [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
                let value = HeaderValue::from_static(date);
                let mut headers = HeaderMap::from_iter([(name.clone(), value)]);
                assert_eq!(odd_dates(&headers).count(), usize::from(date != newest));
                set_dates_right(&mut headers);
                let date = headers.get(&name).map(|date| date.to_str().unwrap());
                assert_eq!(date, expected);
            }
        }
    }

    #[test]
    fn repeated_metadata_is_one_value() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-amz-meta-a", "1"),
            ("x-amz-meta-a", "2 3"),
            ("x-amz-meta-b", "4"),
            ("x-other", "5"),
            ("x-other", "6"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert_eq!(repeated_metadata(&headers).count(), 1);
        join_metadata(&mut headers).unwrap();
        assert_eq!(headers["x-amz-meta-a"], "1,2 3");
        assert_eq!(headers.len(), 4);
        assert_eq!(repeated_metadata(&headers).count(), 0);
    }

    #[test]
    fn what_is_not_signed_or_is_given_twice_is_not_taken() {
        let mut headers = HeaderMap::new();
        for query in ["x-amz-acl=public-read", "Signature=0&x-amz-acl=public-read"] {
            let uri: Uri = format!("/b/k?{query}").parse().unwrap();
            assert!(!has_moved_headers(&uri));
            move_headers(&uri, &mut headers).unwrap();
        }
        assert!(headers.is_empty());
        let twice = "/b/k?X-Amz-Signature=0&x-amz-acl=private&X-Amz-ACL=public-read";
        assert!(move_headers(&Uri::from_static(twice), &mut headers).is_err());
    }
}
