//! What a request's address names: a bucket, or a key in it, in path style or under a virtual host.
//! Worked out once, as s3s does it, so that whoever asks means the same request.

use http::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;

use super::virtual_host::VirtualHosts;
use crate::http::host_in;
use crate::s3::access::BucketAddress;

/// What a request's address names, decoded. Stands in its extensions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestTarget {
    /// The account before the bucket's name, where one stands there; it may be empty.
    pub account: Option<String>,
    /// The bucket's name, without the account; never empty.
    pub bucket: Option<String>,
    /// The key; never empty.
    pub key: Option<String>,
    /// Whether the bucket stands in the name of the host, and the whole path is the key.
    pub bucket_from_host: bool,
}

impl RequestTarget {
    /// What a request with this address names.
    pub fn of(hosts: &VirtualHosts, uri: &Uri, headers: &HeaderMap) -> Self {
        let path = percent_decode_str(uri.path()).decode_utf8_lossy();
        let path = path.strip_prefix('/').unwrap_or(&path);
        let from_host = host_in(headers).and_then(|host| hosts.bucket_in(host));
        let (address, key) = match from_host {
            Some(address) => (address, path),
            None => path.split_once('/').unwrap_or((path, "")),
        };
        let address = BucketAddress::of(address);
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            account: address.account.map(str::to_owned),
            bucket: filled(address.name),
            key: filled(key),
            bucket_from_host: from_host.is_some(),
        }
    }

    /// Whether it is an object.
    pub fn names_object(&self) -> bool {
        self.key.is_some()
    }

    /// The bucket as the request addresses it.
    pub fn bucket_address(&self) -> Option<BucketAddress<'_>> {
        Some(BucketAddress {
            account: self.account.as_deref(),
            name: self.bucket.as_deref()?,
        })
    }

    /// The path of the bucket on the host that the request names: empty under a virtual host.
    pub fn bucket_path(&self) -> String {
        let address = self.bucket_address().filter(|_| !self.bucket_from_host);
        address.map_or_else(String::new, |address| format!("/{address}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bucket, key and the bucket's path, each empty where it is not named.
    fn named(host: &str, path: &str) -> (String, String, String) {
        let hosts = VirtualHosts::new(vec!["localhost".into()]);
        let mut headers = HeaderMap::new();
        headers.insert(http::header::HOST, host.parse().unwrap());
        let target = RequestTarget::of(&hosts, &path.parse().unwrap(), &headers);
        let bucket_path = target.bucket_path();
        assert_eq!(target.names_object(), target.key.is_some());
        let text = Option::unwrap_or_default;
        (text(target.bucket), text(target.key), bucket_path)
    }

    #[test]
    fn an_address_names_what_s3s_reads_in_it() {
        for (host, path, bucket, key, bucket_path) in [
            ("127.0.0.1", "/", "", "", ""),
            ("127.0.0.1", "/b", "b", "", "/b"),
            ("127.0.0.1", "/b/", "b", "", "/b"),
            ("127.0.0.1", "/b/a/k", "b", "a/k", "/b"),
            ("127.0.0.1", "/b%2Fk", "b", "k", "/b"),
            ("127.0.0.1", "/b//", "b", "/", "/b"),
            ("127.0.0.1", "/b/a%20%2Fk", "b", "a /k", "/b"),
            ("127.0.0.1", "//k", "", "k", ""),
            ("127.0.0.1", "/acme:b/k", "b", "k", "/acme:b"),
            ("127.0.0.1", "/:b", "b", "", "/:b"),
            ("127.0.0.1", "/acme:", "", "", ""),
            ("b.localhost", "/", "b", "", ""),
            ("b.localhost:9000", "//", "b", "/", ""),
            ("b.localhost", "/a/k", "b", "a/k", ""),
        ] {
            let expected = (bucket.into(), key.into(), bucket_path.into());
            assert_eq!(named(host, path), expected, "{host}{path}");
        }
    }
}
