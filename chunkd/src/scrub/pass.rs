//! How far a walk over a disk's chunks is, and how far it should be by now. Pure: time is passed in.

use chunkproto::ChunkId;
use serde::{Deserialize, Serialize};

/// What a chunk costs beyond its bytes: seeks and look-ups.
const CHUNK_COST: u64 = 64 * 1024;
/// A pass is planned to take so many percent of the period, so that a busy day does no harm.
const PLANNED_PERCENT: u64 = 80;
/// Marks that are kept of a pass, about.
const MARKS: u64 = 64;

/// A place in the order of chunks, and when a pass came there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The last chunk before it.
    pub chunk: ChunkId,
    /// Milliseconds since 1970.
    pub at_ms: u64,
}

/// A pass over a disk's chunks in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// When it began, in milliseconds since 1970.
    began_at_ms: u64,
    /// The last chunk that was verified.
    cursor: Option<ChunkId>,
    /// What it has cost so far.
    done_cost: u64,
    /// Where it was when.
    marks: Vec<Mark>,
    /// When the pass before it began, and where it was when.
    previous: Option<(u64, Vec<Mark>)>,
    /// The time when it was last asked for, to notice a clock that goes back.
    #[serde(default)]
    latest_at_ms: u64,
}

/// What a whole pass costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    cost: u64,
}

impl Load {
    /// The cost of verifying so many chunks with so many bytes.
    pub fn of(chunks: u64, bytes: u64) -> Self {
        let cost = chunks.saturating_mul(CHUNK_COST).saturating_add(bytes);
        Self { cost: cost.max(1) }
    }
}

impl Pass {
    /// The first pass over a disk.
    pub fn first(now_ms: u64) -> Self {
        Self {
            began_at_ms: now_ms,
            ..Self::default()
        }
    }

    /// The pass after this one.
    pub fn next(self, now_ms: u64) -> Self {
        Self {
            began_at_ms: now_ms,
            previous: Some((self.began_at_ms, self.marks)),
            ..Self::default()
        }
    }

    /// Takes the clock in. If it went back, everything that is known of the past moves back with it, or
    /// the walk would stand still until the clock is where it was.
    pub fn adjust_for_clock(&mut self, now_ms: u64) {
        let latest_at_ms = self.latest_at_ms.max(self.began_at_ms);
        let back_ms = latest_at_ms.saturating_sub(now_ms);
        self.latest_at_ms = now_ms;
        let shift = |at_ms: &mut u64| *at_ms = at_ms.saturating_sub(back_ms);
        shift(&mut self.began_at_ms);
        self.marks
            .iter_mut()
            .for_each(|mark| shift(&mut mark.at_ms));
        if let Some((began_at_ms, marks)) = &mut self.previous {
            shift(began_at_ms);
            marks.iter_mut().for_each(|mark| shift(&mut mark.at_ms));
        }
    }

    /// The last chunk that was verified.
    pub fn cursor(&self) -> Option<ChunkId> {
        self.cursor
    }

    /// Notes that a chunk was verified.
    pub fn advance(&mut self, chunk: ChunkId, bytes: u64, load: Load, now_ms: u64) {
        let step = (load.cost / MARKS).max(1);
        let before = self.done_cost / step;
        self.cursor = Some(chunk);
        self.done_cost = self.done_cost.saturating_add(Load::of(1, bytes).cost);
        if self.done_cost / step > before {
            let at_ms = now_ms;
            self.marks.push(Mark { chunk, at_ms });
        }
    }

    /// How long the next chunk can wait; zero once it is due.
    pub fn wait_ms(&self, load: Load, period_ms: u64, now_ms: u64) -> u64 {
        let planned_ms = u128::from(period_ms) * u128::from(PLANNED_PERCENT) / 100;
        let due_after = u128::from(self.done_cost) * planned_ms / u128::from(load.cost);
        // What was verified may be gone since: then more is done than there is, and the plan is over.
        let due_at = u128::from(self.began_at_ms) + due_after.min(planned_ms);
        u64::try_from(due_at.saturating_sub(now_ms.into()).min(planned_ms)).unwrap_or(u64::MAX)
    }

    /// Since when, at the latest, every chunk has been verified or written, in milliseconds since
    /// 1970. In the first pass that is its begin: before, nothing is known.
    pub fn oldest_at_ms(&self) -> u64 {
        let Some((began_at_ms, marks)) = &self.previous else {
            return self.began_at_ms;
        };
        let passed = marks
            .iter()
            .take_while(|mark| Some(mark.chunk) <= self.cursor);
        passed.last().map_or(*began_at_ms, |mark| mark.at_ms)
    }

    /// How much of the pass is done, in percent.
    pub fn done_percent(&self, load: Load) -> u8 {
        let percent = u128::from(self.done_cost) * 100 / u128::from(load.cost);
        u8::try_from(percent.min(100)).expect("at most 100")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD_MS: u64 = 1_000_000;

    fn chunks(count: u64) -> Vec<ChunkId> {
        let mut ids: Vec<_> = (0..count).map(|_| ChunkId::generate()).collect();
        ids.sort();
        ids
    }

    /// Goes through a pass as it is due, and returns when it ended.
    fn walk(pass: &mut Pass, ids: &[ChunkId], load: Load, mut now_ms: u64) -> u64 {
        for &id in ids {
            now_ms += pass.wait_ms(load, PERIOD_MS, now_ms);
            assert_eq!(pass.wait_ms(load, PERIOD_MS, now_ms), 0);
            pass.advance(id, 1000, load, now_ms);
        }
        now_ms
    }

    #[test]
    fn a_pass_spreads_over_most_of_the_period_and_no_more() {
        let (ids, load) = (chunks(1000), Load::of(1000, 1_000_000));
        let mut pass = Pass::first(5000);
        let ended_at = walk(&mut pass, &ids, load, 5000);
        assert!(
            (700_000..=800_000).contains(&(ended_at - 5000)),
            "{ended_at}"
        );
    }

    #[test]
    fn no_chunk_is_left_unverified_for_longer_than_the_period() {
        let (ids, load) = (chunks(1000), Load::of(1000, 1_000_000));
        let mut pass = Pass::first(0);
        let mut now_ms = walk(&mut pass, &ids, load, 0);
        for _ in 0..3 {
            pass = pass.next(now_ms);
            for &id in &ids {
                now_ms += pass.wait_ms(load, PERIOD_MS, now_ms);
                pass.advance(id, 1000, load, now_ms);
                let age_ms = now_ms - pass.oldest_at_ms();
                assert!(age_ms <= PERIOD_MS, "{age_ms}");
            }
        }
    }

    #[test]
    fn chunks_that_go_away_do_not_put_off_those_that_stay() {
        let ids = chunks(1000);
        let mut pass = Pass::first(0);
        let half = walk(&mut pass, &ids[..500], Load::of(1000, 1_000_000), 0);
        // All that was verified is deleted, and half of the rest.
        let ended_at = walk(&mut pass, &ids[750..], Load::of(250, 250_000), half);
        assert!(ended_at <= PERIOD_MS, "{ended_at}");
    }

    #[test]
    fn a_walk_that_was_interrupted_catches_up() {
        let (ids, load) = (chunks(10), Load::of(10, 10_000));
        let mut pass = Pass::first(0);
        pass.advance(ids[0], 1000, load, 0);
        assert!(pass.wait_ms(load, PERIOD_MS, 0) > 0);
        assert_eq!(pass.wait_ms(load, PERIOD_MS, PERIOD_MS), 0);
    }

    #[test]
    fn a_walk_over_what_left_the_disk_meanwhile_ends_within_its_plan() {
        let (ids, before, after) = (chunks(10), Load::of(10, 10_000_000), Load::of(2, 2000));
        let mut pass = Pass::first(0);
        for &id in &ids[..8] {
            pass.advance(id, 1_000_000, before, 0);
        }
        assert!(pass.wait_ms(after, PERIOD_MS, 0) <= PERIOD_MS);
        assert_eq!(pass.wait_ms(after, PERIOD_MS, PERIOD_MS), 0);
    }

    #[test]
    fn a_clock_that_went_back_stops_no_walk_and_hides_no_age() {
        let (ids, load) = (chunks(10), Load::of(10, 10_000));
        let start_ms = 100 * PERIOD_MS;
        let mut pass = Pass::first(start_ms);
        let half_ms = walk(&mut pass, &ids[..5], load, start_ms);
        pass.adjust_for_clock(half_ms);
        let (wait_ms, age_ms) = (
            pass.wait_ms(load, PERIOD_MS, half_ms),
            half_ms - pass.oldest_at_ms(),
        );
        for back_ms in [1, PERIOD_MS / 3, 50 * PERIOD_MS] {
            let mut pass = pass.clone();
            let now_ms = half_ms - back_ms;
            pass.adjust_for_clock(now_ms);
            assert_eq!(pass.wait_ms(load, PERIOD_MS, now_ms), wait_ms);
            assert_eq!(now_ms - pass.oldest_at_ms(), age_ms);
        }
    }
}
