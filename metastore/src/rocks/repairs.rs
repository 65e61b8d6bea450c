//! The repair queue: by chunk, and by how few good replicas a chunk has. The second table may hold
//! entries that the first does not: what puts a chunk elsewhere in the queue, or ends it, need not
//! know where it stood. The repair job takes such entries off when it comes to them.

use chunkproto::{ChunkId, Fence};

use super::batch::Batch;
use super::engine::Engine;
use super::keys;
use super::read::{Looked, Reader, Store};
use super::tables::{CHUNKS, REPAIR, REPAIR_ORDER};
use crate::{MetaResult, RepairCounts, RepairEntry, RepairNeed};

impl Engine {
    pub(super) async fn queue_repairs(&self, needs: Vec<RepairNeed>) -> MetaResult<()> {
        let batch = self.look(move |reader| reader.queueing(&needs));
        self.commit(batch.await?, Vec::new()).await
    }

    pub(super) async fn finish_repair(
        &self,
        fence: &Fence,
        entry: &RepairEntry,
        left: Option<RepairNeed>,
    ) -> MetaResult<()> {
        let held = vec![self.locks.lease_stays(&fence.job).await];
        let (fence, entry) = (fence.clone(), *entry);
        let batch = self.look(move |reader| {
            reader.expect_fence(&fence)?;
            reader.finishing(&entry, left.as_ref())
        });
        self.commit(batch.await?, held).await
    }
}

impl Reader<'_> {
    fn queueing(&self, needs: &[RepairNeed]) -> Looked<Batch> {
        let mut batch = Batch::default();
        for need in needs {
            let key = keys::chunk(need.chunk);
            if self.get(CHUNKS, &key)?.is_none() {
                continue;
            }
            match self.get(REPAIR, &key)? {
                Some(row) if row.have <= need.have => {}
                Some(row) => {
                    let since = row.since;
                    batch.delete(REPAIR_ORDER, keys::repair_order(row.have, need.chunk));
                    batch.queue_repair(&RepairNeed { since, ..*need });
                }
                None => batch.queue_repair(need),
            }
        }
        Ok(batch)
    }

    fn finishing(&self, entry: &RepairEntry, left: Option<&RepairNeed>) -> Looked<Batch> {
        let mut batch = Batch::default();
        batch.delete(REPAIR_ORDER, keys::repair_order(entry.have, entry.chunk));
        let key = keys::chunk(entry.chunk);
        let row = self.get(REPAIR, &key)?;
        let is_of_entry = row.as_ref().is_none_or(|row| row.have == entry.have);
        match left {
            // Queued again meanwhile, under another number: that entry is looked at in its turn.
            _ if !is_of_entry => {}
            Some(left) => {
                let since = row.map_or(left.since, |row| row.since);
                batch.queue_repair(&RepairNeed { since, ..*left });
            }
            None => batch.delete(REPAIR, key),
        }
        Ok(batch)
    }
}

impl Batch {
    /// Puts a chunk into the queue, whatever stands there of it.
    pub(super) fn queue_repair(&mut self, need: &RepairNeed) {
        let order = keys::repair_order(need.have, need.chunk);
        self.put(REPAIR, keys::chunk(need.chunk), &need.row());
        self.put(REPAIR_ORDER, order, &need.missing_bytes());
    }
}

impl Store {
    pub(super) fn repairs_by_danger(
        &self,
        after: Option<(u8, ChunkId)>,
        limit: usize,
    ) -> MetaResult<Vec<RepairEntry>> {
        let start = after
            .map(|(have, chunk)| keys::behind(keys::repair_order(have, chunk)))
            .unwrap_or_default();
        let found = self.readable_range(REPAIR_ORDER, start, keys::past(&[]), limit)?;
        let entry = |(key, missing_bytes): (Vec<u8>, u64)| {
            let (have, chunk) = keys::place_of_repair(REPAIR_ORDER, &key)?;
            Ok(RepairEntry {
                have,
                chunk,
                missing_bytes,
            })
        };
        found.into_iter().map(entry).collect()
    }

    pub(super) fn count_repairs(&self, limit: usize) -> MetaResult<RepairCounts> {
        let mut counts = RepairCounts::default();
        let mut entries = self.repairs_by_danger(None, limit.saturating_add(1))?;
        counts.truncated = entries.len() > limit;
        entries.truncate(limit);
        entries.iter().for_each(|entry| counts.add(entry));
        Ok(counts)
    }
}
