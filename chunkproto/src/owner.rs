//! The owner hint: what a chunk says about its object, so that metadata can be rebuilt from
//! chunks alone. It is advice for recovery; the metastore is the authority.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Version of the encoding below; stands in its first byte.
const FORMAT_VERSION: u8 = 2;
/// The version before, which ends before `details`.
const FIRST_FORMAT_VERSION: u8 = 1;
/// What version 1 lacks: the length of no details.
const NO_DETAILS: [u8; 1] = [0];

/// Which object a chunk belongs to and where in it. At most about 1.3 KiB encoded, and the details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerHint {
    /// Id of the bucket; a bucket made again under the same name has another.
    pub bucket_id: Uuid,
    /// Name of the bucket when the chunk was written.
    pub bucket: String,
    /// Key of the object.
    pub key: String,
    /// Revision of the object that the chunk was written for, in time order.
    pub sequence: Uuid,
    /// The multipart upload and part number, where the chunk is of a part.
    pub part: Option<(Uuid, u16)>,
    /// Which chunk of the body or part this is, from 0.
    pub index: u8,
    /// Where in the body or part the chunk begins.
    pub offset_bytes: u64,
    /// Length of the whole body or part, where it was known beforehand.
    pub body_bytes: Option<u64>,
    /// What else the writer wants to be known of the object, in an encoding of its own. At most
    /// [`DETAILS_MAX_BYTES`](Self::DETAILS_MAX_BYTES); hints of version 1 have none.
    pub details: Vec<u8>,
}

/// Bytes that are no owner hint of a known version.
#[derive(Debug, thiserror::Error)]
#[error("not an owner hint: {0}")]
pub struct DecodeOwnerError(String);

impl OwnerHint {
    /// Most bytes of details: a record has less than 4 KiB for a hint, of which the longest key and
    /// bucket take a third.
    pub const DETAILS_MAX_BYTES: usize = 2560;

    /// The bytes that stand in a record: a version byte, then the fields in postcard's encoding. A
    /// hint without details is written in version 1.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = postcard::to_extend(self, vec![FORMAT_VERSION])
            .expect("strings and numbers always have a postcard encoding");
        if self.details.is_empty() {
            // As programs of version 1 write and read it.
            bytes[0] = FIRST_FORMAT_VERSION;
            bytes.truncate(bytes.len() - NO_DETAILS.len());
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// Bytes of another version, truncated or malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeOwnerError> {
        let read = |fields: &[u8]| {
            postcard::from_bytes(fields).map_err(|error| DecodeOwnerError(error.to_string()))
        };
        match bytes.split_first() {
            Some((&FORMAT_VERSION, fields)) => read(fields),
            Some((&FIRST_FORMAT_VERSION, fields)) => read(&[fields, &NO_DETAILS].concat()),
            Some((version, _)) => Err(DecodeOwnerError(format!("unknown version {version}"))),
            None => Err(DecodeOwnerError("empty".into())),
        }
    }

    /// The hint as a header value.
    #[must_use]
    pub fn to_header(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.encode())
    }

    /// Reads what [`to_header`](Self::to_header) wrote.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), and text that is not base64.
    pub fn from_header(text: &str) -> Result<Self, DecodeOwnerError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|error| DecodeOwnerError(error.to_string()))?;
        Self::decode(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_hint()(
            bucket in "[a-z0-9.-]{3,63}",
            key in ".{1,300}",
            ids in any::<[u128; 3]>(),
            part in any::<Option<u16>>(),
            index in 0u8..6,
            offset_bytes in any::<u64>(),
            body_bytes in any::<Option<u64>>(),
            details in prop::collection::vec(any::<u8>(), 0..200),
        ) -> OwnerHint {
            OwnerHint {
                bucket_id: Uuid::from_u128(ids[0]),
                bucket,
                key,
                sequence: Uuid::from_u128(ids[1]),
                part: part.map(|number| (Uuid::from_u128(ids[2]), number)),
                index,
                offset_bytes,
                body_bytes,
                details,
            }
        }
    }

    fn hint(details: &[u8]) -> OwnerHint {
        OwnerHint {
            bucket_id: Uuid::from_u128(1),
            bucket: "photos".into(),
            key: "a/b".into(),
            sequence: Uuid::from_u128(2),
            part: None,
            index: 0,
            offset_bytes: 0,
            body_bytes: Some(5),
            details: details.to_vec(),
        }
    }

    #[test]
    fn a_hint_without_details_is_written_as_the_first_version_was() {
        let bytes = hint(&[]).encode();
        assert_eq!(bytes[0], FIRST_FORMAT_VERSION);
        assert_eq!(OwnerHint::decode(&bytes).unwrap(), hint(&[]));
        assert_eq!(hint(b"more").encode()[0], FORMAT_VERSION);
    }

    proptest! {
        #[test]
        fn a_hint_survives_record_and_header(hint in any_hint()) {
            prop_assert_eq!(&OwnerHint::decode(&hint.encode()).unwrap(), &hint);
            prop_assert_eq!(&OwnerHint::from_header(&hint.to_header()).unwrap(), &hint);
        }

        #[test]
        fn foreign_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = OwnerHint::decode(&bytes);
        }
    }
}
