//! What errors say beside code and message: which key, which upload, which range. Derived from the
//! request and the answer's headers alone, so that whoever fails need not carry it. Nothing secret
//! is among them. Source: S3 API reference, "Error responses", and what AWS answers.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, IF_MATCH, IF_NONE_MATCH};
use http::header::{IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use super::target::RequestTarget;
use crate::http::query_value;

/// Members of an error, in the order in which they are shown.
pub type Members = Vec<(&'static str, String)>;

const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");

/// Conditions, by header and as errors name them.
const CONDITIONS: [(HeaderName, &str); 8] = [
    (IF_MATCH, "If-Match"),
    (IF_NONE_MATCH, "If-None-Match"),
    (IF_UNMODIFIED_SINCE, "If-Unmodified-Since"),
    (IF_MODIFIED_SINCE, "If-Modified-Since"),
    (
        HeaderName::from_static("x-amz-copy-source-if-match"),
        "x-amz-copy-source-If-Match",
    ),
    (
        HeaderName::from_static("x-amz-copy-source-if-none-match"),
        "x-amz-copy-source-If-None-Match",
    ),
    (
        HeaderName::from_static("x-amz-copy-source-if-unmodified-since"),
        "x-amz-copy-source-If-Unmodified-Since",
    ),
    (
        HeaderName::from_static("x-amz-copy-source-if-modified-since"),
        "x-amz-copy-source-If-Modified-Since",
    ),
];

/// What a request's errors may have to name. Cheap: most requests succeed.
#[derive(Debug)]
pub struct ErrorContext {
    method: Method,
    target: RequestTarget,
    query: Option<String>,
    range: Option<HeaderValue>,
    length: Option<HeaderValue>,
    copies: bool,
    /// The only condition, if there is one alone.
    condition: Option<&'static str>,
    object_max_bytes: u64,
}

impl ErrorContext {
    /// Keeps what the errors of this request may name.
    pub fn of<T>(request: &Request<T>, target: &RequestTarget, object_max_bytes: u64) -> Self {
        let headers = request.headers();
        let mut conditions = CONDITIONS
            .into_iter()
            .filter(|(header, _)| headers.contains_key(header))
            .map(|(_, name)| name);
        let condition = conditions.next();
        Self {
            method: request.method().clone(),
            target: target.clone(),
            query: request.uri().query().map(str::to_owned),
            range: headers.get(RANGE).cloned(),
            length: headers.get(CONTENT_LENGTH).cloned(),
            copies: headers.contains_key(COPY_SOURCE),
            condition: condition.filter(|_| conditions.next().is_none()),
            object_max_bytes,
        }
    }

    /// The members of an error with this code, whose answer has these headers.
    pub fn members(&self, code: &str, answer: &HeaderMap) -> Members {
        let (bucket, key) = (self.target.bucket.clone(), self.target.key.clone());
        let mut members = Members::new();
        let mut say = |name, value: Option<String>| {
            members.extend(value.map(|value| (name, value)));
        };
        match code {
            // A copy may miss its source.
            "NoSuchKey" if !self.copies => say("Key", key),
            "NoSuchVersion" if !self.copies => {
                say("Key", key);
                say("VersionId", self.query("versionId"));
            }
            "NoSuchBucket"
            | "BucketAlreadyExists"
            | "BucketAlreadyOwnedByYou"
            | "BucketNotEmpty"
            | "InvalidBucketName"
            | "NoSuchBucketPolicy"
            | "NoSuchLifecycleConfiguration"
            | "NoSuchCORSConfiguration"
            | "NoSuchTagSet"
            | "NoSuchWebsiteConfiguration"
                if !self.copies =>
            {
                say("BucketName", bucket);
            }
            "NoSuchUpload" => say("UploadId", self.query("uploadId")),
            "PreconditionFailed" => say("Condition", self.condition.map(str::to_owned)),
            "InvalidRange" => {
                say("RangeRequested", self.range.as_ref().and_then(text));
                say("ActualObjectSize", size_in(answer));
            }
            "EntityTooLarge" => {
                say("ProposedSize", self.length.as_ref().and_then(text));
                say("MaxSizeAllowed", Some(self.object_max_bytes.to_string()));
            }
            "MethodNotAllowed" => {
                say("Method", Some(self.method.to_string()));
                say("ResourceType", Some(self.resource_type()));
            }
            _ => {}
        }
        members
    }

    fn query(&self, name: &str) -> Option<String> {
        query_value(self.query.as_deref(), name).map(std::borrow::Cow::into_owned)
    }

    /// What a method is refused for: the sub-resource, or the thing itself.
    fn resource_type(&self) -> String {
        let is_object = self.target.names_object();
        let sub_resource = crate::http::query_pairs(self.query.as_deref())
            .find(|(_, value)| value.is_empty())
            .map(|(key, _)| key.to_ascii_uppercase());
        sub_resource
            .filter(|_| !is_object)
            .map(|name| match name.as_str() {
                "POLICY" => "BUCKETPOLICY".to_owned(),
                _ => name,
            })
            .unwrap_or_else(|| if is_object { "OBJECT" } else { "BUCKET" }.to_owned())
    }
}

fn text(value: &HeaderValue) -> Option<String> {
    value.to_str().ok().map(str::to_owned)
}

/// The size that an answer names in `Content-Range: bytes */size`.
fn size_in(answer: &HeaderMap) -> Option<String> {
    let range = answer.get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes */").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::edge::virtual_host::VirtualHosts;

    fn members(code: &str, request: http::request::Builder, answer: &HeaderMap) -> String {
        let request = request.body(()).unwrap();
        let hosts = VirtualHosts::new(vec!["localhost".into()]);
        let target = RequestTarget::of(&hosts, request.uri(), request.headers());
        let members = ErrorContext::of(&request, &target, 1000).members(code, answer);
        let members: Vec<_> = members
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        members.join(" ")
    }

    #[test]
    fn errors_name_what_they_are_about() {
        let none = HeaderMap::new();
        let get = |uri: &str| Request::get(uri);
        let of = |code, request| members(code, request, &none);
        assert_eq!(of("NoSuchKey", get("/b/a%20b/c")), "Key=a b/c");
        let virtual_host = get("/k").header("host", "b.localhost:80");
        assert_eq!(of("NoSuchBucket", virtual_host), "BucketName=b");
        assert_eq!(of("NoSuchBucket", get("/b?policy")), "BucketName=b");
        assert_eq!(of("NoSuchBucket", get("/acme:b/k")), "BucketName=b");
        assert_eq!(
            of("NoSuchUpload", get("/b/k?uploadId=u%2F1")),
            "UploadId=u/1"
        );
        let twice = Request::put("/b/k").header("content-length", "2000");
        assert_eq!(
            of("EntityTooLarge", twice),
            "ProposedSize=2000 MaxSizeAllowed=1000"
        );
        assert_eq!(
            of("MethodNotAllowed", Request::put("/b?policy")),
            "Method=PUT ResourceType=BUCKETPOLICY"
        );
        assert_eq!(
            of("MethodNotAllowed", get("/b/k?versionId=1")),
            "Method=GET ResourceType=OBJECT"
        );
        assert_eq!(of("AccessDenied", get("/b/k")), "");
    }

    #[test]
    fn a_range_is_named_with_the_size_it_misses() {
        let answer = HeaderMap::from_iter([(CONTENT_RANGE, HeaderValue::from_static("bytes */5"))]);
        let request = Request::get("/b/k").header("range", "bytes=9-");
        assert_eq!(
            members("InvalidRange", request, &answer),
            "RangeRequested=bytes=9- ActualObjectSize=5"
        );
    }

    #[test]
    fn what_is_not_certain_is_left_out() {
        let none = HeaderMap::new();
        let copy = || Request::put("/b/k").header("x-amz-copy-source", "/a/b");
        assert_eq!(members("NoSuchKey", copy(), &none), "");
        assert_eq!(members("NoSuchBucket", copy(), &none), "");
        let one = Request::get("/b/k").header("if-match", "x");
        assert_eq!(
            members("PreconditionFailed", one, &none),
            "Condition=If-Match"
        );
        let two = Request::get("/b/k").header("if-match", "x");
        let two = two.header("if-unmodified-since", "x");
        assert_eq!(members("PreconditionFailed", two, &none), "");
    }
}
