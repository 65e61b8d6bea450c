//! What is wrong with how a request says who sends it, before any signature is computed: two
//! signatures, a host that none covers, a session token where no temporary keys are given out, a
//! digest that is none. s3s would choose among them, or not look.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode_str;

use super::envelope::Refused;
use crate::http::{has_query_key, query_value};

const SHA256: &str = "x-amz-content-sha256";
const SECURITY_TOKEN: &str = "x-amz-security-token";

/// Checks the request's authentication as far as its head shows it. Nothing is wrong with a request
/// that nobody signed.
///
/// # Errors
/// What S3 answers.
pub fn check_authentication(headers: &HeaderMap, query: Option<&str>) -> Result<(), Refused> {
    let in_headers = headers.get_all(header::AUTHORIZATION).iter().count();
    let by_query_4 =
        has_query_key(query, "X-Amz-Signature") || has_query_key(query, "X-Amz-Algorithm");
    let by_query_2 = has_query_key(query, "Signature");
    match in_headers + usize::from(by_query_4) + usize::from(by_query_2) {
        0 => return Ok(()),
        1 => {}
        _ => return Err(two_mechanisms()),
    }
    refuse_token(headers, query)?;
    let signed = if in_headers > 0 {
        signed_by_header(headers)
    } else {
        query_value(query, "X-Amz-SignedHeaders").map(Cow::into_owned)
    };
    // Version 2 signs no host; and a list that is not there is left for s3s to miss.
    let Some(signed) = signed else {
        return Ok(());
    };
    if !names_host(&signed) {
        return Err(unsigned_host());
    }
    check_digest(headers)
}

/// Refuses a session token: whoever has temporary keys has none of this server's.
///
/// # Errors
/// `InvalidToken`.
fn refuse_token(headers: &HeaderMap, query: Option<&str>) -> Result<(), Refused> {
    let in_header = headers
        .get(SECURITY_TOKEN)
        .is_some_and(|token| !token.is_empty());
    let in_query = query_value(query, "X-Amz-Security-Token");
    let in_query = in_query.or_else(|| query_value(query, SECURITY_TOKEN));
    match in_header || in_query.is_some_and(|token| !token.is_empty()) {
        true => Err(invalid_token()),
        false => Ok(()),
    }
}

/// A session token where no temporary keys are given out.
#[must_use]
pub fn invalid_token() -> Refused {
    let message = "The provided token is malformed or otherwise invalid.";
    Refused::new(StatusCode::BAD_REQUEST, "InvalidToken", message)
}

/// The list of signed headers in an `Authorization` header of version 4.
fn signed_by_header(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let parameters = value.strip_prefix("AWS4-")?.split_once(' ')?.1;
    let mut parameters = parameters.split(',').map(str::trim);
    parameters.find_map(|parameter| parameter.strip_prefix("SignedHeaders=").map(str::to_owned))
}

fn names_host(signed: &str) -> bool {
    // Some encode the list twice.
    let signed = percent_decode_str(signed).decode_utf8_lossy();
    signed
        .split(';')
        .any(|name| name.eq_ignore_ascii_case("host"))
}

fn check_digest(headers: &HeaderMap) -> Result<(), Refused> {
    let Some(value) = headers.get(SHA256) else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or_default();
    let is_hexadecimal = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    // A digest in base64 has 44 characters.
    let is_known = is_hexadecimal
        || (text.len() == 44 && text.ends_with('='))
        || text == "UNSIGNED-PAYLOAD"
        || text.starts_with("STREAMING-");
    if is_known {
        return Ok(());
    }
    let message = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, \
        STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, \
        STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.";
    let refused = Refused::new(StatusCode::BAD_REQUEST, "InvalidArgument", message);
    Err(refused
        .with_member("ArgumentName", SHA256)
        .with_member("ArgumentValue", text))
}

fn two_mechanisms() -> Refused {
    let message = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, \
        Signature query string parameter or the Authorization header should be specified";
    let refused = Refused::new(StatusCode::BAD_REQUEST, "InvalidArgument", message);
    refused.with_member("ArgumentName", "Authorization")
}

fn unsigned_host() -> Refused {
    let message = "There were headers present in the request which were not signed";
    let refused = Refused::new(StatusCode::FORBIDDEN, "AccessDenied", message);
    refused.with_member("HeadersNotSigned", "host")
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn outcome(pairs: &[(&'static str, &str)], query: &str) -> Result<(), &'static str> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        check_authentication(&headers, Some(query)).map_err(|refused| refused.code)
    }

    fn signed(list: &str) -> String {
        format!("AWS4-HMAC-SHA256 Credential=AK/x, SignedHeaders={list}, Signature=0")
    }

    #[test]
    fn a_signature_must_cover_the_host() {
        for (list, expected) in [
            ("host", Ok(())),
            ("content-md5;host;x-amz-date", Ok(())),
            ("Host", Ok(())),
            ("x-amz-date", Err("AccessDenied")),
            ("x-host;hosts", Err("AccessDenied")),
            ("", Err("AccessDenied")),
        ] {
            let by_header = outcome(&[("authorization", &signed(list))], "");
            assert_eq!(by_header, expected, "{list}");
            let list = list.replace(';', "%3B");
            let query = format!("X-Amz-Signature=0&X-Amz-SignedHeaders={list}");
            assert_eq!(outcome(&[], &query), expected, "{list}");
        }
        assert_eq!(outcome(&[("authorization", "AWS AK:0")], ""), Ok(()));
    }

    #[test]
    fn one_signature_is_enough() {
        let host = signed("host");
        let header = ("authorization", host.as_str());
        let refused = Err("InvalidArgument");
        assert_eq!(outcome(&[header], "X-Amz-Signature=0"), refused);
        assert_eq!(outcome(&[header], "Signature=0"), refused);
        assert_eq!(outcome(&[header, header], ""), refused);
        assert_eq!(outcome(&[], "Signature=0&X-Amz-Algorithm=x"), refused);
        assert_eq!(outcome(&[], "x-id=GetObject"), Ok(()));
    }

    #[test]
    fn session_tokens_are_refused_where_something_is_signed() {
        let host = signed("host");
        let token = ("x-amz-security-token", "t");
        let refused = Err("InvalidToken");
        assert_eq!(outcome(&[("authorization", &host), token], ""), refused);
        assert_eq!(outcome(&[], "Signature=0&x-amz-security-token=t"), refused);
        let query = "X-Amz-Signature=0&X-Amz-SignedHeaders=host&X-Amz-Security-Token=t";
        assert_eq!(outcome(&[], query), refused);
        let empty = ("x-amz-security-token", "");
        assert_eq!(outcome(&[("authorization", &host), empty], ""), Ok(()));
        assert_eq!(outcome(&[token], ""), Ok(()), "nobody signed");
    }

    #[test]
    fn a_digest_is_a_digest_or_says_that_there_is_none() {
        let host = signed("host");
        let with = |digest| outcome(&[("authorization", &host), (SHA256, digest)], "");
        let hexadecimal = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for good in [
            hexadecimal,
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "UNSIGNED-PAYLOAD",
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        ] {
            assert_eq!(with(good), Ok(()), "{good}");
        }
        for bad in ["", "garbage", &hexadecimal[1..], "UNSIGNED"] {
            assert_eq!(with(bad), Err("InvalidArgument"), "{bad}");
        }
    }
}
