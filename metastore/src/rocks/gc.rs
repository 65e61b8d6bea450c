//! The garbage collection queue: what is due, and what becomes of an entry.

use uuid::Uuid;

use super::keys;
use super::read::Store;
use super::tables::{GC, PARTS};
use crate::{GcEntry, GcItem, MetaResult, Timestamp};

impl Store {
    pub(super) fn gc_due(
        &self,
        before: Timestamp,
        after: Option<(Timestamp, Uuid)>,
        limit: usize,
    ) -> MetaResult<Vec<GcEntry>> {
        let start = after
            .map(|(unlinked_at, id)| keys::behind(keys::gc(unlinked_at, id)))
            .unwrap_or_default();
        let end = before.0.to_be_bytes().to_vec();
        let found = self.range(GC, start, end, limit)?;
        let entry = |(key, item): (Vec<u8>, GcItem)| {
            let (unlinked_at, id) = keys::moment_of_gc(GC, &key)?;
            Ok(GcEntry {
                unlinked_at,
                id,
                item,
            })
        };
        found.into_iter().map(entry).collect()
    }

    pub(super) fn gc_expand(&self, entry: &GcEntry, limit: usize) -> MetaResult<()> {
        let upload = entry.parts_to_expand();
        let _upload = self.locks.upload_ends(upload);
        if self.get(GC, &keys::gc_entry(entry))?.is_none() {
            // Another run was faster.
            return Ok(());
        }
        let mut parts = self.parts_of(upload, limit.saturating_add(1))?;
        let is_last_page = parts.len() <= limit;
        parts.truncate(limit);
        let mut batch = self.batch();
        for part in parts {
            batch.delete(PARTS, &keys::part(upload, part.number));
            batch.unlink(part.layout.chunks, entry.unlinked_at);
        }
        if is_last_page {
            batch.delete(GC, &keys::gc_entry(entry));
        }
        batch.commit()
    }

    pub(super) fn gc_done(&self, entry: &GcEntry) -> MetaResult<()> {
        let mut batch = self.batch();
        batch.forget(entry.chunks_done());
        batch.delete(GC, &keys::gc_entry(entry));
        batch.commit()
    }
}
