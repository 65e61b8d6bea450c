//! Versions that are not current: kept when another takes their place, found, changed, deleted.

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::read::{Looked, Reader};
use super::tables::{CURRENT, NONCURRENT, NULL_VERSIONS};
use crate::version_succession::{Displaced, Entry, Standing};
use crate::versions::Noncurrent;
use crate::{
    BucketId, DeletedVersion, MetaError, MetaResult, ObjectKey, ObjectVersion, Sequence,
    StoredVersion, Timestamp, VersionId, VersionOrder, Versioning, WriteCondition,
};

/// What a new version of a key finds there, and what it does to it.
pub(super) struct Displacement {
    pub(super) bucket_owner: String,
    pub(super) versioning: Versioning,
    pub(super) current: Option<ObjectVersion>,
    pub(super) entry: Entry,
    /// The noncurrent `null` version that goes.
    replaced_null: Option<Noncurrent>,
}

/// Where a version was found.
enum VersionLocation {
    Current(ObjectVersion),
    Behind(Noncurrent),
}

impl Engine {
    pub(super) async fn object_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
    ) -> MetaResult<StoredVersion> {
        let (key, missing) = (key.clone(), key.clone());
        let found = self.look(move |reader| reader.stored_version(bucket, &key, version));
        let found = found.await?;
        found.ok_or(MetaError::NoSuchVersion(missing, version))
    }

    pub(super) async fn newest_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
    ) -> MetaResult<Option<StoredVersion>> {
        let key = key.clone();
        self.look(move |reader| {
            if let Some(object) = reader.current(bucket, &key)? {
                return Ok(Some(StoredVersion::Object(object)));
            }
            // A commit may just have made another version current.
            reader.at_one_moment(|reader| {
                if let Some(object) = reader.current(bucket, &key)? {
                    return Ok(Some(StoredVersion::Object(object)));
                }
                let newest = reader.newest_noncurrent(bucket, &key, 1)?.pop();
                Ok(newest.map(|row| row.version))
            })
        })
        .await
    }

    pub(super) async fn delete_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
        condition: WriteCondition,
        now: Timestamp,
    ) -> MetaResult<DeletedVersion> {
        let held = vec![
            self.locks.bucket_stays(bucket).await,
            self.locks.key(bucket, key).await,
        ];
        let key = key.clone();
        let removal =
            self.look(move |reader| reader.removal(bucket, &key, version, &condition, now));
        let (batch, deleted) = removal.await?;
        if deleted != DeletedVersion::Absent {
            self.commit(batch, held).await?;
        }
        Ok(deleted)
    }

    pub(super) async fn amend_object(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        object: ObjectVersion,
        seen: Sequence,
    ) -> MetaResult<()> {
        let held = vec![
            self.locks.bucket_stays(bucket).await,
            self.locks.key(bucket, key).await,
        ];
        let key = key.clone();
        let batch = self
            .look(move |reader| reader.amendment(bucket, &key, &object, seen))
            .await?;
        self.commit(batch, held).await
    }
}

impl Reader<'_> {
    /// What a new version of `key` finds and does. The caller holds the key's lock.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub(super) fn displacement(&self, bucket: BucketId, key: &ObjectKey) -> Looked<Displacement> {
        let row = self.expect_bucket(bucket)?;
        let current = self.current(bucket, key)?;
        let versioning = row.settings.versioning;
        // The current version is newer than all others; where there is none, the newest counts.
        let newest_noncurrent = match (versioning, &current) {
            (Versioning::Off, _) | (_, Some(_)) => None,
            (_, None) => {
                let newest = self.newest_noncurrent(bucket, key, 1)?.pop();
                newest.map(|row| row.version.order())
            }
        };
        let standing = Standing {
            versioning,
            current: current.as_ref(),
            newest_noncurrent,
        };
        let entry = standing.entry();
        let replaced_null = match entry.replaces_null {
            true => self.noncurrent(bucket, key, VersionId::Null)?,
            false => None,
        };
        Ok(Displacement {
            bucket_owner: row.owner.clone(),
            versioning,
            current,
            entry,
            replaced_null,
        })
    }

    /// Up to `limit` versions that are not current, the newest first.
    pub(super) fn newest_noncurrent(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        limit: usize,
    ) -> Looked<Vec<Noncurrent>> {
        let start = keys::versions_of(bucket, key.as_str());
        let end = keys::past(&start);
        let found = self.first(NONCURRENT, start, end, limit)?;
        Ok(found.into_iter().map(|(_, row)| row).collect())
    }

    fn noncurrent(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
    ) -> Looked<Option<Noncurrent>> {
        let order = match version {
            VersionId::Id(id) => Some(VersionOrder(id)),
            VersionId::Null => {
                let row_key = keys::object(bucket, key.as_str().as_bytes());
                self.get(NULL_VERSIONS, &row_key)?
            }
        };
        let Some(order) = order else {
            return Ok(None);
        };
        let row = self.get(NONCURRENT, &keys::noncurrent(bucket, key.as_str(), order))?;
        Ok(row.filter(|row| row.version.version() == version))
    }

    /// A version, wherever it stands.
    fn find(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
    ) -> Looked<Option<VersionLocation>> {
        match self.find_in_turn(bucket, key, version)? {
            // A commit may have moved it from where it was not yet looked to where it was no more.
            None => self.at_one_moment(|reader| reader.find_in_turn(bucket, key, version)),
            found => Ok(found),
        }
    }

    fn find_in_turn(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
    ) -> Looked<Option<VersionLocation>> {
        match self.current(bucket, key)? {
            Some(current) if current.version == version => {
                Ok(Some(VersionLocation::Current(current)))
            }
            _ => Ok(self
                .noncurrent(bucket, key, version)?
                .map(VersionLocation::Behind)),
        }
    }

    /// One version, current or not.
    pub(super) fn stored_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
    ) -> Looked<Option<StoredVersion>> {
        let found = self.find(bucket, key, version)?;
        Ok(found.map(|found| match found {
            VersionLocation::Current(object) => StoredVersion::Object(object),
            VersionLocation::Behind(row) => row.version,
        }))
    }

    /// The row of one version, current or not, if it is an object.
    pub(super) fn version_row(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
    ) -> Looked<Option<ObjectVersion>> {
        Ok(match self.find(bucket, key, version)? {
            Some(VersionLocation::Current(object)) => Some(object),
            Some(VersionLocation::Behind(row)) => row.version.object().cloned(),
            None => None,
        })
    }

    /// Writes the row of a version over itself, wherever it stands.
    pub(super) fn put_version_row(
        &self,
        batch: &mut Batch,
        bucket: BucketId,
        key: &ObjectKey,
        object: &ObjectVersion,
    ) -> Looked<()> {
        match self.find(bucket, key, object.version)? {
            Some(VersionLocation::Behind(row)) => {
                let version = StoredVersion::Object(object.clone());
                batch.put_noncurrent(bucket, key, version, row.since);
            }
            _ => batch.put(
                CURRENT,
                keys::object(bucket, key.as_str().as_bytes()),
                object,
            ),
        }
        Ok(())
    }

    /// The commit that deletes one version; where it was the latest, the one behind it is current
    /// again, unless that is a delete marker.
    pub(super) fn removal(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
        condition: &WriteCondition,
        now: Timestamp,
    ) -> Looked<(Batch, DeletedVersion)> {
        self.expect_bucket(bucket)?;
        let mut batch = Batch::default();
        match self.find(bucket, key, version)? {
            None => Ok((batch, DeletedVersion::Absent)),
            Some(VersionLocation::Current(object)) => {
                condition.check(key, Some(&object))?;
                batch.delete(CURRENT, keys::object(bucket, key.as_str().as_bytes()));
                batch.count_out(bucket, &object);
                batch.collect(object.unlinked_by(None), now);
                let next = self.newest_noncurrent(bucket, key, 1)?.pop();
                batch.promote(bucket, key, next);
                Ok((batch, DeletedVersion::Object))
            }
            Some(VersionLocation::Behind(row)) => {
                condition.check(key, row.version.object())?;
                let was_latest = self.current(bucket, key)?.is_none();
                let deleted = match &row.version {
                    StoredVersion::Object(_) => DeletedVersion::Object,
                    StoredVersion::DeleteMarker(_) => DeletedVersion::DeleteMarker,
                };
                let mut newest = self.newest_noncurrent(bucket, key, 2)?.into_iter();
                let was_newest = newest.next().is_some_and(|first| first == row);
                batch.drop_noncurrent(bucket, key, &row.version, now);
                if was_latest && was_newest {
                    batch.promote(bucket, key, newest.next());
                }
                Ok((batch, deleted))
            }
        }
    }

    /// The commit that changes what a version's row says, but not its bytes.
    pub(super) fn amendment(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        object: &ObjectVersion,
        seen: Sequence,
    ) -> Looked<Batch> {
        self.expect_bucket(bucket)?;
        let missing = || MetaError::NoSuchVersion(key.clone(), object.version);
        let unchanged = |row: &ObjectVersion| {
            row.sequence == seen && row.data == object.data && row.order == object.order
        };
        let mut batch = Batch::default();
        match self.find(bucket, key, object.version)? {
            Some(VersionLocation::Current(row)) if unchanged(&row) => {
                let row_key = keys::object(bucket, key.as_str().as_bytes());
                batch.put(CURRENT, row_key, object);
                Ok(batch)
            }
            Some(VersionLocation::Behind(row)) if row.version.object().is_some_and(unchanged) => {
                let version = StoredVersion::Object(object.clone());
                batch.put_noncurrent(bucket, key, version, row.since);
                Ok(batch)
            }
            Some(_) => Err(MetaError::Conflict.into()),
            None => Err(missing().into()),
        }
    }
}

impl Batch {
    /// Carries out what a new version, `next`, does to those before it; a delete has none.
    pub(super) fn carry_out(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        displacement: Displacement,
        next: Option<&ObjectVersion>,
        now: Timestamp,
    ) {
        if let Some(null) = displacement.replaced_null {
            self.drop_noncurrent(bucket, key, &null.version, now);
        }
        match (displacement.current, displacement.entry.displaced) {
            (None, _) => {}
            (Some(current), Displaced::Gone) => {
                self.count_out(bucket, &current);
                self.collect(current.unlinked_by(next), now);
            }
            (Some(current), Displaced::Kept) => {
                self.put_noncurrent(bucket, key, StoredVersion::Object(current), now);
            }
        }
    }

    /// Writes a version that is not current.
    pub(super) fn put_noncurrent(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        version: StoredVersion,
        since: Timestamp,
    ) {
        let order = version.order();
        if version.version() == VersionId::Null {
            let row_key = keys::object(bucket, key.as_str().as_bytes());
            self.put(NULL_VERSIONS, row_key, &order);
        }
        let row_key = keys::noncurrent(bucket, key.as_str(), order);
        self.put(NONCURRENT, row_key, &Noncurrent { since, version });
    }

    /// Removes a version that is not current, with its bytes.
    fn drop_noncurrent(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        version: &StoredVersion,
        now: Timestamp,
    ) {
        self.unlist_noncurrent(bucket, key, version);
        if let StoredVersion::Object(object) = version {
            self.count_out(bucket, object);
            self.collect(object.unlinked_by(None), now);
        }
    }

    /// Makes the version behind a deleted one current, if it is an object.
    fn promote(&mut self, bucket: BucketId, key: &ObjectKey, next: Option<Noncurrent>) {
        let Some(next) = next else {
            return;
        };
        if let StoredVersion::Object(object) = &next.version {
            let row_key = keys::object(bucket, key.as_str().as_bytes());
            self.put(CURRENT, row_key, object);
            self.unlist_noncurrent(bucket, key, &next.version);
        }
    }

    fn unlist_noncurrent(&mut self, bucket: BucketId, key: &ObjectKey, version: &StoredVersion) {
        let row_key = keys::noncurrent(bucket, key.as_str(), version.order());
        self.delete(NONCURRENT, row_key);
        if version.version() == VersionId::Null {
            let row_key = keys::object(bucket, key.as_str().as_bytes());
            self.delete(NULL_VERSIONS, row_key);
        }
    }
}
