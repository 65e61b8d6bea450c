//! Uploads in `aws-chunked` that s3s leaves as they are, because no Signature Version 4 in a header
//! stands over them: takes them apart before s3s sees them. Clients without credentials send them.

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use s3s::Body;

use super::unsigned_chunks::UnsignedChunks;
use crate::s3::edge::envelope::Refused;
use crate::s3::edge::signature::{Signature, SignatureVersion};

const PAYLOAD: &str = "x-amz-content-sha256";
const DECODED_LENGTH: &str = "x-amz-decoded-content-length";
const UNSIGNED: &[u8] = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// The request with the bytes inside the chunks as its body, if it is an upload in chunks that s3s
/// leaves as it is; else as it was. The trailer will stand in its extensions.
///
/// # Errors
/// Refuses chunks whose signatures nobody could check, and a body whose decoded length is not declared.
pub fn take_apart(
    request: Request<Body>,
    signature: Option<Signature>,
) -> Result<Request<Body>, Refused> {
    if *request.method() != Method::PUT || is_taken_apart_by_s3s(signature) {
        return Ok(request);
    }
    match request.headers().get(PAYLOAD).map(HeaderValue::as_bytes) {
        Some(UNSIGNED) => {}
        Some(kind) if kind.starts_with(b"STREAMING-") => {
            let message = "Chunks can have signatures only in a request that is signed itself.";
            return Err(Refused::new(
                StatusCode::BAD_REQUEST,
                "InvalidRequest",
                message,
            ));
        }
        // Without credentials, some SDKs tell the form of the body by its coding alone.
        _ if is_coded_in_chunks(request.headers()) => {}
        _ => return Ok(request),
    }
    let declared_bytes = declared_bytes(request.headers())?;
    let (mut parts, body) = request.into_parts();
    let length = HeaderValue::from(declared_bytes);
    parts.headers.insert(header::CONTENT_LENGTH, length);
    parts.headers.remove(header::TRANSFER_ENCODING);
    let chunks = UnsignedChunks::new(body, declared_bytes);
    parts.extensions.insert(chunks.trailer());
    Ok(Request::from_parts(parts, Body::http_body(chunks)))
}

/// s3s takes apart, or refuses, what is signed with Signature Version 4.
fn is_taken_apart_by_s3s(signature: Option<Signature>) -> bool {
    matches!(
        signature,
        Some(Signature::Header(SignatureVersion::V4) | Signature::Query(SignatureVersion::V4))
    )
}

fn is_coded_in_chunks(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let codings = codings.filter_map(|codings| codings.to_str().ok());
    headers.contains_key(DECODED_LENGTH)
        && codings
            .flat_map(|codings| codings.split(','))
            .any(|coding| coding.trim().eq_ignore_ascii_case("aws-chunked"))
}

fn declared_bytes(headers: &HeaderMap) -> Result<u64, Refused> {
    let declared = headers
        .get(DECODED_LENGTH)
        .and_then(|length| length.to_str().ok());
    declared
        .and_then(|length| length.parse().ok())
        .ok_or_else(|| Refused::missing_length(DECODED_LENGTH))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn upload(uri: &str, headers: &[(&'static str, &str)]) -> Request<Body> {
        let mut request = Request::put(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
            .body(Body::from("5\r\nhello\r\n0\r\n\r\n".to_owned()))
            .unwrap()
    }

    fn taken_apart(request: Request<Body>) -> Result<Request<Body>, Refused> {
        let query = request.uri().query();
        let signature = Signature::of(request.method(), request.headers(), query);
        take_apart(request, signature)
    }

    fn bytes_of(request: Request<Body>) -> bytes::Bytes {
        let collected = futures::executor::block_on(request.into_body().collect());
        collected.unwrap().to_bytes()
    }

    #[test]
    fn chunks_without_signature_are_taken_apart() {
        for headers in [
            [
                ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
                (DECODED_LENGTH, "5"),
            ],
            [
                ("content-encoding", "gzip, aws-chunked"),
                (DECODED_LENGTH, "5"),
            ],
        ] {
            let request = taken_apart(upload("/b/k", &headers)).unwrap();
            assert_eq!(request.headers()["content-length"], "5");
            assert_eq!(bytes_of(request), "hello");
        }
    }

    #[test]
    fn other_bodies_and_signed_ones_stay_as_they_are() {
        let streaming = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        for (uri, headers) in [
            ("/b/k", vec![("content-encoding", "aws-chunked")]),
            ("/b/k", vec![(DECODED_LENGTH, "5")]),
            (
                "/b/k",
                vec![streaming, ("authorization", "AWS4-HMAC-SHA256 x")],
            ),
            ("/b/k?X-Amz-Signature=0", vec![streaming]),
        ] {
            let request = taken_apart(upload(uri, &headers)).unwrap();
            assert_eq!(bytes_of(request).len(), 15, "{uri} {headers:?}");
        }
    }

    #[test]
    fn signed_chunks_without_a_signature_and_chunks_without_length_are_refused() {
        let code = |headers: &[(&'static str, &str)]| {
            let refused = taken_apart(upload("/b/k", headers));
            refused.map(drop).unwrap_err().code
        };
        let signed = ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
        assert_eq!(code(&[signed, (DECODED_LENGTH, "5")]), "InvalidRequest");
        let unsigned = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        assert_eq!(code(&[unsigned]), "MissingContentLength");
        assert_eq!(
            code(&[unsigned, (DECODED_LENGTH, "-5")]),
            "MissingContentLength"
        );
    }
}
