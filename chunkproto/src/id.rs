//! The ids of chunks, nodes and disks. An id that was parsed is valid; nothing checks it again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Text that is no id of the expected kind.
#[derive(Debug, thiserror::Error)]
#[error("'{text}' is not a {kind} id: expected a UUID")]
pub struct ParseIdError {
    kind: &'static str,
    text: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The id with these 16 bytes, most significant first; byte order is id order.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The id's 16 bytes, most significant first.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| ParseIdError { kind: $kind, text: text.chars().take(64).collect() })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

uuid_id! {
    /// One chunk: an immutable run of bytes. A UUIDv7, so ids sort by birth and are never reused;
    /// a chunk that was replaced elsewhere while its node was away cannot be taken for current data.
    ChunkId, "chunk"
}

uuid_id! {
    /// One chunk server's identity, made once and kept in its data directory.
    NodeId, "node"
}

uuid_id! {
    /// One disk of a chunk server: a data directory, wherever it is mounted. Made once, kept in the
    /// directory, and never given to another.
    DiskId, "disk"
}

impl ChunkId {
    /// A fresh id, later in order than those this process made before.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

/// What the ids of the metadata's own chunks begin with: behind every moment at which an object's
/// chunk can have been born, so that they stand together at the end of every list.
const OF_METADATA: [u8; 6] = [0xff; 6];

impl ChunkId {
    /// The last id that a chunk of an object can have.
    pub const LAST_OF_OBJECTS: Self = Self(Uuid::from_bytes([
        0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff,
    ]));

    /// A fresh id for a chunk that holds metadata: no row names it, and whoever has lost all rows
    /// finds it behind [`LAST_OF_OBJECTS`](Self::LAST_OF_OBJECTS).
    #[must_use]
    pub fn generate_for_metadata() -> Self {
        let mut bytes = *Uuid::new_v4().as_bytes();
        bytes[..OF_METADATA.len()].copy_from_slice(&OF_METADATA);
        // A UUIDv7 by its form, as every chunk's id.
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        Self(Uuid::from_bytes(bytes))
    }

    /// Whether the chunk holds metadata, and is none of an object.
    #[must_use]
    pub fn is_of_metadata(&self) -> bool {
        *self > Self::LAST_OF_OBJECTS
    }
}

impl ChunkId {
    /// When the id was made, in milliseconds since 1970 UTC, by the clock of whoever made it. An id
    /// that is no UUIDv7 was made at the beginning of time.
    #[must_use]
    pub fn born_at_ms(&self) -> u64 {
        let timestamp = self.0.get_timestamp();
        let since_1970 = timestamp.map(|timestamp| timestamp.to_unix());
        since_1970.map_or(0, |(seconds, nanos)| {
            seconds
                .saturating_mul(1000)
                .saturating_add(u64::from(nanos / 1_000_000))
        })
    }
}

impl NodeId {
    /// A fresh random id for a new data directory.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::new_v4())
    }
}

impl DiskId {
    /// A fresh random id for a new disk.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::new_v4())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_bytes() {
        let id = ChunkId::generate();
        assert_eq!(id, id.to_string().parse().unwrap());
        assert_eq!(id, ChunkId::from_bytes(*id.as_bytes()));
    }

    #[test]
    fn chunk_ids_sort_by_birth() {
        let ids: Vec<_> = (0..100).map(|_| ChunkId::generate()).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn a_chunk_id_knows_its_birthday() {
        let id: ChunkId = "018bcfe5-6800-7000-8000-000000000000".parse().unwrap();
        assert_eq!(id.born_at_ms(), 1_700_000_000_000);
        assert_eq!(ChunkId::from_bytes([0xff; 16]).born_at_ms(), 0);
    }

    #[test]
    fn chunks_of_metadata_stand_behind_those_of_objects() {
        let (of_object, of_metadata) = (ChunkId::generate(), ChunkId::generate_for_metadata());
        assert!(of_object < of_metadata && !of_object.is_of_metadata());
        assert!(of_metadata.is_of_metadata() && !ChunkId::LAST_OF_OBJECTS.is_of_metadata());
        assert_ne!(of_metadata, ChunkId::generate_for_metadata());
        let far_future_ms = 1 << 47;
        assert!(of_metadata.born_at_ms() > far_future_ms);
    }

    #[test]
    fn what_is_no_uuid_is_refused_with_its_text() {
        let error = "../../etc/passwd".parse::<ChunkId>().unwrap_err();
        assert!(error.to_string().contains("../../etc/passwd"));
    }
}
