//! What a write or a delete does to the versions of its key. Decided the same way in every
//! implementation; the caller looks the facts up and carries the plan out in one commit (I5).
//! Source: S3 user guide, "How S3 Versioning works" and "Deleting object versions".

use crate::{ObjectVersion, StoredVersion, Timestamp, VersionId, VersionOrder, Versioning};

/// What stands under a key before the commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing<'s> {
    /// The bucket's versioning state.
    pub(crate) versioning: Versioning,
    /// The current version.
    pub(crate) current: Option<&'s ObjectVersion>,
    /// Place of the newest version that is not current, a delete marker too.
    pub(crate) newest_noncurrent: Option<VersionOrder>,
}

/// What becomes of the current version when another takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Displaced {
    /// There is none, or it is gone for good with its bytes.
    Gone,
    /// It stays as a noncurrent version.
    Kept,
}

/// Name and place of a new version, and what it does to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Name of the new version.
    pub(crate) version: VersionId,
    /// Its place.
    pub(crate) order: VersionOrder,
    /// What becomes of the current version.
    pub(crate) displaced: Displaced,
    /// Whether a noncurrent `null` version goes, if there is one.
    pub(crate) replaces_null: bool,
}

impl Standing<'_> {
    /// The entry of a new version, object or delete marker.
    pub(crate) fn entry(&self) -> Entry {
        if self.versioning == Versioning::Off {
            return Entry {
                version: VersionId::Null,
                order: VersionOrder::FIRST,
                displaced: Displaced::Gone,
                replaces_null: false,
            };
        }
        let newest = self.current.map(|current| current.order);
        let order = VersionOrder::behind(newest.max(self.newest_noncurrent));
        let current_is_null = self
            .current
            .is_some_and(|current| current.version == VersionId::Null);
        match self.versioning {
            Versioning::Enabled => Entry {
                version: VersionId::Id(order.0),
                order,
                displaced: Displaced::Kept,
                replaces_null: false,
            },
            _ => Entry {
                version: VersionId::Null,
                order,
                displaced: if current_is_null {
                    Displaced::Gone
                } else {
                    Displaced::Kept
                },
                // There is one `null` version at most.
                replaces_null: !current_is_null,
            },
        }
    }
}

impl StoredVersion {
    /// The delete marker that takes the place of what stands under a key.
    pub(crate) fn marker(entry: &Entry, modified_at: Timestamp, owner: String) -> Self {
        Self::DeleteMarker(crate::DeleteMarker {
            version: entry.version,
            order: entry.order,
            modified_at,
            owner,
        })
    }
}
