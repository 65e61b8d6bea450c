//! A raw HTTP answer, and the parts of an S3 error in it.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// What came back for one request.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// Reads a response to its end.
    ///
    /// # Panics
    /// When the connection breaks.
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.expect("the answer arrives whole");
        Self {
            status,
            headers,
            body,
        }
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// What stands in the body's first `<tag>`.
    #[must_use]
    pub fn tag(&self, tag: &str) -> Option<&str> {
        let (_, rest) = self.text().split_once(&format!("<{tag}>"))?;
        rest.split_once(&format!("</{tag}>"))
            .map(|(value, _)| value)
    }

    /// Checks that this is S3's error `code` with that status, and that it is a complete one:
    /// message, resource, and the request id of the headers.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn assert_error(&self, status: u16, code: &str) {
        let shown = || format!("{} {:?}\n{}", self.status, self.headers, self.text());
        assert_eq!(self.tag("Code"), Some(code), "{}", shown());
        assert_eq!(self.status.as_u16(), status, "{}", shown());
        assert_eq!(
            self.header("content-type"),
            Some("application/xml"),
            "{}",
            shown()
        );
        for tag in ["Message", "Resource", "RequestId"] {
            let value = self.tag(tag).unwrap_or_default();
            assert!(!value.is_empty(), "no {tag}: {}", shown());
        }
        let id = self.header("x-amz-request-id");
        assert_eq!(self.tag("RequestId"), id, "{}", shown());
    }
}
