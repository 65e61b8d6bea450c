//! Setting damaged records aside: out of the reads' way, kept for whoever wants to look.

use std::path::PathBuf;

use chunkproto::ChunkId;

use super::directory::Layout;
use super::durable;
use super::fault::Fault;

/// Moves the record of chunk `id` to quarantine and says so in the log. The caller removes the row.
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
