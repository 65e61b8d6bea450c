//! Where chunks are, and the repair queue.

use chunkproto::{ChunkId, NodeId};

use super::state::State;
use crate::placement::OwnerRow;
use crate::{
    ChunkOwner, GcItem, MetaError, MetaResult, NodeChunk, Placement, RepairCounts, RepairEntry,
    RepairNeed, ReplicaChange,
};

impl State {
    pub(super) fn placement(&self, chunk: ChunkId) -> MetaResult<Option<Placement>> {
        if self.damaged.contains(&chunk) {
            return Err(MetaError::Corrupt {
                table: "chunks",
                detail: "it was damaged".into(),
            });
        }
        let owner = self.chunks.get(&chunk);
        let row = owner.and_then(|owner| Some((owner, self.owner_row(owner)?)));
        Ok(row.and_then(|(owner, row)| row.placement(owner.clone(), chunk)))
    }

    pub(super) fn node_chunks(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> MetaResult<Vec<NodeChunk>> {
        let ids = self.chunks_on_node(node, after, limit);
        let with = |id| {
            let placement = self.placement(id)?;
            Ok(NodeChunk { id, placement })
        };
        ids.into_iter().map(with).collect()
    }

    pub(super) fn change_replicas(&mut self, change: &ReplicaChange) -> MetaResult<()> {
        let gone = || MetaError::NoSuchChunk(change.chunk);
        let owner = self.chunks.get(&change.chunk).cloned().ok_or_else(gone)?;
        let mut row = self.owner_row(&owner).ok_or_else(gone)?;
        let moved = row.apply(change)?;
        let is_taken = |node: &NodeId| self.node_chunks.contains(&(*node, change.chunk));
        if moved.added.iter().any(is_taken) {
            return Err(MetaError::Conflict);
        }
        let added = moved.added.into_iter().map(|node| (node, change.chunk));
        self.node_chunks.extend(added);
        match (owner, row) {
            (ChunkOwner::Object { bucket, key, .. }, OwnerRow::Object(object)) => {
                self.put_version_row(bucket, &key, object);
            }
            (ChunkOwner::Part { upload, number }, OwnerRow::Part(part)) => {
                self.parts.insert((upload, number), part);
            }
            _ => unreachable!("an owner's row is of its own kind"),
        }
        if !moved.removed.replicas.is_empty() {
            self.queue(GcItem::Copies(moved.removed), change.now);
        }
        Ok(())
    }

    fn owner_row(&self, owner: &ChunkOwner) -> Option<OwnerRow> {
        match owner {
            ChunkOwner::Object {
                bucket,
                key,
                version,
            } => {
                let found = self.object_version(*bucket, key, *version).ok()?;
                found.object().cloned().map(OwnerRow::Object)
            }
            ChunkOwner::Part { upload, number } => {
                let part = self.parts.get(&(*upload, *number))?;
                Some(OwnerRow::Part(part.clone()))
            }
        }
    }

    pub(super) fn queue_repairs(&mut self, needs: &[RepairNeed]) {
        for need in needs {
            let queued = self.repair.get(&need.chunk).map(|row| row.have);
            let is_worse = queued.is_none_or(|have| need.have < have);
            if is_worse && self.chunks.contains_key(&need.chunk) {
                self.put_repair(need);
            }
        }
    }

    /// Puts a chunk into the queue; what stands there of it gives way, but for its age.
    pub(super) fn put_repair(&mut self, need: &RepairNeed) {
        let mut row = need.row();
        if let Some(former) = self.repair.remove(&need.chunk) {
            self.repair_order.remove(&(former.have, need.chunk));
            row.since = former.since;
        }
        self.repair.insert(need.chunk, row);
        self.repair_order
            .insert((need.have, need.chunk), need.missing_bytes());
    }

    pub(super) fn finish_repair(&mut self, entry: &RepairEntry, left: Option<&RepairNeed>) {
        self.repair_order.remove(&(entry.have, entry.chunk));
        let queued = self.repair.get(&entry.chunk);
        if queued.is_some_and(|row| row.have != entry.have) {
            return;
        }
        match left {
            Some(left) => self.put_repair(left),
            None => {
                self.repair.remove(&entry.chunk);
            }
        }
    }

    pub(super) fn repairs_by_danger(
        &self,
        after: Option<(u8, ChunkId)>,
        limit: usize,
    ) -> Vec<RepairEntry> {
        let behind = self.repair_order.iter();
        let behind = behind.filter(|(place, _)| after.is_none_or(|after| **place > after));
        let entry = |(&(have, chunk), &missing_bytes): (&_, &_)| RepairEntry {
            have,
            chunk,
            missing_bytes,
        };
        behind.take(limit).map(entry).collect()
    }

    pub(super) fn count_repairs(&self, limit: usize) -> RepairCounts {
        let mut counts = RepairCounts {
            truncated: self.repair_order.len() > limit,
            ..RepairCounts::default()
        };
        let entries = self.repairs_by_danger(None, limit);
        entries.iter().for_each(|entry| counts.add(entry));
        counts
    }
}
