//! Which entry of the repair queue is next: the most endangered one that was not worked on yet. The
//! queue is gone through from its front, and again from there after a while: what came in meanwhile
//! may be more endangered than everything that is left.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use chunkproto::ChunkId;
use metastore::{MetaResult, Metastore, RepairEntry};
use tokio::time::Instant;

/// Queue entries read at a time, and worked on before the next look at the front.
const BATCH: usize = 64;
/// So few entries are passed over again at once.
const SOON_SKIPPED: usize = 4 * BATCH;
/// The front is looked at again after this, however little was worked on meanwhile.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// What could not be mended is tried again after this, if as much was mended meanwhile: a node that did
/// not answer may be back, and a round goes on for hours.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Entries that stay in the queue and are passed over, in some 10 MB. Where there are more, the round
/// goes on to the queue's end without another look at its front.
const PASSED_OVER_MAX: usize = 250_000;

/// The entries of one round, in order.
pub struct RepairCursor {
    ready: VecDeque<RepairEntry>,
    /// Chunks that are passed over.
    passed_over: HashMap<ChunkId, Reason>,
    /// How far the queue was read since the last look at its front.
    after: Option<(u8, ChunkId)>,
    looked_at: Instant,
    /// Entries found and passed over since that look.
    found: usize,
    skipped: usize,
    /// Entries that left the queue since those that stay were last tried.
    ended: usize,
    tried_at: Instant,
}

/// Why a chunk is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It is being worked on.
    UnderWay,
    /// Its entry stays: it was left with so many good copies. It may come to have fewer.
    Left(u8),
}

impl Default for RepairCursor {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            passed_over: HashMap::new(),
            after: None,
            looked_at: Instant::now(),
            found: 0,
            skipped: 0,
            ended: 0,
            tried_at: Instant::now(),
        }
    }
}

impl RepairCursor {
    /// The entry to work on now; `None` if all were worked on, or are under way.
    ///
    /// # Errors
    /// What keeps the queue from being read.
    pub async fn next(&mut self, metastore: &dyn Metastore) -> MetaResult<Option<RepairEntry>> {
        if self.is_to_try_again() {
            self.try_again();
        } else if self.is_to_look_again() {
            self.look_again();
        }
        while self.ready.is_empty() {
            let page = metastore.repairs_by_danger(self.after, BATCH).await?;
            let Some(last) = page.last() else {
                let is_done = self.found == 0 || self.is_full();
                // Whoever asks again wants what came in meanwhile.
                if !self.is_full() && (!is_done || self.skipped <= SOON_SKIPPED) {
                    self.look_again();
                }
                match is_done {
                    true => return Ok(None),
                    false => continue,
                }
            };
            self.after = Some((last.have, last.chunk));
            let read = page.len();
            let new = page.into_iter().filter(|entry| self.is_new(entry));
            self.ready = new.collect();
            self.found += self.ready.len();
            self.skipped += read - self.ready.len();
        }
        let next = self.ready.pop_front();
        if let Some(entry) = next {
            self.passed_over.insert(entry.chunk, Reason::UnderWay);
        }
        Ok(next)
    }

    /// Notes that an entry was worked on: it is no longer in the queue, or stays there with the good
    /// copies that `left` says.
    pub fn note(&mut self, chunk: ChunkId, left: Option<u8>) {
        self.ended += usize::from(left.is_none());
        match left {
            Some(have) if !self.is_full() => self.passed_over.insert(chunk, Reason::Left(have)),
            _ => self.passed_over.remove(&chunk),
        };
    }

    /// Begins anew: chunks that were passed over may be mended now.
    pub fn try_again(&mut self) {
        (self.ended, self.tried_at) = (0, Instant::now());
        self.passed_over
            .retain(|_, reason| *reason == Reason::UnderWay);
        self.look_again();
    }

    /// Retry postponed chunks only if at least as many were repaired since, so that at most half the
    /// work is wasted.
    fn is_to_try_again(&self) -> bool {
        let is_worth_it = self.ended > 0 && self.ended >= self.passed_over.len();
        is_worth_it && self.tried_at.elapsed() >= TRY_AGAIN_AFTER
    }

    /// Rereading skips every postponed entry, so do it only after as many were processed.
    fn is_to_look_again(&self) -> bool {
        let is_due = self.found >= BATCH.max(self.skipped) && self.ready.is_empty();
        !self.is_full() && (is_due || self.looked_at.elapsed() >= LOOK_AGAIN_AFTER)
    }

    fn look_again(&mut self) {
        self.ready.clear();
        (self.after, self.found, self.skipped) = (None, 0, 0);
        self.looked_at = Instant::now();
    }

    fn is_full(&self) -> bool {
        self.passed_over.len() >= PASSED_OVER_MAX
    }

    fn is_new(&self, entry: &RepairEntry) -> bool {
        match self.passed_over.get(&entry.chunk) {
            None => true,
            Some(Reason::UnderWay) => false,
            Some(Reason::Left(have)) => entry.have < *have,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_mended_is_tried_again_after_a_while_in_which_as_much_was() {
        let (lost, mended) = (ChunkId::generate(), ChunkId::generate());
        let entry = RepairEntry {
            have: 1,
            chunk: lost,
            missing_bytes: 1,
        };
        let mut cursor = RepairCursor::default();
        cursor.note(lost, Some(1));
        assert!(!cursor.is_new(&entry));
        cursor.tried_at -= TRY_AGAIN_AFTER;
        assert!(!cursor.is_to_try_again(), "nothing was mended meanwhile");
        cursor.note(mended, None);
        assert!(cursor.is_to_try_again());
        cursor.try_again();
        assert!(cursor.is_new(&entry) && !cursor.is_to_try_again());
    }
}
