//! Deleting what newer checkpoints have made superfluous. No row names a backup's chunks, so they are
//! found as recovery finds them: on the nodes, by their hints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chunkproto::wire::LIST_LIMIT_MAX;
use chunkproto::{ChunkError, ChunkId, ChunkResult, NodeId, OwnerHint};
use metastore::Timestamp;
use tracing::{info, warn};
use uuid::Uuid;

use super::saved::Saved;
use crate::chunks::ChunkTransport;
use crate::cluster::{Membership, NodeState};
use crate::jobs::job::Round;

/// What earlier runs left is kept for so long: a gateway that was started on an empty directory by
/// mistake must not throw away what it should have been restored from.
const EARLIER_RUNS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Of so many earlier runs at most, the latest.
const EARLIER_RUNS_MAX: usize = 3;

/// What stays of a backup.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The present run.
    pub run: Uuid,
    /// Its checkpoints that stay.
    pub checkpoints: BTreeSet<Uuid>,
    /// Log up to this number is in all of them.
    pub covered: u64,
}

/// A chunk of a backup on a node.
struct Found {
    node: NodeId,
    chunk: ChunkId,
    hint: OwnerHint,
}

/// Deletes what is not `kept` from the nodes that are heard from; the others are gone through when
/// the next checkpoint is whole. Returns how many chunks went.
pub async fn collect(
    transport: &Arc<dyn ChunkTransport>,
    membership: &Membership,
    kept: &Kept,
    round: &Round,
) -> u64 {
    let mut found = Vec::new();
    let states = membership.states().into_iter();
    let live = states.filter(|(_, state)| *state == NodeState::Live);
    for (node, _) in live {
        if let Err(error) = find(transport, node, &mut found, round).await {
            warn!(%node, %error, "old backups on a chunk server are left for later");
        }
    }
    let earlier = earlier_runs(&found, kept.run);
    let mut deleted = 0;
    for Found { node, chunk, hint } in found {
        if !round.goes_on() {
            break;
        }
        if stays(&hint, kept, &earlier, round.now()) {
            continue;
        }
        match transport.delete(node, chunk, Some(round.fence())).await {
            Ok(()) | Err(ChunkError::NotFound(_)) => deleted += 1,
            Err(ChunkError::Fenced(_)) => round.end(),
            Err(error) => warn!(%node, %chunk, %error, "an old backup is left for later"),
        }
    }
    if deleted > 0 {
        info!(deleted, "chunks of old backups were deleted");
    }
    deleted
}

async fn find(
    transport: &Arc<dyn ChunkTransport>,
    node: NodeId,
    found: &mut Vec<Found>,
    round: &Round,
) -> ChunkResult<()> {
    let mut after = ChunkId::LAST_OF_OBJECTS;
    while round.goes_on() {
        let page = transport.list(node, Some(after), LIST_LIMIT_MAX).await?;
        for chunk in page.chunks {
            after = chunk.id;
            // What cannot be read says nothing of its age; scrub and recovery see it too.
            if let Ok(Some(hint)) = transport.owner(node, chunk.id).await {
                let chunk = chunk.id;
                found.push(Found { node, chunk, hint });
            }
        }
        if !page.truncated {
            break;
        }
    }
    Ok(())
}

/// The latest of the earlier runs with a checkpoint, each with the moment of its newest body.
fn earlier_runs(found: &[Found], run: Uuid) -> BTreeMap<Uuid, u64> {
    let mut newest: BTreeMap<Uuid, u64> = BTreeMap::new();
    let mut whole = BTreeSet::new();
    for Found { hint, .. } in found.iter().filter(|found| found.hint.bucket_id != run) {
        let at = newest.entry(hint.bucket_id).or_default();
        *at = (*at).max(moment(hint.sequence));
        if Saved::parse(&hint.key) == Some(Saved::Manifest) {
            whole.insert(hint.bucket_id);
        }
    }
    newest.retain(|run, _| whole.contains(run));
    while newest.len() > EARLIER_RUNS_MAX {
        newest.pop_first();
    }
    newest
}

fn stays(hint: &OwnerHint, kept: &Kept, earlier: &BTreeMap<Uuid, u64>, now: Timestamp) -> bool {
    if hint.bucket_id != kept.run {
        let kept_ms = u64::try_from(EARLIER_RUNS_KEPT.as_millis()).unwrap_or(u64::MAX);
        let newest = earlier.get(&hint.bucket_id);
        return newest.is_some_and(|newest| newest.saturating_add(kept_ms) > now.0);
    }
    match Saved::parse(&hint.key) {
        Some(Saved::Manifest | Saved::File(_)) => kept.checkpoints.contains(&hint.sequence),
        Some(Saved::Log { last, .. }) => last > kept.covered,
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

    fn found(run: Uuid, sequence: Uuid) -> Found {
        Found {
            node: NodeId::from_bytes([1; 16]),
            chunk: ChunkId::generate_for_metadata(),
            hint: hint(run, Saved::Manifest, sequence),
        }
    }

    #[test]
    fn of_the_present_run_the_kept_checkpoints_and_the_log_behind_them_stay() {
        let (run, old, new) = (id(NOW.0), id(1), id(2));
        let kept = Kept {
            run,
            checkpoints: [new].into(),
            covered: 100,
        };
        let stays =
            |saved, sequence| stays(&hint(run, saved, sequence), &kept, &BTreeMap::new(), NOW);
        assert!(stays(Saved::Manifest, new) && !stays(Saved::Manifest, old));
        assert!(!stays(Saved::File("1.sst".into()), old));
        assert!(!stays(
            Saved::Log {
                first: 90,
                last: 100
            },
            new
        ));
        assert!(stays(
            Saved::Log {
                first: 90,
                last: 101
            },
            new
        ));
    }

    #[test]
    fn a_run_that_came_to_an_end_lately_is_kept_and_a_long_gone_one_is_not() {
        let week_ms = 7 * 24 * 3600 * 1000;
        let (run, late, long_gone) = (id(NOW.0), id(NOW.0 - 5), id(NOW.0 - week_ms - 1));
        let kept = Kept {
            run,
            checkpoints: BTreeSet::new(),
            covered: 0,
        };
        let earlier = earlier_runs(&[found(late, late), found(long_gone, long_gone)], run);
        let stays = |of: Uuid| stays(&hint(of, Saved::Manifest, of), &kept, &earlier, NOW);
        assert!(stays(late));
        assert!(!stays(long_gone));
    }

    #[test]
    fn of_many_earlier_runs_the_latest_are_kept() {
        let found: Vec<_> = (1..=5).map(|at| found(id(at), id(at))).collect();
        let earlier = earlier_runs(&found, id(NOW.0));
        assert_eq!(
            earlier.into_keys().collect::<Vec<_>>(),
            [id(3), id(4), id(5)]
        );
    }
}
