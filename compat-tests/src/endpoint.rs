//! An S3 endpoint and the root user's keys there.

/// Where a server answers S3 requests, and as whom to call.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Base URL, such as `http://127.0.0.1:9000`.
    pub url: String,
    /// The root user's access key.
    pub access_key: String,
    /// The root user's secret key.
    pub secret_key: String,
    /// The region that it expects in signatures.
    pub region: String,
}

impl Endpoint {
    /// The region of every test server.
    pub const REGION: &'static str = "us-east-1";

    /// An endpoint with the keys of the tests.
    #[must_use]
    pub fn with_test_keys(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            access_key: "SXTESTACCESSKEY".to_owned(),
            secret_key: "the-secret-key-of-all-tests".to_owned(),
            region: Self::REGION.to_owned(),
        }
    }

    /// Host and port, without the scheme.
    #[must_use]
    pub fn authority(&self) -> &str {
        let (_, authority) = self.url.split_once("://").unwrap_or(("", &self.url));
        authority
    }
}
