//! Torn ends and damaged heads in several segments, at starts that are cut off and with a new index.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use chunkproto::Durability;
use tempfile::TempDir;

use super::super::super::index::IndexCache;
use super::super::append::Appender;
use super::super::committer::Work;
use super::super::record::{RecordHead, SegmentRecord};
use super::super::segments::{Reservation, WriteClass};
use super::super::tearing::change;
use super::super::{ALIGN_BYTES, Location};
use super::*;
use crate::store::Probe;

const SEGMENT_BYTES: u32 = 64 << 10;
/// Two such records and their groups fill a segment.
const HALF_BYTES: usize = 16 << 10;
const BLOCK: usize = ALIGN_BYTES as usize;

/// A directory with segments, and the present index of it.
struct Store {
    dir: TempDir,
    indexes: usize,
    index: Arc<Index>,
    segments: Arc<Segments>,
    appender: Appender,
}

fn options(dir: &TempDir, probe: Probe) -> SegmentOptions {
    let root = dir.path().to_owned();
    SegmentOptions {
        dir: root.join("segments"),
        layout: Layout::new(root.clone()),
        node: NodeId::from_bytes([7; 16]),
        segment_bytes: SEGMENT_BYTES,
        open_files_max: 16,
        quiet_after: Duration::ZERO,
        gate: Gate::new(root, 100, Durability::PowerSafe, probe),
    }
}

fn new_index(dir: &TempDir, number: usize) -> Arc<Index> {
    let path = dir.path().join(format!("index-{number}"));
    Arc::new(Index::open(&path, &IndexCache::new(1 << 20)).unwrap())
}

fn record(length: usize) -> SegmentRecord {
    let head = RecordHead {
        id: ChunkId::generate(),
        length_bytes: length as u64,
        owner: Vec::new(),
    };
    SegmentRecord::new(head, vec![Bytes::from(vec![1; length])])
}

fn append(record: &SegmentRecord) -> Work {
    Work::Append {
        record: record.clone(),
        from: None,
    }
}

impl Store {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for name in ["segments", "tmp", "quarantine"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let index = new_index(&dir, 0);
        let segments = Segments::new(options(&dir, Probe::default()), BTreeMap::new(), 0);
        Self {
            appender: Appender::new(Arc::clone(&segments), Arc::clone(&index), 0),
            indexes: 1,
            dir,
            index,
            segments,
        }
    }

    /// One group for each.
    fn do_all<const COUNT: usize>(&mut self, works: [Work; COUNT]) {
        for work in works {
            self.do_together(vec![work]);
        }
    }

    fn do_together(&mut self, works: Vec<Work>) {
        let (changes, answers): (Vec<_>, Vec<_>) = works.into_iter().map(change).unzip();
        self.appender.append(changes);
        for answer in answers {
            answer.blocking_recv().unwrap().unwrap();
        }
    }

    fn location(&self, record: &SegmentRecord) -> Location {
        let row = self.index.get(record.info.id).unwrap().unwrap();
        row.location.unwrap()
    }

    /// Room for a record in the present segment, with the record in it, that no group names.
    fn reserve(&self, record: &SegmentRecord) -> Reservation {
        let room = self
            .segments
            .reserve(record.head.record_bytes(), WriteClass::Put);
        let room = room.unwrap();
        let pieces: Vec<_> = record.pieces(room.file.nonce).collect();
        room.file.write(&pieces, room.offset.into()).unwrap();
        room
    }

    fn write(&self, bytes: &[u8], slot: u32, at: u64) {
        let path = create::path(&self.dir.path().join("segments"), slot);
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    /// Where the head is of the group of a record that came alone.
    fn head_of(&self, record: &SegmentRecord) -> u64 {
        u64::from(self.location(record).offset) / BLOCK as u64 * BLOCK as u64
    }

    fn blank(&self, slot: u32, at: u64) {
        self.write(&[0; BLOCK], slot, at);
    }

    /// What a crash does to the end of a record.
    fn tear(&self, record: &SegmentRecord) -> Location {
        let at = self.location(record);
        let end = u64::from(at.offset) + record.head.record_bytes();
        self.blank(at.slot, end / BLOCK as u64 * BLOCK as u64);
        at
    }

    fn lose_index(&mut self) {
        self.index = new_index(&self.dir, self.indexes);
        self.indexes += 1;
    }

    /// A start that comes to its end.
    fn start(&mut self) -> u64 {
        let recovered = recover(options(&self.dir, Probe::default()), &self.index, false);
        let recovered = recovered.unwrap();
        assert!(recovered.unreadable.is_empty());
        self.segments = recovered.segments;
        self.appender = Appender::new(
            Arc::clone(&self.segments),
            Arc::clone(&self.index),
            recovered.sequence,
        );
        recovered.sequence
    }

    /// A start that is cut off before it enters so many groups and one more.
    fn start_cut_off_after(&self, most: usize) {
        let seen = AtomicUsize::new(0);
        let probe = Probe::new(move |step| {
            let is_next = step == Step::EnterFound && seen.fetch_add(1, Ordering::SeqCst) == most;
            if is_next {
                Err(io::Error::other("made up"))
            } else {
                Ok(())
            }
        });
        assert!(recover(options(&self.dir, probe), &self.index, false).is_err());
    }

    fn listed(&self) -> BTreeSet<ChunkId> {
        let listed = self.index.page(None, usize::MAX).unwrap();
        listed.into_iter().map(|info| info.id).collect()
    }
}

fn ids<const COUNT: usize>(records: [&SegmentRecord; COUNT]) -> BTreeSet<ChunkId> {
    records.map(|record| record.info.id).into()
}

#[test]
fn a_torn_record_stays_cut_off_wherever_the_walk_that_meets_it_is_cut_off() {
    for most in 0..5 {
        let (whole, torn) = (record(HALF_BYTES), record(HALF_BYTES));
        let later = [(); 3].map(|()| record(HALF_BYTES));
        let mut store = Store::new();
        store.do_all([append(&whole), append(&torn)]);
        store.do_all([&later[0], &later[1], &later[2]].map(append));
        assert_eq!(store.tear(&torn).slot, 0);
        store.lose_index();

        store.start_cut_off_after(most);
        store.start();

        let [a, b, c] = &later;
        assert_eq!(store.listed(), ids([&whole, a, b, c]), "after {most}");
    }
}

#[test]
fn a_torn_copy_takes_no_whole_records_place_when_the_index_is_lost() {
    let (moved, later) = (record(HALF_BYTES), record(HALF_BYTES));
    let fill = [(); 2].map(|()| record(HALF_BYTES));
    let mut store = Store::new();
    store.do_all([append(&moved), append(&fill[0]), append(&fill[1])]);
    let from = store.location(&moved);
    let work = Work::Append {
        record: moved.clone(),
        from: Some(from),
    };
    store.do_all([work, append(&later)]);
    assert_ne!(store.tear(&moved).slot, from.slot);
    store.lose_index();

    store.start();

    assert_eq!(store.location(&moved), from);
}

#[test]
fn what_a_torn_head_spoke_of_stays_cut_off_when_another_group_takes_its_number() {
    let (before, unnamed, later) = (record(100), record(HALF_BYTES), record(100));
    let mut store = Store::new();
    store.do_all([append(&before)]);
    drop(store.reserve(&unnamed));
    let at = store.segments.lock().slot(0).row.tail;
    let delete = || Work::KeepDelete {
        id: ChunkId::generate(),
        slot: 9,
        generation: 1,
        sequence: 1,
    };
    store.do_together((0..100).map(|_| delete()).collect());
    store.blank(0, u64::from(at) + BLOCK as u64);
    store.lose_index();
    assert_eq!(store.start(), 1);
    store.do_all([append(&later)]);
    store.lose_index();

    assert_eq!(store.start(), 2);

    assert_eq!(store.listed(), ids([&before, &later]));
}

#[test]
fn of_damaged_heads_behind_all_others_the_last_alone_is_torn() {
    let [whole, rotten, torn] = [(); 3].map(|()| record(HALF_BYTES));
    let mut store = Store::new();
    store.do_all([&whole, &rotten, &torn].map(append));
    for record in [&rotten, &torn] {
        let slot = store.location(record).slot;
        store.write(&[0], slot, store.head_of(record));
    }
    assert_ne!(store.location(&rotten).slot, store.location(&torn).slot);
    store.lose_index();

    store.start();

    assert_eq!(store.listed(), ids([&whole, &rotten]));
    let later = record(HALF_BYTES);
    store.do_all([append(&later)]);
    store.lose_index();
    store.start();
    assert_eq!(store.listed(), ids([&whole, &rotten, &later]));
}

#[test]
fn rot_brings_no_chunk_back_whose_delete_can_be_read() {
    let (deleted, landed) = (record(HALF_BYTES), record(9000));
    let fill = [(); 2].map(|()| record(HALF_BYTES));
    let mut store = Store::new();
    let reservation = store.reserve(&landed);
    store.do_all([append(&deleted)]);
    let head = store.head_of(&deleted);
    store.do_all([append(&fill[0])]);
    let delete = Work::Delete {
        id: deleted.info.id,
        only: None,
    };
    let land = Work::Land {
        reservation,
        head_bytes: landed.head.bytes(),
        info: landed.info,
        from: None,
    };
    store.do_all([delete, append(&fill[1]), land]);
    assert_ne!(store.location(&fill[0]).slot, store.location(&landed).slot);
    // The magic alone: the record behind it is whole.
    store.write(&[0], 0, head);
    store.lose_index();

    store.start();

    assert_eq!(store.listed(), ids([&fill[0], &fill[1], &landed]));
}
