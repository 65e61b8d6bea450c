//! The headers that an object keeps: system headers and user metadata, from the request and back.
//! Also the reading of a header's text, and refusals of headers that ask for something else.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use metastore::{ObjectVersion, SystemHeaders};
use s3s::dto::{ETag, Metadata, StorageClass, Timestamp};
use s3s::{S3Result, s3_error};
use time::OffsetDateTime;

use crate::http::query_pairs;
use crate::s3::errors;

/// Most bytes of user metadata, names and values together. Source: S3 user guide, "Working with
/// object metadata".
const USER_METADATA_MAX_BYTES: usize = 2048;
/// What S3 says of an object whose client named no type.
pub const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-amz-storage-class");
const WRITE_OFFSET: &str = "x-amz-write-offset-bytes";
const WEBSITE_REDIRECT: HeaderName = HeaderName::from_static("x-amz-website-redirect-location");

/// Storage classes that are kept as a label; the bytes are stored alike.
const STORAGE_CLASSES: [&str; 8] = [
    StorageClass::STANDARD,
    StorageClass::REDUCED_REDUNDANCY,
    StorageClass::STANDARD_IA,
    StorageClass::ONEZONE_IA,
    StorageClass::INTELLIGENT_TIERING,
    StorageClass::GLACIER,
    StorageClass::DEEP_ARCHIVE,
    StorageClass::GLACIER_IR,
];

/// Query keys that ask for a header of the answer, and the header.
const OVERRIDES: [(&str, HeaderName); 6] = [
    ("response-content-type", header::CONTENT_TYPE),
    ("response-content-language", header::CONTENT_LANGUAGE),
    ("response-expires", header::EXPIRES),
    ("response-cache-control", header::CACHE_CONTROL),
    ("response-content-disposition", header::CONTENT_DISPOSITION),
    ("response-content-encoding", header::CONTENT_ENCODING),
];

/// Refuses an append where none is built. Ignoring the header would store an object other than the
/// client believes.
///
/// # Errors
/// `NotImplemented`, naming the header.
pub fn refuse_append(headers: &HeaderMap) -> S3Result<()> {
    let offset = headers.get(WRITE_OFFSET);
    match offset.is_some_and(|offset| !offset.is_empty()) {
        true => Err(s3_error!(
            NotImplemented,
            "The header {WRITE_OFFSET} is not implemented."
        )),
        false => Ok(()),
    }
}

/// Refuses a PutObject that names the source of a rename: a rename has its query parameter.
///
/// # Errors
/// `InvalidRequest`.
pub fn refuse_rename_source(headers: &HeaderMap) -> S3Result<()> {
    match headers.contains_key("x-amz-rename-source") {
        true => Err(s3_error!(
            InvalidRequest,
            "The header x-amz-rename-source needs the query parameter renameObject."
        )),
        false => Ok(()),
    }
}

/// A header's text; empty ones count as absent.
///
/// # Errors
/// `InvalidArgument` for one that is no text: to pass it over would lose what was asked for.
pub fn text<'h>(headers: &'h HeaderMap, name: &str) -> S3Result<Option<&'h str>> {
    let Some(value) = headers.get(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = value.to_str().map(Some);
    text.map_err(|_| s3_error!(InvalidArgument, "The header {name} is not valid."))
}

/// The system headers of a new object. Empty ones count as absent.
///
/// # Errors
/// `InvalidStorageClass`; `InvalidRedirectLocation`; `InvalidArgument` for a header that is no text.
pub fn system_headers(headers: &HeaderMap) -> S3Result<SystemHeaders> {
    let utf8_text = |name: HeaderName| -> S3Result<Option<String>> {
        let Some(value) = headers.get(&name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(s3_error!(
                InvalidArgument,
                "The header {name} is not valid UTF-8."
            )),
        }
    };
    let storage_class = utf8_text(STORAGE_CLASS)?;
    if storage_class
        .as_deref()
        .is_some_and(|class| !STORAGE_CLASSES.contains(&class))
    {
        return Err(s3_error!(InvalidStorageClass));
    }
    let website_redirect = utf8_text(WEBSITE_REDIRECT)?;
    if !website_redirect.as_deref().is_none_or(is_redirect_target) {
        return Err(errors::custom(
            StatusCode::BAD_REQUEST,
            "InvalidRedirectLocation",
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
        ));
    }
    Ok(SystemHeaders {
        content_type: utf8_text(header::CONTENT_TYPE)?,
        content_encoding: utf8_text(header::CONTENT_ENCODING)?
            .and_then(|e| without_aws_chunked(&e)),
        content_disposition: utf8_text(header::CONTENT_DISPOSITION)?,
        content_language: utf8_text(header::CONTENT_LANGUAGE)?,
        cache_control: utf8_text(header::CACHE_CONTROL)?,
        expires: utf8_text(header::EXPIRES)?,
        website_redirect,
        storage_class: storage_class.filter(|class| class != StorageClass::STANDARD),
    })
}

fn is_redirect_target(text: &str) -> bool {
    ["/", "http://", "https://"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// `aws-chunked` is how the body travelled, not what it is; the rest stays as it was written.
fn without_aws_chunked(codings: &str) -> Option<String> {
    let is_transport = |coding: &str| coding.trim().eq_ignore_ascii_case("aws-chunked");
    if !codings.split(',').any(is_transport) {
        return Some(codings.to_owned());
    }
    let kept: Vec<_> = codings
        .split(',')
        .filter(|coding| !is_transport(coding))
        .collect();
    let kept = kept.join(",").trim().to_owned();
    (!kept.is_empty()).then_some(kept)
}

/// The user metadata of a new object, sorted by name.
///
/// # Errors
/// `MetadataTooLarge` over 2 KB.
pub fn user_metadata(metadata: Option<Metadata>) -> S3Result<Vec<(String, String)>> {
    let mut pairs: Vec<_> = metadata.into_iter().flatten().collect();
    let size_bytes: usize = pairs
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if size_bytes > USER_METADATA_MAX_BYTES {
        return Err(s3_error!(MetadataTooLarge));
    }
    pairs.sort_unstable();
    Ok(pairs)
}

/// User metadata as s3s takes it.
pub fn to_metadata(object: &ObjectVersion) -> Option<Metadata> {
    (!object.user_metadata.is_empty()).then(|| object.user_metadata.iter().cloned().collect())
}

/// An ETag as s3s takes it; quotes are added on the wire.
pub fn to_etag(etag: &str) -> ETag {
    ETag::Strong(etag.to_owned())
}

/// The headers that the query asks to be answered in place of the object's.
///
/// # Errors
/// `InvalidRequest` for a value that no header could carry.
pub fn overridden(uri: &Uri) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (key, value) in query_pairs(uri.query()) {
        let Some((_, name)) = OVERRIDES.iter().find(|(named, _)| *named == key) else {
            continue;
        };
        let invalid = |_| s3_error!(InvalidRequest, "The value of {key} is invalid.");
        headers.insert(name, HeaderValue::from_str(&value).map_err(invalid)?);
    }
    Ok(headers)
}

/// A moment as s3s takes it, in whole seconds as S3 shows them.
pub fn to_timestamp(moment: metastore::Timestamp) -> Timestamp {
    let seconds = i64::try_from(moment.0 / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .into()
}

/// A moment as s3s takes it, in milliseconds as S3's lists show them.
pub fn to_precise_timestamp(moment: metastore::Timestamp) -> Timestamp {
    let nanoseconds = i128::from(moment.0) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_the_aws_chunked_token_leaves_content_encoding() {
        for (sent, kept) in [
            ("aws-chunked", None),
            ("aws-chunked,gzip", Some("gzip")),
            ("gzip, aws-chunked", Some("gzip")),
            ("deflate, aws-chunked, gzip", Some("deflate, gzip")),
            ("deflate, gzip", Some("deflate, gzip")),
            ("gzip", Some("gzip")),
        ] {
            let kept_now = system_headers(&headers(&[("content-encoding", sent)])).unwrap();
            assert_eq!(kept_now.content_encoding.as_deref(), kept, "{sent}");
        }
    }

    #[test]
    fn empty_headers_count_as_absent() {
        let kept = system_headers(&headers(&[("content-type", ""), ("expires", "")])).unwrap();
        assert_eq!(kept, SystemHeaders::default());
    }

    #[test]
    fn what_is_not_built_is_refused() {
        let append = headers(&[("x-amz-write-offset-bytes", "0")]);
        let error = refuse_append(&append).unwrap_err();
        assert_eq!(error.code().as_str(), "NotImplemented");
        assert!(refuse_append(&headers(&[("x-amz-acl", "private")])).is_ok());
    }

    #[test]
    fn user_metadata_is_bounded() {
        let metadata = |length| Some(Metadata::from([("k".to_owned(), "v".repeat(length))]));
        assert!(user_metadata(metadata(2047)).is_ok());
        assert!(user_metadata(metadata(2048)).is_err());
    }
}
