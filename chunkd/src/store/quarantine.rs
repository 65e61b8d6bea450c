//! Setting damaged records aside: out of the reads' way, kept for whoever wants to look.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use chunkproto::{ChunkId, Durability};

use super::directory::Layout;
use super::durable;
use super::fault::Fault;

/// Moves the file of chunk `id` to quarantine and says so in the log. The caller removes the row.
pub(crate) fn set_aside(layout: &Layout, id: ChunkId, detail: &str) -> Result<PathBuf, Fault> {
    let path = layout.record(id);
    let kept = layout.quarantined(id);
    durable::move_aside(&path, &kept)?;
    tracing::error!(
        chunk = %id, path = %path.display(), kept = %kept.display(), detail,
        "a damaged chunk was set aside"
    );
    Ok(kept)
}

/// Keeps a copy of a damaged record in a segment in quarantine. The caller deletes the chunk.
pub(crate) fn keep(layout: &Layout, id: ChunkId, raw: &[u8], detail: &str) -> Result<(), Fault> {
    let (temp, kept) = (layout.temp(id), layout.quarantined(id));
    let write = || {
        let mut file = File::create_new(&temp)?;
        file.write_all(raw)?;
        Ok(file)
    };
    let file = write().map_err(Fault::io("write", &temp))?;
    durable::publish(&file, &temp, &kept, Durability::PowerSafe)?;
    tracing::error!(chunk = %id, kept = %kept.display(), detail, "a damaged chunk was set aside");
    Ok(())
}
