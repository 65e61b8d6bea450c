//! Which bodies are read whole, and how long they may be. (bounded.rs holds them to it.)

use http::{HeaderMap, Method, Uri, header};

use super::bounded::Fault;
use crate::http::has_query_key;
use crate::s3::edge::sub_resource::OBJECT_DOCUMENTS;
use crate::s3::form::answer::is_form;

/// Longest document: the parts of an upload, or keys to delete. 10,000 parts with checksums take
/// about 3 MiB.
pub const DOCUMENT_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Longest lifecycle configuration: 1,000 rules.
pub const LIFECYCLE_MAX_BYTES: usize = 1024 * 1024;
/// Longest configuration of another kind. Source: S3 API reference, PutBucketCors.
pub const CONFIGURATION_MAX_BYTES: usize = 64 * 1024;

/// How a body is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// A document of at most so many bytes.
    Document {
        /// Its greatest length.
        max_bytes: usize,
        /// Whether it is XML.
        is_xml: bool,
        /// Whether digests in the headers are of the document; those of CompleteMultipartUpload are of
        /// the object.
        is_declared: bool,
    },
    /// A form: its fields come in time, its file takes as long as it takes.
    Form,
}

impl Bounds {
    /// The bounds of a request's body; none for the bytes of an object and for what is not read.
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap, names_object: bool) -> Option<Self> {
        let has = |key: &str| has_query_key(uri.query(), key);
        let max_bytes = match *method {
            Method::POST if is_form(method, headers) => return Some(Self::Form),
            Method::POST if has("delete") || has("uploadId") => DOCUMENT_MAX_BYTES,
            Method::POST => CONFIGURATION_MAX_BYTES,
            Method::PUT if names_object => {
                OBJECT_DOCUMENTS.into_iter().find(|key| has(key))?;
                CONFIGURATION_MAX_BYTES
            }
            Method::PUT if has("lifecycle") => LIFECYCLE_MAX_BYTES,
            Method::PUT => CONFIGURATION_MAX_BYTES,
            _ => return None,
        };
        Some(Self::Document {
            max_bytes,
            is_xml: !has("policy"),
            is_declared: !has("uploadId"),
        })
    }

    /// Refuses a document whose declared length is over its bound, before any of it is read.
    ///
    /// # Errors
    /// [`Fault::Long`].
    pub fn refuse_declared(self, headers: &HeaderMap) -> Result<(), Fault> {
        match self {
            Self::Document { max_bytes, .. }
                if declared_bytes(headers).is_some_and(|declared| declared > max_bytes) =>
            {
                Err(Fault::Long)
            }
            _ => Ok(()),
        }
    }
}

/// The length that a request declares for its body.
pub fn declared_bytes(headers: &HeaderMap) -> Option<usize> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_read_whole_is_bounded() {
        let bounds = |method: Method, uri: &'static str, names_object| {
            let uri = Uri::from_static(uri);
            match Bounds::of(&method, &uri, &HeaderMap::new(), names_object) {
                Some(Bounds::Document { max_bytes, .. }) => max_bytes,
                _ => 0,
            }
        };
        assert_eq!(bounds(Method::PUT, "/b/k", true), 0);
        let part = "/b/k?partNumber=1&uploadId=x";
        assert_eq!(bounds(Method::PUT, part, true), 0);
        assert_eq!(bounds(Method::POST, part, true), DOCUMENT_MAX_BYTES);
        assert_eq!(
            bounds(Method::POST, "/b?%64elete", false),
            DOCUMENT_MAX_BYTES
        );
        let small = CONFIGURATION_MAX_BYTES;
        assert_eq!(bounds(Method::PUT, "/b/k?t%61gging", true), small);
        assert_eq!(bounds(Method::PUT, "/b?cors", false), small);
        assert_eq!(
            bounds(Method::PUT, "/b?lifecycle", false),
            LIFECYCLE_MAX_BYTES
        );
        assert_eq!(bounds(Method::GET, "/b?lifecycle", false), 0);
    }

    #[test]
    fn a_declared_length_is_held_against_the_bound() {
        let uri = Uri::from_static("/b?policy");
        let bounds = Bounds::of(&Method::PUT, &uri, &HeaderMap::new(), false).unwrap();
        let declare = |length: usize| {
            let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, length.into())]);
            bounds.refuse_declared(&headers)
        };
        assert_eq!(declare(CONFIGURATION_MAX_BYTES), Ok(()));
        assert_eq!(declare(CONFIGURATION_MAX_BYTES + 1), Err(Fault::Long));
        assert_eq!(bounds.refuse_declared(&HeaderMap::new()), Ok(()));
    }
}
