//! Pages of buckets, objects and uploads, by the words of the contract: every row is looked at,
//! folded, held against the cursor, and the page is cut off at its limit.

use super::state::State;
use crate::{
    BucketPage, ListEntry, ListPage, ListQuery, ListedObject, ListedUpload, UploadEntry,
    UploadPage, UploadQuery,
};

impl State {
    pub(super) fn list_buckets(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BucketPage {
        let is_listed = |name: &str| name.starts_with(prefix) && Some(name) > after;
        let listed = self
            .buckets
            .values()
            .filter(|bucket| is_listed(bucket.name.as_str()));
        let mut buckets: Vec<_> = listed.cloned().collect();
        let truncated = limit > 0 && buckets.len() > limit;
        buckets.truncate(limit);
        BucketPage { buckets, truncated }
    }

    pub(super) fn list_objects(&self, query: &ListQuery) -> ListPage<ListedObject> {
        let after = query.after.as_deref();
        let mut entries = Vec::new();
        for ((bucket, key), object) in &self.current {
            if *bucket != query.bucket || !key.as_str().starts_with(&query.prefix) {
                continue;
            }
            match folded(key.as_str(), &query.prefix, query.delimiter.as_deref()) {
                Some(prefix) if Some(prefix) > after => push_prefix(&mut entries, prefix),
                None if Some(key.as_str()) > after => {
                    entries.push(ListEntry::Item(ListedObject::of(
                        key.clone(),
                        object.clone(),
                    )));
                }
                _ => {}
            }
        }
        cut(entries, query.limit)
    }

    pub(super) fn list_uploads(&self, query: &UploadQuery) -> UploadPage {
        let after = query.after.as_ref();
        let after_key = after.map(|(key, _)| key.as_str());
        let mut entries: Vec<UploadEntry> = Vec::new();
        for ((bucket, key, id), upload) in &self.uploads {
            if *bucket != query.bucket || !key.as_str().starts_with(&query.prefix) {
                continue;
            }
            let is_later_of_key = after.is_some_and(|(after_key, after_id)| {
                key.as_str() == after_key && after_id.is_some_and(|after_id| *id > after_id)
            });
            match folded(key.as_str(), &query.prefix, query.delimiter.as_deref()) {
                Some(prefix) if Some(prefix) > after_key => push_prefix(&mut entries, prefix),
                None if Some(key.as_str()) > after_key || is_later_of_key => {
                    let item = ListedUpload {
                        key: key.clone(),
                        upload: upload.clone(),
                    };
                    entries.push(ListEntry::Item(item));
                }
                _ => {}
            }
        }
        cut(entries, query.limit)
    }
}

/// The common prefix of a key that begins with `prefix`, if it has one.
pub(super) fn folded<'k>(key: &'k str, prefix: &str, delimiter: Option<&str>) -> Option<&'k str> {
    let delimiter = delimiter.filter(|text| !text.is_empty())?;
    let at = key[prefix.len()..].find(delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}

/// Adds a common prefix unless it stands there already; keys come in order, so it would be last.
pub(super) fn push_prefix<T>(entries: &mut Vec<ListEntry<T>>, prefix: &str) {
    let stands = matches!(entries.last(), Some(ListEntry::CommonPrefix(last)) if last == prefix);
    if !stands {
        entries.push(ListEntry::CommonPrefix(prefix.to_owned()));
    }
}

pub(super) fn cut<T>(mut entries: Vec<ListEntry<T>>, limit: usize) -> ListPage<T> {
    let truncated = limit > 0 && entries.len() > limit;
    entries.truncate(limit);
    ListPage { entries, truncated }
}
