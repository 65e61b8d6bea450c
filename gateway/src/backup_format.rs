//! What the chunks of a backup say of themselves, so that they are found without any row. In their
//! owner hints a *run* of a gateway stands in the bucket id's place, and what follows in the key's;
//! the bucket has no name, which no bucket of a client's can have. The identity of the database stands
//! in the upload's place (not in what earlier versions wrote). The revision is the checkpoint,
//! or the piece of log.

use std::fmt;

use chunkproto::Crc64;
use metastore::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of a manifest's encoding; stands in its first byte.
const FORMAT_VERSION: u8 = 1;

/// What a body of a backup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// The [`Manifest`] of a checkpoint, written when all of its files are durable.
    Manifest,
    /// A file of a checkpoint.
    File(String),
    /// The writes with these numbers.
    Log {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
}

/// What makes a checkpoint whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// When it was made.
    pub made_at: Timestamp,
    /// Every write up to this number is in it.
    pub covers: u64,
    /// Its files.
    pub files: Vec<SavedFile>,
}

/// A file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFile {
    /// Its name.
    pub name: String,
    /// Its length. An empty file has no chunks.
    pub size_bytes: u64,
    /// Checksum of its bytes.
    pub crc64: Crc64,
}

impl Saved {
    /// Reads what [`Display`](fmt::Display) wrote.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        match key.split_once('/') {
            None if key == "manifest" => Some(Self::Manifest),
            Some(("file", name)) => Some(Self::File(name.to_owned())),
            Some(("log", numbers)) => {
                let (first, last) = numbers.split_once('-')?;
                let (first, last) = (first.parse().ok()?, last.parse().ok()?);
                (first <= last).then_some(Self::Log { first, last })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => f.write_str("manifest"),
            Self::File(name) => write!(f, "file/{name}"),
            Self::Log { first, last } => write!(f, "log/{first}-{last}"),
        }
    }
}

impl Manifest {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![FORMAT_VERSION])
            .expect("strings, numbers and lists always have a postcard encoding")
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first() {
            Some((&FORMAT_VERSION, fields)) => postcard::from_bytes(fields).ok(),
            _ => None,
        }
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let sizes = self.files.iter().map(|file| file.size_bytes);
        sizes.fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_survives_its_name() {
        let file = Saved::File("000012.sst".into());
        for saved in [Saved::Manifest, file, Saved::Log { first: 7, last: 12 }] {
            assert_eq!(Saved::parse(&saved.to_string()), Some(saved));
        }
    }

    #[test]
    fn other_names_are_nothing_that_was_saved() {
        for key in ["", "file", "log/1", "log/2-1", "log/a-b", "cat.jpg"] {
            assert_eq!(Saved::parse(key), None, "{key}");
        }
    }

    #[test]
    fn a_manifest_survives_its_bytes_and_nothing_else_is_one() {
        let manifest = Manifest {
            made_at: Timestamp(1),
            covers: 5,
            files: vec![SavedFile {
                name: "CURRENT".into(),
                size_bytes: 16,
                crc64: Crc64(3),
            }],
        };
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes), Some(manifest));
        assert_eq!(Manifest::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Manifest::decode(b""), None);
    }
}
