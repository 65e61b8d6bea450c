//! What every answer carries: a request id, in the headers and in the body of an error, and the
//! resource that the error is about. The id also stands in the log.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use quick_xml::escape::escape;

use super::xml_text::xml_text;
use uuid::Uuid;

const END_OF_ERROR: &str = "</Error>";

/// Identifies a request to the client and in the log: 16 upper-case hexadecimal digits.
#[derive(Debug, Clone)]
pub struct RequestId(String);

impl RequestId {
    /// A fresh one.
    #[must_use]
    pub fn generate() -> Self {
        let (random, _) = Uuid::new_v4().as_u64_pair();
        Self(format!("{random:016X}"))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a request is answered before it reaches an operation.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Status of the answer.
    pub status: StatusCode,
    /// Code of the error.
    pub code: &'static str,
    /// Its words for the client.
    pub message: String,
    /// What it says beside them.
    pub members: Vec<(&'static str, String)>,
}

impl Refused {
    /// A refusal with these.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            members: Vec::new(),
        }
    }

    /// The refusal of a request for which there is no room now.
    #[must_use]
    pub fn slow_down() -> Self {
        let message = "Please reduce your request rate.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", message)
    }

    /// The refusal of a body whose length `header` must declare.
    #[must_use]
    pub fn missing_length(header: &str) -> Self {
        let message = format!("You must provide the {header} HTTP header.");
        Self::new(StatusCode::LENGTH_REQUIRED, "MissingContentLength", message)
    }

    /// The refusal of a payload that does not have the SHA-256 that was signed.
    #[must_use]
    pub fn payload_mismatch() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
    }

    /// The refusal with one more member.
    #[must_use]
    pub fn with_member(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.members.push((name, value.into()));
        self
    }
}

/// What is put around the answer to one request.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The request's id.
    pub request_id: RequestId,
    /// Its path, as S3's error bodies show it.
    pub resource: String,
}

impl Envelope {
    /// Adds the headers that every answer has.
    pub fn put_headers<B>(&self, response: &mut Response<B>) {
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(self.request_id.as_str()) {
            headers.insert("x-amz-request-id", id.clone());
            headers.insert("x-amz-id-2", id);
        }
        headers.insert(http::header::SERVER, HeaderValue::from_static("Sextant"));
    }

    /// The error body with what `members_of` says of its code, and with `Resource`, `RequestId` and
    /// `HostId`; one that has them, and anything else, as it was.
    #[must_use]
    pub fn complete_error_body(
        &self,
        body: Bytes,
        members_of: impl FnOnce(&str) -> Vec<(&'static str, String)>,
    ) -> Bytes {
        let Ok(text) = std::str::from_utf8(&body) else {
            return body;
        };
        let open = text.strip_suffix(END_OF_ERROR);
        let Some(open) = open.filter(|open| !open.contains("<RequestId>")) else {
            return body;
        };
        let code = open
            .split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"));
        let members: String = members_of(code.map_or("", |(code, _)| code))
            .into_iter()
            .map(|(name, value)| format!("<{name}>{}</{name}>", escape(xml_text(value))))
            .collect();
        let id = self.request_id.as_str();
        let resource = escape(&self.resource);
        let completed = format!(
            "{open}{members}<Resource>{resource}</Resource><RequestId>{id}</RequestId><HostId>{id}</HostId>{END_OF_ERROR}"
        );
        completed.into()
    }

    /// A whole error answer, for requests that never reach the S3 layer.
    #[must_use]
    pub fn error(&self, refused: &Refused) -> Response<Bytes> {
        let Refused {
            status,
            code,
            message,
            members,
        } = refused;
        let open = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{}</Message>{END_OF_ERROR}",
            escape(xml_text(message.to_owned()))
        );
        let mut response =
            Response::new(self.complete_error_body(open.into(), |_| members.clone()));
        *response.status_mut() = *status;
        let xml = HeaderValue::from_static("application/xml");
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, xml);
        self.put_headers(&mut response);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            request_id: RequestId("0123456789ABCDEF".into()),
            resource: "/b/<k>".into(),
        }
    }

    #[test]
    fn an_error_body_names_resource_and_request() {
        let key = |code: &str| vec![("Key", format!("<{code}>\u{1}"))];
        let body = envelope().complete_error_body("<Error><Code>X</Code></Error>".into(), key);
        let expected = "<Error><Code>X</Code><Key>&lt;X&gt;\u{FFFD}</Key><Resource>/b/&lt;k&gt;</Resource>\
            <RequestId>0123456789ABCDEF</RequestId><HostId>0123456789ABCDEF</HostId></Error>";
        assert_eq!(body, expected);
        assert_eq!(envelope().complete_error_body(body, key), expected);
    }

    #[test]
    fn other_bodies_stay_as_they_are() {
        assert_eq!(
            envelope().complete_error_body("<List/>".into(), |_| Vec::new()),
            "<List/>"
        );
    }
}
