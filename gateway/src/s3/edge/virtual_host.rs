//! Virtual-host style: `bucket.domain` names a bucket for the configured domains. Any other host —
//! localhost, an IP address, a pod's name — means path style.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// The domains under which bucket names are subdomains.
#[derive(Debug, Clone)]
pub struct VirtualHosts {
    domains: Vec<String>,
}

impl VirtualHosts {
    /// Virtual hosts under `domains`, given without ports.
    pub fn new(domains: Vec<String>) -> Self {
        let domains = domains
            .into_iter()
            .map(|domain| domain.to_ascii_lowercase())
            .collect();
        Self { domains }
    }

    /// The bucket that a `Host` header names, if it does.
    pub fn bucket_in<'a>(&self, host: &'a str) -> Option<&'a str> {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        self.domains.iter().find_map(|domain| {
            let cut = name.len().checked_sub(domain.len())?;
            let (bucket, tail) = (name.get(..cut)?, name.get(cut..)?);
            let bucket = bucket.strip_suffix('.')?;
            (tail.eq_ignore_ascii_case(domain) && !bucket.is_empty()).then_some(bucket)
        })
    }
}

impl S3Host for VirtualHosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let parsed = VirtualHost::new(host);
        Ok(match self.bucket_in(host) {
            Some(bucket) => parsed.with_bucket(bucket),
            None => parsed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_subdomains_of_the_domains_name_buckets() {
        let hosts = VirtualHosts::new(vec!["localhost".into(), "s3.example.com".into()]);
        for (host, bucket) in [
            ("b.localhost:9000", Some("b")),
            ("my.bucket.s3.example.com", Some("my.bucket")),
            ("B.S3.Example.COM:80", Some("B")),
            ("localhost:9000", None),
            ("s3.example.com", None),
            ("evils3.example.com", None),
            ("gateway-0.default.svc:9000", None),
            ("127.0.0.1:9000", None),
            ("[::1]:9000", None),
            ("", None),
        ] {
            assert_eq!(hosts.bucket_in(host), bucket, "{host}");
        }
    }
}
