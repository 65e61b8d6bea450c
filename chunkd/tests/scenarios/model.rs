//! A store against a reference model: random operations, stops of every kind, starts that are cut
//! off, a lost index, and injected errors. What was acknowledged holds; what failed is as it was or
//! as it should be.
//!
//! `SEXTANT_MODEL_SEED=n` runs seed n alone, `SEXTANT_MODEL_SECONDS` lengthens the run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chunkd::{ChunkStore, Probe, Step, StoreOptions};
use chunkproto::{ByteRange, ChunkError, ChunkId};
use futures::future::join_all;
use tempfile::TempDir;

use crate::kit::{
    Dice, KIB, data, get, info_of, number_from_env, put, put_of, receipt_of, snapshot,
};

const SEGMENT_BYTES: u32 = 256 << 10;
const OPERATIONS: usize = 150;
const SECONDS: u64 = 12;
/// Compaction waits no longer for a segment to lose more.
const QUIET_AFTER: Duration = Duration::from_millis(20);
/// In groups, in room of their own, in files of their own, and around the limits.
const LENGTHS: [usize; 12] = [
    1,
    100,
    100,
    4 * KIB,
    4 * KIB,
    30 * KIB,
    33 * KIB,
    50 * KIB,
    63 * KIB,
    64 * KIB,
    65 * KIB,
    200 * KIB,
];

/// What is known of a chunk that was ever put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Held,
    Gone,
    /// A change of it failed.
    Unsure,
}

struct Chunk {
    data: Vec<u8>,
    known: Known,
}

/// The step that fails next, after so many of its kind.
type Armed = Arc<Mutex<Option<(Step, usize)>>>;

struct Run {
    dir: TempDir,
    store: Option<ChunkStore>,
    chunks: BTreeMap<ChunkId, Chunk>,
    armed: Armed,
    compacted: Arc<Compacted>,
    dice: Dice,
    seeds: u64,
    trouble: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_behaves_as_a_map_does_whatever_stops_or_fails_it() {
    if let Some(seed) = number_from_env("SEXTANT_MODEL_SEED") {
        return run(seed, &Arc::default()).await;
    }
    let seconds = number_from_env("SEXTANT_MODEL_SECONDS").unwrap_or(SECONDS);
    let end = Instant::now() + Duration::from_secs(seconds);
    let compacted = Arc::new(Compacted::default());
    for seed in 1.. {
        if Instant::now() > end {
            println!("{} seeds", seed - 1);
            break;
        }
        println!("SEXTANT_MODEL_SEED={seed}");
        run(seed, &compacted).await;
    }
    let [moved, freed] = [&compacted.moved, &compacted.freed];
    let [moved, freed] = [moved, freed].map(|steps| steps.load(Ordering::Relaxed));
    println!("{moved} records moved, {freed} segments freed");
    assert!(moved > 0 && freed > 0, "nothing was compacted");
}

/// What compaction did over all seeds.
#[derive(Default)]
struct Compacted {
    moved: AtomicUsize,
    freed: AtomicUsize,
}

impl Compacted {
    fn note(&self, step: Step) {
        let done = match step {
            Step::MoveRecord => &self.moved,
            Step::FreeSegment => &self.freed,
            _ => return,
        };
        done.fetch_add(1, Ordering::Relaxed);
    }
}

async fn run(seed: u64, compacted: &Arc<Compacted>) {
    let dir = TempDir::new().unwrap();
    let mut run = Run {
        dir,
        store: None,
        chunks: BTreeMap::new(),
        armed: Armed::default(),
        compacted: Arc::clone(compacted),
        dice: Dice::new(seed),
        seeds: seed << 32,
        trouble: false,
    };
    run.open();
    for _ in 0..OPERATIONS {
        run.operation().await;
        if run.trouble {
            run.stop_anyhow().await;
        }
    }
    run.disarm();
    run.stop_anyhow().await;
    run.compare().await;
}

impl Run {
    async fn operation(&mut self) {
        match self.dice.below(100) {
            0..30 => self.put_new().await,
            30..35 => self.put_again().await,
            35..60 => self.delete().await,
            60..75 => self.read().await,
            75..80 => self.page().await,
            80..90 => self.arm(),
            90..94 => self.let_the_keeper_work().await,
            _ => self.stop_anyhow().await,
        }
    }

    fn store(&self) -> &ChunkStore {
        self.store.as_ref().unwrap()
    }

    fn open(&mut self) {
        let armed = Arc::clone(&self.armed);
        let mut options = StoreOptions::new(self.dir.path());
        options.segment_bytes = SEGMENT_BYTES;
        // Half of a run is over by the time that it would wait for otherwise.
        options.quiet_after = QUIET_AFTER;
        let compacted = Arc::clone(&self.compacted);
        options.probe = Probe::new(move |step| {
            compacted.note(step);
            let mut armed = armed.lock().unwrap();
            match *armed {
                Some((fails, 0)) if fails == step => {
                    *armed = None;
                    Err(io::Error::other("injected"))
                }
                Some((fails, left)) if fails == step => {
                    *armed = Some((fails, left - 1));
                    Ok(())
                }
                _ => Ok(()),
            }
        });
        // A start may be cut off, and the one after it, before one comes to its end.
        while self.dice.below(2) == 0 {
            let step = self.dice.one_of(&Step::OF_RECOVERY);
            *self.armed.lock().unwrap() = Some((step, self.dice.below(8)));
            let begun = ChunkStore::open(options.clone());
            self.disarm();
            if begun.is_ok() {
                break;
            }
        }
        self.store = Some(ChunkStore::open(options).unwrap());
        self.trouble = false;
    }

    fn arm(&mut self) {
        let step = self.dice.one_of(&Step::ALL);
        *self.armed.lock().unwrap() = Some((step, self.dice.below(6)));
    }

    fn disarm(&self) {
        *self.armed.lock().unwrap() = None;
    }

    /// Some of the chunks that are known to be so.
    fn some(&mut self, known: Known, most: usize) -> Vec<ChunkId> {
        let all = self.chunks.iter().filter(|(_, chunk)| chunk.known == known);
        let all: Vec<_> = all.map(|(id, _)| *id).collect();
        let count = all.len().min(1 + self.dice.below(most));
        let first = self.dice.below(all.len().max(1));
        let every = 1 + self.dice.below(3);
        let cycle = all.iter().cycle().skip(first).step_by(every).take(count);
        let mut some: Vec<_> = cycle.copied().collect();
        some.sort();
        some.dedup();
        some
    }

    async fn put_new(&mut self) {
        let mut new = Vec::new();
        for _ in 0..=self.dice.below(16) {
            self.seeds += 1;
            let data = data(self.dice.one_of(&LENGTHS), self.seeds);
            let id = ChunkId::generate();
            new.push(id);
            let known = Known::Unsure;
            self.chunks.insert(id, Chunk { data, known });
        }
        self.put_all(new).await;
    }

    /// Chunks that are there, and chunks that were deleted.
    async fn put_again(&mut self) {
        let mut again = self.some(Known::Held, 4);
        again.extend(self.some(Known::Gone, 4));
        self.put_all(again).await;
        for id in self.some(Known::Held, 1) {
            let other = data(77, 1);
            let refused = self.store().put(put_of(id, 77), crate::kit::body(&other));
            match refused.await.unwrap_err() {
                ChunkError::Conflict(conflict) => assert_eq!(conflict, id),
                ChunkError::Io(_) | ChunkError::Refused(_) => self.trouble = true,
                error => panic!("{error}"),
            }
        }
    }

    async fn put_all(&mut self, ids: Vec<ChunkId>) {
        let puts = ids
            .iter()
            .map(|id| put(self.store(), *id, &self.chunks[id].data));
        for (id, outcome) in ids.iter().zip(join_all(puts).await) {
            let chunk = self.chunks.get_mut(id).unwrap();
            match outcome {
                Ok(receipt) => {
                    assert_eq!(receipt, receipt_of(&chunk.data));
                    chunk.known = Known::Held;
                }
                Err(ChunkError::Io(_) | ChunkError::Refused(_)) => {
                    self.trouble = true;
                    if chunk.known == Known::Gone {
                        chunk.known = Known::Unsure;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn delete(&mut self) {
        let mut ids = self.some(Known::Held, 16);
        ids.extend(self.some(Known::Gone, 2));
        let outcomes = join_all(ids.iter().map(|id| self.store().delete(*id))).await;
        for (id, outcome) in ids.iter().zip(outcomes) {
            let chunk = self.chunks.get_mut(id).unwrap();
            match outcome {
                Ok(()) => chunk.known = Known::Gone,
                Err(ChunkError::Io(_) | ChunkError::Refused(_)) => {
                    self.trouble = true;
                    if chunk.known == Known::Held {
                        chunk.known = Known::Unsure;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn read(&mut self) {
        for id in self.some(Known::Held, 8) {
            let length = self.chunks[&id].data.len();
            let start = self.dice.below(length);
            let end = start + 1 + self.dice.below(length - start);
            let range = ByteRange {
                start: start as u64,
                end: end as u64,
            };
            let got = get(self.store(), id, Some(range)).await.unwrap();
            assert!(got == self.chunks[&id].data[start..end], "{id}");
        }
        for id in self.some(Known::Gone, 4) {
            let got = get(self.store(), id, None).await;
            assert!(matches!(got, Err(ChunkError::NotFound(_))), "{id} is back");
        }
    }

    async fn page(&mut self) {
        let after = self.some(Known::Gone, 1).first().copied();
        let limit = 1 + self.dice.below(20);
        let page = self.store().list(after, limit).await.unwrap();
        let held = self.chunks.iter().filter(|(id, chunk)| {
            chunk.known == Known::Held && after.is_none_or(|after| **id > after)
        });
        let expected: Vec<_> = held
            .map(|(id, chunk)| info_of(*id, &chunk.data))
            .take(limit)
            .collect();
        assert_eq!(page, expected);
    }

    /// Gives compaction a moment; whatever it does meanwhile must not show.
    async fn let_the_keeper_work(&mut self) {
        for _ in 0..self.dice.below(10) {
            self.delete().await;
            self.put_new().await;
            if self.trouble {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// Stops and opens the store in one of all ways, and sees what it holds.
    async fn stop_anyhow(&mut self) {
        match self.dice.below(4) {
            0 => {
                self.disarm();
                // A store that failed refuses; then this is no clean stop.
                let _ = self.store().close().await;
                self.store = None;
            }
            1 => self.store = None,
            way => {
                // A copy of a directory that changes may hold a segment from before a step and the
                // index from after it; so the keeper must have ended.
                self.store = None;
                self.dir = snapshot(self.dir.path());
                if way == 3 {
                    fs::remove_dir_all(self.dir.path().join("index")).unwrap();
                }
            }
        }
        self.open();
        self.settle().await;
        self.compare().await;
    }

    /// Learns what became of the changes that failed.
    async fn settle(&mut self) {
        let listed = self.store().list(None, usize::MAX).await.unwrap();
        for (id, chunk) in &mut self.chunks {
            if chunk.known == Known::Unsure {
                let found = listed.binary_search_by_key(id, |info| info.id).is_ok();
                chunk.known = if found { Known::Held } else { Known::Gone };
            }
        }
    }

    async fn compare(&mut self) {
        let held = self.chunks.iter();
        let held = held.filter(|(_, chunk)| chunk.known == Known::Held);
        let expected: Vec<_> = held
            .clone()
            .map(|(id, chunk)| info_of(*id, &chunk.data))
            .collect();
        let store = self.store();
        assert_eq!(store.list(None, usize::MAX).await.unwrap(), expected);
        for (id, chunk) in held {
            assert!(get(store, *id, None).await.unwrap() == chunk.data, "{id}");
        }
        let used: u64 = expected.iter().map(|info| info.length_bytes).sum();
        let state = store.state();
        assert_eq!(
            (state.chunk_count, state.used_bytes, state.quarantined),
            (expected.len() as u64, used, 0)
        );
    }
}
