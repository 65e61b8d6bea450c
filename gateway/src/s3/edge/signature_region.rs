//! The region in a signature of version 4. Any region's name will do, as there is one region here; but
//! some clients sign for a default that is no name at all (`US`), and sign anew when they are told
//! the right one, as S3 tells it.

use http::{HeaderMap, StatusCode, header};

use super::envelope::Refused;
use crate::http::query_value;

/// Refuses a request whose signature is for what cannot be a region.
///
/// # Errors
/// `AuthorizationHeaderMalformed`, or `AuthorizationQueryParametersError` for a presigned URL, with
/// the region that is expected.
pub fn check_region(headers: &HeaderMap, query: Option<&str>, own: &str) -> Result<(), Refused> {
    let in_header = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once("Credential="))
        .and_then(|(_, rest)| region_in(rest.split([',', ' ']).next()?));
    if let Some(region) = in_header.filter(|region| !is_name(region)) {
        let part = "The authorization header is malformed";
        return Err(refused("AuthorizationHeaderMalformed", part, region, own));
    }
    let credential = query_value(query, "X-Amz-Credential").unwrap_or_default();
    if let Some(region) = region_in(&credential).filter(|region| !is_name(region)) {
        let part = "Error parsing the X-Amz-Credential parameter";
        let code = "AuthorizationQueryParametersError";
        return Err(refused(code, part, region, own));
    }
    Ok(())
}

/// The region of `KEY/DATE/REGION/SERVICE/aws4_request`. A key may hold slashes.
fn region_in(credential: &str) -> Option<&str> {
    credential
        .rsplit('/')
        .nth(2)
        .filter(|_| credential.matches('/').count() >= 4)
}

fn is_name(region: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    region.bytes().all(is_plain)
}

fn refused(code: &'static str, part: &str, region: &str, own: &str) -> Refused {
    let region: String = region.chars().take(100).collect();
    let message = format!("{part}; the region '{region}' is wrong; expecting '{own}'");
    let refused = Refused::new(StatusCode::BAD_REQUEST, code, message);
    refused.with_member("Region", own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_header(region: &str) -> Result<(), Refused> {
        let scope = format!("AK/20260101/{region}/s3/aws4_request");
        let value = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        check_region(&headers, None, "us-east-1")
    }

    #[test]
    fn a_signature_for_what_is_no_region_hears_the_right_one() {
        assert!(by_header("us-east-1").is_ok());
        assert!(by_header("eu-west-1").is_ok());
        let refused = by_header("US").unwrap_err();
        assert_eq!(refused.code, "AuthorizationHeaderMalformed");
        assert_eq!(refused.members, [("Region", "us-east-1".to_owned())]);
    }

    #[test]
    fn a_presigned_url_for_what_is_no_region_hears_the_right_one() {
        let by_query = |region: &str| {
            let query = format!("X-Amz-Credential=AK%2F20260101%2F{region}%2Fs3%2Faws4_request");
            check_region(&HeaderMap::new(), Some(&query), "us-east-1").map_err(|error| error.code)
        };
        assert_eq!(by_query("us-east-1"), Ok(()));
        assert_eq!(by_query("US"), Err("AuthorizationQueryParametersError"));
        assert_eq!(
            check_region(&HeaderMap::new(), None, "x").map_err(|error| error.code),
            Ok(())
        );
    }
}
