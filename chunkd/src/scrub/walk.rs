//! The walk over one disk's chunks.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chunkproto::{ChunkError, ChunkInfo, ScrubReport};
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::kept;
use super::pass::{Load, Pass};
use super::report::ScrubBoard;
use crate::node::{ChunkNode, FailedOperation, NodeDisk};
use crate::store::ChunkStore;

/// Chunks listed at a time.
const PAGE: usize = 256;
/// Longest sleep before another look at what is due: periods, disks and clocks change.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// How often the walk looks whether requests still run on the disk …
const BUSY_LOOK: Duration = Duration::from_millis(20);
/// … and how often at most for one chunk: steady load delays the walk and does not stop it.
const BUSY_LOOKS_MAX: u32 = 50;
/// The pass is kept so often; a restart repeats no more than this.
const SAVE_PERIOD: Duration = Duration::from_secs(10);

/// What an operator may set.
#[derive(Debug, Clone, Copy)]
pub struct ScrubSettings {
    /// Every chunk is verified once in this time.
    pub period: Duration,
    /// Bytes per second and disk, at most, when the walk is behind.
    pub rate_max_bytes_per_s: u64,
}

impl Default for ScrubSettings {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(14 * 86_400),
            rate_max_bytes_per_s: 64 << 20,
        }
    }
}

/// Verifies all chunks of all disks of `node`, again and again, until the future is dropped.
pub async fn scrub_disks(node: &ChunkNode, settings: ScrubSettings, board: &ScrubBoard) {
    let disks = node.disks().iter();
    join_all(disks.map(|disk| Walk::new(node, disk, settings, board).run())).await;
}

struct Walk<'a> {
    node: &'a ChunkNode,
    disk: &'a Arc<NodeDisk>,
    settings: ScrubSettings,
    board: &'a ScrubBoard,
    pass: Pass,
    verified: u64,
    damaged: u64,
    saved_at: Instant,
}

impl<'a> Walk<'a> {
    fn new(
        node: &'a ChunkNode,
        disk: &'a Arc<NodeDisk>,
        settings: ScrubSettings,
        board: &'a ScrubBoard,
    ) -> Self {
        let kept = disk.readable().and_then(|_| kept::load(disk.dir()));
        Self {
            node,
            disk,
            settings,
            board,
            pass: kept.unwrap_or_else(|| Pass::first(now_ms())),
            verified: 0,
            damaged: 0,
            saved_at: Instant::now(),
        }
    }

    async fn run(mut self) {
        loop {
            match self.disk.readable() {
                Some(store) => self.page(&store).await,
                None => sleep(LOOK_MAX).await,
            }
        }
    }

    /// Goes through one page of chunks, or begins the next pass at the end.
    async fn page(&mut self, store: &ChunkStore) {
        let page = store.list(self.pass.cursor(), PAGE).await;
        let timeout = self.node.timeout();
        let Ok(page) = self
            .disk
            .check_on_error(page, FailedOperation::Read, timeout)
            .await
        else {
            // Said where it happened.
            return sleep(LOOK_MAX).await;
        };
        if page.is_empty() {
            let was_empty = self.pass.cursor().is_none();
            self.pass = std::mem::take(&mut self.pass).next(now_ms());
            self.save();
            self.tell(load_of(store));
            if was_empty {
                sleep(LOOK_MAX).await;
            }
        }
        for chunk in page {
            self.wait_until_due(store).await;
            if self.disk.readable().is_none() {
                return;
            }
            self.verify(store, chunk).await;
            let load = load_of(store);
            self.pass
                .advance(chunk.id, chunk.length_bytes, load, now_ms());
            self.tell(load);
            if self.saved_at.elapsed() >= SAVE_PERIOD {
                self.save();
            }
        }
    }

    async fn wait_until_due(&mut self, store: &ChunkStore) {
        let period_ms = u64::try_from(self.settings.period.as_millis()).unwrap_or(u64::MAX);
        loop {
            let now_ms = now_ms();
            self.pass.adjust_for_clock(now_ms);
            let wait_ms = self.pass.wait_ms(load_of(store), period_ms, now_ms);
            if wait_ms == 0 {
                break;
            }
            self.tell(load_of(store));
            sleep(Duration::from_millis(wait_ms).min(LOOK_MAX)).await;
        }
        for _ in 0..BUSY_LOOKS_MAX {
            if store.state().in_flight == 0 {
                return;
            }
            sleep(BUSY_LOOK).await;
        }
    }

    async fn verify(&mut self, store: &ChunkStore, chunk: ChunkInfo) {
        let began = Instant::now();
        let verified = store.verify_from_disk(chunk.id).await;
        let timeout = self.node.timeout();
        match self
            .disk
            .check_on_error(verified, FailedOperation::Read, timeout)
            .await
        {
            Ok(_) => self.verified += 1,
            Err(ChunkError::Corrupt { .. }) => {
                self.verified += 1;
                self.damaged += 1;
            }
            // It was deleted meanwhile, or its file is gone, which was said where it was found.
            Err(ChunkError::NotFound(_)) => {}
            Err(error) => {
                // Listed again only once it could be read, so it is counted once.
                self.damaged += u64::from(matches!(error, ChunkError::Io(_)));
                tracing::warn!(chunk = %chunk.id, %error, "a chunk could not be verified");
            }
        }
        let rate = self.settings.rate_max_bytes_per_s.max(1);
        let nanos = u128::from(chunk.length_bytes) * 1_000_000_000 / u128::from(rate);
        let least = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        sleep(least.saturating_sub(began.elapsed())).await;
    }

    fn tell(&self, load: Load) {
        let oldest_verified_at_ms = self.pass.oldest_at_ms();
        let age = Duration::from_millis(now_ms().saturating_sub(oldest_verified_at_ms));
        let report = ScrubReport {
            oldest_verified_at_ms,
            done_percent: self.pass.done_percent(load),
            verified_chunks: self.verified,
            damaged_chunks: self.damaged,
            late: age > self.settings.period,
        };
        self.board.note(self.disk.id(), report);
    }

    fn save(&mut self) {
        self.saved_at = Instant::now();
        if let Err(error) = kept::save(self.disk.dir(), &self.pass) {
            let dir = self.disk.dir().display();
            tracing::debug!(%dir, %error, "scrub progress could not be saved");
        }
    }
}

fn load_of(store: &ChunkStore) -> Load {
    let state = store.state();
    Load::of(state.chunk_count, state.used_bytes)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
