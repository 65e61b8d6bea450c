//! Comparing what a node holds with what it should hold: a digest over a range of ids first, a list
//! only where the digests differ.

use serde::{Deserialize, Serialize};

use crate::{ChunkId, ChunkInfo};

/// Odd, and its multiples are spread well: 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A run of ids: those behind `after`, up to and with `through`. Without bounds, all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IdRange {
    /// The range begins behind this id.
    pub after: Option<ChunkId>,
    /// The range ends with this id.
    pub through: Option<ChunkId>,
}

/// What a set of chunks comes to, whatever their order: two equal digests are of equal sets, but for
/// a chance of one in 2^64. Guards against accidents, not against forgery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryDigest {
    /// How many chunks there are.
    pub chunks: u64,
    /// Sum, modulo 2^64, of a mix of each chunk's id, length and checksum.
    pub sum: u64,
}

impl IdRange {
    /// Whether the id lies in the range.
    #[must_use]
    pub fn contains(&self, id: ChunkId) -> bool {
        self.after.is_none_or(|after| id > after) && !self.is_behind(id)
    }

    /// Whether the id lies behind the range's end.
    #[must_use]
    pub fn is_behind(&self, id: ChunkId) -> bool {
        self.through.is_some_and(|through| id > through)
    }
}

impl InventoryDigest {
    /// Takes one more chunk in.
    pub fn add(&mut self, chunk: &ChunkInfo) {
        let id = chunk.id.as_bytes();
        let half = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&id[at..at + 8]);
            u64::from_be_bytes(bytes)
        };
        let words = [half(0), half(8), chunk.length_bytes, chunk.crc64.0];
        // Not linear in any word, so that swapped or cancelling errors of two chunks show.
        let mixed = words.iter().fold(GOLDEN, |mixed, word| mix(mixed ^ word));
        self.chunks += 1;
        self.sum = self.sum.wrapping_add(mixed);
    }

    /// The digest of these chunks.
    #[must_use]
    pub fn of<'a>(chunks: impl IntoIterator<Item = &'a ChunkInfo>) -> Self {
        let mut digest = Self::default();
        chunks.into_iter().for_each(|chunk| digest.add(chunk));
        digest
    }
}

/// The finalizer of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014) behind one step of its sequence.
const fn mix(word: u64) -> u64 {
    let mut mixed = word.wrapping_add(GOLDEN);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Crc64;

    fn chunk(id: u128, length_bytes: u64, crc: u64) -> ChunkInfo {
        ChunkInfo {
            id: ChunkId::from_bytes(id.to_be_bytes()),
            length_bytes,
            crc64: Crc64(crc),
        }
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter_and_every_field_does(
            rows in prop::collection::vec((any::<u128>(), any::<u64>(), any::<u64>()), 2..20),
            bit in 0u32..64,
        ) {
            let chunks: Vec<_> = rows.iter().map(|&(id, length, crc)| chunk(id, length, crc)).collect();
            let digest = InventoryDigest::of(&chunks);
            prop_assert_eq!(InventoryDigest::of(chunks.iter().rev()), digest);
            prop_assert_ne!(InventoryDigest::of(&chunks[1..]), digest);
            let (id, length, crc) = rows[0];
            for other in [
                chunk(id ^ (1 << bit), length, crc),
                chunk(id, length ^ (1 << bit), crc),
                chunk(id, length, crc ^ (1 << bit)),
            ] {
                let changed = std::iter::once(&other).chain(&chunks[1..]);
                prop_assert_ne!(InventoryDigest::of(changed), digest);
            }
        }
    }

    #[test]
    fn checksums_that_changed_places_show() {
        let right = [chunk(1, 10, 111), chunk(2, 10, 222)];
        let swapped = [chunk(1, 10, 222), chunk(2, 10, 111)];
        assert_ne!(InventoryDigest::of(&right), InventoryDigest::of(&swapped));
    }

    #[test]
    fn a_digest_of_known_chunks_stays_what_it_is() {
        // Gateways and nodes of different versions compare their digests.
        let digest = InventoryDigest::of(&[chunk(1, 2, 3)]);
        assert_eq!(digest.chunks, 1);
        assert_eq!(format!("{:016x}", digest.sum), "f9ea6075ef47fede");
    }

    #[test]
    fn a_range_has_its_last_id_and_not_the_one_it_begins_behind() {
        let id = |number: u128| ChunkId::from_bytes(number.to_be_bytes());
        let range = IdRange {
            after: Some(id(5)),
            through: Some(id(7)),
        };
        let inside: Vec<_> = (4..9)
            .filter(|&number| range.contains(id(number)))
            .collect();
        assert_eq!(inside, [6, 7]);
        assert!(IdRange::default().contains(id(0)));
    }
}
