//! Finding whole records where the head of their group is damaged, by the mark that each begins with:
//! those that followed the head, and those with room of their own somewhere before it.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::super::fault::Fault;
use super::super::index_rows::Row;
use super::super::read::{RecordReader, Wait};
use super::Location;
use super::file::{SegmentFile, read_up_to};
use super::group::Entry;
use super::record::RecordHead;
use super::scan::Scan;

/// The chunks whose whole records lie in `range`, as of group `sequence`. Each was verified.
///
/// The number should be the lowest that their group can have: then each delete that can be read and came after
/// them is obeyed.
pub(super) fn salvage(
    file: &Arc<SegmentFile>,
    range: &Range<u64>,
    sequence: u64,
) -> Result<Vec<Row>, Fault> {
    let length = usize::try_from(range.end - range.start).expect("within one segment");
    let mut bytes = vec![0; length];
    let read = read_up_to(file.file(), &mut bytes, range.start);
    bytes.truncate(read.map_err(Fault::io("read", file.path()))?);
    let mut rows = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let found = match RecordHead::decode(&bytes[at..], file.nonce) {
            Some(head) => whole(file, range.start + at as u64, &head, sequence)?,
            None => None,
        };
        match found {
            Some((row, record_bytes)) => {
                rows.push(row);
                at += usize::try_from(record_bytes).unwrap_or(usize::MAX).max(1);
            }
            None => at += 1,
        }
    }
    Ok(rows)
}

/// The chunks whose whole records have room of their own and are named by no group that can be read, each as of
/// the first group that can name it. A record that never became a chunk may be among them: whoever put it was
/// told of a failure, or of nothing. Reads the heads of the whole segment again.
pub(super) fn salvage_unnamed(
    file: &Arc<SegmentFile>,
    segment_bytes: u32,
) -> Result<Vec<Row>, Fault> {
    let mut scan = Scan::new(file, 0, 0, segment_bytes);
    let mut named = HashSet::new();
    while let Some(scanned) = scan.next()? {
        named.extend(scanned.group.entries.iter().filter_map(Entry::offset));
    }
    let mut rows = Vec::new();
    for (at, before) in scan.records().to_vec() {
        if named.contains(&at) {
            continue;
        }
        if let Some(head) = scan.record_at(at)? {
            rows.extend(whole(file, at, &head, before + 1)?.map(|(row, _)| row));
        }
    }
    Ok(rows)
}

/// The record that begins at `at`, if it is whole.
fn whole(
    file: &Arc<SegmentFile>,
    at: u64,
    head: &RecordHead,
    sequence: u64,
) -> Result<Option<(Row, u64)>, Fault> {
    let location = Location {
        slot: file.slot,
        generation: file.generation,
        offset: u32::try_from(at).expect("within one segment"),
        head_bytes: head.bytes(),
    };
    let file = Arc::clone(file);
    let reader = RecordReader::unlisted(file, location, head.clone(), Wait::ForDisk);
    let verified = reader.and_then(|reader| reader.verify().map(|()| reader.info()));
    match verified {
        Ok(info) => {
            let row = Row {
                info,
                location: Some(location),
                sequence,
            };
            Ok(Some((row, head.record_bytes())))
        }
        Err(Fault::Damaged(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}
