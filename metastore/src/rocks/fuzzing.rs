//! What fuzzers feed with arbitrary bytes: each target panics where a parser breaks its promise. Built
//! for tests and by `make fuzz` alone.

use chunkproto::NodeId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::log_piece::{self, LogPiece};
use super::tables::{self, Table};
use super::{keys, rows};
use crate::{BucketId, BucketName, ObjectKey, UploadId, VersionId, VersionOrder};

/// A target's name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("metadata-row", row),
    ("metadata-key", key),
    ("metadata-log", log),
    ("names", names),
];

/// A row of the table that the first byte names.
fn row(bytes: &[u8]) {
    let Some((table, bytes)) = bytes.split_first() else {
        return;
    };
    match table {
        0 => row_of(tables::BUCKETS, bytes),
        1 => row_of(tables::BUCKET_IDS, bytes),
        2 => row_of(tables::CURRENT, bytes),
        3 => row_of(tables::UPLOADS, bytes),
        4 => row_of(tables::PARTS, bytes),
        5 => row_of(tables::PART_SETS, bytes),
        6 => row_of(tables::CHUNKS, bytes),
        7 => row_of(tables::NODE_CHUNKS, bytes),
        8 => row_of(tables::GC, bytes),
        9 => row_of(tables::REPAIR, bytes),
        10 => row_of(tables::REPAIR_ORDER, bytes),
        11 => row_of(tables::BODIES, bytes),
        12 => row_of(tables::NONCURRENT, bytes),
        13 => row_of(tables::NULL_VERSIONS, bytes),
        14 => row_of(tables::USERS, bytes),
        15 => row_of(tables::ACCESS_KEYS, bytes),
        16 => row_of(tables::USER_EMAILS, bytes),
        17 => row_of(tables::NODES, bytes),
        18 => row_of(tables::ORPHANS, bytes),
        19 => row_of(tables::NODE_PHASES, bytes),
        20 => row_of(tables::LEASES, bytes),
        21 => row_of(tables::JOB_CONTROLS, bytes),
        _ => {}
    }
}

fn row_of<R: DeserializeOwned + Serialize>(table: Table<R>, bytes: &[u8]) {
    if let Ok(row) = rows::decode(table, bytes) {
        let written = rows::encode(&row);
        let again = rows::decode(table, &written).expect("what was written can be read");
        assert_eq!(rows::encode(&again), written);
    }
}

/// A key of any table. What is read from one is what was written to it.
fn key(bytes: &[u8]) {
    let id = |at: usize| Uuid::from_slice(&bytes[at..at + 16]).expect("16 bytes");
    let last = bytes.len().saturating_sub(16);
    if let Ok(key) = keys::key_of_object(tables::CURRENT, bytes) {
        assert_eq!(keys::object(BucketId(id(0)), key.as_bytes()), bytes);
    }
    if let Ok(key) = keys::key_of_upload(tables::UPLOADS, bytes) {
        let again = keys::upload(BucketId(id(0)), &key, UploadId(id(last)));
        assert_eq!(again, bytes);
    }
    if let Ok(key) = keys::key_of_noncurrent(tables::NONCURRENT, bytes) {
        let order = VersionOrder(Uuid::from_u128(!id(last).as_u128()));
        assert_eq!(keys::noncurrent(BucketId(id(0)), &key, order), bytes);
    }
    if let Ok(node) = keys::node_of(tables::NODES, bytes) {
        assert_eq!(keys::id(node.into()), bytes);
    }
    if let Ok(chunk) = keys::chunk_of_node_chunk(tables::NODE_CHUNKS, bytes) {
        assert_eq!(keys::node_chunk(NodeId::from(id(0)), chunk), bytes);
    }
    if let Ok((moment, id)) = keys::moment_of_gc(tables::GC, bytes) {
        assert_eq!(keys::gc(moment, id), bytes);
    }
    if let Ok(job) = keys::job_of(tables::LEASES, bytes.to_vec()) {
        assert_eq!(keys::job(&job), bytes);
    }
    if let Ok((have, chunk)) = keys::place_of_repair(tables::REPAIR_ORDER, bytes) {
        assert_eq!(keys::repair_order(have, chunk), bytes);
    }
}

/// A piece of a backup's log.
fn log(bytes: &[u8]) {
    let Some(writes) = log_piece::writes(bytes) else {
        return;
    };
    let mut at = 0;
    for write in writes {
        let Some(after) = write.first.checked_sub(1) else {
            return;
        };
        let mut piece = LogPiece::behind(after);
        assert!(piece.push(write.first, 0, write.batch));
        let end = at + piece.bytes().len();
        assert_eq!(piece.bytes(), &bytes[at..end]);
        at = end;
    }
    assert_eq!(at, bytes.len());
}

/// Names and ids as clients write them.
fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(name) = BucketName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!((3..=63).contains(&text.len()) && !text.contains(['/', '%']));
    }
    if let Ok(key) = ObjectKey::parse(text) {
        assert_eq!(key.into_string(), text);
    }
    if let Ok(id) = UploadId::parse(text) {
        assert_eq!(UploadId::parse(&id.to_string()).ok(), Some(id));
    }
    if let Some(id) = VersionId::parse(text) {
        assert_eq!(VersionId::parse(&id.to_string()), Some(id));
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn every_kept_input_of_the_fuzzers_is_survived() {
        super::replay::replay(super::TARGETS);
    }
}
