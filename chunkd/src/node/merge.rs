//! One listing out of several: pages in id order, merged. A chunk that lies on two disks, because
//! one of them was fenced off when it was written again, is listed once.

use chunkproto::ChunkInfo;

/// The first `limit` chunks of the `pages`, each in id order and at least `limit` long or complete.
pub(crate) fn merged(pages: Vec<Vec<ChunkInfo>>, limit: usize) -> Vec<ChunkInfo> {
    let mut pages = pages;
    if pages.len() == 1 {
        return pages.swap_remove(0);
    }
    let mut all: Vec<_> = pages.into_iter().flatten().collect();
    // The pages are runs in order, which a stable sort finds and merges.
    all.sort_by_key(|chunk| chunk.id);
    all.dedup_by_key(|chunk| chunk.id);
    all.truncate(limit);
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chunkproto::{ChunkId, Crc64};
    use proptest::prelude::*;

    use super::*;

    fn chunk(number: u8) -> ChunkInfo {
        let mut bytes = [0; 16];
        bytes[0] = number;
        ChunkInfo {
            id: ChunkId::from_bytes(bytes),
            length_bytes: number.into(),
            crc64: Crc64(0),
        }
    }

    proptest! {
        #[test]
        fn pages_of_any_disks_concatenate_to_all_chunks_once(
            disks in prop::collection::vec(prop::collection::btree_set(any::<u8>(), 0..40), 1..5),
            limit in 1..20_usize,
        ) {
            let all: BTreeSet<u8> = disks.iter().flatten().copied().collect();
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let pages = disks.iter().map(|disk| {
                    let behind = disk.iter().filter(|number| after.is_none_or(|after| **number > after));
                    behind.take(limit).map(|number| chunk(*number)).collect()
                });
                let page = merged(pages.collect(), limit);
                let numbers = page.iter().map(|chunk| chunk.id.as_bytes()[0]);
                listed.extend(numbers);
                after = listed.last().copied();
                if page.len() < limit {
                    break;
                }
            }
            prop_assert_eq!(listed, all.into_iter().collect::<Vec<_>>());
        }
    }
}
