//! Names and ids of what the metadata knows. Parsed once at the edge, never checked again.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that cannot be the name it was offered as.
#[derive(Debug, thiserror::Error)]
pub enum InvalidName {
    /// Breaks a rule of bucket naming.
    #[error("'{0}' is not a bucket name")]
    Bucket(String),
    /// Keys have at least one byte.
    #[error("an object key may not be empty")]
    EmptyKey,
    /// Keys have at most 1024 bytes.
    #[error("an object key has at most {max} bytes, this one has {0}", max = ObjectKey::MAX_BYTES)]
    KeyTooLong(usize),
    /// Part numbers go from 1 to 10,000.
    #[error("{0} is not a part number: expected 1 to 10000")]
    PartNumber(i64),
    /// Upload ids are given out by this store.
    #[error("'{0}' is not an upload id")]
    UploadId(String),
}

/// A bucket's name as clients see it.
///
/// Invariants: 3 to 63 characters out of `a-z0-9.-`; begins and ends with a letter or digit; no
/// `..`; not an IP address; no reserved prefix or suffix. Source: the S3 user guide, "General
/// purpose bucket naming rules".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BucketName(String);

impl BucketName {
    /// Takes a name that keeps the rules above.
    ///
    /// # Errors
    /// [`InvalidName::Bucket`] for any other.
    pub fn parse(name: &str) -> Result<Self, InvalidName> {
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = name.as_bytes();
        let well_formed = (3..=63).contains(&bytes.len())
            && bytes
                .iter()
                .all(|&b| alphanumeric(b) || b == b'.' || b == b'-')
            && bytes.first().copied().is_some_and(alphanumeric)
            && bytes.last().copied().is_some_and(alphanumeric)
            && !name.contains("..")
            && name.parse::<IpAddr>().is_err();
        let reserved = ["xn--", "sthree-", "amzn-s3-demo-"]
            .iter()
            .any(|p| name.starts_with(p))
            || ["-s3alias", "--ol-s3", ".mrap", "--x-s3"]
                .iter()
                .any(|s| name.ends_with(s));
        if well_formed && !reserved {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidName::Bucket(name.chars().take(100).collect()))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// An object's key: opaque UTF-8, ordered by its bytes. Never a path.
///
/// Invariant: 1 to 1024 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Longest key, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 1024;

    /// Takes a key of a length that S3 allows.
    ///
    /// # Errors
    /// [`InvalidName::EmptyKey`], [`InvalidName::KeyTooLong`].
    pub fn parse(key: impl Into<String>) -> Result<Self, InvalidName> {
        let key = key.into();
        match key.len() {
            0 => Err(InvalidName::EmptyKey),
            1..=Self::MAX_BYTES => Ok(Self(key)),
            length => Err(InvalidName::KeyTooLong(length)),
        }
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key, taken out.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

macro_rules! uuid_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh one, later in order than those this process made before.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.simple().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

uuid_name! {
    /// A bucket's identity. Rows are keyed by it, not by the name, so that a bucket made again
    /// under an old name never meets leftovers.
    BucketId
}

uuid_name! {
    /// One revision of an object's row: unique, in time order. What compare-and-set compares.
    Sequence
}

uuid_name! {
    /// One multipart upload.
    UploadId
}

uuid_name! {
    /// One short body that is kept in the metadata.
    BodyId
}

impl UploadId {
    /// Reads an id that this store gave out.
    ///
    /// # Errors
    /// [`InvalidName::UploadId`] for any other text.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| InvalidName::UploadId(text.chars().take(64).collect()))
    }
}

/// Which version of a key: `null` in buckets without versioning, an id otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VersionId {
    /// The one version that an unversioned key has.
    Null,
    /// A version of a versioned bucket.
    Id(Uuid),
}

/// Number of a part in a multipart upload.
///
/// Invariant: 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartNumber(u16);

impl PartNumber {
    /// The lowest part number.
    pub const FIRST: Self = Self(1);
    /// The one behind it.
    pub const SECOND: Self = Self(2);
    /// The highest part number.
    pub const MAX: u16 = 10_000;

    /// Takes a number in range.
    ///
    /// # Errors
    /// [`InvalidName::PartNumber`] for any other.
    pub fn parse(number: i64) -> Result<Self, InvalidName> {
        match u16::try_from(number) {
            Ok(small @ 1..=Self::MAX) => Ok(Self(small)),
            _ => Err(InvalidName::PartNumber(number)),
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_s3_allows_are_allowed() {
        for name in ["abc", "my.bucket-1", "0numbers", &"a".repeat(63)] {
            assert!(BucketName::parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_that_s3_forbids_are_refused() {
        let long = "a".repeat(64);
        let bad = [
            "",
            "ab",
            "Abc",
            "a_b",
            "-abc",
            "abc-",
            ".abc",
            "a..b",
            "192.168.1.1",
            &long,
        ];
        let reserved = ["xn--abc", "sthree-abc", "abc-s3alias", "abc--ol-s3"];
        for name in bad.iter().chain(&reserved) {
            assert!(BucketName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn key_length_is_counted_in_bytes() {
        assert!(ObjectKey::parse("é".repeat(512)).is_ok());
        assert!(matches!(
            ObjectKey::parse("é".repeat(513)),
            Err(InvalidName::KeyTooLong(1026))
        ));
    }

    #[test]
    fn part_numbers_run_from_1_to_10000() {
        assert!(PartNumber::parse(1).is_ok() && PartNumber::parse(10_000).is_ok());
        for bad in [0, -1, 10_001, i64::MAX] {
            assert!(PartNumber::parse(bad).is_err(), "{bad}");
        }
    }
}
