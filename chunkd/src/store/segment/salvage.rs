//! Finding whole records where the head of their group is damaged: by the mark that each begins with.

use std::ops::Range;
use std::sync::Arc;

use super::super::fault::Fault;
use super::super::index_rows::Row;
use super::super::read::{RecordReader, Wait};
use super::Location;
use super::file::{SegmentFile, read_up_to};
use super::record::RecordHead;

/// The chunks whose whole records lie in `range`, as of group `sequence`. Each was verified.
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
