//! Stores and rows to begin a scenario with.

use std::path::Path;
use std::sync::Arc;

use chunkproto::{ChunkId, Crc64, NodeId};
use metastore::{
    Bucket, BucketId, BucketName, ChunkLayout, ChunkRef, CommitObject, CompleteUpload, GcEntry,
    GcItem, LeaseAnswer, LeaseRequest, ListEntry, ListPage, ListQuery, ListedObject,
    MemoryMetastore, Metastore, ObjectAttributes, ObjectData, ObjectKey, ObjectVersion, Part,
    PartNumber, RocksMetastore, Scheme, Sequence, SystemHeaders, Timestamp, Upload, UploadId,
    VersionId, VersionOrder, WriteCondition,
};
use uuid::Uuid;

/// A store under test.
pub type Store = Arc<dyn Metastore>;

/// Later than everything that a scenario does.
pub const LATER: Timestamp = Timestamp(u64::MAX);

pub fn memory() -> Store {
    Arc::new(MemoryMetastore::new())
}

pub fn rocks(path: &Path) -> Store {
    Arc::new(RocksMetastore::open(path).unwrap())
}

pub fn name(text: &str) -> BucketName {
    BucketName::parse(text).unwrap()
}

pub fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

pub fn number(number: i64) -> PartNumber {
    PartNumber::parse(number).unwrap()
}

pub fn bucket_row(text: &str) -> Bucket {
    Bucket {
        id: BucketId::generate(),
        name: name(text),
        created_at: Timestamp(1),
        owner: "alice".into(),
        region: String::new(),
        settings: metastore::BucketSettings::default(),
    }
}

/// Makes a bucket.
pub async fn bucket(store: &Store, text: &str) -> BucketId {
    let row = bucket_row(text);
    let id = row.id;
    store.create_bucket(row).await.unwrap();
    id
}

pub fn chunk_on(replicas: &[NodeId]) -> ChunkRef {
    let replicas = replicas.to_vec();
    ChunkRef {
        id: ChunkId::generate(),
        length_bytes: 1 << 20,
        crc64: Crc64(7),
        replicas,
    }
}

pub fn chunk() -> ChunkRef {
    chunk_on(&[NodeId::generate()])
}

pub fn layout(chunks: &[ChunkRef]) -> ChunkLayout {
    ChunkLayout {
        scheme: Scheme::Replicated,
        chunks: chunks.to_vec(),
    }
}

/// A version made up of `chunks`, committed at moment `modified_at`.
pub fn object_at(modified_at: u64, chunks: &[ChunkRef]) -> ObjectVersion {
    let sequence = Sequence::generate();
    ObjectVersion {
        version: VersionId::Null,
        sequence,
        modified_at: Timestamp(modified_at),
        size_bytes: chunks.iter().map(|chunk| chunk.length_bytes).sum(),
        etag: format!("etag-of-{sequence}"),
        checksum: None,
        headers: SystemHeaders::default(),
        user_metadata: vec![("colour".into(), "blue".into())],
        owner: "alice".into(),
        data: ObjectData::Chunks(layout(chunks)),
        order: VersionOrder::FIRST,
        attributes: ObjectAttributes::default(),
    }
}

pub fn object(chunks: &[ChunkRef]) -> ObjectVersion {
    object_at(10, chunks)
}

/// An unconditional commit that wants one replica.
pub fn commit(bucket: BucketId, text: &str, object: ObjectVersion) -> CommitObject {
    let condition = WriteCondition::Always;
    CommitObject {
        bucket,
        key: key(text),
        object,
        condition,
        inline_body: None,
        replicas_wanted: 1,
    }
}

/// Commits an object of one chunk.
pub async fn put(store: &Store, bucket: BucketId, text: &str) -> ObjectVersion {
    let row = object(&[chunk()]);
    store
        .commit_object(commit(bucket, text, row.clone()))
        .await
        .unwrap();
    row
}

pub fn upload_row() -> Upload {
    Upload {
        id: UploadId::generate(),
        initiated_at: Timestamp(5),
        owner: "alice".into(),
        headers: SystemHeaders::default(),
        user_metadata: Vec::new(),
        checksum: None,
        attributes: ObjectAttributes::default(),
        initiator: String::new(),
    }
}

/// Begins an upload.
pub async fn begin(store: &Store, bucket: BucketId, text: &str) -> UploadId {
    let row = upload_row();
    let id = row.id;
    store.create_upload(bucket, &key(text), row).await.unwrap();
    id
}

pub fn part_at(modified_at: u64, at: i64, chunks: &[ChunkRef]) -> Part {
    Part {
        number: number(at),
        sequence: Sequence::generate(),
        modified_at: Timestamp(modified_at),
        size_bytes: chunks.iter().map(|chunk| chunk.length_bytes).sum(),
        etag: "part".into(),
        checksum: None,
        layout: layout(chunks),
    }
}

/// Uploads a part of one chunk.
pub async fn put_part(
    store: &Store,
    bucket: BucketId,
    text: &str,
    upload: UploadId,
    at: i64,
) -> Part {
    let part = part_at(6, at, &[chunk()]);
    store
        .put_part(bucket, &key(text), upload, part.clone(), 1)
        .await
        .unwrap();
    part
}

/// An unconditional completion out of `parts`.
pub fn completion(
    bucket: BucketId,
    text: &str,
    upload: UploadId,
    parts: &[&Part],
) -> CompleteUpload {
    CompleteUpload {
        bucket,
        key: key(text),
        upload,
        object: ObjectVersion {
            data: ObjectData::Parts(upload),
            ..object_at(20, &[])
        },
        parts: parts
            .iter()
            .map(|part| (part.number, part.sequence))
            .collect(),
        condition: WriteCondition::Always,
    }
}

/// A bucket with a completed upload under `text`, of one part.
pub async fn completed(store: &Store, text: &str) -> (BucketId, UploadId, Part) {
    let bucket = bucket(store, "photos").await;
    let upload = begin(store, bucket, text).await;
    let part = put_part(store, bucket, text, upload, 1).await;
    store
        .complete_upload(completion(bucket, text, upload, &[&part]))
        .await
        .unwrap();
    (bucket, upload, part)
}

/// Everything in the garbage collection queue.
pub async fn garbage(store: &Store) -> Vec<GcEntry> {
    store.gc_due(LATER, None, 1000).await.unwrap()
}

pub fn query(bucket: BucketId, prefix: &str, delimiter: &str) -> ListQuery {
    ListQuery {
        bucket,
        prefix: prefix.into(),
        delimiter: Some(delimiter.into()),
        after: None,
        limit: 1000,
    }
}

/// What a page shows: keys as they are, common prefixes in brackets.
pub fn shown(page: &ListPage<ListedObject>) -> Vec<String> {
    let show = |entry: &ListEntry<ListedObject>| match entry {
        ListEntry::Item(item) => item.key.to_string(),
        ListEntry::CommonPrefix(prefix) => format!("[{prefix}]"),
    };
    page.entries.iter().map(show).collect()
}

/// Ends an entry of the garbage collection queue, as if every node had deleted its chunks.
pub async fn collect(store: &Store, entry: &GcEntry) {
    let request = LeaseRequest {
        job: "gc".parse().unwrap(),
        holder: Uuid::new_v4(),
        now: LATER,
        until: LATER,
        token_above: 0,
    };
    let LeaseAnswer::Granted(fence) = store.acquire_lease(request).await.unwrap() else {
        panic!("nobody else collects");
    };
    let chunks = match &entry.item {
        GcItem::Chunks(chunks) => chunks.as_slice(),
        GcItem::Copies(chunk) => std::slice::from_ref(chunk),
        GcItem::Parts(_) => panic!("an entry of parts ends by being expanded"),
    };
    let nodes: Vec<_> = chunks
        .iter()
        .flat_map(|chunk| chunk.replicas.clone())
        .collect();
    store.gc_narrow(&fence, entry, &nodes).await.unwrap();
}
