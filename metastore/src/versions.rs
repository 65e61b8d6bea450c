//! Versions of a key: how they are named and ordered (I5), what stands behind the current one, and
//! pages of them.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{BucketId, ListPage, ObjectKey, ObjectVersion, Timestamp, VersionId};

/// Place of a version among those of its key: a later one is greater. Given out in the commit,
/// under whatever keeps other writes of the key away. An id of a versioned bucket is its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VersionOrder(pub Uuid);

impl VersionOrder {
    /// Before every other: the place of a version that was written before its bucket had any.
    pub const FIRST: Self = Self(Uuid::nil());

    /// A fresh place behind `newest`, even where the clock went back.
    pub(crate) fn behind(newest: Option<Self>) -> Self {
        let fresh = Uuid::now_v7();
        match newest {
            Some(Self(newest)) if newest >= fresh => {
                Self(Uuid::from_u128(newest.as_u128().saturating_add(1)))
            }
            _ => Self(fresh),
        }
    }
}

impl Default for VersionOrder {
    fn default() -> Self {
        Self::FIRST
    }
}

impl VersionId {
    /// Reads a version id as clients write it; `None` for a text that this store never gave out.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "null" => Some(Self::Null),
            _ => Uuid::try_parse(text).ok().map(Self::Id),
        }
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Id(id) => id.simple().fmt(f),
        }
    }
}

/// A delete marker: says that the key was deleted, while older versions stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteMarker {
    /// Which version of the key.
    pub version: VersionId,
    /// Its place.
    pub order: VersionOrder,
    /// When it was placed.
    pub modified_at: Timestamp,
    /// Canonical id of its owner.
    pub owner: String,
}

/// A version: of an object, or a delete marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "markers are few and short-lived in memory"
)]
pub enum StoredVersion {
    /// An object.
    Object(ObjectVersion),
    /// A delete marker.
    DeleteMarker(DeleteMarker),
}

impl StoredVersion {
    /// Which version of the key.
    #[must_use]
    pub fn version(&self) -> VersionId {
        match self {
            Self::Object(object) => object.version,
            Self::DeleteMarker(marker) => marker.version,
        }
    }

    /// Its place among the versions of the key.
    #[must_use]
    pub fn order(&self) -> VersionOrder {
        match self {
            Self::Object(object) => object.order,
            Self::DeleteMarker(marker) => marker.order,
        }
    }

    /// When it was committed.
    #[must_use]
    pub fn modified_at(&self) -> Timestamp {
        match self {
            Self::Object(object) => object.modified_at,
            Self::DeleteMarker(marker) => marker.modified_at,
        }
    }

    /// The object, if it is one.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectVersion> {
        match self {
            Self::Object(object) => Some(object),
            Self::DeleteMarker(_) => None,
        }
    }
}

/// A version that stands behind the current one, or a delete marker that hides the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noncurrent {
    /// Since when: the moment at which another version took its place.
    pub(crate) since: Timestamp,
    /// The version.
    pub(crate) version: StoredVersion,
}

/// What deleting a version found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletedVersion {
    /// An object; its bytes are queued for garbage collection.
    Object,
    /// A delete marker. Where it was the latest version, the one behind it is current again.
    DeleteMarker,
    /// Nothing; nothing was changed.
    Absent,
}

/// Which versions to list.
#[derive(Debug, Clone)]
pub struct VersionQuery {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys that begin so; empty means all.
    pub prefix: String,
    /// As in [`ListQuery`](crate::ListQuery).
    pub delimiter: Option<String>,
    /// Only keys after this one; with a version, also older versions of this key. A `null` version
    /// that is gone counts as newer than all.
    pub after: Option<(String, Option<VersionId>)>,
    /// As in [`ListQuery`](crate::ListQuery).
    pub limit: usize,
}

/// A page of versions, in order of their keys, the newest of each key first.
pub type VersionPage = ListPage<ListedVersion>;

/// What a listing shows of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVersion {
    /// Its key.
    pub key: ObjectKey,
    /// The version.
    pub version: StoredVersion,
    /// Since when another version stands before it; `None` for the latest.
    pub noncurrent_since: Option<Timestamp>,
}

impl ListedVersion {
    /// Whether it is the newest version of its key.
    #[must_use]
    pub fn is_latest(&self) -> bool {
        self.noncurrent_since.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_behind_the_newest_even_where_the_clock_went_back() {
        let ahead = VersionOrder(Uuid::from_u128(u128::MAX - 7));
        assert!(VersionOrder::behind(Some(ahead)) > ahead);
        let old = VersionOrder::behind(None);
        assert!(VersionOrder::behind(Some(old)) > old);
        assert!(VersionOrder::behind(Some(VersionOrder::FIRST)) > VersionOrder::FIRST);
    }

    #[test]
    fn version_ids_survive_their_text() {
        for id in [VersionId::Null, VersionId::Id(Uuid::now_v7())] {
            assert_eq!(VersionId::parse(&id.to_string()), Some(id));
        }
        assert_eq!(VersionId::parse("latest"), None);
    }
}
