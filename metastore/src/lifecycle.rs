//! Lifecycle actions: conditional changes that apply only if the version, the upload and the rules are
//! still those evaluated, under the job's lease (I8). Decided the same way in every implementation.

use crate::{
    BucketId, MetaError, MetaResult, ObjectKey, ObjectVersion, Part, Sequence, StoredVersion,
    Timestamp, UploadId, VersionId, VersionOrder,
};

/// A change that a rule asks for.
#[derive(Debug, Clone)]
pub struct LifecycleChange {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// The revision of the bucket's settings that asks for it; `None` if they have no say. Whoever
    /// changes the rules ends what the old ones would do.
    pub settings: Option<Sequence>,
    /// What is to happen.
    pub action: LifecycleAction,
    /// The present moment.
    pub now: Timestamp,
}

/// What is to happen to what was judged.
#[derive(Debug, Clone)]
pub enum LifecycleAction {
    /// The current version, an object of this revision, is deleted as by
    /// [`delete_object`](crate::Metastore::delete_object).
    Expire(Sequence),
    /// A version is deleted for good, as by [`delete_version`](crate::Metastore::delete_version).
    Remove(JudgedVersion),
    /// The row of a version, whose revision is this, is written over, as by
    /// [`amend_object`](crate::Metastore::amend_object).
    Amend(Box<ObjectVersion>, Sequence),
    /// An upload is aborted; with a moment, only if none of its parts is as young as that.
    Abort(UploadId, Option<Timestamp>),
}

/// A version as it stood when it was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedVersion {
    /// Which.
    pub version: VersionId,
    /// Its place. A `null` version may be another one by now.
    pub order: VersionOrder,
    /// Its revision; `None` of a delete marker.
    pub revision: Option<Sequence>,
    /// Where it stood.
    pub standing: JudgedStanding,
}

/// Where a version stood among those of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JudgedStanding {
    /// Behind another one. If that is deleted, this one shows again, and must stay.
    Behind,
    /// It was the only one.
    Alone,
}

/// The version of that name as it stands in the commit.
pub(crate) struct StandingVersion<'s> {
    pub(crate) version: Option<&'s StoredVersion>,
    /// Whether it is the newest of its key.
    pub(crate) is_latest: bool,
    /// Whether its key has others.
    pub(crate) has_others: bool,
}

impl JudgedVersion {
    /// `version`, which stood so.
    #[must_use]
    pub fn new(version: &StoredVersion, standing: JudgedStanding) -> Self {
        Self {
            version: version.version(),
            order: version.order(),
            revision: version.object().map(|object| object.sequence),
            standing,
        }
    }

    /// Whether it still is what was judged.
    ///
    /// # Errors
    /// `Conflict`.
    pub(crate) fn expect(&self, found: &StandingVersion<'_>) -> MetaResult<()> {
        let is_same = found
            .version
            .is_some_and(|version| Self::new(version, self.standing) == *self);
        let stands_so = match self.standing {
            JudgedStanding::Behind => !found.is_latest,
            JudgedStanding::Alone => found.is_latest && !found.has_others,
        };
        match is_same && stands_so {
            true => Ok(()),
            false => Err(MetaError::Conflict),
        }
    }
}

impl LifecycleChange {
    /// Whether the bucket's settings still are those that ask for it.
    ///
    /// # Errors
    /// `Conflict`.
    pub(crate) fn expect_settings(&self, revision: Sequence) -> MetaResult<()> {
        match self.settings.is_none_or(|seen| seen == revision) {
            true => Ok(()),
            false => Err(MetaError::Conflict),
        }
    }
}

/// Whether none of an upload's parts is as young as `since`.
///
/// # Errors
/// `Conflict`.
pub(crate) fn expect_untouched(parts: &[Part], since: Timestamp) -> MetaResult<()> {
    match parts.iter().all(|part| part.modified_at < since) {
        true => Ok(()),
        false => Err(MetaError::Conflict),
    }
}
