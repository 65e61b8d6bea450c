//! The thread that keeps segments at hand: makes spare ones before they are needed, compacts those
//! with little left in them, and frees what is empty.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::chunk_locks::ChunkLocks;
use super::super::directory::Layout;
use super::super::fault::Fault;
use super::super::index::Index;
use super::super::unreadable::Unreadable;
use super::committer::Committer;
use super::compact::{self, Compaction, FreeOutcome};
use super::create::{self, Fill};
use super::segments::{RESERVE_SEGMENTS, Segments, WriteClass};
use super::slot::SlotState;

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
/// Most segments that are freed at a time.
const FREED_TOGETHER: usize = 16;
/// With more than this part of all sealed segments dead, none is waited for.
const DEAD_PERCENT_MAX: u64 = 66;
/// A segment that could not be freed, or whose deletes are still needed, waits so long while others
/// have their turn; after an error less.
const PUT_OFF_FOR: Duration = Duration::from_secs(60);
const PUT_OFF_AFTER_ERROR_FOR: Duration = Duration::from_secs(5);

/// Segments whose compaction is put off, and until when.
type PutOff = HashMap<u32, Instant>;

/// The running thread. Dropping it stops it after the record that it is moving.
pub(crate) struct Keeper {
    stop: Arc<AtomicBool>,
    segments: Arc<Segments>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread works with.
#[derive(Clone)]
pub(crate) struct KeeperContext {
    pub layout: Layout,
    pub segments: Arc<Segments>,
    pub index: Arc<Index>,
    pub committer: Arc<Committer>,
    pub chunk_locks: Arc<ChunkLocks>,
    pub unreadable: Arc<Unreadable>,
}

impl Keeper {
    /// Starts the thread.
    pub fn start(context: KeeperContext) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let segments = Arc::clone(&context.segments);
        let stopping = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("segment-keeper".into())
            .spawn(move || run(&context, &stopping))?;
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

fn run(context: &KeeperContext, stop: &AtomicBool) {
    let mut again = false;
    let mut put_off = PutOff::new();
    while !stop.load(Ordering::SeqCst) {
        let look_now = again || context.segments.wait_for_nudge(LOOK_EVERY) || ends(&put_off);
        again = false;
        if context.segments.gate.is_poisoned() {
            continue;
        }
        match make_spare(context) {
            Ok(()) | Err(Fault::NoRoom { .. }) => {}
            Err(fault) => context.report(&fault),
        }
        if look_now {
            again = look(context, stop, &mut put_off).unwrap_or_else(|fault| {
                context.report(&fault);
                false
            });
        }
    }
}

/// Whether a segment is put off no longer.
fn ends(put_off: &PutOff) -> bool {
    put_off.values().any(|until| *until <= Instant::now())
}

/// Does what is to be done now; true if there is more.
fn look(context: &KeeperContext, stop: &AtomicBool, put_off: &mut PutOff) -> Result<bool, Fault> {
    let segments = &context.segments;
    let full = match segments.check_room(segments.record_bytes_max()) {
        Err(Fault::NoRoom { .. }) => true,
        checked => checked.map(|()| false)?,
    };
    put_off.retain(|_, until| Instant::now() < *until);
    let mut chosen = dead(segments, put_off);
    if chosen.is_empty() {
        chosen.extend(choose(segments, full, put_off));
    }
    if chosen.is_empty() {
        give_back(context)?;
        return Ok(false);
    }
    let FreeOutcome { slots, failed } = empty_and_free(context, &chosen, full, stop);
    let left = chosen.iter().filter(|slot| !slots.contains(slot));
    put_off.extend(left.map(|slot| (*slot, Instant::now() + PUT_OFF_FOR)));
    let mut again = true;
    for (slot, fault) in failed {
        put_off.insert(slot, Instant::now() + PUT_OFF_AFTER_ERROR_FOR);
        match fault {
            // A later look may find more room.
            Fault::NoRoom { .. } => again = false,
            fault => context.report(&fault),
        }
    }
    Ok(again)
}

/// Empties segments and frees them. An error costs its own segment's turn alone.
fn empty_and_free(
    context: &KeeperContext,
    chosen: &[u32],
    full: bool,
    stop: &AtomicBool,
) -> FreeOutcome {
    let (mut emptied, mut failed) = (Vec::new(), Vec::new());
    for &slot in chosen {
        let is_retired = context.segments.lock().slot(slot).row.state == SlotState::Retired;
        if is_retired {
            emptied.push(slot);
            continue;
        }
        match Compaction::new(context, slot, full, stop).empty() {
            Ok(true) => emptied.push(slot),
            Ok(false) => {}
            Err(fault) => failed.push((slot, fault)),
        }
    }
    let mut freed = compact::free_all(context, emptied);
    freed.failed.extend(failed);
    freed
}

/// Makes a spare segment if one is missing.
fn make_spare(context: &KeeperContext) -> Result<(), Fault> {
    let segments = &context.segments;
    let (slot, fill) = {
        let mut table = segments.lock();
        let Some((used_percent, age)) = table.active_use() else {
            return Ok(());
        };
        // In a hurry the next one is needed before anybody looks again.
        let spares = if table.is_hurried(UNHURRIED) || used_percent >= SPARE_FROM_PERCENT {
            SPARES
        } else {
            0
        };
        if table.free().len() >= RESERVE_SEGMENTS + spares {
            return Ok(());
        }
        let fill = if age >= UNHURRIED {
            Fill::Zeroes
        } else {
            Fill::Reserve
        };
        (table.new_slot(), fill)
    };
    create::create(segments, slot, fill, WriteClass::Put)?;
    segments.lock().add_free(slot, segments.segment_bytes);
    Ok(())
}

/// Segments without a live record, and those whose end was cut off by an error: freed together, for
/// the price of one.
fn dead(segments: &Segments, put_off: &PutOff) -> Vec<u32> {
    let table = segments.lock();
    let dead = table.slots.iter().filter(|(slot, entry)| {
        let state = entry.row.state;
        let is_dead = state.is_sealed() && entry.row.live_bytes == 0 && entry.outstanding == 0;
        (is_dead || state == SlotState::Retired) && !put_off.contains_key(slot)
    });
    dead.map(|(slot, _)| *slot).take(FREED_TOGETHER).collect()
}

/// The segment that gains most from being compacted. First those with stale records: as long as
/// there are any, no delete may be dropped, however old. One that still loses records is left alone
/// for now: soon there will be less to move, or nothing.
fn choose(segments: &Segments, full: bool, put_off: &PutOff) -> Option<u32> {
    let limit = if full {
        LIVE_PERCENT_WHEN_FULL
    } else {
        LIVE_PERCENT
    };
    let mut table = segments.lock();
    let impatient = full || table.dead_percent() > DEAD_PERCENT_MAX;
    let sealed = table.slots.iter().filter(|(slot, entry)| {
        let row = &entry.row;
        let percent = row.live_bytes * 100 / u64::from(row.bytes);
        row.state.is_sealed()
            && entry.outstanding == 0
            && (percent <= limit || row.has_stale_records)
            && !put_off.contains_key(slot)
    });
    let (due, waning): (Vec<_>, Vec<_>) = sealed.partition(|(_, entry)| {
        impatient || entry.row.has_stale_records || entry.is_quiet(segments.quiet_after)
    });
    let least = due
        .into_iter()
        .min_by_key(|(_, entry)| (!entry.row.has_stale_records, entry.row.live_bytes));
    let least = least.map(|(slot, _)| *slot);
    // Those that are not due yet are looked at again.
    let wait = !waning.is_empty();
    table.nudged |= wait;
    least
}

/// Gives free segments back to the filesystem that are more than will soon be needed.
fn give_back(context: &KeeperContext) -> Result<(), Fault> {
    let surplus: Vec<u32> = {
        let _free = context.segments.keep_free();
        let mut table = context.segments.lock();
        let kept = FREE_KEPT.max(table.slots.len() * FREE_KEPT_PERCENT / 100);
        let surplus: Vec<u32> = table.free().iter().copied().skip(kept).collect();
        surplus.iter().for_each(|slot| table.forget(*slot));
        surplus
    };
    if surplus.is_empty() {
        return Ok(());
    }
    // IMPORTANT: the index forgets them durably before they go. One that it knows and that is not
    // there would make the next start read every segment.
    context.checkpoint()?;
    for slot in surplus {
        let path = create::path(&context.segments.dir, slot);
        std::fs::remove_file(&path).map_err(Fault::io("remove", &path))?;
    }
    Ok(())
}

impl KeeperContext {
    /// Counts an error, says it, and draws its consequence.
    fn report(&self, fault: &Fault) {
        let gate = &self.segments.gate;
        gate.poison_if_fatal(fault);
        gate.count_disk_error();
        tracing::error!(%fault, dir = %self.segments.dir.display(), "segment maintenance failed");
    }

    /// Brings the segments' rows in the index up to date, and makes the index durable.
    pub fn checkpoint(&self) -> Result<(), Fault> {
        let work = super::committer::Work::Checkpoint;
        self.committer.commit_blocking(work, None)?;
        self.index.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chunkproto::{Durability, NodeId};
    use tempfile::TempDir;

    use super::super::super::admission::Gate;
    use super::super::header::Nonce;
    use super::super::recover::SegmentOptions;
    use super::super::slot::SlotRow;
    use super::*;
    use crate::store::Probe;

    fn sealed(live_bytes: u64, has_stale_records: bool) -> SlotRow {
        SlotRow {
            state: SlotState::Sealed,
            generation: 1,
            nonce: Nonce([1; 16]),
            bytes: 1 << 20,
            tail: 1 << 19,
            ordinal: 1,
            live_bytes,
            has_stale_records,
        }
    }

    #[test]
    fn stale_records_are_emptied_first_however_much_lives_beside_them() {
        let dir = TempDir::new().unwrap();
        let options = SegmentOptions {
            dir: dir.path().to_owned(),
            layout: Layout::new(dir.path().to_owned()),
            node: NodeId::generate(),
            segment_bytes: 1 << 20,
            open_files_max: 16,
            quiet_after: Duration::from_secs(5),
            gate: Gate::new(
                dir.path().to_owned(),
                95,
                Durability::PowerSafe,
                Probe::default(),
            ),
        };
        let rows = [sealed(1000, false), sealed(1 << 20, true)];
        let rows: BTreeMap<u32, SlotRow> = (0..).zip(rows).collect();
        let segments = Segments::new(options, rows, 2);
        let mut put_off = PutOff::new();
        assert_eq!(choose(&segments, false, &put_off), Some(1));
        put_off.insert(1, Instant::now());
        assert_eq!(choose(&segments, false, &put_off), Some(0));
    }
}
