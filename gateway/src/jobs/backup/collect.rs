//! Deleting what newer checkpoints have made superfluous. No row names a backup's chunks, so they are
//! found as recovery finds them: on the nodes, by their hints. In small steps: the job ships log in
//! between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chunkproto::{ChunkError, ChunkId, ChunkResult, NodeId, OwnerHint};
use futures::{StreamExt as _, stream};
use metastore::Timestamp;
use tracing::warn;
use uuid::Uuid;

use crate::backup_format::Saved;
use crate::chunks::ChunkTransport;
use crate::cluster::{Membership, NodeState};
use crate::jobs::job::Round;

/// Chunks in one page. What they say of themselves takes a call each.
const PAGE_CHUNKS: usize = 1000;
/// Calls to one node, or deletes, at the same time.
const CALLS_PARALLEL: usize = 32;
/// What earlier runs left is kept for so long: a gateway that was started on an empty directory by
/// mistake must not throw away what it should have been restored from.
const EARLIER_RUNS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Of so many earlier runs of the same database at most, the latest. Those of others are not counted:
/// how often a wrong directory is started says nothing of what the right one left.
const EARLIER_RUNS_MAX: usize = 3;

/// What stays of a backup.
#[derive(Debug, Clone)]
pub struct RetainedBackup {
    /// The present run.
    pub run: Uuid,
    /// Of which database.
    pub database: Uuid,
    /// Its checkpoints that stay.
    pub checkpoints: BTreeSet<Uuid>,
    /// Log up to this number is in all of them.
    pub covered: u64,
}

/// A copy of a chunk of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupCopy {
    pub node: NodeId,
    pub chunk: ChunkId,
}

/// A chunk of a backup on a node, and what it says of itself.
struct BackupChunk {
    copy: BackupCopy,
    hint: OwnerHint,
}

/// An earlier run, by what was found of it.
#[derive(Default)]
struct EarlierRun {
    /// Moment of its newest body, in milliseconds since 1970.
    newest_ms: u64,
    has_manifest: bool,
    database: Option<Uuid>,
}

/// Going through the nodes that are heard from, page by page; the others are gone through when the next
/// checkpoint is whole.
pub struct Search<'s> {
    transport: &'s Arc<dyn ChunkTransport>,
    /// Nodes that are still to be gone through, the present one last.
    nodes: Vec<NodeId>,
    after: ChunkId,
    found: Vec<BackupChunk>,
    is_everything: bool,
}

impl<'s> Search<'s> {
    /// Nothing was seen yet.
    pub fn begin(transport: &'s Arc<dyn ChunkTransport>, membership: &Membership) -> Self {
        let states = membership.states();
        let is_everything = states.iter().all(|(_, state)| *state == NodeState::Live);
        let live = states
            .into_iter()
            .filter(|(_, state)| *state == NodeState::Live);
        Self {
            transport,
            nodes: live.map(|(node, _)| node).collect(),
            after: ChunkId::LAST_OF_OBJECTS,
            found: Vec::new(),
            is_everything,
        }
    }

    /// Looks at one more page; false if there was none.
    pub async fn page(&mut self) -> bool {
        let Some(&node) = self.nodes.last() else {
            return false;
        };
        let ended = self.page_of(node).await.unwrap_or_else(|error| {
            warn!(%node, %error, "old backups on a chunk server are left for later");
            self.is_everything = false;
            true
        });
        if ended {
            self.nodes.pop();
            self.after = ChunkId::LAST_OF_OBJECTS;
        }
        true
    }

    /// Whether the page was the node's last one.
    async fn page_of(&mut self, node: NodeId) -> ChunkResult<bool> {
        let listed = self.transport.list(node, Some(self.after), PAGE_CHUNKS);
        let page = listed.await?;
        self.after = page.chunks.last().map_or(self.after, |last| last.id);
        let asked = stream::iter(page.chunks).map(|listed| {
            let (transport, chunk) = (Arc::clone(self.transport), listed.id);
            async move { (chunk, transport.owner(node, chunk).await) }
        });
        let mut asked = asked.buffer_unordered(CALLS_PARALLEL);
        while let Some((chunk, answer)) = asked.next().await {
            match answer {
                Ok(Some(hint)) => {
                    let copy = BackupCopy { node, chunk };
                    self.found.push(BackupChunk { copy, hint });
                }
                Err(error @ ChunkError::Unreachable(_)) => return Err(error),
                // What cannot be read says nothing of its age; scrub and recovery see it too.
                Ok(None) | Err(_) => {}
            }
        }
        Ok(!page.truncated)
    }

    /// What is not `retained`, of what was seen. Only once the last page was.
    pub fn superfluous(self, retained: &RetainedBackup, now: Timestamp) -> Vec<BackupCopy> {
        assert!(self.nodes.is_empty(), "all pages were looked at");
        let earlier = earlier_runs(&self.found, retained, self.is_everything);
        let mut found = self.found;
        found.retain(|found| !stays(&found.hint, retained, &earlier, now));
        found.into_iter().map(|found| found.copy).collect()
    }
}

/// Deleting copies, under the round's fence. A node that does not answer is asked once.
pub struct Deletion<'d> {
    transport: &'d Arc<dyn ChunkTransport>,
    round: &'d Round,
    away: Mutex<BTreeSet<NodeId>>,
}

impl<'d> Deletion<'d> {
    /// No node was asked yet.
    pub fn begin(transport: &'d Arc<dyn ChunkTransport>, round: &'d Round) -> Self {
        let away = Mutex::default();
        Self {
            transport,
            round,
            away,
        }
    }

    /// Deletes some copies; returns those that are left.
    pub async fn delete(&self, copies: Vec<BackupCopy>) -> Vec<BackupCopy> {
        let asked = stream::iter(copies).map(async |copy| {
            let is_gone = self.delete_one(copy).await;
            (!is_gone).then_some(copy)
        });
        let left = asked.buffer_unordered(CALLS_PARALLEL);
        left.filter_map(async |left| left).collect().await
    }

    async fn delete_one(&self, BackupCopy { node, chunk }: BackupCopy) -> bool {
        if !self.round.goes_on() || self.away().contains(&node) {
            return false;
        }
        let fence = Some(self.round.fence());
        match self.transport.delete(node, chunk, fence).await {
            Ok(()) | Err(ChunkError::NotFound(_)) => return true,
            Err(ChunkError::Fenced(detail)) => self.round.end_fenced(node, detail),
            Err(error) => {
                warn!(%node, %chunk, %error, "an old backup is left for later");
                if matches!(error, ChunkError::Unreachable(_)) {
                    self.round.note_unknown_outcome();
                    self.away().insert(node);
                }
            }
        }
        false
    }

    fn away(&self) -> MutexGuard<'_, BTreeSet<NodeId>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The earlier runs that may be restored from, each with the moment of its newest body. A run whose
/// manifest was not found may have one on a node that did not answer; so it counts unless everything
/// was seen.
fn earlier_runs(
    found: &[BackupChunk],
    retained: &RetainedBackup,
    is_everything: bool,
) -> BTreeMap<Uuid, u64> {
    let mut runs: BTreeMap<Uuid, EarlierRun> = BTreeMap::new();
    for BackupChunk { hint, .. } in found {
        if hint.bucket_id == retained.run {
            continue;
        }
        let run = runs.entry(hint.bucket_id).or_default();
        run.newest_ms = run.newest_ms.max(moment(hint.sequence));
        run.has_manifest |= Saved::parse(&hint.key) == Some(Saved::Manifest);
        run.database = hint.part.map(|(database, _)| database).or(run.database);
    }
    runs.retain(|_, run| run.has_manifest || !is_everything);
    let is_own = |run: &EarlierRun| run.database == Some(retained.database) && run.has_manifest;
    let own = runs.iter().filter(|(_, run)| is_own(run));
    // By what they reach: the moment in an id is that of the clock at the start, which may have been wrong.
    let mut own: Vec<_> = own.map(|(id, run)| (run.newest_ms, *id)).collect();
    own.sort_unstable();
    for (_, id) in own.iter().rev().skip(EARLIER_RUNS_MAX) {
        runs.remove(id);
    }
    let moments = runs.into_iter().map(|(id, run)| (id, run.newest_ms));
    moments.collect()
}

fn stays(
    hint: &OwnerHint,
    retained: &RetainedBackup,
    earlier: &BTreeMap<Uuid, u64>,
    now: Timestamp,
) -> bool {
    if hint.bucket_id != retained.run {
        let newest = earlier.get(&hint.bucket_id);
        return newest.is_some_and(|newest| Timestamp(*newest).after(EARLIER_RUNS_KEPT) > now);
    }
    match Saved::parse(&hint.key) {
        Some(Saved::Manifest | Saved::File(_)) => retained.checkpoints.contains(&hint.sequence),
        Some(Saved::Log { last, .. }) => last > retained.covered,
        // Of a later version, whose affair it is.
        None => true,
    }
}

/// The moment in an id, in milliseconds since 1970.
fn moment(id: Uuid) -> u64 {
    ChunkId::from(id).born_at_ms()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(2_000_000_000_000);
    const OWN: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn hint(run: Uuid, saved: Saved, sequence: Uuid) -> OwnerHint {
        OwnerHint {
            bucket_id: run,
            bucket: String::new(),
            key: saved.to_string(),
            sequence,
            part: None,
            index: 0,
            offset_bytes: 0,
            body_bytes: Some(1),
            details: Vec::new(),
        }
    }

    fn id(moment_ms: u64) -> Uuid {
        uuid::Builder::from_unix_timestamp_millis(moment_ms, &[1; 10]).into_uuid()
    }

    fn found(run: Uuid, saved: Saved, database: Option<Uuid>) -> BackupChunk {
        let mut hint = hint(run, saved, run);
        hint.part = database.map(|database| (database, 0));
        let copy = BackupCopy {
            node: NodeId::from_bytes([1; 16]),
            chunk: ChunkId::generate_for_metadata(),
        };
        BackupChunk { copy, hint }
    }

    fn manifest(run: Uuid, database: Option<Uuid>) -> BackupChunk {
        found(run, Saved::Manifest, database)
    }

    fn retained(run: Uuid) -> RetainedBackup {
        RetainedBackup {
            run,
            database: OWN,
            checkpoints: BTreeSet::new(),
            covered: 0,
        }
    }

    #[test]
    fn of_the_present_run_the_kept_checkpoints_and_the_log_behind_them_stay() {
        let (run, old, new) = (id(NOW.0), id(1), id(2));
        let retained = RetainedBackup {
            checkpoints: [new].into(),
            covered: 100,
            ..retained(run)
        };
        let stays = |saved, sequence| {
            stays(
                &hint(run, saved, sequence),
                &retained,
                &BTreeMap::new(),
                NOW,
            )
        };
        let log = |last| Saved::Log { first: 90, last };
        assert!(stays(Saved::Manifest, new) && !stays(Saved::Manifest, old));
        assert!(!stays(Saved::File("1.sst".into()), old));
        assert!(!stays(log(100), new) && stays(log(101), new));
    }

    #[test]
    fn a_run_that_came_to_an_end_lately_is_kept_and_a_long_gone_one_is_not() {
        let week_ms = 7 * 24 * 3600 * 1000;
        let (run, late, long_gone) = (id(NOW.0), id(NOW.0 - 5), id(NOW.0 - week_ms - 1));
        let retained = retained(run);
        for database in [None, Some(OWN), Some(OTHER)] {
            let found = [manifest(late, database), manifest(long_gone, database)];
            let earlier = earlier_runs(&found, &retained, true);
            let stays = |of: Uuid| stays(&hint(of, Saved::Manifest, of), &retained, &earlier, NOW);
            assert!(stays(late) && !stays(long_gone));
        }
    }

    #[test]
    fn of_many_earlier_runs_of_one_database_the_latest_are_kept() {
        let found: Vec<_> = (1..=5).map(|at| manifest(id(at), Some(OWN))).collect();
        let earlier = earlier_runs(&found, &retained(id(NOW.0)), true);
        let earlier: Vec<_> = earlier.into_keys().collect();
        assert_eq!(earlier, [id(3), id(4), id(5)]);
    }

    #[test]
    fn a_run_whose_clock_was_ahead_when_it_began_does_not_outlive_later_ones() {
        let began_ahead = id(NOW.0);
        let mut later = manifest(id(1), Some(OWN));
        later.hint.sequence = id(NOW.0 + 1000);
        let mut found = vec![later, manifest(began_ahead, Some(OWN))];
        found.extend((NOW.0 + 1..=NOW.0 + 2).map(|at| manifest(id(at), Some(OWN))));
        let earlier = earlier_runs(&found, &retained(id(NOW.0 + 5)), true);
        assert!(earlier.contains_key(&id(1)) && !earlier.contains_key(&began_ahead));
    }

    #[test]
    fn restarts_of_an_empty_database_leave_the_backup_of_the_one_that_was_lost() {
        for lost in [None, Some(OTHER)] {
            let mut found = vec![manifest(id(1), lost)];
            found.extend((2..=9).map(|at| manifest(id(at), Some(OWN))));
            let earlier = earlier_runs(&found, &retained(id(NOW.0)), true);
            assert!(earlier.contains_key(&id(1)), "{lost:?}");
        }
    }

    #[test]
    fn a_run_without_a_manifest_is_collected_only_when_every_node_was_seen() {
        let cut_off = [found(id(1), Saved::File("1.sst".into()), Some(OWN))];
        let retained = retained(id(NOW.0));
        assert!(earlier_runs(&cut_off, &retained, false).contains_key(&id(1)));
        assert!(earlier_runs(&cut_off, &retained, true).is_empty());
    }
}
