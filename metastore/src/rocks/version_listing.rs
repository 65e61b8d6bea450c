//! Pages of versions: the current ones and those behind them stand in two tables, which are walked
//! side by side. A page costs what it shows: both cursors leap over what a common prefix folds.

use rocksdb::Snapshot;

use super::cursor::Cursor;
use super::keys;
use super::read::Store;
use super::tables::{CURRENT, NONCURRENT, NULL_VERSIONS};
use crate::fold::{self, Fold};
use crate::versions::Noncurrent;
use crate::{
    ListEntry, ListedVersion, MetaError, MetaResult, ObjectKey, ObjectVersion, StoredVersion,
    VersionId, VersionOrder, VersionPage, VersionQuery,
};

impl Store {
    pub(super) fn list_versions(&self, query: &VersionQuery) -> MetaResult<VersionPage> {
        let mut page = VersionPage {
            entries: Vec::new(),
            truncated: false,
        };
        let after = query.after.as_ref().map(|(key, _)| key.as_str());
        let fold = Fold::new(&query.prefix, query.delimiter.as_deref(), after);
        if query.limit == 0 || fold.start() >= fold.end() {
            return Ok(page);
        }
        let moment = self.db.snapshot();
        let mut walk = Walk::begin((self, &moment), query, fold)?;
        while let Some(key) = walk.next_key()? {
            if page.entries.len() == query.limit {
                page.truncated = true;
                break;
            }
            if let Some(prefix) = fold.common_prefix(&key) {
                walk.leap_past(prefix);
                page.entries
                    .push(ListEntry::CommonPrefix(prefix.to_owned()));
            } else {
                page.entries.push(ListEntry::Item(walk.take(key)?));
            }
        }
        Ok(page)
    }

    /// Where the versions begin that are older than the cursor's; `None` if it names none.
    fn older_than_cursor(
        &self,
        moment: &Snapshot<'_>,
        query: &VersionQuery,
        fold: Fold<'_>,
    ) -> MetaResult<Option<Vec<u8>>> {
        let Some((key, Some(version))) = &query.after else {
            return Ok(None);
        };
        if !key.starts_with(&query.prefix) || fold.common_prefix(key).is_some() {
            return Ok(None);
        }
        let Ok(object_key) = ObjectKey::parse(key.as_str()) else {
            return Ok(None);
        };
        let row_key = keys::object(query.bucket, key.as_bytes());
        let order = match version {
            VersionId::Id(id) => Some(VersionOrder(*id)),
            VersionId::Null => {
                let reader = self.on_disk_at(moment);
                match reader.current(query.bucket, &object_key)? {
                    Some(current) if current.version == VersionId::Null => None,
                    _ => reader.get(NULL_VERSIONS, &row_key)?,
                }
            }
        };
        Ok(Some(match order {
            Some(order) => keys::behind(keys::noncurrent(query.bucket, key, order)),
            None => keys::versions_of(query.bucket, key),
        }))
    }
}

/// Two cursors, over current versions and over those behind them, at one moment: a commit moves versions
/// from one table to the other.
struct Walk<'s> {
    query: &'s VersionQuery,
    current: Cursor<'s, ObjectVersion>,
    behind: Cursor<'s, Noncurrent>,
    /// The key whose latest version was passed already.
    begun: Option<String>,
}

impl<'s> Walk<'s> {
    fn begin(
        (store, moment): (&'s Store, &'s Snapshot<'s>),
        query: &'s VersionQuery,
        fold: Fold<'_>,
    ) -> MetaResult<Self> {
        let (bucket, start, end) = (query.bucket, fold.start(), fold.end());
        let older = store.older_than_cursor(moment, query, fold)?;
        let begun = match (&older, &query.after) {
            (Some(_), Some((key, _))) => Some(key.clone()),
            _ => None,
        };
        let behind = older.unwrap_or_else(|| keys::upload_bound(bucket, &start));
        Ok(Self {
            query,
            current: Cursor::over_at(
                moment,
                store,
                CURRENT,
                keys::object(bucket, &start),
                keys::object(bucket, &end),
            ),
            behind: Cursor::over_at(
                moment,
                store,
                NONCURRENT,
                behind,
                keys::upload_bound(bucket, &end),
            ),
            begun,
        })
    }

    /// The key of the next version.
    fn next_key(&self) -> MetaResult<Option<String>> {
        let current = self.current.key()?;
        let current = current.map(|key| keys::key_of_object(CURRENT, key));
        let behind = self.behind.key()?;
        let behind = behind.map(|key| keys::key_of_noncurrent(NONCURRENT, key));
        Ok(match (current.transpose()?, behind.transpose()?) {
            (Some(current), Some(behind)) => Some(current.min(behind)),
            (current, behind) => current.or(behind),
        })
    }

    /// Takes the next version, which is one of `key`.
    fn take(&mut self, key: String) -> MetaResult<ListedVersion> {
        let at_current = match self.current.key()? {
            Some(row_key) => keys::key_of_object(CURRENT, row_key)? == key,
            None => false,
        };
        let (version, noncurrent_since) = if at_current {
            let object = self.current.row()?;
            self.current.step();
            (StoredVersion::Object(object), None)
        } else {
            let row = self.behind.row()?;
            self.behind.step();
            let is_latest = self.begun.as_deref() != Some(key.as_str());
            (row.version, (!is_latest).then_some(row.since))
        };
        self.begun = Some(key.clone());
        let key = ObjectKey::parse(key).map_err(|error| MetaError::Corrupt {
            table: CURRENT.name,
            detail: error.to_string(),
        })?;
        Ok(ListedVersion {
            key,
            version,
            noncurrent_since,
        })
    }

    fn leap_past(&mut self, prefix: &str) {
        let bound = fold::past(prefix);
        self.current.seek(&keys::object(self.query.bucket, &bound));
        self.behind
            .seek(&keys::upload_bound(self.query.bucket, &bound));
    }
}
