//! Bringing the index in line with the chunks that have files of their own: after an unclean stop,
//! and from nothing when it was lost (I9). Segments are brought in line by `segment::recover`.
//! Names are compared with rows; only a record without a row is opened.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use chunkproto::{ChunkId, Durability};

use super::directory::Layout;
use super::durable;
use super::fault::Fault;
use super::index::Index;
use super::index_rows::Row;
use super::quarantine;
use super::read::RecordReader;

/// How often the walk says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Enters what lies on disk and is not in the index, removes what is in the index and not on disk.
/// A record whose ends are damaged goes to quarantine.
///
/// A row for each name is enough: a record is whole before it gets its name, and every read
/// verifies it again.
pub(crate) fn reconcile(
    layout: &Layout,
    index: &Index,
    durability: Durability,
) -> Result<(), Fault> {
    tracing::debug!(dir = %layout.root().display(), "comparing the index with the chunks on disk");
    let (mut on_disk, mut entered) = (0_u64, 0_u64);
    let mut said = Instant::now();
    for last_byte in 0..=u8::MAX {
        let dir = layout.fan_out(last_byte);
        // IMPORTANT: before its names are believed. What a killed process named or removed may be so in
        // memory alone.
        if durability.syncs() {
            durable::sync_dir(&dir)?;
        }
        for entry in fs::read_dir(&dir).map_err(Fault::io("list", &dir))? {
            let path = entry.map_err(Fault::io("list", &dir))?.path();
            let Some(id) = id_of(layout, &path) else {
                tracing::warn!(path = %path.display(), "this file is not a chunk of ours; ignored");
                continue;
            };
            if index.get(id)?.is_none() {
                if !enter(layout, index, id, &path)? {
                    continue;
                }
                entered += 1;
            }
            on_disk += 1;
            if said.elapsed() >= PROGRESS_EVERY {
                said = Instant::now();
                let percent = u32::from(last_byte) * 100 / 256;
                tracing::info!(on_disk, entered, percent, "still comparing");
            }
        }
    }
    drop_absent(layout, index, on_disk)?;
    let chunks = index.totals().chunk_count;
    if chunks > 0 {
        let dir = layout.root().display();
        tracing::info!(%dir, chunks, entered, "index and chunks agree again");
    }
    Ok(())
}

/// Enters one record; false if it was damaged and is in quarantine now, or cannot be read.
fn enter(layout: &Layout, index: &Index, id: ChunkId, path: &Path) -> Result<bool, Fault> {
    let file = File::open(path).map_err(Fault::io("open", path))?;
    match RecordReader::in_own_file(file, path, id) {
        Ok(reader) => {
            let mut change = index.batch();
            change.put(&Row::own_file(reader.info()), None);
            change.commit().map(|()| true)
        }
        Err(Fault::Damaged(detail)) => {
            quarantine::set_aside(layout, id, &detail)?;
            Ok(false)
        }
        // A sector that cannot be read must not keep the other chunks from being served.
        Err(fault) => {
            tracing::error!(chunk = %id, %fault, "this chunk cannot be read and is not listed");
            Ok(false)
        }
    }
}

/// Removes the rows of files that are gone. Each file has a row by now, so equal numbers mean that
/// there are none.
fn drop_absent(layout: &Layout, index: &Index, on_disk: u64) -> Result<(), Fault> {
    let rows = index
        .own_files()
        .try_fold(0, |count, id| id.map(|_| count + 1));
    if rows? == on_disk {
        return Ok(());
    }
    for id in index.own_files() {
        let id = id?;
        let path = layout.record(id);
        if !path.try_exists().map_err(Fault::io("look at", &path))? {
            let mut change = index.batch();
            if let Some(row) = change.get(id)? {
                change.remove(&row);
            }
            change.commit()?;
        }
    }
    Ok(())
}

/// The chunk whose record this path is, if it is one.
fn id_of(layout: &Layout, path: &Path) -> Option<ChunkId> {
    let id = path.file_name()?.to_str()?.parse().ok()?;
    (layout.record(id) == path).then_some(id)
}
