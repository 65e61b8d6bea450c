//! The thread that keeps segments at hand: makes spare ones before they are needed, compacts those
//! with little left in them, and frees what is empty.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::busy::BusyIds;
use super::super::directory::Layout;
use super::super::fault::Fault;
use super::super::index::Index;
use super::committer::Committer;
use super::compact::Compaction;
use super::create::{self, Fill};
use super::table::{RESERVE_SEGMENTS, Segments};

/// How often the keeper looks when nothing woke it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Spare segments beside the reserve, made once so much of the present one is used.
const SPARES: usize = 1;
const SPARE_FROM_PERCENT: u64 = 25;
/// A segment that took so long to get there leaves the disk time to zero the next one, which makes
/// each sync in it cheaper. In a hurry the zeroes would only take bandwidth from the data.
const UNHURRIED: Duration = Duration::from_secs(2);
/// Free segments beyond this many, or beyond this part of all, are given back to the filesystem.
const FREE_KEPT: usize = 8;
const FREE_KEPT_PERCENT: usize = 2;
/// A segment with at most this much of it live is compacted.
const LIVE_PERCENT: u64 = 50;
/// The same when there is no room for new chunks.
const LIVE_PERCENT_WHEN_FULL: u64 = 90;
/// A segment that could not be freed, or whose deletes are still needed, waits so long while others
/// have their turn.
const PUT_OFF_FOR: Duration = Duration::from_secs(60);

/// Segments whose compaction is put off, and since when.
type PutOff = HashMap<u32, Instant>;

/// The running thread. Dropping it stops it after the record that it is moving.
pub(crate) struct Keeper {
    stop: Arc<AtomicBool>,
    segments: Arc<Segments>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread works with.
#[derive(Clone)]
pub(crate) struct Tools {
    pub layout: Layout,
    pub segments: Arc<Segments>,
    pub index: Arc<Index>,
    pub committer: Arc<Committer>,
    pub busy: Arc<BusyIds>,
}

impl Keeper {
    /// Starts the thread.
    pub fn start(tools: Tools) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let segments = Arc::clone(&tools.segments);
        let stopping = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("segment-keeper".into())
            .spawn(move || run(&tools, &stopping))?;
        Ok(Self {
            stop,
            segments,
            thread: Some(thread),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.segments.nudge();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that keeps segments has panicked");
        }
    }
}

fn run(tools: &Tools, stop: &AtomicBool) {
    let mut again = false;
    let mut put_off = PutOff::new();
    while !stop.load(Ordering::SeqCst) {
        let look_now = again || tools.segments.wait_for_nudge(LOOK_EVERY);
        if !look_now || tools.segments.gate.is_poisoned() {
            again = false;
            continue;
        }
        again = match look(tools, stop, &mut put_off) {
            Ok(again) => again,
            Err(fault) => {
                tracing::error!(%fault, dir = %tools.segments.dir.display(), "segments cannot be kept in order");
                false
            }
        };
    }
}

/// Does what is to be done now; true if there is more.
fn look(tools: &Tools, stop: &AtomicBool, put_off: &mut PutOff) -> Result<bool, Fault> {
    let full = match make_spare(tools) {
        Err(Fault::NoRoom { .. }) => true,
        made => {
            made?;
            false
        }
    };
    put_off.retain(|_, since| since.elapsed() < PUT_OFF_FOR);
    let Some(slot) = choose(&tools.segments, full, put_off) else {
        give_back(tools)?;
        return Ok(false);
    };
    let freed = Compaction::new(tools, slot, full).run(stop);
    if !matches!(freed, Ok(true)) {
        put_off.insert(slot, Instant::now());
    }
    match freed {
        Ok(_) => Ok(true),
        // A later look may find more room.
        Err(Fault::NoRoom { .. }) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Makes a spare segment if one is missing.
fn make_spare(tools: &Tools) -> Result<(), Fault> {
    let segments = &tools.segments;
    let (slot, fill) = {
        let mut table = segments.lock();
        let Some((used_percent, age)) = table.active_use() else {
            return Ok(());
        };
        let wanted = RESERVE_SEGMENTS
            + if used_percent >= SPARE_FROM_PERCENT {
                SPARES
            } else {
                0
            };
        if table.free().count() >= wanted {
            return Ok(());
        }
        let fill = if age >= UNHURRIED {
            Fill::Zeroes
        } else {
            Fill::Reserve
        };
        (table.new_slot(), fill)
    };
    create::create(segments, slot, fill)?;
    segments.lock().add_free(slot, segments.segment_bytes);
    Ok(())
}

/// The segment that gains most from being compacted.
fn choose(segments: &Segments, full: bool, put_off: &PutOff) -> Option<u32> {
    let limit = if full {
        LIVE_PERCENT_WHEN_FULL
    } else {
        LIVE_PERCENT
    };
    let table = segments.lock();
    let sealed = table.slots.iter().filter(|(slot, entry)| {
        let row = &entry.row;
        let percent = row.live_bytes * 100 / u64::from(row.bytes);
        row.state.is_sealed()
            && entry.outstanding == 0
            && percent <= limit
            && !put_off.contains_key(slot)
    });
    let least = sealed.min_by_key(|(_, entry)| entry.row.live_bytes);
    least.map(|(slot, _)| *slot)
}

/// Gives free segments back to the filesystem that are more than will soon be needed.
fn give_back(tools: &Tools) -> Result<(), Fault> {
    let surplus: Vec<u32> = {
        let mut table = tools.segments.lock();
        let kept = FREE_KEPT.max(table.slots.len() * FREE_KEPT_PERCENT / 100);
        let surplus: Vec<u32> = table.free().skip(kept).collect();
        surplus.iter().for_each(|slot| table.forget(*slot));
        surplus
    };
    if surplus.is_empty() {
        return Ok(());
    }
    // IMPORTANT: the index forgets them durably before they go. One that it knows and that is not
    // there would make the next start read every segment.
    tools.checkpoint()?;
    for slot in surplus {
        let path = create::path(&tools.segments.dir, slot);
        std::fs::remove_file(&path).map_err(Fault::io("remove", &path))?;
    }
    Ok(())
}

impl Tools {
    /// Brings the segments' rows in the index up to date, and makes the index durable.
    pub fn checkpoint(&self) -> Result<(), Fault> {
        let work = super::committer::Work::Checkpoint;
        self.committer.commit_blocking(work, None)?;
        self.index.flush()
    }
}
