//! Fuzz target for what stands in requests for chunks.

use super::{chunks, inventory};

/// The query or the `Range` header of a request.
pub(crate) fn request(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(range) = chunks::parse_range(text) {
        assert!(range.start < range.end);
    }
    if let Ok((_, limit)) = chunks::parse_page(text) {
        assert!((1..=chunkproto::wire::LIST_LIMIT_MAX).contains(&limit));
    }
    let _ = inventory::parse_range(text);
}
