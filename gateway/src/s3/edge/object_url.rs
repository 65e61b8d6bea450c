//! URLs of buckets and objects, as answers give them: under the address by which the client reached
//! the gateway.

use http::{Extensions, HeaderMap};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::target::RequestTarget;
use crate::http::{Peer, host_in};

/// What stands in a URL as it is. A slash in a key does not: S3 writes `%2F` there.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The URL of the bucket that a request with these names.
pub fn bucket_url(extensions: &Extensions, headers: &HeaderMap) -> String {
    let is_secure = Peer::of(extensions).is_some_and(Peer::is_secure);
    let scheme = if is_secure { "https" } else { "http" };
    let host = host_in(headers).unwrap_or("localhost");
    let target = extensions.get::<RequestTarget>();
    let path = target.map(RequestTarget::bucket_path).unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// The URL of an object in the bucket that has this URL.
pub fn object_url(bucket_url: &str, key: &str) -> String {
    format!("{bucket_url}/{}", utf8_percent_encode(key, KEPT))
}

#[cfg(test)]
mod tests {
    use http::header::HOST;

    use super::*;
    use crate::http::TlsVersion;

    #[test]
    fn a_url_has_the_scheme_and_the_host_that_the_client_uses() {
        let headers = HeaderMap::from_iter([(HOST, "h:1".parse().unwrap())]);
        let mut extensions = Extensions::new();
        extensions.insert(Peer {
            address: [127, 0, 0, 1].into(),
            tls: Some(TlsVersion::V1_3),
        });
        extensions.insert(RequestTarget {
            bucket: Some("b".into()),
            ..RequestTarget::default()
        });
        let bucket = bucket_url(&extensions, &headers);
        assert_eq!(
            object_url(&bucket, "a/b-c ü"),
            "https://h:1/b/a%2Fb-c%20%C3%BC"
        );
        let mut extensions = Extensions::new();
        extensions.insert(RequestTarget {
            bucket: Some("b".into()),
            bucket_from_host: true,
            ..RequestTarget::default()
        });
        let bucket = bucket_url(&extensions, &headers);
        assert_eq!(object_url(&bucket, "k"), "http://h:1/k");
    }
}
