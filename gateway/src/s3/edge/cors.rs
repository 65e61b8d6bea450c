//! Cross-origin requests: the answer to a preflight, and the headers on every answer to a request
//! that names its origin, by the rules of the bucket. Source: the Fetch standard, "CORS protocol",
//! and the S3 user guide, "Using cross-origin resource sharing".

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use metastore::{BucketDocument, BucketName};
use s3s::dto::{CORSConfiguration, CORSRule};

use super::envelope::Refused;
use super::target::RequestTarget;
use crate::s3::bucket::document_store::document_of;
use crate::s3::gateway::S3Gateway;

/// What a cross-origin request names.
#[derive(Debug, Clone)]
pub struct CrossOrigin {
    origin: String,
    method: String,
    headers: Vec<String>,
}

impl CrossOrigin {
    /// What the headers of a request with `method` name; none for a request of the same origin.
    pub fn of(method: &http::Method, headers: &HeaderMap) -> Option<Self> {
        let text = |name: HeaderName| headers.get(name)?.to_str().ok();
        let named = text(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let named = named
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase());
        Some(Self {
            origin: text(ORIGIN)?.to_owned(),
            method: text(ACCESS_CONTROL_REQUEST_METHOD)
                .unwrap_or(method.as_str())
                .to_owned(),
            headers: named.filter(|name| !name.is_empty()).collect(),
        })
    }
}

impl S3Gateway {
    /// The headers that a preflight for `target` is answered with.
    ///
    /// # Errors
    /// What a refused preflight answers.
    pub(crate) async fn preflight(
        &self,
        target: &RequestTarget,
        headers: &HeaderMap,
    ) -> Result<HeaderMap, Refused> {
        let named = CrossOrigin::of(&http::Method::OPTIONS, headers)
            .filter(|_| headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD))
            .ok_or_else(|| {
                let message = "Insufficient information. Origin and Access-Control-Request-Method are needed.";
                Refused::new(StatusCode::BAD_REQUEST, "BadRequest", message)
            })?;
        let allowed = self.cross_origin_headers(target, &named).await;
        allowed.ok_or_else(|| {
            let message = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.";
            Refused::new(StatusCode::FORBIDDEN, "AccessForbidden", message)
        })
    }

    /// The headers for an answer to a cross-origin request, where a rule of the bucket allows it.
    pub(crate) async fn cross_origin_headers(
        &self,
        target: &RequestTarget,
        named: &CrossOrigin,
    ) -> Option<HeaderMap> {
        let address = target.bucket_address()?;
        let name = BucketName::parse(address.name).ok()?;
        let bucket = self.metastore.bucket(&name).await.ok()?;
        if !address.is_of(&bucket.owner) {
            return None;
        }
        let cors: CORSConfiguration = document_of(&bucket, BucketDocument::Cors).ok()??;
        let rule = cors.cors_rules.iter().find(|rule| allows(rule, named))?;
        Some(answer(rule, named))
    }
}

pub(crate) fn allows(rule: &CORSRule, named: &CrossOrigin) -> bool {
    let allowed = rule.allowed_headers.as_deref().unwrap_or_default();
    let is_allowed = |name: &String| {
        let mut allowed = allowed.iter();
        allowed.any(|pattern| fits(&pattern.to_ascii_lowercase(), name))
    };
    rule.allowed_methods.contains(&named.method)
        && rule
            .allowed_origins
            .iter()
            .any(|pattern| fits(pattern, &named.origin))
        && named.headers.iter().all(is_allowed)
}

/// Whether `text` fits a pattern with at most one `*`.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

pub(crate) fn answer(rule: &CORSRule, named: &CrossOrigin) -> HeaderMap {
    let is_open = rule.allowed_origins.iter().any(|origin| origin == "*");
    let origin = if is_open { "*" } else { &named.origin };
    let exposed = rule.expose_headers.as_ref().map(|names| names.join(", "));
    let age = rule.max_age_seconds.map(|age| age.to_string());
    let mut answer = HeaderMap::new();
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_ORIGIN, Some(origin.to_owned())),
        // The standard knows no credentials for an origin that is not named.
        (
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            (!is_open).then(|| "true".to_owned()),
        ),
        (ACCESS_CONTROL_ALLOW_METHODS, Some(named.method.clone())),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            Some(named.headers.join(", ")).filter(|names| !names.is_empty()),
        ),
        (ACCESS_CONTROL_EXPOSE_HEADERS, exposed),
        (ACCESS_CONTROL_MAX_AGE, age),
        (
            VARY,
            Some("Origin, Access-Control-Request-Headers, Access-Control-Request-Method".into()),
        ),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            answer.insert(name, value);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_fits_a_pattern_with_one_star() {
        for (pattern, origin, expected) in [
            ("*suffix", "foo.suffix", true),
            ("*suffix", "foo.suffix.get", false),
            ("start*end", "startend", true),
            ("start*end", "start12end", true),
            ("start*end", "0start12end", false),
            ("prefix*", "bla.prefix", false),
            ("aba*aba", "aba", false),
            ("*", "anything", true),
        ] {
            assert_eq!(fits(pattern, origin), expected, "{pattern} {origin}");
        }
    }

    #[test]
    fn a_rule_allows_only_its_methods_and_headers() {
        let rule = CORSRule {
            allowed_headers: Some(vec!["x-*".into()]),
            allowed_methods: vec!["PUT".into()],
            allowed_origins: vec!["https://a".into()],
            ..CORSRule::default()
        };
        let named = |method: &str, header: &str| CrossOrigin {
            origin: "https://a".into(),
            method: method.into(),
            headers: vec![header.into()],
        };
        assert!(allows(&rule, &named("PUT", "x-meta")));
        assert!(!allows(&rule, &named("PUT", "authorization")));
        assert!(!allows(&rule, &named("GET", "x-meta")));
    }

    #[test]
    fn credentials_go_only_to_origins_that_are_named() {
        let credentials = |origin: &str| {
            let rule = CORSRule {
                allowed_methods: vec!["GET".into()],
                allowed_origins: vec![origin.into()],
                ..CORSRule::default()
            };
            let named = CrossOrigin {
                origin: "https://a".into(),
                method: "GET".into(),
                headers: Vec::new(),
            };
            let answer = answer(&rule, &named);
            answer.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS)
        };
        assert!(credentials("https://a") && credentials("https://*"));
        assert!(!credentials("*"));
    }
}
