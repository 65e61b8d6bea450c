//! The node as its users see it: chunks over several disks, as [`ChunkStore`] keeps them on one.

use std::sync::Arc;
use std::time::Duration;

use chunkproto::{
    ByteRange, ChunkId, ChunkInfo, ChunkPut, ChunkRead, ChunkReceipt, ChunkResult, ChunkStream,
    Heartbeat, NodeId, OwnerHint,
};
use futures::future::{join_all, try_join_all};
use futures::stream::StreamExt as _;
use tokio::time::sleep;
use uuid::Uuid;

use super::decisions::Decisions;
use super::disk::{FailedOperation, NodeDisk};
use super::error::NodeError;
use super::lookup;
use super::merge::merged;
use super::open::{self, DiskChecks, NodeOptions};
use super::placement;
use super::state::NodeState;
use crate::scrub::{ScrubBoard, ScrubSettings, scrub_disks};
use crate::store::{ChunkStore, OwnedRead};

/// A chunk server's disks. A clone is another handle to the same node.
///
/// A chunk lies on one disk. A disk that fails is fenced off while the others go on: it takes no
/// more writes, and what may lie on it is neither reported as missing nor as deleted. Needs a tokio
/// runtime. All methods may be called at the same time, for one chunk too.
#[derive(Clone)]
pub struct ChunkNode {
    parts: Arc<Parts>,
}

/// What a node consists of.
pub(crate) struct Parts {
    /// Its identity.
    pub node_id: NodeId,
    /// Its disks, at least one of which served at start.
    pub disks: Vec<Arc<NodeDisk>>,
    /// How the disks are looked after.
    pub checks: DiskChecks,
    /// Where the chunks being put go.
    pub decisions: Decisions,
    /// How far scrubbing is.
    pub scrub: ScrubBoard,
}

/// A page of a node's chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The chunks, in id order.
    pub chunks: Vec<ChunkInfo>,
    /// Whether disks are left out that cannot be read or listed.
    pub incomplete: bool,
}

impl ChunkNode {
    /// Opens or initialises the data directories of one node and keeps other processes out of them.
    /// Blocks, for as long as the slowest [`ChunkStore::open`] takes. A disk that the node had
    /// before and that is missing or failed is fenced off, if another one serves.
    ///
    /// # Errors
    /// Directories that do not make a node; see [`NodeError`]. Nothing was written then, except
    /// that new directories may have been initialised.
    pub fn open(options: NodeOptions) -> Result<Self, NodeError> {
        open::open(options).map(|parts| Self {
            parts: Arc::new(parts),
        })
    }

    /// Identity of the node, the same in all its directories.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.parts.node_id
    }

    /// Keeps a chunk, as [`ChunkStore::put`] does, on a disk that has it already, or else on the
    /// first one with room in an order that spreads chunks by the disks' sizes.
    ///
    /// # Errors
    /// As [`ChunkStore::put`]; `Full` if no disk has room, `Refused` if no disk takes writes.
    pub async fn put(&self, put: ChunkPut, body: ChunkStream) -> ChunkResult<ChunkReceipt> {
        let decision = self.parts.decisions.join(put.id);
        let number = decision.disk(self.parts.place(&put)).await?;
        let disk = &self.parts.disks[number];
        let store = disk.writable().ok_or_else(placement::no_disk_writes)?;
        let result = store.put(put, body).await;
        disk.check_on_error(result, FailedOperation::Write, self.parts.checks.timeout)
            .await
    }

    /// Opens a chunk and reads all of it, or a range, as [`ChunkStore::get`] does.
    ///
    /// # Errors
    /// As [`ChunkStore::get`], and `Refused` where the chunk is on no disk that can be read, but may
    /// be on one that is fenced off.
    pub async fn get(&self, id: ChunkId, range: Option<ByteRange>) -> ChunkResult<ChunkRead> {
        self.get_with_owner(id, range).await.map(|owned| owned.read)
    }

    /// As [`get`](Self::get), with the owner hint.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_with_owner(
        &self,
        id: ChunkId,
        range: Option<ByteRange>,
    ) -> ChunkResult<OwnedRead> {
        let (disk, mut owned) = self
            .parts
            .find(id, move |store| async move {
                store.get_with_owner(id, range).await
            })
            .await?;
        let timeout = self.parts.checks.timeout;
        let checked = move |piece| {
            let disk = Arc::clone(&disk);
            async move {
                disk.check_on_error(piece, FailedOperation::Read, timeout)
                    .await
            }
        };
        owned.read.stream = owned.read.stream.then(checked).boxed();
        Ok(owned)
    }

    /// Describes a chunk, as [`ChunkStore::head`] does.
    ///
    /// # Errors
    /// As [`ChunkStore::head`], and `Refused` as in [`get`](Self::get).
    pub async fn head(&self, id: ChunkId) -> ChunkResult<ChunkInfo> {
        self.head_with_owner(id).await.map(|(info, _)| info)
    }

    /// As [`head`](Self::head), with the owner hint as in [`OwnedRead`].
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub async fn head_with_owner(
        &self,
        id: ChunkId,
    ) -> ChunkResult<(ChunkInfo, Option<OwnerHint>)> {
        let (_, found) = self
            .parts
            .find(
                id,
                move |store| async move { store.head_with_owner(id).await },
            )
            .await?;
        Ok(found)
    }

    /// Reads all of a chunk and verifies it, as [`ChunkStore::verify`] does.
    ///
    /// # Errors
    /// As [`ChunkStore::verify`], and `Refused` as in [`get`](Self::get).
    pub async fn verify(&self, id: ChunkId) -> ChunkResult<ChunkInfo> {
        let (_, found) = self
            .parts
            .find(id, move |store| async move { store.verify(id).await })
            .await?;
        Ok(found)
    }

    /// The object that a chunk was written for.
    ///
    /// # Errors
    /// As [`ChunkStore::owner`], and `Refused` as in [`get`](Self::get).
    pub async fn owner(&self, id: ChunkId) -> ChunkResult<OwnerHint> {
        let (_, found) = self
            .parts
            .find(id, move |store| async move { store.owner(id).await })
            .await?;
        Ok(found)
    }

    /// Removes a chunk from every disk, durably; Ok if there is none. What was deleted stays deleted
    /// when a disk returns (I11): while a disk is fenced off it may hold the chunk, and the answer
    /// is `Refused`, after the chunk is gone from the others. Ask again when the disk is back, or
    /// was given up.
    ///
    /// # Errors
    /// As [`ChunkStore::delete`], and `Refused` while a disk is fenced off.
    pub async fn delete(&self, id: ChunkId) -> ChunkResult<()> {
        let timeout = self.parts.checks.timeout;
        let disks = self.parts.disks.iter().cloned();
        let deletes = disks.map(|disk| async move {
            let store = disk.writable().ok_or_else(|| lookup::may_be_on(&disk))?;
            let result = store.delete(id).await;
            disk.check_on_error(result, FailedOperation::Write, timeout)
                .await
        });
        // Each disk is tried, whatever the others say.
        join_all(deletes).await.into_iter().collect()
    }

    /// Up to `limit` chunks in id order, those behind `after`, from all disks that can be read. Fewer
    /// than `limit` mean the end. Shows each chunk whose put or delete ended before the call as it
    /// left it.
    ///
    /// # Errors
    /// `Io`.
    pub async fn list(&self, after: Option<ChunkId>, limit: usize) -> ChunkResult<Listing> {
        let timeout = self.parts.checks.timeout;
        let disks = self.parts.disks.iter().cloned();
        let pages = disks.map(|disk| async move {
            let Some(store) = disk.readable() else {
                return Ok(None);
            };
            let page = store.list(after, limit).await;
            match disk
                .check_on_error(page, FailedOperation::Read, timeout)
                .await
            {
                // Fenced off at the latest by now, and what it holds is not known.
                Err(_) if disk.writable().is_none() => Ok(None),
                page => page.map(Some),
            }
        });
        let pages = try_join_all(pages).await?;
        let incomplete = pages.iter().any(Option::is_none);
        Ok(Listing {
            chunks: merged(pages.into_iter().flatten().collect(), limit),
            incomplete,
        })
    }

    /// The node's condition at this moment. Costs one statvfs for each disk.
    #[must_use]
    pub fn state(&self) -> NodeState {
        NodeState::of(self.parts.disks.iter().map(|disk| disk.state()).collect())
    }

    /// The state as run `incarnation` of the process tells it to gateways. Costs as [`state`](Self::state).
    #[must_use]
    pub fn heartbeat(&self, incarnation: Uuid) -> Heartbeat {
        Heartbeat {
            scrub: self.parts.scrub.report(),
            ..self.state().heartbeat(incarnation)
        }
    }

    /// Verifies all chunks again and again, each within the period, until the future is dropped.
    pub async fn scrub(&self, settings: ScrubSettings) {
        scrub_disks(self, settings, &self.parts.scrub).await;
    }

    /// The disks.
    pub(crate) fn disks(&self) -> &[Arc<NodeDisk>] {
        &self.parts.disks
    }

    /// How long a disk may take to answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.parts.checks.timeout
    }

    /// Looks whether each disk is there and well, and fences off those that are not. Ends after
    /// [`DiskChecks::timeout`] at the latest; a disk that has not answered by then is fenced off
    /// until it does.
    pub async fn check_disks(&self) {
        let timeout = self.parts.checks.timeout;
        let disks = self.parts.disks.iter();
        join_all(disks.map(|disk| disk.check_health(FailedOperation::None, timeout))).await;
    }

    /// Checks the disks again and again, until the future is dropped.
    pub async fn watch_disks(&self) {
        loop {
            sleep(self.parts.checks.period).await;
            self.check_disks().await;
        }
    }

    /// Ends the stores cleanly, as [`ChunkStore::close`] does; those of disks that are fenced off
    /// are left as they are.
    ///
    /// # Errors
    /// `Io` where a mark could not be written; the other stores are closed all the same.
    pub async fn close(&self) -> ChunkResult<()> {
        let stores = self.parts.disks.iter().filter_map(|disk| disk.readable());
        let closed = join_all(stores.map(async |store: ChunkStore| store.close().await)).await;
        closed.into_iter().collect()
    }
}
