//! Keys as bytes, such that byte order is the order in which rows are walked: ids and numbers
//! most significant byte first, texts as they are. A text that something follows is escaped.

use chunkproto::{ChunkId, JobName, NodeId};
use uuid::Uuid;

use super::tables::Table;
use crate::{
    BucketId, BucketName, GcEntry, MetaError, MetaResult, PartNumber, Timestamp, UploadId,
    VersionOrder,
};

/// What a NUL in a text becomes where something follows the text.
const ESCAPED_NUL: [u8; 2] = [0x00, 0xff];
/// What ends such a text: less than an escaped NUL and than any other byte of a text, so that a
/// text sorts before those it is a prefix of.
const END_OF_TEXT: [u8; 2] = [0x00, 0x00];
/// Behind a prefix, this is greater than any key with that prefix: ids have 16 bytes, and texts
/// are UTF-8, in which 0xFF does not occur.
const END_OF_RANGE: [u8; 17] = [0xff; 17];

/// Key of a row that one id names.
pub(super) fn id(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// Key of a bucket by its name.
pub(super) fn bucket_name(name: &BucketName) -> Vec<u8> {
    name.as_str().into()
}

/// Key of a current version; also the bound in that table that stands for a bound among keys.
pub(super) fn object(bucket: BucketId, key: &[u8]) -> Vec<u8> {
    [bucket.0.as_bytes(), key].concat()
}

/// The object key in a key that [`object`] made.
///
/// # Errors
/// `Corrupt` where it is not UTF-8, or there is none.
pub(super) fn key_of_object<R>(table: Table<R>, row: &[u8]) -> MetaResult<String> {
    let key = row.get(16..).filter(|key| !key.is_empty());
    text(table, key.ok_or_else(|| malformed(table))?.to_vec())
}

/// Bound in the table of uploads that stands for a bound among keys.
pub(super) fn upload_bound(bucket: BucketId, key: &[u8]) -> Vec<u8> {
    let mut bytes = bucket.0.as_bytes().to_vec();
    for &byte in key {
        match byte {
            0 => bytes.extend(ESCAPED_NUL),
            _ => bytes.push(byte),
        }
    }
    bytes
}

/// Key of an upload.
pub(super) fn upload(bucket: BucketId, key: &str, upload: UploadId) -> Vec<u8> {
    let mut bytes = upload_bound(bucket, key.as_bytes());
    bytes.extend(END_OF_TEXT);
    bytes.extend(upload.0.as_bytes());
    bytes
}

/// The object key in a key that [`upload`] made.
///
/// # Errors
/// `Corrupt` for bytes that it did not make.
pub(super) fn key_of_upload<R>(table: Table<R>, row: &[u8]) -> MetaResult<String> {
    let escaped = row
        .get(16..)
        .and_then(|rest| rest.split_last_chunk::<16>())
        .and_then(|(text, _)| text.strip_suffix(&END_OF_TEXT))
        .ok_or_else(|| malformed(table))?;
    let mut key = Vec::with_capacity(escaped.len());
    let mut escaped = escaped.iter().copied();
    while let Some(byte) = escaped.next() {
        key.push(byte);
        if byte == ESCAPED_NUL[0] && escaped.next() != Some(ESCAPED_NUL[1]) {
            return Err(malformed(table));
        }
    }
    text(table, key)
}

/// What the keys of all versions of an object key begin with, apart from the current one.
pub(super) fn versions_of(bucket: BucketId, key: &str) -> Vec<u8> {
    let mut bytes = upload_bound(bucket, key.as_bytes());
    bytes.extend(END_OF_TEXT);
    bytes
}

/// Key of a version that is not current; a later one sorts first.
pub(super) fn noncurrent(bucket: BucketId, key: &str, order: VersionOrder) -> Vec<u8> {
    let mut bytes = versions_of(bucket, key);
    bytes.extend((!order.0.as_u128()).to_be_bytes());
    bytes
}

/// The object key in a key that [`noncurrent`] made.
///
/// # Errors
/// `Corrupt` for bytes that it did not make.
pub(super) fn key_of_noncurrent<R>(table: Table<R>, row: &[u8]) -> MetaResult<String> {
    // The same shape: a place takes as many bytes as an upload id.
    key_of_upload(table, row)
}

/// Key of a rename by its client's token.
pub(super) fn rename(bucket: BucketId, token: &str) -> Vec<u8> {
    [bucket.0.as_bytes(), token.as_bytes()].concat()
}

/// Key of a rename by its time, out of the key that [`rename`] made.
pub(super) fn rename_time(at: Timestamp, rename: &[u8]) -> Vec<u8> {
    [&at.0.to_be_bytes(), rename].concat()
}

/// The key that [`rename`] made in a key that [`rename_time`] made.
pub(super) fn rename_of_time(row: &[u8]) -> Vec<u8> {
    row.get(8..).unwrap_or_default().to_vec()
}

/// Key of a part.
pub(super) fn part(upload: UploadId, number: PartNumber) -> Vec<u8> {
    [upload.0.as_bytes().as_slice(), &number.get().to_be_bytes()].concat()
}

/// Key of a chunk.
pub(super) fn chunk(chunk: ChunkId) -> Vec<u8> {
    chunk.as_bytes().to_vec()
}

/// The node in a key that [`id`] made.
///
/// # Errors
/// `Corrupt` for a key of another length.
pub(super) fn node_of<R>(table: Table<R>, row: &[u8]) -> MetaResult<NodeId> {
    let id = row.try_into().map_err(|_| malformed(table))?;
    Ok(NodeId::from_bytes(id))
}

/// Key of a chunk on a node.
pub(super) fn node_chunk(node: NodeId, chunk: ChunkId) -> Vec<u8> {
    [*node.as_bytes(), *chunk.as_bytes()].concat()
}

/// The chunk in a key that [`node_chunk`] made.
///
/// # Errors
/// `Corrupt` for a key of another length.
pub(super) fn chunk_of_node_chunk<R>(table: Table<R>, row: &[u8]) -> MetaResult<ChunkId> {
    match row.as_chunks() {
        ([_, chunk], []) => Ok(ChunkId::from_bytes(*chunk)),
        _ => Err(malformed(table)),
    }
}

/// Key of an entry of the garbage collection queue.
pub(super) fn gc(unlinked_at: Timestamp, id: Uuid) -> Vec<u8> {
    [unlinked_at.0.to_be_bytes().as_slice(), id.as_bytes()].concat()
}

/// Key of an entry that was read from the queue.
pub(super) fn gc_entry(entry: &GcEntry) -> Vec<u8> {
    gc(entry.unlinked_at, entry.id)
}

/// Time of unlinking and id in a key that [`gc`] made.
///
/// # Errors
/// `Corrupt` for a key of another length.
pub(super) fn moment_of_gc<R>(table: Table<R>, row: &[u8]) -> MetaResult<(Timestamp, Uuid)> {
    let (moment, id) = row.split_first_chunk().ok_or_else(|| malformed(table))?;
    let id = Uuid::from_slice(id).map_err(|_| malformed(table))?;
    Ok((Timestamp(u64::from_be_bytes(*moment)), id))
}

/// Key of a job's rows.
pub(super) fn job(job: &JobName) -> Vec<u8> {
    job.as_str().into()
}

/// The job in a key that [`job`] made.
///
/// # Errors
/// `Corrupt` for bytes that are no job's name.
pub(super) fn job_of<R>(table: Table<R>, row: Vec<u8>) -> MetaResult<JobName> {
    text(table, row)?.parse().map_err(|_| malformed(table))
}

/// Key of an entry of the repair queue.
pub(super) fn repair_order(have: u8, chunk: ChunkId) -> Vec<u8> {
    [[have].as_slice(), chunk.as_bytes()].concat()
}

/// Good replicas and chunk in a key that [`repair_order`] made.
///
/// # Errors
/// `Corrupt` for a key of another length.
pub(super) fn place_of_repair<R>(table: Table<R>, row: &[u8]) -> MetaResult<(u8, ChunkId)> {
    let (have, chunk) = row.split_first().ok_or_else(|| malformed(table))?;
    let chunk = chunk.try_into().map_err(|_| malformed(table))?;
    Ok((*have, ChunkId::from_bytes(chunk)))
}

/// The bound right behind `key`.
pub(super) fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// The bound behind every key that begins with `prefix`.
pub(super) fn past(prefix: &[u8]) -> Vec<u8> {
    [prefix, &END_OF_RANGE].concat()
}

fn text<R>(table: Table<R>, bytes: Vec<u8>) -> MetaResult<String> {
    String::from_utf8(bytes).map_err(|_| malformed(table))
}

fn malformed<R>(table: Table<R>) -> MetaError {
    MetaError::Corrupt {
        table: table.name,
        detail: "a key is malformed".into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rocks::tables::{CURRENT, GC, NODE_CHUNKS, NONCURRENT, UPLOADS};

    const ANY_KEY: &str = "[ab\u{0}\u{1}\u{ff}\u{10ffff}]{1,5}";

    fn any_id() -> impl Strategy<Value = Uuid> {
        prop_oneof![any::<u128>(), Just(0), Just(u128::MAX)].prop_map(Uuid::from_u128)
    }

    proptest! {
        #[test]
        fn objects_are_ordered_by_bucket_and_key(
            a in (any_id(), ANY_KEY), b in (any_id(), ANY_KEY),
        ) {
            let key = |(bucket, key): &(Uuid, String)| object(BucketId(*bucket), key.as_bytes());
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
            prop_assert_eq!(key_of_object(CURRENT, &key(&a)).unwrap(), a.1);
        }

        #[test]
        fn uploads_are_ordered_by_bucket_key_and_id(
            a in (any_id(), ANY_KEY, any_id()), b in (any_id(), ANY_KEY, any_id()),
        ) {
            let key = |(bucket, key, id): &(Uuid, String, Uuid)| {
                upload(BucketId(*bucket), key, UploadId(*id))
            };
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
            prop_assert_eq!(key_of_upload(UPLOADS, &key(&a)).unwrap(), a.1);
        }

        #[test]
        fn a_bound_among_keys_parts_uploads_as_it_parts_keys(
            row in (ANY_KEY, any_id()), bound in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let bucket = BucketId(Uuid::from_u128(7));
            let is_before = upload(bucket, &row.0, UploadId(row.1)) < upload_bound(bucket, &bound);
            prop_assert_eq!(is_before, row.0.as_bytes() < bound.as_slice());
        }

        #[test]
        fn versions_are_ordered_by_bucket_and_key_and_the_newest_is_first(
            a in (any_id(), ANY_KEY, any_id()), b in (any_id(), ANY_KEY, any_id()),
        ) {
            let row = |(bucket, key, order): &(Uuid, String, Uuid)| {
                noncurrent(BucketId(*bucket), key, VersionOrder(*order))
            };
            let expected = (a.0, &a.1).cmp(&(b.0, &b.1)).then(b.2.cmp(&a.2));
            prop_assert_eq!(row(&a).cmp(&row(&b)), expected);
            prop_assert_eq!(key_of_noncurrent(NONCURRENT, &row(&a)).unwrap(), a.1);
        }

        #[test]
        fn the_queue_is_ordered_by_time(a in (any::<u64>(), any_id()), b in (any::<u64>(), any_id())) {
            let key = |(moment, id): &(u64, Uuid)| gc(Timestamp(*moment), *id);
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
            prop_assert_eq!(moment_of_gc(GC, &key(&a)).unwrap(), (Timestamp(a.0), a.1));
        }

        #[test]
        fn parts_are_ordered_by_number(a in 1i64..=10_000, b in 1i64..=10_000) {
            let key = |number| part(UploadId(Uuid::nil()), PartNumber::parse(number).unwrap());
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
        }

        #[test]
        fn a_nodes_range_holds_its_chunks_and_no_others(
            node in any_id(), other in any_id(), chunk in any_id(),
        ) {
            let range = id(node)..past(&id(node));
            let of = |node: Uuid| node_chunk(node.into(), chunk.into());
            prop_assert!(range.contains(&of(node)));
            prop_assert_eq!(range.contains(&of(other)), node == other);
            prop_assert_eq!(chunk_of_node_chunk(NODE_CHUNKS, &of(node)).unwrap(), chunk.into());
        }
    }

    #[test]
    fn malformed_keys_are_corrupt() {
        assert!(key_of_upload(UPLOADS, &[0; 33]).is_err());
        let unended = [&[1; 16][..], b"key", &[1, 1], &[1; 16]].concat();
        assert!(key_of_upload(UPLOADS, &unended).is_err());
        assert!(key_of_object(CURRENT, &[0xff; 17]).is_err());
        assert!(key_of_object(CURRENT, &[1; 16]).is_err());
        assert!(moment_of_gc(GC, &[0; 23]).is_err());
        assert!(chunk_of_node_chunk(NODE_CHUNKS, &[0; 31]).is_err());
    }
}
