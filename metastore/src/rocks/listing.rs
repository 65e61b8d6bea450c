//! Pages of objects and of uploads. A page costs what it shows: a scan leaps over all that a
//! common prefix folds, and begins where the cursor points.

use serde::de::DeserializeOwned;

use super::cursor::Cursor;
use super::keys;
use super::read::Store;
use super::tables::{CURRENT, Table, UPLOADS};
use crate::fold::{self, Fold};
use crate::{
    BucketId, ListEntry, ListPage, ListQuery, ListedObject, ListedUpload, MetaError, MetaResult,
    ObjectKey, ObjectVersion, Upload, UploadPage, UploadQuery,
};

/// A table that is listed: how a bound among object keys is written there, and what key is read
/// out of a row's.
struct Listed<R> {
    table: Table<R>,
    bound: fn(BucketId, &[u8]) -> Vec<u8>,
    key_of: fn(Table<R>, &[u8]) -> MetaResult<String>,
}

const OBJECTS: Listed<ObjectVersion> = Listed {
    table: CURRENT,
    bound: keys::object,
    key_of: keys::key_of_object,
};
const UPLOADS_LISTED: Listed<Upload> = Listed {
    table: UPLOADS,
    bound: keys::upload_bound,
    key_of: keys::key_of_upload,
};

impl Store {
    pub(super) fn list_objects(&self, query: &ListQuery) -> MetaResult<ListPage<ListedObject>> {
        let fold = Fold::new(
            &query.prefix,
            query.delimiter.as_deref(),
            query.after.as_deref(),
        );
        let start = keys::object(query.bucket, &fold.start());
        let (page, _) = self.page(
            &OBJECTS,
            query.bucket,
            fold,
            start,
            query.limit,
            ListedObject::of,
        )?;
        Ok(page)
    }

    pub(super) fn list_uploads(&self, query: &UploadQuery) -> MetaResult<UploadPage> {
        let after = query.after.as_ref().map(|(key, _)| key.as_str());
        let fold = Fold::new(&query.prefix, query.delimiter.as_deref(), after);
        let start = match &query.after {
            // Later uploads of the cursor's key are visible, unless a common prefix hides the key.
            Some((key, Some(upload))) if fold.common_prefix(key).is_none() => {
                let first = keys::upload_bound(query.bucket, query.prefix.as_bytes());
                keys::behind(keys::upload(query.bucket, key, *upload)).max(first)
            }
            _ => keys::upload_bound(query.bucket, &fold.start()),
        };
        let item = |key, upload| ListedUpload { key, upload };
        let (page, _) = self.page(
            &UPLOADS_LISTED,
            query.bucket,
            fold,
            start,
            query.limit,
            item,
        )?;
        Ok(page)
    }

    /// A page from `start` on, and how many rows it took to find it.
    fn page<R: DeserializeOwned, T>(
        &self,
        listed: &Listed<R>,
        bucket: BucketId,
        fold: Fold<'_>,
        start: Vec<u8>,
        limit: usize,
        item: impl Fn(ObjectKey, R) -> T,
    ) -> MetaResult<(ListPage<T>, u64)> {
        let mut page = ListPage {
            entries: Vec::new(),
            truncated: false,
        };
        let end = (listed.bound)(bucket, &fold.end());
        if limit == 0 || start >= end {
            return Ok((page, 0));
        }
        let mut cursor = Cursor::over(self, listed.table, start, end);
        while let Some(row_key) = cursor.key()? {
            if page.entries.len() == limit {
                page.truncated = true;
                break;
            }
            let key = (listed.key_of)(listed.table, row_key)?;
            if let Some(prefix) = fold.common_prefix(&key) {
                page.entries
                    .push(ListEntry::CommonPrefix(prefix.to_owned()));
                cursor.seek(&(listed.bound)(bucket, &fold::past(prefix)));
            } else {
                let key = ObjectKey::parse(key).map_err(|error| MetaError::Corrupt {
                    table: listed.table.name,
                    detail: error.to_string(),
                })?;
                page.entries.push(ListEntry::Item(item(key, cursor.row()?)));
                cursor.step();
            }
        }
        Ok((page, cursor.moves()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Timestamp;
    use crate::rocks::batch::Batch;
    use crate::rocks::open;
    use crate::rocks::options::RocksOptions;
    use crate::{SystemHeaders, UploadId};

    fn store(path: &Path) -> Store {
        open::open(path, &RocksOptions::default()).unwrap()
    }

    /// Begins an upload under each key: the smallest rows that are listed.
    fn fill(store: &Store, bucket: BucketId, keys: impl Iterator<Item = String>) {
        let mut batch = Batch::default();
        for key in keys {
            let upload = Upload {
                id: UploadId::generate(),
                initiated_at: Timestamp(1),
                owner: "alice".into(),
                headers: SystemHeaders::default(),
                user_metadata: Vec::new(),
                checksum: None,
                attributes: crate::ObjectAttributes::default(),
                initiator: String::new(),
            };
            batch.put(UPLOADS, keys::upload(bucket, &key, upload.id), &upload);
        }
        store.write(&[batch]).unwrap();
    }

    fn moves(store: &Store, bucket: BucketId, delimiter: Option<&str>, limit: usize) -> u64 {
        let fold = Fold::new("", delimiter, None);
        let start = keys::upload_bound(bucket, &fold.start());
        let item = |key, _| key;
        store
            .page(&UPLOADS_LISTED, bucket, fold, start, limit, item)
            .unwrap()
            .1
    }

    #[test]
    fn a_common_prefix_costs_one_leap_however_many_keys_it_folds() {
        let (directory, bucket) = (tempfile::tempdir().unwrap(), BucketId::generate());
        let store = store(directory.path());
        fill(&store, bucket, (0..20_000).map(|n| format!("logs/{n}")));
        fill(&store, bucket, ["zebra".to_owned()].into_iter());
        // To the first row, past `logs/` to the zebra, and to the end.
        assert_eq!(moves(&store, bucket, Some("/"), 1000), 3);
    }

    #[test]
    fn a_page_of_keys_costs_its_length() {
        let (directory, bucket) = (tempfile::tempdir().unwrap(), BucketId::generate());
        let store = store(directory.path());
        fill(&store, bucket, (0..5_000).map(|n| format!("{n}")));
        assert_eq!(moves(&store, bucket, None, 10), 11);
    }
}
