//! What waits on nodes to be deleted. It takes room for a while, and must not be taken for load: a
//! node that just gave chunks away would go on giving.

use std::collections::HashMap;

use chunkproto::NodeId;
use metastore::{GcItem, MetaResult, Metastore, Timestamp};

/// Queue entries read at a time.
const PAGE: usize = 1000;
/// Queue entries that are looked at.
const ENTRIES_MAX: usize = 100_000;
/// Later than every entry.
const EVER: Timestamp = Timestamp(u64::MAX);

/// Bytes that wait on each node to be deleted; none where the queue is too long to tell, or holds
/// uploads whose parts are not known yet.
pub async fn garbage_on_nodes(
    metastore: &dyn Metastore,
) -> MetaResult<Option<HashMap<NodeId, u64>>> {
    let (mut bytes, mut after, mut looked_at) = (HashMap::new(), None, 0);
    loop {
        let page = metastore.gc_due(EVER, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(Some(bytes));
        };
        after = Some((last.unlinked_at, last.id));
        looked_at += page.len();
        if looked_at > ENTRIES_MAX {
            return Ok(None);
        }
        for entry in &page {
            let chunks = match &entry.item {
                GcItem::Chunks(chunks) => chunks.as_slice(),
                GcItem::Copies(chunk) => std::slice::from_ref(chunk),
                GcItem::Parts(_) => return Ok(None),
            };
            for chunk in chunks {
                for node in &chunk.replicas {
                    let on_node: &mut u64 = bytes.entry(*node).or_default();
                    *on_node = on_node.saturating_add(chunk.length_bytes);
                }
            }
        }
    }
}
