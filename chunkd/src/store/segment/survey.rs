//! What the files of segments are, before their groups are read. Nothing that is read here or later was
//! in memory alone: each file is made durable first and then read from the disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use rustix::fs::Advice;

use super::super::fault::Fault;
use super::super::probe::Step;
use super::create;
use super::file::{is_blank, read_header};
use super::header::SegmentHeader;
use super::recover::SegmentOptions;
use super::slot::{SlotRow, SlotState};

/// The segments of a directory.
pub(super) struct Survey {
    /// What each is used for.
    pub rows: BTreeMap<u32, SlotRow>,
    /// Those that may hold groups which the index does not show.
    pub unread: Vec<u32>,
    /// The first number behind all that are taken.
    pub slots_end: u32,
}

/// Looks at all files that the index may be behind of; `rows` is what it knows.
///
/// # Errors
/// `BadIndex` when the index knows segments that are not there; `Io`, `Sync`.
pub(super) fn survey(
    options: &SegmentOptions,
    mut rows: BTreeMap<u32, SlotRow>,
) -> Result<Survey, Fault> {
    let known = rows.len();
    let (mut found, mut slots_end, mut unread) = (0, 0, Vec::new());
    for entry in fs::read_dir(&options.dir).map_err(Fault::io("list", &options.dir))? {
        let entry = entry.map_err(Fault::io("list", &options.dir))?;
        let name = entry.file_name();
        let Some(slot) = name.to_str().and_then(create::slot_of_name) else {
            tracing::warn!(path = %entry.path().display(), "this file is no segment; ignored");
            continue;
        };
        slots_end = slots_end.max(slot.saturating_add(1));
        found += usize::from(rows.contains_key(&slot));
        let row = rows.get(&slot).copied();
        if row.is_some_and(|row| row.state.is_sealed()) {
            continue;
        }
        match look_at(options, slot, row)? {
            Verdict::Strange(why) => {
                tracing::error!(path = %entry.path().display(), why, "not a segment of ours; left alone");
                rows.remove(&slot);
            }
            Verdict::HalfMade => {
                let path = entry.path();
                fs::remove_file(&path).map_err(Fault::io("remove", &path))?;
            }
            Verdict::Free(row) => {
                rows.insert(slot, row);
            }
            Verdict::Unread(row) => {
                rows.insert(slot, row);
                unread.push(slot);
            }
        }
    }
    if found < known {
        let missing = known - found;
        return Err(Fault::BadIndex(format!(
            "{missing} of its segments are not there"
        )));
    }
    unread.sort_unstable();
    Ok(Survey {
        rows,
        unread,
        slots_end,
    })
}

/// Ends the life of a segment for good that was emptied when the store stopped. Until its file says
/// so, a new index would find what is in it again, deleted chunks too.
pub(super) fn end_retired(
    options: &SegmentOptions,
    slot: u32,
    row: SlotRow,
) -> Result<SlotRow, Fault> {
    if row.state != SlotState::Retired {
        return Ok(row);
    }
    let path = create::path(&options.dir, slot);
    if !path.try_exists().map_err(Fault::io("look at", &path))? {
        return Err(Fault::BadIndex(format!("segment {slot:08x} is not there")));
    }
    // It may live again already, or have been replaced.
    let ours = read_header(&path)?.is_none_or(|header| {
        header.node == options.node && header.slot == slot && header.generation <= row.generation
    });
    if !ours {
        return Ok(row);
    }
    create::end_life(&path, options.node, slot, &row, options.gate.durability())?;
    Ok(SlotRow::free(row.generation, row.bytes))
}

/// The first number behind all that are taken.
pub(super) fn slots_end(options: &SegmentOptions) -> Result<u32, Fault> {
    let mut end = 0;
    for entry in fs::read_dir(&options.dir).map_err(Fault::io("list", &options.dir))? {
        let name = entry.map_err(Fault::io("list", &options.dir))?.file_name();
        let slot = name.to_str().and_then(create::slot_of_name);
        end = end.max(slot.map_or(0, |slot| slot.saturating_add(1)));
    }
    Ok(end)
}

/// What a file turned out to be.
enum Verdict {
    Free(SlotRow),
    Unread(SlotRow),
    /// A file whose making was cut off; it never held anything.
    HalfMade,
    Strange(&'static str),
}

fn look_at(options: &SegmentOptions, slot: u32, row: Option<SlotRow>) -> Result<Verdict, Fault> {
    let path = create::path(&options.dir, slot);
    sync_found(options, &path)?;
    let header = read_header(&path)?;
    if header.is_some() || row.is_some() {
        return Ok(judge(options, slot, row, header));
    }
    if !is_blank(&path)? {
        return Ok(Verdict::Strange(
            "bit rot: both headers are damaged and the index does not know it. Its chunks must be \
             repaired from other replicas; then the file can be removed",
        ));
    }
    let file_bytes = fs::metadata(&path)
        .map_err(Fault::io("look at", &path))?
        .len();
    if file_bytes != u64::from(options.segment_bytes) {
        return Ok(Verdict::HalfMade);
    }
    Ok(Verdict::Free(SlotRow::free(0, options.segment_bytes)))
}

/// Makes what a file holds durable, and has the system forget it, so that it is read from the disk.
///
/// IMPORTANT: before anything of the file is believed. What a killed process wrote may be in memory
/// alone, and what a sync failed to write stays there and looks whole: once the index shows it, the
/// earlier copies of its chunks may be freed.
fn sync_found(options: &SegmentOptions, path: &Path) -> Result<(), Fault> {
    let probe = options.gate.probe();
    probe.at(Step::SyncFound).map_err(Fault::sync(path))?;
    if !options.gate.durability().syncs() {
        return Ok(());
    }
    let file = File::options().read(true).write(true).open(path);
    let file = file.map_err(Fault::io("open", path))?;
    file.sync_data().map_err(Fault::sync(path))?;
    // Advice alone: a filesystem that ignores it has the groups read from memory.
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
    Ok(())
}

/// What the file of a slot is, from the index's row and its own header.
fn judge(
    options: &SegmentOptions,
    slot: u32,
    row: Option<SlotRow>,
    header: Option<SegmentHeader>,
) -> Verdict {
    let Some(header) = header else {
        return match row {
            // Its header is damaged, but the index knows its mark.
            Some(row) if row.state == SlotState::Open => Verdict::Unread(row),
            row => Verdict::Free(row.unwrap_or(SlotRow::free(0, options.segment_bytes))),
        };
    };
    if header.node != options.node {
        return Verdict::Strange("it belongs to another node");
    }
    if header.slot != slot {
        return Verdict::Strange("it has another segment's name");
    }
    let known = row.map_or(0, |row| row.generation);
    match row {
        Some(row) if row.state == SlotState::Open && header.generation == known => {
            Verdict::Unread(row)
        }
        // A life of which the index knows nothing, or with a new index any life.
        row if header.in_use && (header.generation > known || row.is_none()) => {
            Verdict::Unread(SlotRow::begun(&header))
        }
        _ => Verdict::Free(SlotRow::free(header.generation.max(known), header.bytes)),
    }
}
