//! The head of an HTML form: its fields before the file, read before s3s reads the form again. s3s
//! hands over the fields that a PUT has as headers; what S3 says of forms alone stands here: a policy
//! needs a signature and a date in one form, the field `tagging` holds a document, and a checksum of
//! the file needs no condition in the policy.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderValue, Request, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use s3s::Body;
use s3s::post_policy::{PostPolicy, PostPolicyCondition};
use s3s_multipart::{Boundary, Multipart, parse_content_disposition};
use serde::Deserialize;

use crate::s3::edge::authentication::invalid_token;
use crate::s3::edge::envelope::Refused;
use crate::s3::edge::object_url::bucket_url;

/// Longest head. Source: S3 API reference, "POST Object": fields and boundaries, without the file.
pub const FORM_HEAD_MAX_BYTES: usize = 20 * 1024;
/// A head that is not whole yet is looked at again after so many more bytes.
const LOOK_AGAIN_BYTES: usize = 4096;
/// How checksums of the file begin.
const CHECKSUM_PREFIX: &str = "x-amz-checksum-";

/// Fields that s3s does not hand over; stands in the extensions of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormFields {
    /// The document in the field `tagging`.
    pub tagging: Option<String>,
    /// Names and values of checksums that the policy does not speak of.
    pub checksums: Vec<(String, String)>,
    /// The URL of the bucket, as the client addressed it; none where the answer leads elsewhere.
    pub bucket_url: Option<String>,
    /// Where the file begins in the request's body.
    pub file_at: usize,
}

/// A head that came whole.
#[derive(Debug)]
struct Head {
    /// Names in lower case, with their values, in the order of the form.
    fields: Vec<(String, String)>,
    /// Where the file begins.
    bytes: usize,
}

/// Reads the head of a form. The request's body is as it was, but without the checksums that
/// [`FormFields`] carries.
///
/// # Errors
/// What S3 answers to a head that is too long, to a policy without signature, and to one whose date is
/// in no form that S3 knows. What else may be wrong is left for s3s to find.
pub async fn read_head(request: Request<Body>) -> Result<Request<Body>, Refused> {
    let Some(boundary) = boundary_of(&request) else {
        return Ok(request);
    };
    let (mut parts, mut body) = request.into_parts();
    let mut start = Vec::new();
    let mut looked_at = 0;
    let head = loop {
        let piece = body.frame().await.and_then(Result::ok);
        let ended = piece.is_none();
        if let Some(Ok(data)) = piece.map(Frame::into_data) {
            start.extend_from_slice(&data);
        }
        if ended || start.len() >= looked_at + LOOK_AGAIN_BYTES {
            looked_at = start.len();
            let head = parse(&start, &boundary).await;
            let head_bytes = head.as_ref().map_or(start.len(), |head| head.bytes);
            if head_bytes > FORM_HEAD_MAX_BYTES {
                return Err(too_long());
            }
            if ended || head.is_some() {
                break head;
            }
        }
    };
    if let Some(head) = head {
        check_policy(&head)?;
        let (fields, cut) = carried(&start[..head.bytes], &head, &boundary);
        let cut_bytes: usize = cut.iter().map(ExactSizeIterator::len).sum();
        for range in cut.into_iter().rev() {
            start.drain(range);
        }
        shorten(&mut parts.headers, cut_bytes);
        let bucket_url = (!head.redirects()).then(|| bucket_url(&parts.extensions, &parts.headers));
        parts.extensions.insert(FormFields {
            bucket_url,
            file_at: head.bytes - cut_bytes,
            ..fields
        });
    }
    let start = stream::iter([Ok(Frame::data(Bytes::from(start)))]);
    let body = StreamBody::new(start.chain(BodyStream::new(body)));
    Ok(Request::from_parts(parts, Body::http_body(body)))
}

/// The boundary between a form's fields, if the request is a form.
pub(crate) fn boundary_of(request: &Request<Body>) -> Option<Boundary> {
    let kind = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    let mut parameters = kind.split(';').skip(1).map(str::trim);
    let boundary = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("boundary")
            .then(|| value.trim_matches('"'))
    })?;
    Boundary::new(boundary.as_bytes()).ok()
}

/// The head at the start of a form; none if it is not whole, or not well-formed.
async fn parse(start: &[u8], boundary: &Boundary) -> Option<Head> {
    let start = stream::iter([Ok(Bytes::copy_from_slice(start))]);
    let mut form = Multipart::new(start, boundary, FORM_HEAD_MAX_BYTES);
    let mut fields = Vec::new();
    loop {
        let mut part = form.next_part().await.ok()??;
        let mut name = None;
        while let Some(line) = part.next_header().await.ok()? {
            if line.name.eq_ignore_ascii_case("content-disposition") {
                let named = parse_content_disposition(line.value).and_then(|line| line.name);
                name = named.map(|name| String::from_utf8_lossy(name).to_ascii_lowercase());
            }
        }
        let name = name?;
        if name == "file" {
            let bytes = part.take_data_stream().ok()?.multipart_consumed();
            let bytes = usize::try_from(bytes).ok()?;
            return Some(Head { fields, bytes });
        }
        let mut value = Vec::new();
        while let Some(data) = part.next_data().await.ok()? {
            value.extend_from_slice(&data);
        }
        fields.push((name, String::from_utf8(value).ok()?));
    }
}

impl Head {
    /// The value of a field. Of several with one name the last counts, as for s3s.
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter().rev();
        fields
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    fn redirects(&self) -> bool {
        self.field("success_action_redirect").is_some()
    }
}

/// A policy as far as S3 is stricter with it than s3s.
#[derive(Deserialize)]
struct Dated {
    expiration: String,
}

fn check_policy(head: &Head) -> Result<(), Refused> {
    let Some(policy) = head.field("policy") else {
        return Ok(());
    };
    if head.field("signature").is_none() && head.field("x-amz-signature").is_none() {
        let message = "Bucket POST must contain a field named 'signature'. If it is specified, \
            please check the order of the fields.";
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "InvalidArgument",
            message,
        ));
    }
    let token = head.field("x-amz-security-token");
    if token.is_some_and(|token| !token.is_empty()) {
        return Err(invalid_token());
    }
    // S3 takes the bucket for a field of the form, and fields must be in the policy.
    let known = PostPolicy::from_base64(policy).is_ok();
    if known && !fields_in_policy(policy).contains(&"bucket".to_owned()) {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "AccessDenied",
            "Invalid according to Policy: Extra input fields: bucket",
        ));
    }
    let text = STANDARD.decode(policy).ok();
    let dated: Option<Dated> = text.and_then(|text| serde_json::from_slice(&text).ok());
    // ISO 8601 has a T between day and time.
    if dated.is_some_and(|policy| policy.expiration.as_bytes().get(10) != Some(&b'T')) {
        let message = "Invalid Policy: Invalid 'expiration' value.";
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "InvalidPolicyDocument",
            message,
        ));
    }
    Ok(())
}

/// What s3s will not hand over, and where the fields stand that it must not see.
fn carried(start: &[u8], head: &Head, boundary: &Boundary) -> (FormFields, Vec<Range<usize>>) {
    let mut carried = FormFields {
        tagging: head.field("tagging").map(str::to_owned),
        ..FormFields::default()
    };
    let named = head.field("policy").map(fields_in_policy);
    let ranges = ranges(start, boundary);
    // Without a policy, s3s takes all fields; and what is not clear is left to it.
    let (Some(named), true) = (named, ranges.len() == head.fields.len()) else {
        return (carried, Vec::new());
    };
    let mut cut = Vec::new();
    for ((name, value), range) in head.fields.iter().zip(ranges) {
        if name.starts_with(CHECKSUM_PREFIX) && !named.contains(name) {
            carried.checksums.push((name.clone(), value.clone()));
            cut.push(range);
        }
    }
    (carried, cut)
}

/// The fields that a policy's conditions name, in lower case.
fn fields_in_policy(policy: &str) -> Vec<String> {
    let conditions = PostPolicy::from_base64(policy).map(|policy| policy.conditions);
    let named = |condition| match condition {
        PostPolicyCondition::Eq { field, .. } | PostPolicyCondition::StartsWith { field, .. } => {
            Some(field)
        }
        PostPolicyCondition::ContentLengthRange { .. } => None,
    };
    conditions.into_iter().flatten().filter_map(named).collect()
}

/// Where the fields of a head stand, each with the boundary before it and the line's end behind it.
fn ranges(start: &[u8], boundary: &Boundary) -> Vec<Range<usize>> {
    let line = [b"\r\n--", boundary.as_bytes()].concat();
    let first = start.starts_with(&line[2..]).then_some(0);
    let later = start.windows(line.len()).enumerate();
    let later = later.filter(|(_, window)| *window == line);
    let starts: Vec<_> = first
        .into_iter()
        .chain(later.map(|(at, _)| at + 2))
        .collect();
    starts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

fn shorten(headers: &mut http::HeaderMap, cut_bytes: usize) {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if let Some(length) = length {
        let left = HeaderValue::from(length.saturating_sub(cut_bytes));
        headers.insert(header::CONTENT_LENGTH, left);
    }
}

fn too_long() -> Refused {
    Refused::new(
        StatusCode::BAD_REQUEST,
        "MaxPostPreDataLengthExceededError",
        "Your POST request fields preceding the upload file were too large.",
    )
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const BOUNDARY: &str = "xYzZY";

    fn form(fields: &[(&str, &str)], file: &str) -> Request<Body> {
        let field = |(name, value): &(&str, &str)| {
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
        };
        let body: String = fields.iter().chain([&("file", file)]).map(field).collect();
        let body = format!("{body}--{BOUNDARY}--\r\n");
        Request::post("/bucket")
            .header(
                header::CONTENT_TYPE,
                format!("multipart/form-data; boundary={BOUNDARY}"),
            )
            .header(header::CONTENT_LENGTH, body.len())
            .body(Body::from(body))
            .unwrap()
    }

    fn read(request: Request<Body>) -> Result<(http::request::Parts, String), Refused> {
        let request = futures::executor::block_on(read_head(request))?;
        let (parts, body) = request.into_parts();
        let body = futures::executor::block_on(BodyExt::collect(body)).unwrap();
        Ok((parts, String::from_utf8(body.to_bytes().to_vec()).unwrap()))
    }

    fn code(request: Request<Body>) -> &'static str {
        read(request).unwrap_err().code
    }

    fn policy(expiration: &str, conditions: &str) -> String {
        STANDARD.encode(format!(
            "{{\"expiration\": \"{expiration}\", \"conditions\": [{conditions}]}}"
        ))
    }

    #[test]
    fn a_form_stays_as_it_was_and_its_tagging_document_is_handed_over() {
        let fields = [
            ("key", "k"),
            ("Tagging", "<Tagging/>"),
            ("x-amz-checksum-crc32", "AA=="),
        ];
        let (before, file) = (form(&fields, "abc"), "a".repeat(100_000));
        let length = before.headers()[header::CONTENT_LENGTH].clone();
        let (parts, _) = read(before).unwrap();
        assert_eq!(parts.headers[header::CONTENT_LENGTH], length);
        let carried: &FormFields = parts.extensions.get().unwrap();
        assert_eq!(carried.tagging.as_deref(), Some("<Tagging/>"));
        assert!(carried.checksums.is_empty(), "no policy forbids it");
        let (_, body) = read(form(&fields, &file)).unwrap();
        assert!(body.contains(&file) && body.contains("x-amz-checksum-crc32"));
    }

    #[test]
    fn a_checksum_is_carried_beside_the_form_unless_its_policy_names_it() {
        for (conditions, is_carried) in [
            (r#"{"bucket": "b"}, {"key": "k"}"#, true),
            (
                r#"{"bucket": "b"}, ["starts-with", "$x-amz-checksum-CRC32", ""]"#,
                false,
            ),
        ] {
            let policy = policy("2030-01-01T00:00:00Z", conditions);
            let checksum = ("X-Amz-Checksum-Crc32", "AA==");
            let others = [
                ("key", "k"),
                ("policy", policy.as_str()),
                ("signature", "x"),
            ];
            for at in 0..=others.len() {
                let mut fields = others.to_vec();
                fields.insert(at, checksum);
                let (parts, body) = read(form(&fields, "abc")).unwrap();
                let carried: &FormFields = parts.extensions.get().unwrap();
                assert_eq!(carried.checksums.len(), usize::from(is_carried));
                assert_eq!(
                    parts.headers[header::CONTENT_LENGTH],
                    body.len().to_string()
                );
                if is_carried {
                    let (_, without) = read(form(&others, "abc")).unwrap();
                    assert_eq!(body, without);
                }
            }
        }
    }

    #[test]
    fn policies_without_signature_or_date_and_long_heads_are_refused() {
        let good = policy("2030-01-01T00:00:00Z", "");
        assert_eq!(code(form(&[("policy", &good)], "")), "InvalidArgument");
        let spaced = policy("2030-01-01 00:00:00+00:00", r#"{"bucket": "b"}"#);
        let fields = [("policy", spaced.as_str()), ("x-amz-signature", "x")];
        assert_eq!(code(form(&fields, "")), "InvalidPolicyDocument");
        let long = "x".repeat(FORM_HEAD_MAX_BYTES);
        let too_long = "MaxPostPreDataLengthExceededError";
        assert_eq!(code(form(&[("x-amz-meta-a", &long)], "")), too_long);
        let parts = vec![("x-amz-meta-a", "x"); 1000];
        assert_eq!(code(form(&parts, "abc")), too_long);
    }

    #[test]
    fn a_policy_names_the_bucket_and_no_session_has_one() {
        let good = policy("2030-01-01T00:00:00Z", r#"{"bucket": "b"}"#);
        let signed = [("policy", good.as_str()), ("signature", "x")];
        assert!(read(form(&signed, "abc")).is_ok());
        let token = [signed[0], signed[1], ("X-Amz-Security-Token", "t")];
        assert_eq!(code(form(&token, "abc")), "InvalidToken");
        let any = policy("2030-01-01T00:00:00Z", r#"{"key": "k"}"#);
        let signed = [("policy", any.as_str()), ("signature", "x")];
        assert_eq!(code(form(&signed, "abc")), "AccessDenied");
    }

    #[test]
    fn what_is_no_form_is_left_alone() {
        let text = "--xYzZY\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk";
        let request = Request::post("/bucket")
            .header(header::CONTENT_TYPE, "multipart/form-data; boundary=xYzZY")
            .body(Body::from(text.to_owned()));
        let (parts, body) = read(request.unwrap()).unwrap();
        assert_eq!(body, text);
        assert!(parts.extensions.get::<FormFields>().is_none());
    }
}
