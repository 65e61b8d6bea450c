//! What is refused before s3s sees it: what s3s would take for something else, or would read before it
//! knows the caller.

use http::{Method, Request, StatusCode, header};
use s3s::Body;
use time::OffsetDateTime;

use super::authentication::check_authentication;
use super::envelope::Refused;
use super::guard::{Refusal, refuse_unknown_subresource};
use super::known_request::KnownRequest;
use super::signature::{Signature, SignatureVersion};
use super::signature_dates::refuse_bad_dates;
use super::signature_region::check_region;
use super::signature_v2::refuse_uncovered;
use crate::http::query_pairs;

/// Which requests may go on to s3s. Cheap to clone.
#[derive(Clone)]
pub struct Admission {
    /// The region that signatures are for.
    pub region: String,
    /// Whether `Authorization` headers of Signature Version 2 are taken.
    pub sigv2_headers: bool,
}

impl Admission {
    /// Refuses what must not go on. No byte of the body is looked at.
    ///
    /// # Errors
    /// What S3 answers.
    pub fn admit(&self, request: &Request<Body>, known: &KnownRequest) -> Result<(), Refused> {
        let (method, headers) = (request.method(), request.headers());
        let query = request.uri().query();
        refuse_unknown_subresource(method, known.target.names_object(), query).map_err(
            |refusal| {
                let (status, code) = match refusal {
                    Refusal::Unknown(_) => (StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
                    Refusal::Alone(_) => (StatusCode::BAD_REQUEST, "InvalidArgument"),
                };
                Refused::new(status, code, refusal.to_string())
            },
        )?;
        refuse_uncovered(method, known.signature, query).map_err(|refusal| {
            let (status, code) = (StatusCode::BAD_REQUEST, "InvalidArgument");
            Refused::new(status, code, refusal.to_string())
        })?;
        if !known.is_form {
            check_authentication(headers, query)?;
        }
        refuse_unsigned_override(method, query, known.signature)?;
        if known.is_form && !headers.contains_key(header::CONTENT_LENGTH) {
            // s3s would gather the file in memory before anybody is asked whether it may come.
            return Err(Refused::missing_length("Content-Length"));
        }
        let is_v2_header = known.signature == Some(Signature::Header(SignatureVersion::V2));
        if is_v2_header && !self.sigv2_headers {
            let message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
            return Err(Refused::new(
                StatusCode::BAD_REQUEST,
                "InvalidRequest",
                message,
            ));
        }
        check_region(headers, query, &self.region)?;
        refuse_bad_dates(known.signature, headers, query, OffsetDateTime::now_utc())?;
        if let Some(bounds) = known.body.bounds {
            bounds.refuse_declared(headers)?;
        }
        Ok(())
    }
}

/// Headers of the answer that the URL asks for are taken from those alone who signed it.
fn refuse_unsigned_override(
    method: &Method,
    query: Option<&str>,
    signature: Option<Signature>,
) -> Result<(), Refused> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let overrides = || query_pairs(query).any(|(key, _)| key.starts_with("response-"));
    if !is_read || signature.is_some() || !overrides() {
        return Ok(());
    }
    let message = "Request specific response headers cannot be used for anonymous GET requests.";
    Err(Refused::new(
        StatusCode::BAD_REQUEST,
        "InvalidRequest",
        message,
    ))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn only_who_signed_a_read_may_override_the_headers_of_its_answer() {
        for (method, query, is_refused) in [
            (Method::GET, "response-expires=x", true),
            (Method::HEAD, "resp%6Fnse-expires=x", true),
            (Method::GET, "response-expires=x&X-Amz-Signature=0", false),
            (Method::GET, "response-expires=x&Signature=0", false),
            (Method::GET, "versionId=x", false),
            (Method::PUT, "response-expires=x", false),
        ] {
            let signature = Signature::of(&method, &HeaderMap::new(), Some(query));
            let refused = refuse_unsigned_override(&method, Some(query), signature);
            assert_eq!(refused.is_err(), is_refused, "{method} {query}");
        }
    }
}
