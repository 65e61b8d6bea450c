//! Fuzz targets for segments, and how an input is turned into one: heads and records with sound
//! checksums and arbitrary content, blocks of anything between them.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chunkproto::{ChunkId, Crc64, NodeId, OwnerHint, block_crc32c};
use rustix::fs::MemfdFlags;
use uuid::Uuid;

use super::super::record::Header;
use super::file::SegmentFile;
use super::group::{Entry, Group};
use super::header::{HEADER_BYTES, Nonce, SegmentHeader};
use super::salvage::{salvage, salvage_unnamed};
use super::scan::Scan;
use super::slot::SlotRow;
use super::{ALIGN_BYTES, RecordHead, SegmentRecord};

/// The node whose segments these are.
pub(crate) const NODE: [u8; 16] = [9; 16];
const NONCE: Nonce = Nonce([7; 16]);
/// Length of a segment's file.
const SEGMENT_BYTES: u32 = 64 << 10;

/// The input's next numbers; zeroes behind its end.
struct Dice<'a>(&'a [u8]);

impl<'a> Dice<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (now, later) = self.0.split_at(count.min(self.0.len()));
        self.0 = later;
        now
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let taken = self.take(N);
        bytes[..taken.len()].copy_from_slice(taken);
        bytes
    }

    fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A number of any size, the small ones in few bytes.
    fn u64(&mut self) -> u64 {
        match self.byte() {
            255 => u64::from_le_bytes(self.array()),
            small => small.into(),
        }
    }

    /// One of few ids, so that they meet.
    fn id(&mut self) -> ChunkId {
        ChunkId::from_bytes([self.byte() % 8; 16])
    }
}

/// The heads of segments, groups and records, and the index's row of a segment.
pub(crate) fn head(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind {
        0 => segment_header(&mut Dice(bytes)),
        1 => {
            let head = group_head(&mut Dice(bytes));
            let group = Group::decode(&head, NONCE);
            assert!(group.is_none_or(|group| group.encode(NONCE) == head));
        }
        2 => {
            let head = record_head(&mut Dice(bytes));
            let found = RecordHead::decode(&head, NONCE);
            assert!(found.is_none_or(|found| found.encode(NONCE) == head));
        }
        3 => {
            let row = SlotRow::decode(bytes);
            assert!(
                row.is_ok_and(|row| row.encode() == bytes) || bytes.len() != 41 || bytes[0] > 4
            );
        }
        _ => {
            let _ = SegmentHeader::decode(bytes);
            let _ = Group::decode(bytes, NONCE);
            let _ = RecordHead::decode(bytes, NONCE);
        }
    }
}

fn segment_header(dice: &mut Dice<'_>) {
    let mut block = header(0, SEGMENT_BYTES).encode();
    let bytes = dice.take(56);
    block[8..8 + bytes.len()].copy_from_slice(bytes);
    let crc = block_crc32c(&block[..64]);
    block[64..68].copy_from_slice(&crc.to_le_bytes());
    if let Ok(header) = SegmentHeader::decode(&block) {
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }
}

/// A walk through a segment, and the salvage of what lies in its gaps. It ends, and finds nothing
/// outside the file.
pub(crate) fn scan(bytes: &[u8]) {
    let segment = segment_of(0, bytes);
    let memory = rustix::fs::memfd_create("segment", MemfdFlags::empty()).expect("memory");
    rustix::io::pwrite(&memory, &segment, 0).expect("written");
    let path = {
        use std::os::fd::AsRawFd as _;
        format!("/proc/self/fd/{}", memory.as_raw_fd())
    };
    let file = SegmentFile::open(Path::new(&path), 0, 1, NONCE).expect("open already");
    let file = Arc::new(file);
    let mut scan = Scan::new(&file, HEADER_BYTES, 0, SEGMENT_BYTES);
    let mut from = 0;
    while let Some(found) = scan.next().expect("memory can be read") {
        assert!(found.at > from && found.at + u64::from(found.group.bytes) <= segment.len() as u64);
        from = found.at;
        for range in found.lost {
            assert!(range.start < range.end && range.end <= found.at);
            for row in salvage(&file, &range, 1).expect("memory can be read") {
                let location = row.location.expect("in the segment");
                assert!(range.contains(&u64::from(location.offset)));
            }
        }
    }
    for trace in scan.traces().to_vec() {
        assert!(trace.at > from && trace.at < segment.len() as u64);
        salvage(&file, &(trace.at..SEGMENT_BYTES.into()), 1).expect("memory can be read");
    }
    salvage_unnamed(&file, SEGMENT_BYTES).expect("memory can be read");
}

/// The file of segment `slot` that the input describes.
pub(crate) fn segment_of(slot: u32, input: &[u8]) -> Vec<u8> {
    let ends = header(slot, SEGMENT_BYTES).encode();
    let mut dice = Dice(input);
    let mut file = ends.clone();
    let end = (SEGMENT_BYTES - HEADER_BYTES) as usize;
    let mut ordinal = 0;
    while !dice.0.is_empty() && file.len() < end {
        let piece = match dice.byte() % 6 {
            0 => group_head(&mut dice),
            1 => record_head(&mut dice),
            2 => record(&mut dice).2,
            3 => {
                let count = dice.byte().into();
                dice.take(count).to_vec()
            }
            4 => Vec::new(),
            _ => group(&mut dice, file.len(), &mut ordinal),
        };
        file.extend(piece);
        file.resize((file.len() + 1).next_multiple_of(ALIGN_BYTES as usize), 0);
    }
    file.resize(end, 0);
    file.extend(ends);
    file
}

fn header(slot: u32, bytes: u32) -> SegmentHeader {
    SegmentHeader {
        node: NodeId::from_bytes(NODE),
        slot,
        generation: 1,
        nonce: NONCE,
        bytes,
        in_use: true,
    }
}

/// The head of a group that says anything.
fn group_head(dice: &mut Dice<'_>) -> Vec<u8> {
    let (sequence, ordinal, bytes) = (dice.u64(), dice.u32(), dice.u32());
    let count = usize::from(dice.byte() % 8);
    let group = Group {
        sequence,
        ordinal,
        bytes: bytes.max(1),
        entries: (0..count).map(|_| entry(dice)).collect(),
    };
    group.encode(NONCE)
}

fn entry(dice: &mut Dice<'_>) -> Entry {
    let id = dice.id();
    if dice.byte().is_multiple_of(2) {
        return Entry::Delete {
            id,
            slot: dice.u32(),
            generation: dice.u32(),
            sequence: dice.u64(),
        };
    }
    Entry::Put {
        id,
        offset: dice.u32(),
        head_bytes: dice.u16(),
        length_bytes: dice.u64(),
        crc64: Crc64(dice.u64()),
    }
}

/// The head of a record that says anything.
fn record_head(dice: &mut Dice<'_>) -> Vec<u8> {
    let owner = usize::from(dice.byte());
    let head = RecordHead {
        id: dice.id(),
        length_bytes: dice.u64(),
        owner: dice.take(owner).to_vec(),
    };
    head.encode(NONCE)
}

/// A whole record: its entry but for the place, the length of its head, its bytes.
fn record(dice: &mut Dice<'_>) -> (chunkproto::ChunkInfo, u16, Vec<u8>) {
    let owner = OwnerHint {
        bucket_id: Uuid::nil(),
        bucket: "b".into(),
        key: "k".into(),
        sequence: Uuid::nil(),
        part: None,
        index: 0,
        offset_bytes: 0,
        body_bytes: None,
        details: Vec::new(),
    };
    let data = vec![dice.byte(); usize::from(dice.u16()).clamp(1, 9000)];
    let header = Header::new(dice.id(), data.len() as u64, &owner).expect("it fits");
    let record = SegmentRecord::new(RecordHead::of(header), vec![Bytes::from(data)]);
    let bytes = record.pieces(NONCE).collect::<Vec<_>>().concat();
    (record.info, record.head.bytes(), bytes)
}

/// A group as a store writes it behind `at` bytes, with one number of it changed or not.
fn group(dice: &mut Dice<'_>, at: usize, ordinal: &mut u32) -> Vec<u8> {
    let count = usize::from(dice.byte() % 4);
    let mut offset = at + Group::head_bytes(count);
    let (mut entries, mut records) = (Vec::new(), Vec::new());
    for _ in 0..count {
        if dice.byte().is_multiple_of(4) {
            entries.push(entry(dice));
            continue;
        }
        let (info, head_bytes, bytes) = record(dice);
        entries.push(Entry::Put {
            id: info.id,
            offset: u32::try_from(offset).expect("in a segment"),
            head_bytes,
            length_bytes: info.length_bytes,
            crc64: info.crc64,
        });
        offset += bytes.len();
        records.extend(bytes);
    }
    let sequence = dice.u64();
    let mut group = Group {
        sequence,
        ordinal: *ordinal,
        bytes: u32::try_from(offset - at).expect("in a segment"),
        entries,
    };
    *ordinal = ordinal.wrapping_add(1);
    match dice.byte() {
        1 => group.ordinal ^= dice.u32(),
        2 => group.bytes ^= dice.u32(),
        3 => records.truncate(dice.u16().into()),
        _ => {}
    }
    [group.encode(NONCE), records].concat()
}
