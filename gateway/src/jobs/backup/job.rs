//! The job: ship the log every few seconds, and a new checkpoint when the log has grown long, when
//! some of it was lost, or when a node that holds some of it is gone.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::{JobName, NodeId};
use metastore::{Checkpoint, ChunkRef, LogRead, NodePhase, RocksBackup, Timestamp};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

use super::collect::{BackupCopy, Deletion, RetainedBackup, Search};
use super::ship::{Ship, ShippedBody};
use super::spread::Spread;
use super::status::BackupStatus;
use crate::backup_format::{Manifest, Saved, SavedFile};
use crate::chunks::{AbandonedChunks, AbandonedQueue, BodyWriter, ChunkTransport};
use crate::cluster::{Membership, NodeState};
use crate::jobs::job::{Job, JobError, Round};

/// Bytes of log in one body: they are held in memory.
const LOG_BODY_BYTES: usize = 1024 * 1024;
/// Bodies of log behind one checkpoint: all of them are read by a restore.
const LOG_BODIES_MAX: u64 = 10_000;
/// A checkpoint is replaced after so long, whatever was written since.
const CHECKPOINT_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Checkpoints kept: the newest, and one in case that cannot be read.
const CHECKPOINTS_KEPT: usize = 2;
/// Copies of old backups that are deleted between two looks at the log.
const DELETES_BATCH: usize = 256;
/// Copies of checkpoints that failed, remembered until they are deleted; further ones are found by the
/// look at all nodes when a checkpoint is whole.
const UNFINISHED_MAX: usize = 100_000;
/// Rest after a checkpoint that failed, twice as long after each further one …
const RETRY_MIN: Duration = Duration::from_secs(2);
/// … up to this.
const RETRY_MAX: Duration = Duration::from_secs(120);
/// Bytes of a checkpoint per second, unless the operator says otherwise. The log is not held up.
const CHECKPOINT_BYTES_PER_S: u64 = 64 * 1024 * 1024;

/// How often, and how much.
#[derive(Debug, Clone, Copy)]
pub struct BackupSettings {
    /// Between two pieces of log.
    pub every: Duration,
    /// Bytes of log after which a checkpoint is made, if the last one is not longer than that.
    pub log_bytes: u64,
}

/// What the metadata's backup takes.
pub struct BackupParts {
    /// The database.
    pub source: RocksBackup,
    /// How its bytes are written.
    pub writer: BodyWriter,
    /// Where the job says how far behind it is.
    pub status: BackupStatus,
}

/// Keeps the metadata in the cluster.
pub struct BackupJob {
    source: RocksBackup,
    ship: Ship,
    transport: Arc<dyn ChunkTransport>,
    membership: Arc<Membership>,
    settings: BackupSettings,
    status: BackupStatus,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Every write up to this number was shipped, or is in a checkpoint under way; `None` until there
    /// is one.
    log_at: Option<u64>,
    /// Whether log is missing behind the newest checkpoint that is whole: what was written since would
    /// not be restored, and nothing but another checkpoint mends that.
    has_gap: bool,
    /// Checkpoints that are whole, the newest last.
    checkpoints: Vec<Whole>,
    /// Log since the newest one.
    log: ShippedLog,
    /// What was shipped of checkpoints that are not whole.
    unfinished: Vec<BackupCopy>,
    /// What the writer says of bodies that came to nothing.
    abandoned: Option<AbandonedQueue>,
    failures: Failures,
}

/// Checkpoints that failed, one after the other.
#[derive(Default)]
struct Failures {
    count: u32,
    again_at: Option<Instant>,
}

impl Failures {
    fn note(&mut self) {
        let rest = RETRY_MIN * 2_u32.saturating_pow(self.count.min(10));
        self.count += 1;
        self.again_at = Some(Instant::now() + rest.min(RETRY_MAX));
    }

    fn may_try(&self) -> bool {
        self.again_at.is_none_or(|at| at <= Instant::now())
    }
}

#[derive(Default)]
struct ShippedLog {
    bytes: u64,
    bodies: u64,
    spread: Spread,
}

/// A checkpoint that is whole.
struct Whole {
    id: Uuid,
    made_at: Instant,
    covers: u64,
    size_bytes: u64,
    spread: Spread,
}

impl ShippedLog {
    fn add(&mut self, bytes: u64, body: &ShippedBody) {
        self.bytes += bytes;
        self.bodies += 1;
        self.spread.add(&body.chunks);
    }

    fn merge(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.bodies += other.bodies;
        self.spread.merge(other.spread);
    }
}

impl State {
    fn note_unfinished(&mut self, chunks: &[ChunkRef]) {
        let copies = chunks.iter().flat_map(|chunk| {
            let nodes = chunk.replicas.iter();
            nodes.map(|&node| BackupCopy {
                node,
                chunk: chunk.id,
            })
        });
        let room = UNFINISHED_MAX.saturating_sub(self.unfinished.len());
        self.unfinished.extend(copies.take(room));
    }
}

impl BackupJob {
    /// A job for one run of a gateway: numbers of writes mean nothing in another.
    #[must_use]
    pub fn new(
        parts: BackupParts,
        transport: Arc<dyn ChunkTransport>,
        membership: Arc<Membership>,
        settings: BackupSettings,
    ) -> Self {
        let (sender, abandoned) = AbandonedChunks::new();
        let state = State {
            abandoned: Some(abandoned),
            ..State::default()
        };
        let ship = Ship {
            writer: parts.writer.with_abandoned(sender),
            run: Uuid::now_v7(),
            database: parts.source.identity(),
        };
        parts.status.change(|_| {});
        Self {
            source: parts.source,
            ship,
            transport,
            membership,
            settings,
            status: parts.status,
            state: Mutex::new(state),
        }
    }
}

#[async_trait]
impl Job for BackupJob {
    fn name(&self) -> JobName {
        "metadata-backup".parse().expect("a job's name")
    }

    fn period(&self) -> Duration {
        self.settings.every
    }

    fn rate_bytes_per_s(&self) -> Option<u64> {
        Some(CHECKPOINT_BYTES_PER_S)
    }

    async fn round(&self, round: &Round) -> Result<(), JobError> {
        if self.membership.writable_count() == 0 {
            if !self.membership.states().is_empty() {
                round
                    .wait_for("no chunk server takes new chunks: they are full, or not heard from");
            }
            return Ok(());
        }
        let mut state = self.state.lock().await;
        self.ship_log(&mut state, round).await?;
        let is_due = |state: &State| state.failures.may_try();
        if let Some(reason) = self.why_checkpoint(&state).filter(|_| is_due(&state)) {
            info!(reason, "a checkpoint of the metadata is shipped");
            self.ship_checkpoint(&mut state, round).await?;
            self.ship_log(&mut state, round).await?;
        }
        Ok(())
    }
}

impl BackupJob {
    fn why_checkpoint(&self, state: &State) -> Option<&'static str> {
        let Some(newest) = state.checkpoints.last().filter(|_| !state.has_gap) else {
            return Some("there is none that the log goes on from");
        };
        // One that is to leave is emptied without regard to what no row names.
        let leaves = |node| self.is_gone(node) || self.membership.phase(node) != NodePhase::Active;
        if state.log.bytes > self.settings.log_bytes.max(newest.size_bytes)
            || state.log.bodies > LOG_BODIES_MAX
        {
            Some("the log behind the last one is long")
        } else if newest.made_at.elapsed() > CHECKPOINT_AGE_MAX {
            Some("the last one is old")
        } else if newest.spread.has_copies_on(leaves) || state.log.spread.has_copies_on(leaves) {
            Some("a chunk server with copies of the last one is gone, or is to leave")
        } else {
            None
        }
    }

    fn is_gone(&self, node: NodeId) -> bool {
        self.membership.state(node) == NodeState::Down
    }

    /// Ships what was written before this was called. What is written meanwhile is for the next time:
    /// under steady writes there is always more.
    async fn ship_log(
        &self,
        state: &mut MutexGuard<'_, State>,
        round: &Round,
    ) -> Result<(), JobError> {
        // IMPORTANT: the moment first. What was acknowledged before it has no later number.
        let (asked_at, latest) = (round.now(), self.source.latest());
        while let Some(after) = state.log_at
            && round.goes_on()
        {
            if after >= latest {
                self.shipped_until(asked_at, state);
                return Ok(());
            }
            let piece = match self.source.log_after(after, LOG_BODY_BYTES).await? {
                LogRead::Piece(piece) => piece,
                // The next look sees it.
                LogRead::Nothing => return Ok(()),
                LogRead::Lost => {
                    warn!("the database's log does not go back far enough to ship it");
                    (state.log_at, state.has_gap) = (None, true);
                    return Ok(());
                }
            };
            let (first, last) = (piece.first(), piece.last());
            let saved = Saved::Log { first, last };
            let bytes = piece.into_bytes();
            let length_bytes = bytes.len() as u64;
            let shipped = self.ship.write(&saved, Uuid::now_v7(), bytes).await?;
            state.log_at = Some(last);
            state.log.add(length_bytes, &shipped);
            round.progress().done(length_bytes);
            let log_bytes = state.log.bytes;
            self.status.change(|report| report.log_bytes = log_bytes);
        }
        Ok(())
    }

    fn shipped_until(&self, moment: Timestamp, state: &State) {
        let is_lost = |spread: &Spread| spread.has_chunks_only_on(|node| self.is_gone(node));
        let newest = state.checkpoints.last();
        let has_lost =
            newest.is_some_and(|newest| is_lost(&newest.spread)) || is_lost(&state.log.spread);
        // Log behind a gap restores nothing, nor does a checkpoint without one of its parts.
        if !state.has_gap && !has_lost {
            self.status
                .change(|report| report.restorable_until = Some(moment));
        }
    }

    /// Ships a checkpoint, file by file, and the log in between; then deletes what it replaces.
    async fn ship_checkpoint(
        &self,
        state: &mut MutexGuard<'_, State>,
        round: &Round,
    ) -> Result<(), JobError> {
        // What was shipped of one that failed would take the room that this one needs.
        self.forget_unfinished(state, round).await;
        // What is shipped from now on is behind the new checkpoint.
        let before = mem::take(&mut state.log);
        let outcome = self.try_checkpoint(state, round).await;
        self.source.remove_checkpoint().await?;
        match outcome {
            Ok(true) => {
                state.failures = Failures::default();
                self.forget_old(state, round).await
            }
            other => {
                state.log.merge(before);
                if other.is_err() {
                    state.failures.note();
                }
                self.forget_unfinished(state, round).await;
                other.map(drop)
            }
        }
    }

    /// Whether the checkpoint is whole; the round may have ended before.
    async fn try_checkpoint(
        &self,
        state: &mut MutexGuard<'_, State>,
        round: &Round,
    ) -> Result<bool, JobError> {
        let (id, made_at, made) = (Uuid::now_v7(), round.now(), Instant::now());
        let checkpoint = self.source.checkpoint().await?;
        let covers = checkpoint.covers;
        state.log_at.get_or_insert(covers);
        let Some((files, mut spread)) = self.ship_files(state, &checkpoint, id, round).await?
        else {
            return Ok(false);
        };
        let manifest = Manifest {
            made_at,
            covers,
            files,
        };
        let (size_bytes, bytes) = (manifest.size_bytes(), manifest.encode());
        // IMPORTANT: last. With it the checkpoint counts as whole.
        let shipped = self.ship.write(&Saved::Manifest, id, bytes).await?;
        spread.add(&shipped.chunks);
        let log_bytes = state.log.bytes;
        state.checkpoints.push(Whole {
            id,
            made_at: made,
            covers,
            size_bytes,
            spread,
        });
        // IMPORTANT: with the manifest, whatever comes next: these copies are all of the backup now.
        state.unfinished.clear();
        state.has_gap = false;
        self.status.change(|report| {
            report.checkpoint_at = Some(made_at);
            report.checkpoint_bytes = size_bytes;
            report.log_bytes = log_bytes;
        });
        info!(checkpoint = %id, size_bytes, "a checkpoint of the metadata is whole");
        Ok(true)
    }

    /// The files as they were shipped, and where they are; `None` if the round ended first.
    async fn ship_files(
        &self,
        state: &mut MutexGuard<'_, State>,
        checkpoint: &Checkpoint,
        id: Uuid,
        round: &Round,
    ) -> Result<Option<(Vec<SavedFile>, Spread)>, JobError> {
        let (mut files, mut spread) = (Vec::new(), Spread::default());
        for file in &checkpoint.files {
            if !round.may_move(file.size_bytes).await {
                return Ok(None);
            }
            let path = checkpoint.dir.join(&file.name);
            let saved = Saved::File(file.name.clone());
            let source = (path.as_path(), file.size_bytes);
            let shipped = self.ship.write_file(&saved, id, source).await?;
            state.note_unfinished(&shipped.chunks);
            spread.add(&shipped.chunks);
            files.push(SavedFile {
                name: file.name.clone(),
                size_bytes: file.size_bytes,
                crc64: shipped.crc64,
            });
            round.progress().done(file.size_bytes);
            self.ship_log(state, round).await?;
        }
        Ok(Some((files, spread)))
    }

    /// Deletes what newer checkpoints replace, on all nodes; the log is shipped in between.
    async fn forget_old(
        &self,
        state: &mut MutexGuard<'_, State>,
        round: &Round,
    ) -> Result<(), JobError> {
        let superfluous = state.checkpoints.len().saturating_sub(CHECKPOINTS_KEPT);
        state.checkpoints.drain(..superfluous);
        let retained = RetainedBackup {
            run: self.ship.run,
            database: self.ship.database,
            checkpoints: state.checkpoints.iter().map(|whole| whole.id).collect(),
            covered: state.checkpoints.first().map_or(0, |whole| whole.covers),
        };
        let mut search = Search::begin(&self.transport, &self.membership);
        while search.page().await {
            if !round.goes_on() {
                return Ok(());
            }
            self.ship_log(state, round).await?;
        }
        let old = search.superfluous(&retained, round.now());
        let deletion = Deletion::begin(&self.transport, round);
        let (of, mut left) = (old.len(), 0);
        for copies in old.chunks(DELETES_BATCH) {
            left += deletion.delete(copies.to_vec()).await.len();
            self.ship_log(state, round).await?;
        }
        if of > 0 {
            info!(
                deleted = of - left,
                left, "copies of old backups were deleted"
            );
        }
        Ok(())
    }

    /// Deletes what was shipped of checkpoints that failed, as far as nodes answer.
    async fn forget_unfinished(&self, state: &mut MutexGuard<'_, State>, round: &Round) {
        while let Some(Ok(chunks)) = state.abandoned.as_mut().map(AbandonedQueue::try_recv) {
            state.note_unfinished(&chunks);
        }
        let unfinished = mem::take(&mut state.unfinished);
        let deletion = Deletion::begin(&self.transport, round);
        state.unfinished = deletion.delete(unfinished).await;
    }
}
