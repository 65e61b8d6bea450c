//! How safe the data is, by copies that were looked at: what waits for repair, and what cannot be
//! read while chunk servers are silent.

use std::sync::Arc;

use chunkproto::NodeId;
use metastore::{ChunkOwner, MetaResult, Metastore};
use serde::{Deserialize, Serialize};

use crate::jobs::{Endangered, Survey, SurveyBoard};

/// Entries of the repair queue that are counted.
const COUNTED_MAX: usize = 100_000;
/// Objects without a reachable copy that are named.
const NAMED_MAX: usize = 10;
/// Buckets looked through for the names of those.
const BUCKETS_MAX: usize = 1000;

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
}

impl DataAdmin {
    pub fn new(metastore: Arc<dyn Metastore>, survey: SurveyBoard, replicas: u8) -> Self {
        Self {
            metastore,
            survey,
            replicas,
        }
    }

    /// How safe the data is, in numbers alone.
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
    pub async fn look(&self) -> MetaResult<DataReport> {
        let mut report = self.count().await?;
        if report.chunks_by_copies[0] > 0 {
            report.unreachable = self.unreachable().await?;
        }
        if let (Some(awaited), Some(survey)) = (&mut report.awaited, self.survey.latest()) {
            for chunk in &survey.worst {
                let (object, copies) = (self.name(chunk).await?, chunk.copies);
                let named = &mut awaited.endangered;
                // The worst come first, so an object is named with the fewest.
                if named.iter().all(|other| other.object != object) {
                    named.push(EndangeredObject { object, copies });
                }
            }
        }
        Ok(report)
    }

    async fn unreachable(&self) -> MetaResult<Vec<Unreachable>> {
        let entries = self.metastore.repairs_by_danger(None, NAMED_MAX).await?;
        let none_left = entries.iter().filter(|entry| entry.have == 0);
        let chunks: Vec<_> = none_left.map(|entry| entry.chunk).collect();
        let placements = self.metastore.placements(&chunks).await?;
        let mut named = Vec::new();
        for placed in placements.into_iter().flatten() {
            named.push(Unreachable {
                object: self.name_of(&placed.owner).await?,
                nodes: placed.chunk.replicas,
            });
        }
        Ok(named)
    }

    async fn name(&self, chunk: &Endangered) -> MetaResult<String> {
        match (&chunk.owner, &chunk.hint) {
            // What a part belongs to stands in no row that could be found by its chunk.
            (ChunkOwner::Part { .. }, Some((bucket, key))) => Ok(format!("{bucket}/{key}")),
            (owner, _) => self.name_of(owner).await,
        }
    }

    async fn name_of(&self, owner: &ChunkOwner) -> MetaResult<String> {
        Ok(match owner {
            ChunkOwner::Object { bucket, key, .. } => {
                let page = self.metastore.list_buckets("", None, BUCKETS_MAX).await?;
                let found = page.buckets.iter().find(|known| known.id == *bucket);
                let name = found.map_or("?", |bucket| bucket.name.as_str());
                format!("{name}/{}", key.as_str())
            }
            ChunkOwner::Part { upload, .. } => format!("that of the multipart upload {upload}"),
        })
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
