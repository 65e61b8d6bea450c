//! How a request is signed: worked out once, before the signature is verified, and taken for true only of
//! requests whose signature was.

use http::{Extensions, HeaderMap, Method};
use time::PrimitiveDateTime;
use time::macros::format_description;

use crate::http::{has_query_key, query_value};
use crate::s3::form::answer::is_form;

/// Where the signature of a request stands, and of which version it is. Stands in the extensions of a request
/// that is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// In the `Authorization` header.
    Header(SignatureVersion),
    /// In the query: a presigned URL.
    Query(SignatureVersion),
    /// In a field of a form, if it is signed at all; `None` until its fields are read.
    Form(Option<SignatureVersion>),
}

/// The version of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureVersion {
    /// Signature Version 2.
    V2,
    /// Signature Version 4, and whatever else an `Authorization` header may hold: s3s refuses that.
    V4,
}

impl Signature {
    /// How a request with these is signed; `None` if nobody signed it.
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap, query: Option<&str>) -> Option<Self> {
        let mut authorizations = headers.get_all(http::header::AUTHORIZATION).iter();
        let is_signed_by_header = headers.contains_key(http::header::AUTHORIZATION);
        // In the order in which s3s looks.
        if has_query_key(query, "Signature") {
            return Some(Self::Query(SignatureVersion::V2));
        }
        if authorizations.any(|value| value.as_bytes().starts_with(b"AWS ")) {
            return Some(Self::Header(SignatureVersion::V2));
        }
        if has_query_key(query, "X-Amz-Signature") {
            return Some(Self::Query(SignatureVersion::V4));
        }
        if is_signed_by_header {
            return Some(Self::Header(SignatureVersion::V4));
        }
        is_form(method, headers).then_some(Self::Form(None))
    }

    /// What the server noted of the request.
    #[must_use]
    pub fn noted_in(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }

    /// Whether it is of Signature Version 2.
    #[must_use]
    pub fn is_v2(self) -> bool {
        self.version() == Some(SignatureVersion::V2)
    }

    /// What `s3:authType` calls it.
    #[must_use]
    pub fn auth_type(self) -> &'static str {
        match self {
            Self::Header(_) => "REST-HEADER",
            Self::Query(_) => "REST-QUERY-STRING",
            Self::Form(_) => "POST",
        }
    }

    /// What `s3:signatureversion` calls it; `None` for a form whose fields are not read.
    #[must_use]
    pub fn version_name(self) -> Option<&'static str> {
        self.version().map(|version| match version {
            SignatureVersion::V2 => "AWS",
            SignatureVersion::V4 => "AWS4-HMAC-SHA256",
        })
    }

    /// When it was made, in milliseconds since 1970, as a request with these says; version 4 alone does.
    #[must_use]
    pub fn signed_at_ms(self, headers: &HeaderMap, query: Option<&str>) -> Option<u64> {
        match self {
            Self::Header(SignatureVersion::V4) => {
                moment_ms(headers.get("x-amz-date")?.to_str().ok()?)
            }
            Self::Query(SignatureVersion::V4) => moment_ms(&query_value(query, "X-Amz-Date")?),
            _ => None,
        }
    }

    fn version(self) -> Option<SignatureVersion> {
        match self {
            Self::Header(version) | Self::Query(version) => Some(version),
            Self::Form(version) => version,
        }
    }
}

fn moment_ms(date: &str) -> Option<u64> {
    let basic = format_description!("[year][month][day]T[hour][minute][second]Z");
    let date = PrimitiveDateTime::parse(date, basic).ok()?.assume_utc();
    u64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{AUTHORIZATION, CONTENT_TYPE};

    use super::SignatureVersion::{V2, V4};
    use super::*;

    fn of(authorizations: &[&'static str], query: &str) -> Option<Signature> {
        let mut headers = HeaderMap::new();
        for value in authorizations {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        Signature::of(&Method::GET, &headers, Some(query))
    }

    #[test]
    fn signatures_are_told_apart_by_place_and_version() {
        let version_4 = "AWS4-HMAC-SHA256 x";
        assert_eq!(of(&["AWS AK:x"], ""), Some(Signature::Header(V2)));
        assert_eq!(of(&[version_4], ""), Some(Signature::Header(V4)));
        let hidden = of(&[version_4, "AWS AK:x"], "");
        assert_eq!(hidden, Some(Signature::Header(V2)));
        assert_eq!(of(&[], "Signature=x"), Some(Signature::Query(V2)));
        assert_eq!(of(&[], "Sign%61ture=x"), Some(Signature::Query(V2)));
        assert_eq!(of(&[], "X-Amz-Signature=x"), Some(Signature::Query(V4)));
        let several = of(&["AWS AK:x"], "X-Amz-Signature=x");
        assert_eq!(several, Some(Signature::Header(V2)));
        assert_eq!(of(&[], ""), None);
    }

    #[test]
    fn a_form_may_be_signed_in_a_field_and_an_upload_is_no_form() {
        let posted = |headers: &HeaderMap| Signature::of(&Method::POST, headers, Some("uploads"));
        assert_eq!(posted(&HeaderMap::new()), None);
        let kind = HeaderValue::from_static("multipart/form-data; boundary=x");
        let form = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
        assert_eq!(posted(&form), Some(Signature::Form(None)));
    }

    #[test]
    fn version_4_alone_says_when_it_was_made() {
        let query = Some("X-Amz-Date=19700101T000001Z");
        let date = HeaderValue::from_static("19700101T000002Z");
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-amz-date"), date)]);
        let signed_at = |signature: Signature| signature.signed_at_ms(&headers, query);
        assert_eq!(signed_at(Signature::Query(V4)), Some(1000));
        assert_eq!(signed_at(Signature::Header(V4)), Some(2000));
        assert_eq!(signed_at(Signature::Header(V2)), None);
        assert_eq!(signed_at(Signature::Form(Some(V4))), None);
    }
}
