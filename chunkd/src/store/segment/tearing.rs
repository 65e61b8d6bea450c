//! A torn end: the last group, of short records and of one with room of its own, damaged byte by byte and cut
//! off byte by byte. A start brings back what was there before, and of the group what is whole. Every byte of
//! heads, tables and footers has its turn, and of data the first and last ones and every 499th between.

#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets in a segment of 1 MiB, and small numbers"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunkproto::{ChunkId, Durability, NodeId};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::super::admission::Gate;
use super::super::directory::Layout;
use super::super::index::{Index, IndexCache};
use super::ALIGN_BYTES;
use super::append::{Appender, PendingChange, record_bytes};
use super::committer::{Request, Work};
use super::file::SegmentFile;
use super::group::Group;
use super::record::{RecordHead, SegmentRecord};
use super::recover::{SegmentOptions, recover};
use super::scan::Scan;
use super::segments::{Segments, WriteClass};
use crate::store::Probe;

const SEGMENT_BYTES: u32 = 1 << 20;
/// Of the records in the last group; the third is longer than a group takes in.
const LENGTHS: [usize; 4] = [100, 5000, 80 << 10, 70_000];
const LANDED: usize = 2;
/// Of data, so many bytes at each end have their turn, and beyond them one in so many.
const EDGE_BYTES: u64 = 8;
const STRIDE_BYTES: usize = 499;

/// A segment with a group that was acknowledged and a last one that may be torn.
struct Fixture {
    _dir: TempDir,
    options: SegmentOptions,
    index: Arc<Index>,
    path: PathBuf,
    bytes: Vec<u8>,
    before: ChunkId,
    /// The last group's head.
    head: Range<u64>,
    /// Its records, each with where its data are.
    records: Vec<(ChunkId, Range<u64>, Range<u64>)>,
}

fn record(length: usize, seed: u8) -> SegmentRecord {
    let head = RecordHead {
        id: ChunkId::generate(),
        length_bytes: length as u64,
        owner: vec![seed; 20],
    };
    // No byte is zero: cutting off is writing zeroes.
    let data: Vec<u8> = (0..length).map(|at| (at % 251) as u8 | 1).collect();
    SegmentRecord::new(head, vec![Bytes::from(data)])
}

/// A change, and who hears of it.
pub(super) fn change(
    work: Work,
) -> (
    PendingChange,
    oneshot::Receiver<Result<super::CommitOutcome, super::super::fault::Fault>>,
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

/// A record written to room of its own, to be made a chunk.
fn landed(segments: &Arc<Segments>, record: &SegmentRecord) -> Work {
    let room = segments.reserve(record.head.record_bytes(), WriteClass::Put);
    let reservation = room.unwrap();
    let pieces: Vec<_> = record.pieces(reservation.file.nonce).collect();
    reservation
        .file
        .write(&pieces, reservation.offset.into())
        .unwrap();
    Work::Land {
        reservation,
        head_bytes: record.head.bytes(),
        info: record.info,
        from: None,
    }
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("segments")).unwrap();
        let (durability, root) = (Durability::PowerSafe, dir.path().to_owned());
        let options = SegmentOptions {
            dir: dir.path().join("segments"),
            layout: Layout::new(root.clone()),
            node: NodeId::generate(),
            segment_bytes: SEGMENT_BYTES,
            open_files_max: 16,
            quiet_after: Duration::ZERO,
            gate: Gate::new(root, 100, durability, Probe::default()),
        };
        let index = Index::open(&dir.path().join("index"), &IndexCache::new(1 << 20));
        let index = Arc::new(index.unwrap());
        let segments = Segments::new(options.clone(), BTreeMap::new(), 0);
        let mut appender = Appender::new(Arc::clone(&segments), Arc::clone(&index), 0);
        let append = |record| Work::Append { record, from: None };
        let first = record(300, 9);
        let before = first.info.id;
        let mut round = |works: Vec<Work>| {
            let (changes, answers): (Vec<_>, Vec<_>) = works.into_iter().map(change).unzip();
            appender.append(changes);
            answers.into_iter().for_each(|answer| {
                answer.blocking_recv().unwrap().unwrap();
            });
        };
        round(vec![append(first)]);
        let mut ids = Vec::new();
        let mut works = Vec::new();
        for (seed, length) in LENGTHS.into_iter().enumerate() {
            let record = record(length, seed as u8);
            ids.push(record.info.id);
            if seed != LANDED {
                works.push(append(record));
                continue;
            }
            works.push(landed(&segments, &record));
        }
        round(works);
        let path = super::create::path(&options.dir, 0);
        let nonce = segments.file(0).unwrap().nonce;
        let head = last_head(&Arc::new(SegmentFile::open(&path, 0, 1, nonce).unwrap()));
        let records = ids.iter().map(|id| {
            let row = index.get(*id).unwrap().unwrap();
            let location = row.location.unwrap();
            let begin = u64::from(location.offset);
            let data = begin + u64::from(location.head_bytes);
            (
                *id,
                begin..begin + record_bytes(&row),
                data..data + row.info.length_bytes,
            )
        });
        Self {
            records: records.collect(),
            bytes: fs::read(&path).unwrap(),
            _dir: dir,
            options,
            index,
            path,
            before,
            head,
        }
    }

    /// The places that have their turn.
    fn places(&self) -> BTreeSet<u64> {
        let mut places: BTreeSet<u64> = self.head.clone().collect();
        for (_, record, data) in &self.records {
            let inner = data.start + EDGE_BYTES..data.end - EDGE_BYTES;
            places.extend(record.clone().filter(|at| !inner.contains(at)));
            places.extend(inner.step_by(STRIDE_BYTES));
        }
        places
    }

    /// What a start with a new index finds after `bytes` were written over the segment's at `at`.
    fn found_after(&self, at: u64, bytes: &[u8]) -> BTreeSet<ChunkId> {
        let file = File::options().write(true).open(&self.path).unwrap();
        file.write_all_at(bytes, at).unwrap();
        self.clear_index();
        let recovered = recover(self.options.clone(), &self.index, false).unwrap();
        assert!(recovered.unreadable.is_empty());
        let whole = at as usize..at as usize + bytes.len();
        file.write_all_at(&self.bytes[whole], at).unwrap();
        // The block with a torn head is removed.
        let block = self.head.start as usize..self.head.start as usize + ALIGN_BYTES as usize;
        file.write_all_at(&self.bytes[block], self.head.start)
            .unwrap();
        let listed = self.index.page(None, usize::MAX).unwrap();
        listed.into_iter().map(|info| info.id).collect()
    }

    fn clear_index(&self) {
        let mut index = self.index.batch();
        for info in self.index.page(None, usize::MAX).unwrap() {
            let row = index.get(info.id).unwrap().unwrap();
            index.remove(&row);
        }
        index.set_slot(0, None);
        index.set_applied(0);
        index.commit().unwrap();
    }

    /// What there is where the bytes in `bad` are wrong.
    fn expected(&self, is_bad: impl Fn(&Range<u64>) -> bool) -> BTreeSet<ChunkId> {
        let mut expected = BTreeSet::from([self.before]);
        if !is_bad(&self.head) {
            let whole = self.records.iter().filter(|(_, record, _)| !is_bad(record));
            expected.extend(whole.map(|(id, ..)| *id));
        }
        expected
    }
}

/// Where the head of the last group is.
fn last_head(file: &Arc<SegmentFile>) -> Range<u64> {
    let mut scan = Scan::new(file, 0, 0, SEGMENT_BYTES);
    let mut head = 0..0;
    while let Some(scanned) = scan.next().unwrap() {
        let bytes = Group::head_bytes(scanned.group.entries.len());
        head = scanned.at..scanned.at + bytes as u64;
    }
    head
}

#[test]
fn each_wrong_byte_of_the_last_group_costs_the_record_that_it_is_in() {
    let fixture = Fixture::new();
    assert_eq!(fixture.found_after(0, &[]).len(), 1 + LENGTHS.len());
    for at in fixture.places() {
        let found = fixture.found_after(at, &[!fixture.bytes[at as usize]]);
        assert_eq!(found, fixture.expected(|part| part.contains(&at)), "{at}");
    }
}

#[test]
fn an_end_that_is_cut_off_anywhere_leaves_what_is_whole_before_it() {
    let fixture = Fixture::new();
    let parts = fixture.records.iter().map(|(_, record, _)| record.end);
    let end = parts.chain([fixture.head.end]).max().unwrap();
    for at in fixture.places() {
        let found = fixture.found_after(at, &vec![0; (end - at) as usize]);
        let is_cut = |part: &Range<u64>| {
            let cut = part.start.max(at)..part.end.max(at);
            let cut = &fixture.bytes[cut.start as usize..cut.end as usize];
            cut.iter().any(|byte| *byte != 0)
        };
        assert_eq!(found, fixture.expected(is_cut), "{at}");
    }
}
