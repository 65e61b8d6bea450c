//! What the first chunk of a body says of its object beyond name and place: what a rebuilt row
//! cannot be without. Written with each object, read only when all rows are lost.

use chunkproto::OwnerHint;
use metastore::{ObjectAttributes, SystemHeaders, Versioning};
use serde::{Deserialize, Serialize};

/// Version of the encoding below; stands in its first byte.
const FORMAT_VERSION: u8 = 1;
/// The same encoding, of bytes that were appended to an object.
const APPENDED_FORMAT_VERSION: u8 = 2;

/// The details of an object that is being written.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ObjectDetails<'o> {
    /// The bucket's owner, and its versioning state.
    pub bucket: (&'o str, Versioning),
    /// Canonical id of the object's owner.
    pub owner: &'o str,
    /// Its headers.
    pub headers: &'o SystemHeaders,
    /// Its user metadata.
    pub user_metadata: &'o [(String, String)],
    /// Its grants, tags, lock and encryption.
    pub attributes: &'o ObjectAttributes,
}

/// The details of an object as its chunk says them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct KnownDetails {
    /// As in [`ObjectDetails`].
    pub bucket: (String, Versioning),
    /// As in [`ObjectDetails`].
    pub owner: String,
    /// As in [`ObjectDetails`].
    pub headers: SystemHeaders,
    /// As in [`ObjectDetails`].
    pub user_metadata: Vec<(String, String)>,
    /// As in [`ObjectDetails`].
    pub attributes: ObjectAttributes,
}

impl ObjectDetails<'_> {
    /// The bytes that go into a hint. What is too long for it is left out, the user metadata first,
    /// then the headers, then all but lock and encryption: without those the bytes are worth nothing.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let no_headers = SystemHeaders::default();
        let bare = ObjectAttributes {
            acl: None,
            tags: Vec::new(),
            ..self.attributes.clone()
        };
        let without_metadata = ObjectDetails {
            user_metadata: &[],
            ..*self
        };
        let without_headers = ObjectDetails {
            headers: &no_headers,
            ..without_metadata
        };
        let barest = ObjectDetails {
            attributes: &bare,
            ..without_headers
        };
        [*self, without_metadata, without_headers, barest]
            .iter()
            .map(|details| details.bytes())
            .find(|bytes| bytes.len() <= OwnerHint::DETAILS_MAX_BYTES)
            .unwrap_or_default()
    }

    /// As [`encode`](Self::encode), for bytes that are appended to the object.
    #[must_use]
    pub fn encode_appended(&self) -> Vec<u8> {
        let mut bytes = self.encode();
        if let Some(version) = bytes.first_mut() {
            *version = APPENDED_FORMAT_VERSION;
        }
        bytes
    }

    fn bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![FORMAT_VERSION])
            .expect("strings, numbers and lists always have a postcard encoding")
    }
}

impl KnownDetails {
    /// Reads what [`ObjectDetails::encode`] wrote; `None` for a hint without, or of another format.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first() {
            Some((&(FORMAT_VERSION | APPENDED_FORMAT_VERSION), fields)) => {
                postcard::from_bytes(fields).ok()
            }
            _ => None,
        }
    }
}

/// Whether a hint's details say that the bytes were appended to an object: so it was there.
pub fn is_of_append(details: &[u8]) -> bool {
    details.first() == Some(&APPENDED_FORMAT_VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(user_metadata: &[(String, String)]) -> Vec<u8> {
        let (headers, attributes) = (
            SystemHeaders {
                content_type: Some("text/plain".into()),
                ..SystemHeaders::default()
            },
            ObjectAttributes {
                tags: vec![("a".into(), "b".into())],
                ..ObjectAttributes::default()
            },
        );
        let details = ObjectDetails {
            bucket: ("alice", Versioning::Enabled),
            owner: "bob",
            headers: &headers,
            user_metadata,
            attributes: &attributes,
        };
        details.encode()
    }

    #[test]
    fn details_survive_their_bytes() {
        let metadata = [("colour".to_owned(), "blue".to_owned())];
        let known = KnownDetails::decode(&described(&metadata)).unwrap();
        assert_eq!(known.bucket, ("alice".to_owned(), Versioning::Enabled));
        assert_eq!(known.owner, "bob");
        assert_eq!(known.headers.content_type.as_deref(), Some("text/plain"));
        assert_eq!(known.user_metadata, metadata);
        assert_eq!(known.attributes.tags.len(), 1);
    }

    #[test]
    fn details_of_an_append_say_so_and_all_else_too() {
        let (headers, attributes) = (SystemHeaders::default(), ObjectAttributes::default());
        let details = ObjectDetails {
            bucket: ("alice", Versioning::Off),
            owner: "bob",
            headers: &headers,
            user_metadata: &[],
            attributes: &attributes,
        };
        let (written, appended) = (details.encode(), details.encode_appended());
        assert!(is_of_append(&appended) && !is_of_append(&written) && !is_of_append(&[]));
        assert_eq!(
            KnownDetails::decode(&appended),
            KnownDetails::decode(&written)
        );
        assert!(KnownDetails::decode(&appended).is_some());
    }

    #[test]
    fn metadata_that_is_too_long_for_a_hint_is_left_out_and_the_rest_stays() {
        let metadata = [("long".to_owned(), "x".repeat(OwnerHint::DETAILS_MAX_BYTES))];
        let bytes = described(&metadata);
        assert!(bytes.len() <= OwnerHint::DETAILS_MAX_BYTES);
        let known = KnownDetails::decode(&bytes).unwrap();
        assert!(known.user_metadata.is_empty());
        assert_eq!(known.headers.content_type.as_deref(), Some("text/plain"));
    }

    #[test]
    fn bytes_that_are_no_details_say_nothing() {
        for bytes in [
            &[][..],
            &[FORMAT_VERSION],
            &[APPENDED_FORMAT_VERSION + 1, 0, 0],
        ] {
            assert_eq!(KnownDetails::decode(bytes), None);
        }
    }
}
