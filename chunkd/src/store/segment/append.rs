//! Turning a round of changes into groups: check against the index, place, write, sync, enter in the
//! index, answer. Runs on the committer's thread alone, so nothing changes between check and entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chunkproto::ChunkInfo;

use super::super::fault::Fault;
use super::super::index::Index;
use super::super::index_rows::Row;
use super::super::probe::Step;
use super::committer::{CommitOutcome, Request, Work};
use super::group::{Entry, Group};
use super::segments::{GroupReservation, Segments, WriteClass};
use super::{Location, aligned};

/// Appends groups, one after the other.
pub(super) struct Appender {
    segments: Arc<Segments>,
    index: Arc<Index>,
    /// Number of the last group.
    sequence: u64,
    /// What made the store end writing.
    failed: Option<String>,
}

/// A change with what the index says of its chunk.
pub(super) struct PendingChange {
    request: Request,
    had: Option<Row>,
}

impl PendingChange {
    /// A change that was not looked at yet.
    pub fn new(request: Request) -> Self {
        Self { request, had: None }
    }

    fn answer(self, landed: Result<CommitOutcome, Fault>) {
        let Request {
            work,
            answer,
            guards,
        } = self.request;
        // The reservation and the right to the chunk end before the caller goes on.
        drop((work, guards));
        // A caller who went away needs no answer.
        let _ = answer.send(landed);
    }

    /// Gives the work back: the id is taken.
    fn refuse(self) {
        let Request {
            work,
            answer,
            guards,
        } = self.request;
        drop(guards);
        let _ = answer.send(Ok(CommitOutcome::Exists(Box::new(work))));
    }

    /// The segment in which the change must be told, if that is not free to choose.
    fn slot(&self) -> Option<u32> {
        match &self.request.work {
            Work::Land { reservation, .. } => Some(reservation.file.slot),
            _ => None,
        }
    }

    /// Whether it needs room that the reserve does not give.
    fn is_put(&self) -> bool {
        matches!(&self.request.work, Work::Append { from: None, .. })
    }
}

impl Appender {
    /// Goes on behind group `sequence`.
    pub fn new(segments: Arc<Segments>, index: Arc<Index>, sequence: u64) -> Self {
        Self {
            segments,
            index,
            sequence,
            failed: None,
        }
    }

    /// Does a round of changes, each chunk in at most one of them, and answers them.
    pub fn append(&mut self, round: Vec<PendingChange>) {
        let checked = round.into_iter().filter_map(|change| self.check(change));
        let (checkpoints, changes): (Vec<_>, Vec<_>) =
            checked.partition(|change| matches!(change.request.work, Work::Checkpoint));
        let (free, landed): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|change| change.slot().is_none());
        let landed = self.append_free(free, landed);
        for (slot, changes) in by_slot(landed) {
            let room = self.segments.place_group_in(slot, group_bytes(&changes));
            self.group(changes, room);
        }
        if !checkpoints.is_empty() {
            self.checkpoint(checkpoints);
        }
    }

    /// Tells the changes that may be told anywhere, together with those that `landed` in the same
    /// segment; returns the others.
    fn append_free(
        &mut self,
        free: Vec<PendingChange>,
        landed: Vec<PendingChange>,
    ) -> Vec<PendingChange> {
        if free.is_empty() {
            return landed;
        }
        // Room for all, since it is open which segment it will be.
        let bytes = group_bytes(&free) + group_bytes(&landed);
        let (free, room) = match self.segments.place_group(bytes, WriteClass::Put) {
            Err(Fault::NoRoom {
                action,
                path,
                source,
            }) => {
                let (puts, upkeep): (Vec<_>, Vec<_>) =
                    free.into_iter().partition(PendingChange::is_put);
                answer_all(
                    puts,
                    &Fault::NoRoom {
                        action,
                        path,
                        source,
                    },
                );
                if upkeep.is_empty() {
                    return landed;
                }
                (upkeep, self.segments.place_group(bytes, WriteClass::Upkeep))
            }
            placed => (free, placed),
        };
        let slot = room.as_ref().ok().map(|room| room.reservation.file.slot);
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            landed.into_iter().partition(|change| change.slot() == slot);
        self.group(free.into_iter().chain(here).collect(), room);
        elsewhere
    }

    fn checkpoint(&mut self, changes: Vec<PendingChange>) {
        // IMPORTANT: a group of the same round may have failed by now. The rows say that its segment is
        // known up to its end, and it is not: the next start would pass it over, and a later one with a
        // new index would not.
        if let Some(failure) = &self.failed {
            return answer_all(changes, &after_failure(failure));
        }
        let mut index = self.index.batch();
        self.segments.write_rows(&mut index);
        match index.commit() {
            Ok(()) => changes
                .into_iter()
                .for_each(|change| change.answer(Ok(CommitOutcome::Done))),
            Err(fault) => self.fail(changes, fault),
        }
    }

    /// Answers a change at once if there is nothing to be written for it.
    fn check(&self, mut change: PendingChange) -> Option<PendingChange> {
        if let Some(failure) = &self.failed {
            change.answer(Err(after_failure(failure)));
            return None;
        }
        let wanted = match &change.request.work {
            Work::Append { record, from } => (record.info.id, *from),
            Work::Land { info, from, .. } => (info.id, *from),
            Work::Delete { id, only } => (*id, *only),
            Work::KeepDelete { .. } | Work::Checkpoint => return Some(change),
        };
        let (id, meant) = wanted;
        change.had = match self.index.get(id) {
            Ok(had) => had,
            Err(fault) => {
                change.answer(Err(fault));
                return None;
            }
        };
        let location = change.had.and_then(|row| row.location);
        let deletes = matches!(change.request.work, Work::Delete { .. });
        match (meant, change.had) {
            (Some(meant), _) if location != Some(meant) => change.answer(Ok(CommitOutcome::Gone)),
            (None, Some(_)) if !deletes => change.refuse(),
            (None, _) if deletes && location.is_none() => change.answer(Ok(CommitOutcome::Gone)),
            _ => return Some(change),
        }
        None
    }

    /// Makes one group of the changes.
    fn group(&mut self, changes: Vec<PendingChange>, room: Result<GroupReservation, Fault>) {
        if let Some(failure) = &self.failed {
            return answer_all(changes, &after_failure(failure));
        }
        let room = match room {
            Ok(room) => room,
            Err(fault @ Fault::NoRoom { .. }) => return answer_all(changes, &fault),
            // Nothing was written, and nothing is wrong with the disk.
            Err(fault) if fault.is_of_process() => return answer_all(changes, &fault),
            Err(fault) => return self.fail(changes, fault),
        };
        match self.write(&changes, &room) {
            Ok(()) => changes
                .into_iter()
                .for_each(|change| change.answer(Ok(CommitOutcome::Done))),
            // Also for want of room: the room was taken before, and part of the group may be there.
            Err(fault) => self.fail(changes, fault),
        }
    }

    /// Ends writing for good.
    fn fail(&mut self, changes: Vec<PendingChange>, fault: Fault) {
        self.segments.gate.poison_if_fatal(&fault);
        self.segments.gate.poison(fault.to_string());
        self.failed = Some(fault.to_string());
        answer_all(changes, &fault);
    }

    /// Writes the group, makes it durable, and enters it in the index.
    fn write(&mut self, changes: &[PendingChange], room: &GroupReservation) -> Result<(), Fault> {
        self.sequence += 1;
        let (group, records) = self.lay_out(changes, room);
        let mut pieces = vec![Bytes::from(group.encode(room.reservation.file.nonce))];
        pieces.extend(records);
        let path = room.reservation.file.path();
        let probe = self.segments.gate.probe();
        probe
            .at(Step::WriteGroup)
            .map_err(Fault::io("write", path))?;
        room.reservation
            .file
            .write(&pieces, room.reservation.offset.into())?;
        probe.at(Step::SyncGroup).map_err(Fault::sync(path))?;
        if self.segments.gate.durability().syncs() {
            // IMPORTANT: before the index and the answers. It also covers the records that were
            // written to this file by others before they sent their changes here.
            room.reservation.file.sync()?;
        }
        probe
            .at(Step::IndexGroup)
            .map_err(Fault::io("index", path))?;
        self.enter(changes, &group, room)?;
        probe.at(Step::Answer).map_err(Fault::io("answer", path))
    }

    /// The group's head and the bytes that follow it.
    fn lay_out(&self, changes: &[PendingChange], room: &GroupReservation) -> (Group, Vec<Bytes>) {
        let count = changes.len();
        let mut at = u64::from(room.reservation.offset) + Group::head_bytes(count) as u64;
        let mut entries = Vec::with_capacity(count);
        let mut records = Vec::new();
        for change in changes {
            match &change.request.work {
                Work::Append { record, .. } => {
                    let offset = u32::try_from(at).expect("a segment is shorter than 4 GiB");
                    entries.push(put(&record.info, offset, record.head.bytes()));
                    records.extend(record.pieces(room.reservation.file.nonce));
                    at += record.head.record_bytes();
                }
                Work::Land {
                    reservation,
                    head_bytes,
                    info,
                    ..
                } => entries.push(put(info, reservation.offset, *head_bytes)),
                Work::Delete { id, .. } => {
                    let location = change.had.and_then(|row| row.location);
                    let location = location.expect("checked: it is in a segment");
                    entries.push(Entry::Delete {
                        id: *id,
                        slot: location.slot,
                        generation: location.generation,
                        sequence: self.sequence,
                    });
                }
                Work::KeepDelete {
                    id,
                    slot,
                    generation,
                    sequence,
                } => entries.push(Entry::Delete {
                    id: *id,
                    slot: *slot,
                    generation: *generation,
                    sequence: *sequence,
                }),
                Work::Checkpoint => unreachable!("a checkpoint is in no group"),
            }
        }
        let group = Group {
            sequence: self.sequence,
            ordinal: room.ordinal,
            bytes: u32::try_from(at - u64::from(room.reservation.offset))
                .expect("it fits the segment"),
            entries,
        };
        (group, records)
    }

    fn enter(
        &self,
        changes: &[PendingChange],
        group: &Group,
        room: &GroupReservation,
    ) -> Result<(), Fault> {
        let mut index = self.index.batch();
        for (change, entry) in changes.iter().zip(&group.entries) {
            match (*entry, &change.had) {
                (Entry::Put { .. }, had) => {
                    let stale = had.and_then(|had| had.location);
                    if let Some(at) = stale {
                        self.segments.note_stale(at.slot, at.generation);
                    }
                    let row = row_of(entry, &room.reservation.file, group.sequence)
                        .expect("a put has a row");
                    index.put(&row, had.as_ref());
                    self.count(&row, true);
                    had.iter().for_each(|had| self.count(had, false));
                }
                (Entry::Delete { .. }, Some(had)) => {
                    index.remove(had);
                    self.count(had, false);
                }
                (Entry::Delete { .. }, None) => {}
            }
        }
        self.segments.write_rows(&mut index);
        index.set_applied(group.sequence);
        index.commit()
    }

    fn count(&self, row: &Row, live: bool) {
        if let Some(location) = row.location {
            self.segments.count(&location, record_bytes(row), live);
        }
    }
}

/// The row that a group's entry makes; `None` for a delete.
pub(super) fn row_of(entry: &Entry, file: &super::SegmentFile, sequence: u64) -> Option<Row> {
    let Entry::Put {
        id,
        offset,
        head_bytes,
        length_bytes,
        crc64,
    } = *entry
    else {
        return None;
    };
    Some(Row {
        info: ChunkInfo {
            id,
            length_bytes,
            crc64,
        },
        location: Some(Location {
            slot: file.slot,
            generation: file.generation,
            offset,
            head_bytes,
        }),
        sequence,
    })
}

/// Length of the record that a row speaks of.
pub(super) fn record_bytes(row: &Row) -> u64 {
    let head_bytes = row.location.map_or(0, |location| location.head_bytes);
    super::super::record::Plan {
        data_at: head_bytes.into(),
        length_bytes: row.info.length_bytes,
    }
    .end()
}

fn put(info: &ChunkInfo, offset: u32, head_bytes: u16) -> Entry {
    Entry::Put {
        id: info.id,
        offset,
        head_bytes,
        length_bytes: info.length_bytes,
        crc64: info.crc64,
    }
}

/// Bytes of a group with these changes, the records of its own included.
fn group_bytes(changes: &[PendingChange]) -> u64 {
    let head = Group::head_bytes(changes.len()) as u64;
    let own = changes.iter().map(|change| match &change.request.work {
        Work::Append { record, .. } => record.head.record_bytes(),
        _ => 0,
    });
    aligned(head + own.sum::<u64>())
}

/// The changes by the segment in which they must be told.
fn by_slot(changes: Vec<PendingChange>) -> BTreeMap<u32, Vec<PendingChange>> {
    let mut groups: BTreeMap<u32, Vec<PendingChange>> = BTreeMap::new();
    for change in changes {
        let slot = change
            .slot()
            .expect("only changes with a segment come here");
        groups.entry(slot).or_default().push(change);
    }
    groups
}

fn after_failure(failure: &str) -> Fault {
    Fault::Index(format!("an earlier write failed: {failure}"))
}

fn answer_all(changes: Vec<PendingChange>, fault: &Fault) {
    for change in changes {
        change.answer(Err(fault.again()));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::time::Duration;

    use chunkproto::{ChunkId, Durability, NodeId};
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::super::super::admission::Gate;
    use super::super::super::directory::Layout;
    use super::super::super::index::IndexCache;
    use super::super::record::{RecordHead, SegmentRecord};
    use super::super::recover::SegmentOptions;
    use super::*;
    use crate::store::Probe;

    fn change(
        work: Work,
    ) -> (
        PendingChange,
        oneshot::Receiver<Result<CommitOutcome, Fault>>,
    ) {
        let (answer, answered) = oneshot::channel();
        let guards = None;
        (
            PendingChange::new(Request {
                work,
                answer,
                guards,
            }),
            answered,
        )
    }

    #[test]
    fn no_checkpoint_passes_a_group_that_failed_in_the_same_round() {
        let dir = TempDir::new().unwrap();
        let segments = dir.path().join("segments");
        fs::create_dir(&segments).unwrap();
        let probe = Probe::new(|step| match step {
            Step::SyncGroup => Err(io::Error::other("made up")),
            _ => Ok(()),
        });
        let durability = Durability::PowerSafe;
        let options = SegmentOptions {
            gate: Gate::new(dir.path().to_owned(), 95, durability, probe),
            layout: Layout::new(dir.path().to_owned()),
            dir: segments,
            node: NodeId::generate(),
            segment_bytes: 1 << 20,
            open_files_max: 16,
            quiet_after: Duration::ZERO,
        };
        let index = Index::open(&dir.path().join("index"), &IndexCache::new(1 << 20));
        let index = Arc::new(index.unwrap());
        let segments = Segments::new(options, BTreeMap::new(), 0);
        let mut appender = Appender::new(segments, Arc::clone(&index), 0);
        let head = RecordHead {
            id: ChunkId::generate(),
            length_bytes: 5,
            owner: Vec::new(),
        };
        let record = SegmentRecord::new(head, vec![Bytes::from_static(b"bytes")]);
        let (put, put_answer) = change(Work::Append { record, from: None });
        let (checkpoint, checkpoint_answer) = change(Work::Checkpoint);

        appender.append(vec![put, checkpoint]);

        assert!(put_answer.blocking_recv().unwrap().is_err());
        assert!(checkpoint_answer.blocking_recv().unwrap().is_err());
        assert!(index.slots().next().is_none());
    }
}
