//! How safe the data is, by copies that were looked at: what waits for repair, and what cannot be
//! read while chunk servers are silent.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chunkproto::NodeId;
use futures::future::join_all;
use metastore::{BucketId, BucketName, ChunkOwner, ChunkRef, MetaResult, Metastore, Placement};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::jobs::{Endangered, ReplicaMover, ReplicaState, Survey, SurveyBoard};

/// Entries of the repair queue that are counted.
const COUNTED_MAX: usize = 100_000;
/// Objects without a reachable copy that are named.
const NAMED_MAX: usize = 10;
/// Nodes say in this time whether they have a chunk; else it is not known.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Buckets read at a time, for the names of those.
const BUCKETS_PAGE: usize = 1000;

/// How safe the data is. Chunks in the repair queue, by the good copies that were found when they
/// were last looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DataReport {
    /// Copies that each chunk should have.
    pub replicas: u8,
    /// Chunks with 0, 1, 2 … good copies that wait for repair.
    pub chunks_by_copies: Vec<u64>,
    /// Bytes to copy until every chunk has enough.
    pub repair_bytes: u64,
    /// Whether more chunks wait than were counted.
    pub truncated: bool,
    /// Some of those with no good copy that can be reached.
    pub unreachable: Vec<Unreachable>,
    /// What is left of chunks on silent chunk servers that are not given up yet; `None` while there is
    /// no such chunk server, and for its first seconds.
    pub awaited: Option<AwaitedReport>,
    /// Rows of the metadata's queues that cannot be read and are passed over.
    #[serde(default)]
    pub damaged_rows: u64,
}

/// A chunk without a copy that can be reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unreachable {
    /// Its object, for people.
    pub object: String,
    /// Nodes that should hold it.
    pub nodes: Vec<NodeId>,
    /// Whether each of them was just asked, and has no good copy.
    #[serde(default)]
    pub is_lost: bool,
}

/// What is left of chunks on silent nodes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AwaitedReport {
    /// The silent nodes.
    pub nodes: Vec<NodeId>,
    /// Chunks on them that were looked for elsewhere.
    pub looked_at: u64,
    /// Whether that is all of them.
    pub is_complete: bool,
    /// Of those that cannot be read there, how many have 0, 1, 2 … good copies elsewhere.
    pub chunks_by_copies: Vec<u64>,
    /// Some of those with fewest copies.
    pub endangered: Vec<EndangeredObject>,
}

/// An object with a chunk that has few copies left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndangeredObject {
    /// The object, for people.
    pub object: String,
    /// Good copies of its chunk.
    pub copies: u8,
}

/// Looks how safe the data is. Cheap to clone.
#[derive(Clone)]
pub struct DataAdmin {
    metastore: Arc<dyn Metastore>,
    survey: SurveyBoard,
    replicas: u8,
    nodes: Option<ReplicaMover>,
}

impl DataAdmin {
    /// Looks at the queue of a cluster that keeps `replicas` of each chunk, and at what `survey` shows.
    #[must_use]
    pub fn new(metastore: Arc<dyn Metastore>, survey: SurveyBoard, replicas: u8) -> Self {
        Self {
            metastore,
            survey,
            replicas,
            nodes: None,
        }
    }

    /// As it is, but before a chunk is called lost, its nodes are asked by `mover`.
    #[must_use]
    pub fn asking(self, mover: ReplicaMover) -> Self {
        let nodes = Some(mover);
        Self { nodes, ..self }
    }

    /// How safe the data is, in numbers alone.
    ///
    /// # Errors
    /// What keeps the metadata from being read.
    pub async fn count(&self) -> MetaResult<DataReport> {
        let counts = self.metastore.count_repairs(COUNTED_MAX).await?;
        Ok(DataReport {
            replicas: self.replicas,
            chunks_by_copies: counts.chunks.to_vec(),
            repair_bytes: counts.missing_bytes,
            truncated: counts.truncated,
            unreachable: Vec::new(),
            awaited: self.survey.latest().as_ref().map(counted),
            damaged_rows: self.metastore.damaged_rows(),
        })
    }

    /// How safe the data is, with the names of objects that are in danger.
    ///
    /// # Errors
    /// What keeps the metadata from being read.
    pub async fn look(&self) -> MetaResult<DataReport> {
        let mut report = self.count().await?;
        let unreachable = match report.chunks_by_copies[0] {
            0 => Vec::new(),
            _ => self.unreachable().await?,
        };
        let survey = self.survey.latest().unwrap_or_default();
        let owners = unreachable.iter().map(|placed| &placed.owner);
        let owners = owners.chain(survey.worst.iter().map(|chunk| &chunk.owner));
        let buckets = self.buckets_of(owners).await?;
        let looks = unreachable.into_iter().map(async |placed| Unreachable {
            object: name_of(&placed.owner, &buckets),
            is_lost: self.is_lost(&placed.chunk).await,
            nodes: placed.chunk.replicas,
        });
        report.unreachable = join_all(looks).await;
        if let Some(awaited) = &mut report.awaited {
            for chunk in &survey.worst {
                let (object, copies) = (name(chunk, &buckets), chunk.copies);
                let named = &mut awaited.endangered;
                // The worst come first, so an object is named with the fewest.
                if named.iter().all(|other| other.object != object) {
                    named.push(EndangeredObject { object, copies });
                }
            }
        }
        Ok(report)
    }

    /// Some of the chunks without a good copy.
    async fn unreachable(&self) -> MetaResult<Vec<Placement>> {
        let entries = self.metastore.repairs_by_danger(None, NAMED_MAX).await?;
        let none_left = entries.iter().filter(|entry| entry.have == 0);
        let chunks: Vec<_> = none_left.map(|entry| entry.chunk).collect();
        let placements = self.metastore.placements(&chunks).await?;
        Ok(placements.into_iter().flatten().collect())
    }

    /// Whether no node that should hold a chunk has it. The queue does not say: it may have been
    /// queued while they were away, and not looked at since.
    async fn is_lost(&self, chunk: &ChunkRef) -> bool {
        let Some(mover) = &self.nodes else {
            return false;
        };
        let Ok(held) = timeout(ANSWER_MAX, mover.examine(chunk)).await else {
            return false;
        };
        let is_bad = |state| matches!(state, ReplicaState::Nothing | ReplicaState::Other);
        held.iter().all(|(_, state)| is_bad(*state))
    }

    /// The names of the buckets that these objects are in. Goes through all buckets until every one is
    /// found, since they are listed by name alone.
    async fn buckets_of(
        &self,
        owners: impl Iterator<Item = &ChunkOwner>,
    ) -> MetaResult<HashMap<BucketId, BucketName>> {
        let mut wanted: HashSet<_> = owners.filter_map(bucket_of).collect();
        let (mut found, mut after) = (HashMap::new(), None::<BucketName>);
        while !wanted.is_empty() {
            let from = after.as_ref().map(BucketName::as_str);
            let page = self.metastore.list_buckets("", from, BUCKETS_PAGE).await?;
            for bucket in page.buckets {
                if wanted.remove(&bucket.id) {
                    found.insert(bucket.id, bucket.name.clone());
                }
                after = Some(bucket.name);
            }
            if !page.truncated {
                break;
            }
        }
        Ok(found)
    }
}

fn bucket_of(owner: &ChunkOwner) -> Option<BucketId> {
    match owner {
        ChunkOwner::Object { bucket, .. } => Some(*bucket),
        ChunkOwner::Part { .. } => None,
    }
}

fn name(chunk: &Endangered, buckets: &HashMap<BucketId, BucketName>) -> String {
    match (&chunk.owner, &chunk.hint) {
        // What a part belongs to stands in no row that could be found by its chunk.
        (ChunkOwner::Part { .. }, Some((bucket, key))) => format!("{bucket}/{key}"),
        (owner, _) => name_of(owner, buckets),
    }
}

fn name_of(owner: &ChunkOwner, buckets: &HashMap<BucketId, BucketName>) -> String {
    match owner {
        ChunkOwner::Object { bucket, key, .. } => {
            // One that is gone was deleted with its objects a moment ago.
            let name = buckets.get(bucket).map_or("?", BucketName::as_str);
            format!("{name}/{}", key.as_str())
        }
        ChunkOwner::Part { upload, .. } => format!("that of the multipart upload {upload}"),
    }
}

fn counted(survey: &Survey) -> AwaitedReport {
    AwaitedReport {
        nodes: survey.nodes.clone(),
        looked_at: survey.looked_at,
        is_complete: survey.is_complete,
        chunks_by_copies: survey.chunks.to_vec(),
        endangered: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use chunkproto::{ChunkId, Crc64};
    use metastore::{
        Bucket, ChunkLayout, ChunkRef, CommitObject, MemoryMetastore, ObjectData, ObjectKey,
        ObjectVersion, RepairNeed, Scheme, Sequence, SystemHeaders, Timestamp, Upkeep as _,
        VersionId, VersionOrder, WriteCondition,
    };

    use super::*;

    async fn create_bucket(metastore: &MemoryMetastore, name: &str) -> BucketId {
        let bucket = Bucket {
            id: BucketId::generate(),
            name: BucketName::parse(name).unwrap(),
            created_at: Timestamp(1),
            owner: "alice".into(),
            region: String::new(),
            settings: metastore::BucketSettings::default(),
        };
        let id = bucket.id;
        metastore.create_bucket(bucket).await.unwrap();
        id
    }

    /// An object of one chunk, of which no good copy is known.
    async fn lose(metastore: &MemoryMetastore, bucket: BucketId, key: &str) {
        let chunk = ChunkRef {
            id: ChunkId::generate(),
            length_bytes: 1,
            crc64: Crc64(0),
            replicas: vec![NodeId::generate()],
        };
        let object = ObjectVersion {
            version: VersionId::Null,
            sequence: Sequence::generate(),
            modified_at: Timestamp(1),
            size_bytes: 1,
            etag: String::new(),
            checksum: None,
            headers: SystemHeaders::default(),
            user_metadata: Vec::new(),
            owner: "alice".into(),
            data: ObjectData::Chunks(ChunkLayout {
                scheme: Scheme::Replicated,
                chunks: vec![chunk.clone()],
            }),
            order: VersionOrder::FIRST,
            attributes: metastore::ObjectAttributes::default(),
        };
        let commit = CommitObject {
            bucket,
            key: ObjectKey::parse(key).unwrap(),
            object,
            inline_body: None,
            condition: WriteCondition::Always,
            replicas_wanted: 1,
        };
        metastore.commit_object(commit).await.unwrap();
        let need = RepairNeed::new(&chunk, 1, 0, Timestamp(1));
        metastore.queue_repairs(vec![need]).await.unwrap();
    }

    #[tokio::test]
    async fn lost_objects_are_named_however_many_buckets_there_are() {
        let metastore = Arc::new(MemoryMetastore::new());
        for number in 0..BUCKETS_PAGE {
            create_bucket(&metastore, &format!("bucket-{number:04}")).await;
        }
        let last = create_bucket(&metastore, "zebras").await;
        for key in ["one", "two"] {
            lose(&metastore, last, key).await;
        }
        let admin = DataAdmin::new(metastore, SurveyBoard::default(), 1);
        let report = admin.look().await.unwrap();
        let mut named: Vec<_> = report.unreachable.iter().map(|lost| &lost.object).collect();
        named.sort();
        assert_eq!(named, ["zebras/one", "zebras/two"]);
    }
}
