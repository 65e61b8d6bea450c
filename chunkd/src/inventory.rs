//! The digest over a range of the chunks that a store or a node holds.

use chunkproto::{ChunkId, ChunkInfo, ChunkResult, IdRange, InventoryDigest};

/// Chunks read at a time.
const PAGE: usize = 4096;

/// The digest of the chunks in `range`, which `list` yields in pages: up to so many in id order,
/// those behind an id. Fewer than asked for mean the end.
///
/// # Errors
/// What `list` fails with.
pub async fn digest_of<Page>(
    range: IdRange,
    list: impl Fn(Option<ChunkId>, usize) -> Page,
) -> ChunkResult<InventoryDigest>
where
    Page: Future<Output = ChunkResult<Vec<ChunkInfo>>>,
{
    let (mut digest, mut after) = (InventoryDigest::default(), range.after);
    loop {
        let page = list(after, PAGE).await?;
        let inside = page.iter().take_while(|chunk| !range.is_behind(chunk.id));
        inside.for_each(|chunk| digest.add(chunk));
        after = page.last().map(|chunk| chunk.id);
        if page.len() < PAGE || after.is_some_and(|last| range.is_behind(last)) {
            return Ok(digest);
        }
    }
}
