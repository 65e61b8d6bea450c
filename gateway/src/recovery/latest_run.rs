//! Which run of a gateway a restore takes if nobody says: the one that reaches furthest. Moments come
//! from clocks, and clocks go wrong; where something contradicts them, a person decides.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::error::RecoveryError;
use super::restore::FoundRun;

/// The run that reaches furthest; `None` where there is none.
///
/// # Errors
/// `Unclear` where another run was begun later, or shipped later writes of the same database.
pub fn latest_run(runs: &BTreeMap<Uuid, FoundRun>) -> Result<Option<Uuid>, RecoveryError> {
    let Some((furthest, run)) = runs.iter().max_by_key(|(id, run)| (run.until(), **id)) else {
        return Ok(None);
    };
    let unclear = |other: &Uuid, why| RecoveryError::Unclear {
        furthest: *furthest,
        other: *other,
        why,
    };
    if let Some((last, _)) = runs.last_key_value().filter(|(last, _)| *last != furthest) {
        return Err(unclear(last, "was begun later"));
    }
    let is_later = |other: &FoundRun| {
        other.database() == run.database() && other.last_write() > run.last_write()
    };
    let knows = |run: &FoundRun| run.database().is_some() && run.last_write().is_some();
    let mut others = runs.iter().filter(|(_, other)| knows(other) && knows(run));
    match others.find(|(_, other)| is_later(other)) {
        Some((other, _)) => Err(unclear(other, "has later writes of the same database")),
        None => Ok(Some(*furthest)),
    }
}

#[cfg(test)]
mod tests {
    use chunkproto::{ChunkId, ChunkInfo, Crc64, NodeId, OwnerHint};

    use super::super::found::{FoundBodies, FoundChunk, add};
    use super::super::restore::runs;
    use super::*;
    use crate::backup_format::Saved;

    /// A run that began and shipped its last piece of log at these moments, up to that write.
    struct Ran {
        from_ms: u64,
        until_ms: u64,
        last_write: u64,
        database: u128,
    }

    fn id(at_ms: u64) -> Uuid {
        uuid::Builder::from_unix_timestamp_millis(at_ms, &[1; 10]).into_uuid()
    }

    fn chosen(ran: &[Ran]) -> Result<Option<Uuid>, RecoveryError> {
        let mut bodies = FoundBodies::new();
        for run in ran {
            let (first, last) = (run.last_write, run.last_write);
            let shipped = [
                (Saved::Manifest, run.from_ms),
                (Saved::Log { first, last }, run.until_ms),
            ];
            for (saved, at_ms) in shipped {
                let info = ChunkInfo {
                    id: ChunkId::generate_for_metadata(),
                    length_bytes: 1,
                    crc64: Crc64(1),
                };
                let hint = OwnerHint {
                    bucket_id: id(run.from_ms),
                    bucket: String::new(),
                    key: saved.to_string(),
                    sequence: id(at_ms),
                    part: Some((Uuid::from_u128(run.database), 0)),
                    index: 0,
                    offset_bytes: 0,
                    body_bytes: Some(1),
                    details: Vec::new(),
                };
                let nodes = vec![NodeId::from_bytes([1; 16])];
                add(&mut bodies, FoundChunk { info, hint, nodes });
            }
        }
        latest_run(&runs(bodies))
    }

    fn ran(from_ms: u64, until_ms: u64, last_write: u64) -> Ran {
        Ran {
            from_ms,
            until_ms,
            last_write,
            database: 1,
        }
    }

    #[test]
    fn the_run_that_reaches_furthest_is_taken() {
        let chosen = chosen(&[ran(1, 10, 100), ran(11, 20, 200)]);
        assert_eq!(chosen.unwrap(), Some(id(11)));
        assert_eq!(latest_run(&BTreeMap::new()).unwrap(), None);
    }

    #[test]
    fn a_run_whose_clock_was_ahead_is_not_taken_for_the_latest() {
        // Its clock was ahead when it began; a later run reaches further.
        let began_ahead = chosen(&[ran(1000, 1010, 100), ran(11, 2000, 200)]);
        assert!(matches!(began_ahead, Err(RecoveryError::Unclear { .. })));
        // The later run has not come so far; its writes tell.
        let still_ahead = chosen(&[ran(1000, 1010, 100), ran(11, 20, 200)]);
        assert!(matches!(still_ahead, Err(RecoveryError::Unclear { .. })));
    }

    #[test]
    fn numbers_of_writes_say_nothing_of_another_database() {
        let other = Ran {
            database: 2,
            ..ran(11, 20, 3)
        };
        assert_eq!(chosen(&[ran(1, 10, 100), other]).unwrap(), Some(id(11)));
    }
}
