//! A `Range` that is malformed or names several ranges counts as absent (RFC 9110, 14.2), but s3s
//! refuses it. It may stand under the signature, so it can be taken away only after the signature
//! check: this route catches such requests there and serves them anew without the header.

use super::access::Verified;
use http::header::{AUTHORIZATION, RANGE};
use http::{Extensions, HeaderMap, Method, Request, Uri};
use s3s::dto::Range;
use s3s::route::S3Route;
use s3s::service::S3Service;
use s3s::{Body, S3Request, S3Response, S3Result, s3_error};

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

/// Serves authenticated reads without their malformed `Range`.
pub struct MalformedRange {
    authenticated: S3Service,
}

impl MalformedRange {
    /// A route into `authenticated`, a service whose gate takes [`Verified`] for the signature.
    pub fn new(authenticated: S3Service) -> Self {
        Self { authenticated }
    }
}

#[async_trait::async_trait]
impl S3Route for MalformedRange {
    fn is_match(
        &self,
        method: &Method,
        _uri: &Uri,
        headers: &HeaderMap,
        _extensions: &mut Extensions,
    ) -> bool {
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        is_read
            && headers
                .get(RANGE)
                .is_some_and(|range| !is_well_formed(range))
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        // The operation that it turns out to be is decided on when it is served anew.
        let credentials = request.credentials.take();
        request.extensions.insert(Verified(credentials));
        Ok(())
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let mut again = Request::new(Body::empty());
        *again.method_mut() = request.method;
        *again.uri_mut() = without_signature(&request.uri)?;
        *again.headers_mut() = request.headers;
        again.headers_mut().remove(RANGE);
        again.headers_mut().remove(AUTHORIZATION);
        *again.extensions_mut() = request.extensions;
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

pub(super) fn is_well_formed(range: &http::HeaderValue) -> bool {
    range.is_empty()
        || range
            .to_str()
            .is_ok_and(|range| Range::parse(range).is_ok())
}

pub(super) fn without_signature(uri: &Uri) -> S3Result<Uri> {
    let query: Vec<_> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| {
            let key = pair.split_once('=').map_or(*pair, |(key, _)| key);
            !pair.is_empty() && !SIGNATURE_KEYS.contains(&key)
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
