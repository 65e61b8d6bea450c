//! Signature Version 2 covers a bucket's path in path style with a slash at its end, whether the request
//! has one or not; botocore signs so and sends none. s3s takes the path as it stands: the slash is put
//! there before, which makes no other request of it.

use http::uri::PathAndQuery;
use http::{Request, Uri};

use super::signature::Signature;
use super::target::RequestTarget;

/// The request with a slash behind its path, if that names nothing but a bucket and Signature
/// Version 2 stands over it; else as it was.
pub fn end_with_slash<B>(
    target: &RequestTarget,
    signature: Option<Signature>,
    mut request: Request<B>,
) -> Request<B> {
    let ends_in_bucket = target.bucket.is_some()
        && !target.bucket_from_host
        && !target.names_object()
        && !request.uri().path().ends_with('/');
    if ends_in_bucket
        && signature.is_some_and(Signature::is_v2)
        && let Some(uri) = with_slash(request.uri())
    {
        *request.uri_mut() = uri;
    }
    request
}

fn with_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let ended: PathAndQuery = match uri.query() {
        Some(query) => format!("{path}/?{query}").parse().ok()?,
        None => format!("{path}/").parse().ok()?,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(ended);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;
    use crate::s3::edge::virtual_host::VirtualHosts;

    fn ended(request: http::request::Builder) -> String {
        let request = request.body(()).unwrap();
        let hosts = VirtualHosts::new(vec!["localhost".into()]);
        let target = RequestTarget::of(&hosts, request.uri(), request.headers());
        let query = request.uri().query();
        let signature = Signature::of(request.method(), request.headers(), query);
        end_with_slash(&target, signature, request)
            .uri()
            .to_string()
    }

    #[test]
    fn only_a_bucket_s_path_under_version_2_gets_a_slash() {
        let (version_2, version_4) = ("AWS AK:c2ln", "AWS4-HMAC-SHA256 Credential=AK");
        for (authorization, uri, expected) in [
            (version_2, "/bucket?acl", "/bucket/?acl"),
            (version_2, "/bucket", "/bucket/"),
            (version_2, "http://h:1/bucket", "http://h:1/bucket/"),
            (version_2, "/bucket/", "/bucket/"),
            (version_2, "/bucket/key", "/bucket/key"),
            (version_2, "/bucket%2Fkey", "/bucket%2Fkey"),
            (version_2, "/", "/"),
            (version_4, "/bucket", "/bucket"),
            ("", "/b?Signature=c2ln", "/b/?Signature=c2ln"),
            ("", "/bucket", "/bucket"),
        ] {
            let request = Request::get(uri).header(header::AUTHORIZATION, authorization);
            assert_eq!(ended(request), expected);
        }
    }

    #[test]
    fn under_a_virtual_host_the_path_is_a_key_and_stays() {
        for (host, expected) in [("bucket.localhost:9000", "/key"), ("localhost", "/key/")] {
            let request = Request::get("/key").header(header::HOST, host);
            let request = request.header(header::AUTHORIZATION, "AWS AK:c2ln");
            assert_eq!(ended(request), expected, "{host}");
        }
    }
}
