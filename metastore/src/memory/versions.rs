//! Versions that are not current.

use std::cmp::Reverse;

use super::listing::{cut, folded, push_prefix};
use super::state::State;
use crate::version_succession::{Displaced, Entry, Standing};
use crate::versions::Noncurrent;
use crate::{
    Bucket, BucketId, DeletedVersion, ListEntry, ListedVersion, MetaError, MetaResult, ObjectKey,
    ObjectVersion, Sequence, StoredVersion, Timestamp, VersionId, VersionOrder, VersionPage,
    VersionQuery, WriteCondition,
};

impl State {
    /// The entry of a new version of `key`, and its bucket.
    pub(super) fn entry(&self, bucket: BucketId, key: &ObjectKey) -> MetaResult<(Entry, Bucket)> {
        let row = self.expect_bucket(bucket)?;
        let newest = self.behind(bucket, key).next();
        let standing = Standing {
            versioning: row.settings.versioning,
            current: self.current.get(&(bucket, key.clone())),
            newest_noncurrent: newest.map(|row| row.version.order()),
        };
        Ok((standing.entry(), row))
    }

    /// Carries out what a new version, `next`, does to those before it; a delete has none.
    pub(super) fn carry_out(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        entry: &Entry,
        next: Option<&ObjectVersion>,
        now: Timestamp,
    ) {
        if entry.replaces_null
            && let Some(order) = self.noncurrent_order(bucket, key, VersionId::Null)
        {
            self.drop_noncurrent(bucket, key, order, now);
        }
        match (self.current.remove(&(bucket, key.clone())), entry.displaced) {
            (None, _) => {}
            (Some(current), Displaced::Gone) => self.collect(current.unlinked_by(next), now),
            (Some(current), Displaced::Kept) => {
                self.put_noncurrent(bucket, key, StoredVersion::Object(current), now);
            }
        }
    }

    pub(super) fn put_noncurrent(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        version: StoredVersion,
        since: Timestamp,
    ) {
        let place = (bucket, key.clone(), Reverse(version.order()));
        self.noncurrent.insert(place, Noncurrent { since, version });
    }

    pub(super) fn object_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
    ) -> MetaResult<StoredVersion> {
        if let Some(current) = self.current_version(bucket, key, version) {
            return Ok(StoredVersion::Object(current.clone()));
        }
        let mut behind = self.behind(bucket, key);
        let found = behind.find(|row| row.version.version() == version);
        found
            .map(|row| row.version.clone())
            .ok_or_else(|| MetaError::NoSuchVersion(key.clone(), version))
    }

    pub(super) fn newest_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
    ) -> Option<StoredVersion> {
        match self.current.get(&(bucket, key.clone())) {
            Some(current) => Some(StoredVersion::Object(current.clone())),
            None => self
                .behind(bucket, key)
                .next()
                .map(|row| row.version.clone()),
        }
    }

    pub(super) fn delete_version(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
        condition: &WriteCondition,
        now: Timestamp,
    ) -> MetaResult<DeletedVersion> {
        self.expect_bucket(bucket)?;
        let deleted = if let Some(current) = self.current_version(bucket, key, version) {
            condition.check(key, Some(current))?;
            let unlinked = current.unlinked_by(None);
            self.collect(unlinked, now);
            self.current.remove(&(bucket, key.clone()));
            DeletedVersion::Object
        } else if let Some(order) = self.noncurrent_order(bucket, key, version) {
            let row = &self.noncurrent[&(bucket, key.clone(), Reverse(order))];
            condition.check(key, row.version.object())?;
            let deleted = match row.version {
                StoredVersion::Object(_) => DeletedVersion::Object,
                StoredVersion::DeleteMarker(_) => DeletedVersion::DeleteMarker,
            };
            self.drop_noncurrent(bucket, key, order, now);
            deleted
        } else {
            return Ok(DeletedVersion::Absent);
        };
        self.promote(bucket, key);
        Ok(deleted)
    }

    pub(super) fn amend_object(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        object: ObjectVersion,
        seen: Sequence,
    ) -> MetaResult<()> {
        self.expect_bucket(bucket)?;
        let standing = self.object_version(bucket, key, object.version)?;
        let unchanged = standing.object().is_some_and(|row| {
            row.sequence == seen && row.data == object.data && row.order == object.order
        });
        if !unchanged {
            return Err(MetaError::Conflict);
        }
        self.put_version_row(bucket, key, object);
        Ok(())
    }

    /// Writes the row of a version over itself, wherever it stands.
    pub(super) fn put_version_row(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        object: ObjectVersion,
    ) {
        if self.current_version(bucket, key, object.version).is_some() {
            self.current.insert((bucket, key.clone()), object);
        } else if let Some(row) =
            self.noncurrent
                .get_mut(&(bucket, key.clone(), Reverse(object.order)))
        {
            row.version = StoredVersion::Object(object);
        }
    }

    pub(super) fn list_versions(&self, query: &VersionQuery) -> VersionPage {
        let mut entries = Vec::new();
        for listed in self.versions_in(query.bucket) {
            let key = listed.key.as_str();
            if !key.starts_with(&query.prefix) {
                continue;
            }
            let after = query.after.as_ref().map(|(key, _)| key.as_str());
            match folded(key, &query.prefix, query.delimiter.as_deref()) {
                Some(prefix) if Some(prefix) > after => push_prefix(&mut entries, prefix),
                None if self.is_behind_cursor(query, &listed) => {
                    entries.push(ListEntry::Item(listed));
                }
                _ => {}
            }
        }
        cut(entries, query.limit)
    }

    fn is_behind_cursor(&self, query: &VersionQuery, listed: &ListedVersion) -> bool {
        let Some((key, version)) = &query.after else {
            return true;
        };
        if listed.key.as_str() != key {
            return listed.key.as_str() > key.as_str();
        }
        let place = match version {
            None => return false,
            Some(VersionId::Id(id)) => Some(VersionOrder(*id)),
            Some(null) => {
                let found = self.object_version(query.bucket, &listed.key, *null);
                found.ok().map(|found| found.order())
            }
        };
        // A `null` that is gone counts as newer than all.
        !listed.is_latest() && place.is_none_or(|place| listed.version.order() < place)
            || listed.is_latest() && place.is_none()
    }

    /// All versions of a bucket, in order of key, the newest of each key first.
    fn versions_in(&self, bucket: BucketId) -> Vec<ListedVersion> {
        let current = self.current.iter().filter(|((of, _), _)| *of == bucket);
        let current = current.map(|((_, key), object)| ListedVersion {
            key: key.clone(),
            version: StoredVersion::Object(object.clone()),
            noncurrent_since: None,
        });
        let behind = self.noncurrent.iter().filter(|((of, ..), _)| *of == bucket);
        let behind = behind.map(|((_, key, order), row)| {
            let newest = self.newest_version(bucket, key);
            let is_latest =
                newest.is_some_and(|newest| newest.object().is_none() && newest.order() == order.0);
            ListedVersion {
                key: key.clone(),
                version: row.version.clone(),
                noncurrent_since: (!is_latest).then_some(row.since),
            }
        });
        let mut all: Vec<_> = current.chain(behind).collect();
        all.sort_by_key(|listed| {
            let order = Reverse(listed.version.order());
            (listed.key.clone(), !listed.is_latest(), order)
        });
        all
    }

    fn current_version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
    ) -> Option<&ObjectVersion> {
        let current = self.current.get(&(bucket, key.clone()))?;
        (current.version == version).then_some(current)
    }

    pub(super) fn behind<'s>(
        &'s self,
        bucket: BucketId,
        key: &'s ObjectKey,
    ) -> impl Iterator<Item = &'s Noncurrent> {
        let of_key = move |place: &(BucketId, ObjectKey, _)| place.0 == bucket && place.1 == *key;
        let rows = self.noncurrent.iter();
        rows.filter(move |(place, _)| of_key(place))
            .map(|(_, row)| row)
    }

    fn noncurrent_order(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
    ) -> Option<VersionOrder> {
        let mut behind = self.behind(bucket, key);
        let found = behind.find(|row| row.version.version() == version)?;
        Some(found.version.order())
    }

    fn drop_noncurrent(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        order: VersionOrder,
        now: Timestamp,
    ) {
        let dropped = self
            .noncurrent
            .remove(&(bucket, key.clone(), Reverse(order)));
        if let Some(StoredVersion::Object(object)) = dropped.map(|row| row.version) {
            self.collect(object.unlinked_by(None), now);
        }
    }

    /// Where nothing is current and the newest version is an object, it is current again.
    fn promote(&mut self, bucket: BucketId, key: &ObjectKey) {
        if self.current.contains_key(&(bucket, key.clone())) {
            return;
        }
        let newest = self
            .behind(bucket, key)
            .next()
            .map(|row| row.version.clone());
        if let Some(StoredVersion::Object(object)) = newest {
            let place = (bucket, key.clone(), Reverse(object.order));
            self.noncurrent.remove(&place);
            self.current.insert((bucket, key.clone()), object);
        }
    }
}
