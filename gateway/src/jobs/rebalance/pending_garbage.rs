//! Bytes per node awaiting garbage collection, subtracted from its usage; otherwise a node that just
//! gave chunks away would still look full and keep giving.

use std::collections::HashMap;

use chunkproto::NodeId;
use metastore::{ChunkRef, GcItem, MetaResult, Metastore, Timestamp, UploadId};

/// Queue entries, or parts of an upload, read at a time.
const PAGE: usize = 1000;
/// Queue entries and parts that are looked at.
const LOOKED_AT_MAX: usize = 100_000;
/// Later than every entry.
const EVER: Timestamp = Timestamp(u64::MAX);

/// What waits to be deleted, as it is added up.
#[derive(Default)]
struct Garbage {
    bytes: HashMap<NodeId, u64>,
    /// Queue entries and parts.
    looked_at: usize,
}

/// Bytes that wait on each node to be deleted; `None` if they are in more entries of the queue, and
/// parts of uploads, than are looked at.
pub async fn garbage_on_nodes(
    metastore: &dyn Metastore,
) -> MetaResult<Option<HashMap<NodeId, u64>>> {
    let (mut garbage, mut after) = (Garbage::default(), None);
    while garbage.looked_at <= LOOKED_AT_MAX {
        let page = metastore.gc_due(EVER, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(Some(garbage.bytes));
        };
        after = Some((last.unlinked_at, last.id));
        garbage.looked_at += page.len();
        for entry in &page {
            match &entry.item {
                GcItem::Chunks(chunks) => garbage.add(chunks),
                GcItem::Copies(chunk) => garbage.add(std::slice::from_ref(chunk)),
                GcItem::Parts(upload) => garbage.add_parts(*upload, metastore).await?,
            }
        }
    }
    Ok(None)
}

impl Garbage {
    fn add(&mut self, chunks: &[ChunkRef]) {
        for chunk in chunks {
            for node in &chunk.replicas {
                let on_node = self.bytes.entry(*node).or_default();
                *on_node = on_node.saturating_add(chunk.length_bytes);
            }
        }
    }

    /// Adds an upload's parts. Their rows stay until the grace is over: a read that runs needs them.
    async fn add_parts(&mut self, upload: UploadId, metastore: &dyn Metastore) -> MetaResult<()> {
        let mut after = None;
        while self.looked_at <= LOOKED_AT_MAX {
            let page = metastore.list_parts(upload, after, PAGE).await?;
            self.looked_at += page.parts.len();
            for part in &page.parts {
                self.add(&part.layout.chunks);
            }
            after = page.parts.last().map(|part| part.number);
            if !page.truncated {
                break;
            }
        }
        Ok(())
    }
}
