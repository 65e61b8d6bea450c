//! What a gateway does for its clients, step by step as the operations in `gateway/src/s3` do it, but
//! for the rows' other contents. Between any two steps the process may end.

use bytes::BytesMut;
use futures::{StreamExt as _, stream};
use gateway::chunks::{BodyKind, BodyOwner, ChunkSlice, slices_of};
use metastore::{
    ChunkLayout, CommitObject, MetaError, MetaResult, Metastore as _, ObjectAttributes, ObjectData,
    ObjectKey, ObjectVersion, Sequence, SystemHeaders, VersionId, VersionOrder, WriteCondition,
};
use uuid::Uuid;

use crate::gateway::Process;
use crate::objects::Payload;
use crate::settings::REPLICAS;

/// An answer to a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// Its condition does not hold.
    Refused,
    /// Nothing has changed.
    Failed,
}

/// How slowly a client sends or takes a body, in milliseconds between pieces.
pub type Rest = Option<std::time::Duration>;

impl Process {
    /// Puts an object, whose ETag names its value.
    pub async fn put(
        &self,
        key: &str,
        (value, payload): (u64, Payload),
        condition: WriteCondition,
        rest: Rest,
    ) -> Answer {
        let Some(layout) = self.store(key, payload, None, rest).await else {
            return Answer::Failed;
        };
        self.work().await;
        let commit = CommitObject {
            bucket: self.cluster.bucket,
            key: ObjectKey::parse(key).unwrap(),
            object: self.object(
                value,
                ObjectData::Chunks(layout.clone()),
                payload.length_bytes(),
            ),
            inline_body: None,
            condition,
            replicas_wanted: REPLICAS,
        };
        let committed = self.cluster.metastore.commit_object(commit).await;
        self.end(committed.map(drop), &layout).await
    }

    pub async fn delete(&self, key: &str) -> Answer {
        self.work().await;
        let (key, always) = (ObjectKey::parse(key).unwrap(), WriteCondition::Always);
        let metastore = &self.cluster.metastore;
        let deleted = metastore.delete_object(self.cluster.bucket, &key, always, self.clock.now());
        deleted.await.unwrap();
        self.work().await;
        Answer::Done
    }

    /// What stands under the key: a value, or nothing. None where the bytes cannot be had.
    pub async fn get(&self, key: &str, rest: Rest) -> Option<Option<u64>> {
        let key = ObjectKey::parse(key).unwrap();
        let metastore = &self.cluster.metastore;
        let object = match metastore.object(self.cluster.bucket, &key).await {
            Ok(object) => object,
            Err(MetaError::NoSuchKey(_)) => return Some(None),
            Err(error) => panic!("{error}"),
        };
        let value = u64::from_str_radix(&object.etag, 16).unwrap();
        // Replaced meanwhile: to a client, it failed.
        let slices = self.slices(&object).await.ok()?;
        let chunks = slices.iter().map(|slice| slice.chunk.clone()).collect();
        let opened = self.reader.open(
            stream::iter(slices.into_iter().map(Ok)).boxed(),
            object.size_bytes,
        );
        let _reading = self.cluster.witness.reading(self.number, chunks);
        let mut body = Box::pin(opened.await.ok()?);
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.next().await {
            bytes.extend_from_slice(&piece.ok()?);
            if let Some(rest) = rest.filter(|_| self.cluster.dice.one_in(6)) {
                tokio::time::sleep(rest).await;
            }
        }
        let mut payloads = self.cluster.history.payloads(value).into_iter();
        let is_whole = payloads.all(|payload| payload.take_off(&mut bytes));
        if !is_whole || !bytes.is_empty() {
            let what = format!("{key:?} is not what was put there as {value}");
            self.cluster.witness.accuse(what);
        }
        Some(Some(value))
    }

    pub async fn slices(&self, object: &ObjectVersion) -> MetaResult<Vec<ChunkSlice>> {
        let whole = |layout: &ChunkLayout| {
            let end = layout.chunks.iter().map(|chunk| chunk.length_bytes).sum();
            slices_of(layout, chunkproto::ByteRange { start: 0, end })
        };
        let upload = match &object.data {
            ObjectData::Chunks(layout) => return Ok(whole(layout)),
            ObjectData::Parts(upload) => *upload,
            ObjectData::Inline(_) => panic!("{object:?}"),
        };
        let (mut slices, metastore) = (Vec::new(), &self.cluster.metastore);
        for entry in metastore.part_set(upload).await?.parts {
            let part = metastore.part(upload, entry.number).await?;
            slices.extend(whole(&part.layout));
        }
        Ok(slices)
    }

    /// Writes a body; none where that failed.
    pub async fn store(
        &self,
        key: &str,
        payload: Payload,
        part: Option<(Uuid, u16)>,
        rest: Rest,
    ) -> Option<ChunkLayout> {
        let owner = BodyOwner {
            kind: BodyKind::Object,
            bucket_id: self.cluster.bucket.0,
            bucket: "photos".into(),
            key: key.into(),
            sequence: Uuid::nil(),
            part,
            details: Vec::new(),
        };
        let body = payload.sent(&self.cluster.dice, rest);
        let written = self.writer.write(owner, payload.length_bytes(), body).await;
        Some(written.ok()?.layout)
    }

    /// Answers a commit of a body's row. What was refused is given up.
    pub async fn end(&self, committed: MetaResult<()>, layout: &ChunkLayout) -> Answer {
        let answer = match committed {
            Ok(()) => {
                self.cluster.witness.see_commit(layout);
                self.work().await;
                return Answer::Done;
            }
            Err(MetaError::PreconditionFailed | MetaError::NoSuchKey(_)) => Answer::Refused,
            Err(MetaError::NoSuchUpload(_)) => Answer::Failed,
            Err(error) => panic!("{error}"),
        };
        self.work().await;
        let metastore = &self.cluster.metastore;
        let discarded = metastore.queue_garbage(layout.chunks.clone(), self.clock.now());
        discarded.await.unwrap();
        answer
    }

    /// The time between two steps.
    pub async fn work(&self) {
        self.cluster.dice.pause(1..4).await;
    }

    pub fn object(&self, value: u64, data: ObjectData, size_bytes: u64) -> ObjectVersion {
        ObjectVersion {
            version: VersionId::Null,
            sequence: Sequence::generate(),
            modified_at: self.clock.now(),
            size_bytes,
            etag: etag(value),
            checksum: None,
            headers: SystemHeaders::default(),
            user_metadata: Vec::new(),
            owner: "alice".into(),
            data,
            order: VersionOrder::FIRST,
            attributes: ObjectAttributes::default(),
        }
    }
}

pub fn etag(value: u64) -> String {
    format!("{value:x}")
}
