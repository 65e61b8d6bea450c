//! How a request is signed, as far as policies ask: read before the signature is verified, and taken
//! for true only of requests whose signature was.

use http::{Extensions, HeaderMap, Method};
use time::PrimitiveDateTime;
use time::macros::format_description;

use crate::http::{has_query_key, query_value};
use crate::s3::form::answer::is_form;

/// How a request is signed. Stands in its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureFacts {
    /// Where the signature stands: `REST-HEADER`, `REST-QUERY-STRING` or `POST`.
    pub auth_type: Option<&'static str>,
    /// `AWS` or `AWS4-HMAC-SHA256`; `None` for a form, whose fields are not read yet.
    pub version: Option<&'static str>,
    /// When it was signed, in milliseconds since 1970; version 4 alone says so.
    pub signed_at_ms: Option<u64>,
}

const VERSION_2: &str = "AWS";
const VERSION_4: &str = "AWS4-HMAC-SHA256";

impl SignatureFacts {
    /// How a request with these is signed. A form is signed in a field, if it is.
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap, query: Option<&str>) -> Self {
        let facts = |auth_type, version, signed_at: Option<&str>| Self {
            auth_type: Some(auth_type),
            version,
            signed_at_ms: signed_at.and_then(moment_ms),
        };
        let authorization = headers.get(http::header::AUTHORIZATION);
        if has_query_key(query, "Signature") {
            return facts("REST-QUERY-STRING", Some(VERSION_2), None);
        }
        if has_query_key(query, "X-Amz-Signature") {
            let date = query_value(query, "X-Amz-Date");
            return facts("REST-QUERY-STRING", Some(VERSION_4), date.as_deref());
        }
        match authorization.map(|value| value.as_bytes()) {
            Some(value) if value.starts_with(b"AWS ") => {
                facts("REST-HEADER", Some(VERSION_2), None)
            }
            Some(_) => {
                let date = headers
                    .get("x-amz-date")
                    .and_then(|date| date.to_str().ok());
                facts("REST-HEADER", Some(VERSION_4), date)
            }
            None if is_form(method, headers) => facts("POST", None, None),
            None => Self {
                auth_type: None,
                version: None,
                signed_at_ms: None,
            },
        }
    }

    /// The facts that the server noted.
    #[must_use]
    pub fn noted_in(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }
}

fn moment_ms(date: &str) -> Option<u64> {
    let basic = format_description!("[year][month][day]T[hour][minute][second]Z");
    let date = PrimitiveDateTime::parse(date, basic).ok()?.assume_utc();
    u64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_told_apart_by_place_and_version() {
        let facts = |authorization: &'static str, query| {
            let value = http::HeaderValue::from_static(authorization);
            let headers = match authorization {
                "" => HeaderMap::new(),
                _ => HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]),
            };
            let facts = SignatureFacts::of(&Method::GET, &headers, Some(query));
            (facts.auth_type, facts.version, facts.signed_at_ms)
        };
        let (header, query) = (Some("REST-HEADER"), Some("REST-QUERY-STRING"));
        assert_eq!(facts("AWS AK:x", ""), (header, Some(VERSION_2), None));
        assert_eq!(
            facts("AWS4-HMAC-SHA256 x", ""),
            (header, Some(VERSION_4), None)
        );
        assert_eq!(facts("", "Signature=x"), (query, Some(VERSION_2), None));
        assert_eq!(
            facts("", "X-Amz-Signature=x&X-Amz-Date=19700101T000001Z"),
            (query, Some(VERSION_4), Some(1000))
        );
        assert_eq!(facts("", ""), (None, None, None));
        let posted = |headers: &HeaderMap| {
            let facts = SignatureFacts::of(&Method::POST, headers, Some("uploads"));
            facts.auth_type
        };
        assert_eq!(posted(&HeaderMap::new()), None, "an upload is no form");
        let kind = http::HeaderValue::from_static("multipart/form-data; boundary=x");
        let form = HeaderMap::from_iter([(http::header::CONTENT_TYPE, kind)]);
        assert_eq!(posted(&form), Some("POST"));
    }
}
