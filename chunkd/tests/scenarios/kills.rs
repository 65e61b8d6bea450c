//! Processes that are killed at every named step: what they acknowledged is there, as the receipt says it
//! (I2: a gateway commits a row on the strength of nothing else), what they deleted stays deleted (I1, I4,
//! I9, I11).
//!
//! The killed process is this program again, as [`works_until_it_is_killed`].

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::fs;
use std::hint;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, abort};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chunkd::{ChunkStore, Probe, Step, StoreOptions};
use chunkproto::{ChunkId, ChunkInfo, Crc64};
use futures::future::join_all;
use rustix::process::{Signal, getpid, kill_process};
use tempfile::TempDir;

use crate::kit::{Dice, KIB, data, get, list_all, number_from_env, put};

const DIR: &str = "SEXTANT_KILL_DIR";
const STEP: &str = "SEXTANT_KILL_STEP";
const AFTER: &str = "SEXTANT_KILL_AFTER";
/// How long after that step, in nanoseconds.
const LATER: &str = "SEXTANT_KILL_LATER_NANOS";
const SEGMENT_BYTES: u32 = 256 << 10;
const LENGTHS: [usize; 7] = [1, 100, 4 * KIB, 20 * KIB, 40 * KIB, 60 * KIB, 70 * KIB];
/// By then every step should have come, on a busy machine too.
const KILLS_IN_GROUPS: usize = 12;
const WORKS_AT_MOST: Duration = Duration::from_secs(300);
/// Chunks that are left, the newest; so each segment holds some for a while, and some are moved.
const KEPT_EVERY: usize = 6;
const KEPT_MAX: usize = 60;
/// How many steps of a kind are let pass, one kill after the other on the same directory.
const PASSES: [usize; 4] = [0, 1, 5, 17];
/// A group is written within so many nanoseconds, or half of it is.
const WRITE_NANOS: usize = 6_000;

/// What the parent knows of a chunk from the words of the killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Tried,
    Held,
    Deleting,
    /// It was deleted, or being deleted, and was not there afterwards.
    Gone,
    /// It was being put, and was not there afterwards.
    CutOff,
}

#[derive(Default)]
struct Told {
    /// What was put, with its length and seed.
    chunks: BTreeMap<ChunkId, (Known, usize, u64)>,
    /// What the receipts of those that were acknowledged say.
    receipts: BTreeMap<ChunkId, (u64, Crc64)>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_at_any_step_loses_nothing_and_brings_nothing_back() {
    for (kind, step) in Step::ALL.into_iter().enumerate() {
        let dir = TempDir::new().unwrap();
        let mut told = Told::default();
        for after in PASSES {
            println!("killed at {step:?} after {after} of them");
            told.hear(&killed_at(dir.path(), kind, after, 0));
            told.check(dir.path()).await;
        }
    }
}

/// What is left of the group are whole pages of it, some of them, from its beginning. `SEXTANT_KILL_SEED=n` has
/// other groups, and other moments in them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_in_the_middle_of_a_group_loses_nothing_and_brings_nothing_back() {
    let mut dice = Dice::new(number_from_env("SEXTANT_KILL_SEED").unwrap_or(1));
    let kind = Step::ALL
        .into_iter()
        .position(|step| step == Step::WriteGroup);
    let (dir, mut told) = (TempDir::new().unwrap(), Told::default());
    for _ in 0..KILLS_IN_GROUPS {
        let (after, later) = (dice.below(60), 1 + dice.below(WRITE_NANOS));
        println!("killed {later} ns after {after} groups");
        told.hear(&killed_at(dir.path(), kind.unwrap(), after, later));
        told.check(dir.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_while_it_starts_loses_nothing_and_brings_nothing_back() {
    for after in [0, 3] {
        let dir = TempDir::new().unwrap();
        let mut told = Told::default();
        for (kind, step) in Step::OF_RECOVERY.into_iter().enumerate() {
            println!("killed at {step:?} after {after} of them");
            told.hear(&killed_at(dir.path(), 2, 17, 0));
            let after = if step == Step::EnterFound { after } else { 0 };
            told.hear(&killed_at(dir.path(), Step::ALL.len() + kind, after, 0));
            told.check(dir.path()).await;
        }
    }
}

fn step_of(kind: usize) -> Step {
    let mut steps = Step::ALL.into_iter().chain(Step::OF_RECOVERY);
    steps.nth(kind).unwrap()
}

/// What a process said that was killed at this step.
fn killed_at(dir: &Path, kind: usize, after: usize, later: usize) -> String {
    let output = Command::new(env::current_exe().unwrap())
        .args(["kills::works_until_it_is_killed", "--exact", "--ignored"])
        .arg("--nocapture")
        .env(DIR, dir)
        .env(STEP, kind.to_string())
        .env(AFTER, after.to_string())
        .env(LATER, later.to_string())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.signal().is_some(),
        "it never came to that step: {words}"
    );
    String::from_utf8(output.stdout).unwrap()
}

impl Told {
    /// Takes in lines such as `said putting <id> <length> <seed>`.
    fn hear(&mut self, words: &str) {
        // The last line may be cut off.
        let (whole, _) = words.rsplit_once('\n').unwrap_or_default();
        for line in whole.lines() {
            let Some((_, said)) = line.split_once("said ") else {
                continue;
            };
            let mut said = said.split(' ');
            let verb = said.next().unwrap();
            let id: ChunkId = said.next().unwrap().parse().unwrap();
            let mut number = || said.next().unwrap().parse::<u64>().unwrap();
            match verb {
                "putting" => {
                    let length = number() as usize;
                    self.chunks.insert(id, (Known::Tried, length, number()));
                }
                "put" => {
                    self.receipts.insert(id, (number(), Crc64(number())));
                    self.know(id, Known::Held);
                }
                "deleting" => self.know(id, Known::Deleting),
                "deleted" => self.know(id, Known::Gone),
                _ => panic!("{line}"),
            }
        }
    }

    fn know(&mut self, id: ChunkId, known: Known) {
        self.chunks.get_mut(&id).unwrap().0 = known;
    }

    /// Opens the directory as it was left, then with a lost index; each time after starts that were
    /// cut off.
    async fn check(&mut self, dir: &Path) {
        cut_starts_off(dir);
        let store = open(dir, Probe::default());
        println!("opened as it was left");
        let listed = self.compare(&store).await;
        for info in &listed {
            self.know(info.id, Known::Held);
        }
        for (known, _, _) in self.chunks.values_mut() {
            *known = match *known {
                Known::Tried => Known::CutOff,
                Known::Deleting => Known::Gone,
                known => known,
            };
        }
        drop(store);
        fs::remove_dir_all(dir.join("index")).unwrap();
        cut_starts_off(dir);
        let rebuilt = open(dir, Probe::default());
        println!("opened with a lost index");
        assert_eq!(self.compare(&rebuilt).await, listed, "live, then rebuilt");
    }

    async fn compare(&self, store: &ChunkStore) -> Vec<ChunkInfo> {
        let listed = list_all(store).await;
        for info in &listed {
            let (known, length, seed) = self.chunks[&info.id];
            let got = get(store, info.id, None).await;
            assert!(
                !matches!(known, Known::Gone | Known::CutOff),
                "{} is back that was {known:?}: {:?}",
                info.id,
                got.map(|got| got == data(length, seed))
            );
            let got = got.unwrap();
            assert!(got == data(length, seed), "{}", info.id);
            let held = (info.length_bytes, info.crc64);
            assert_eq!(held, (length as u64, Crc64::of(&got)), "{}", info.id);
            if let Some(receipt) = self.receipts.get(&info.id) {
                assert_eq!(held, *receipt, "{} differs from its receipt", info.id);
            }
        }
        let is_listed = |id| listed.binary_search_by_key(id, |info| info.id).is_ok();
        for (id, (known, ..)) in &self.chunks {
            assert!(*known != Known::Held || is_listed(id), "{id} is lost");
        }
        listed
    }
}

/// Starts that fail in the middle, each a little later than the one before.
fn cut_starts_off(dir: &Path) {
    for most in [0, 1, 4, 9] {
        let seen = AtomicUsize::new(0);
        let probe = Probe::new(move |step| {
            let cut = step == Step::EnterFound && seen.fetch_add(1, Ordering::SeqCst) == most;
            if cut {
                Err(io::Error::other("made up"))
            } else {
                Ok(())
            }
        });
        if ChunkStore::open(options(dir, probe)).is_ok() {
            return;
        }
    }
}

fn open(dir: &Path, probe: Probe) -> ChunkStore {
    ChunkStore::open(options(dir, probe)).unwrap()
}

fn options(dir: &Path, probe: Probe) -> StoreOptions {
    let mut options = StoreOptions::new(dir);
    options.segment_bytes = SEGMENT_BYTES;
    options.probe = probe;
    options
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is run by another test, which kills it"]
async fn works_until_it_is_killed() {
    let number = |name| env::var(name).unwrap().parse::<usize>().unwrap();
    let (step, after) = (step_of(number(STEP)), number(AFTER));
    let later = Duration::from_nanos(number(LATER) as u64);
    let end = abort_in(later);
    let seen = AtomicUsize::new(0);
    let probe = Probe::new(move |at| {
        let is_there = at == step && seen.fetch_add(1, Ordering::SeqCst) == after;
        // How many groups are found depends on when the index was last made durable.
        let is_past = step == Step::EnterFound && at == Step::EndRecovery;
        if is_there || is_past {
            end();
        }
        Ok(())
    });
    let store = open(Path::new(&env::var(DIR).unwrap()), probe);
    let mut dice = Dice::new((number(STEP) * 1000 + after) as u64 + 1);
    let (mut held, mut kept) = (Vec::new(), VecDeque::new());
    let end = Instant::now() + WORKS_AT_MOST;
    while Instant::now() < end {
        let new: Vec<_> = (0..=dice.below(12))
            .map(|_| (ChunkId::generate(), dice.one_of(&LENGTHS), dice.roll()))
            .collect();
        join_all(new.iter().map(|new| put_aloud(&store, *new))).await;
        for (id, ..) in new {
            if dice.below(KEPT_EVERY) == 0 {
                kept.push_back(id);
            } else {
                held.push(id);
            }
        }
        if kept.len() > KEPT_MAX {
            held.extend(kept.pop_front());
        }
        let doomed: Vec<_> = (0..held.len() * 2 / 3)
            .map(|_| held.swap_remove(dice.below(held.len())))
            .collect();
        join_all(doomed.iter().map(|id| delete_aloud(&store, *id))).await;
    }
}

async fn put_aloud(store: &ChunkStore, (id, length, seed): (ChunkId, usize, u64)) {
    say(&format!("said putting {id} {length} {seed}"));
    let receipt = put(store, id, &data(length, seed)).await.unwrap();
    let Crc64(crc64) = receipt.crc64;
    say(&format!("said put {id} {} {crc64}", receipt.length_bytes));
}

async fn delete_aloud(store: &ChunkStore, id: ChunkId) {
    say(&format!("said deleting {id}"));
    store.delete(id).await.unwrap();
    say(&format!("said deleted {id}"));
}

/// A way to end this process so long from then on. It does not sleep meanwhile, which would take too long.
fn abort_in(later: Duration) -> impl Fn() + Send + Sync {
    let now = Arc::new(AtomicBool::new(false));
    if !later.is_zero() {
        let now = Arc::clone(&now);
        thread::spawn(move || {
            while !now.load(Ordering::Relaxed) {
                hint::spin_loop();
            }
            let began = Instant::now();
            while began.elapsed() < later {
                hint::spin_loop();
            }
            // Unlike an abort, it ends other threads in the middle of a system call.
            kill_process(getpid(), Signal::KILL).unwrap();
        });
    }
    move || match later {
        Duration::ZERO => abort(),
        _ => now.store(true, Ordering::Relaxed),
    }
}

/// Says it past all buffers.
fn say(words: &str) {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{words}").unwrap();
    stdout.flush().unwrap();
}
