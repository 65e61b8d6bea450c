//! Object contents that anybody can recompute at any offset, so that nothing large is held to
//! compare with: 64-bit word `i` is a mix of the seed and `i`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;

use bytes::Bytes;

const WORD_BYTES: u64 = 8;
/// Files are written and compared in pieces of this many bytes.
const PIECE_BYTES: u64 = 1 << 20;
/// Odd, and its multiples are spread well: 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The bytes of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// Tells payloads apart.
    pub seed: u64,
    /// How many bytes there are.
    pub length_bytes: u64,
}

impl Payload {
    /// `length_bytes` bytes that depend on `seed` alone.
    #[must_use]
    pub const fn new(seed: u64, length_bytes: u64) -> Self {
        Self { seed, length_bytes }
    }

    /// The bytes from `start` to before `end`, cut at the payload's own end.
    #[must_use]
    pub fn slice(&self, start: u64, end: u64) -> Bytes {
        let end = end.min(self.length_bytes);
        let first_word = start / WORD_BYTES;
        let words = first_word..end.div_ceil(WORD_BYTES).max(first_word);
        let bytes: Vec<u8> = words
            .flat_map(|word| mix(self.seed, word).to_le_bytes())
            .collect();
        let skipped = start - first_word * WORD_BYTES;
        let taken = end.saturating_sub(start);
        let index = |at: u64| usize::try_from(at).expect("a slice fits in memory");
        Bytes::from(bytes).slice(index(skipped)..index(skipped + taken))
    }

    /// All the bytes.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.slice(0, self.length_bytes)
    }

    /// The bytes in pieces of `piece_bytes`, the last one shorter.
    pub fn pieces(self, piece_bytes: u64) -> impl Iterator<Item = Bytes> + Send {
        (0..self.length_bytes.div_ceil(piece_bytes))
            .map(move |piece| self.slice(piece * piece_bytes, (piece + 1) * piece_bytes))
    }

    /// Writes the bytes to a new file.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn write_to(&self, path: &Path) {
        let file = File::create(path).expect("a test's file can be made");
        let mut file = BufWriter::new(file);
        for piece in self.pieces(PIECE_BYTES) {
            file.write_all(&piece)
                .expect("a test's file can be written");
        }
        file.flush().expect("a test's file can be written");
    }

    /// Compares a file with the bytes.
    ///
    /// # Panics
    /// When they differ; the message says where.
    pub fn assert_in(&self, path: &Path) {
        let file = File::open(path);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut file = BufReader::new(file);
        let mut compared_bytes = 0;
        for piece in self.pieces(PIECE_BYTES) {
            let mut found = vec![0; piece.len()];
            file.read_exact(&mut found).unwrap_or_else(|error| {
                panic!("{} after {compared_bytes}: {error}", path.display())
            });
            assert!(
                piece == found,
                "{} differs in the MiB from byte {compared_bytes}",
                path.display()
            );
            compared_bytes += piece.len() as u64;
        }
        let more = file.read(&mut [0]).expect("a test's file can be read");
        assert_eq!(more, 0, "{} is longer than expected", path.display());
    }
}

/// The finalizer of splitmix64, over the word's place in the seed's sequence.
const fn mix(seed: u64, word: u64) -> u64 {
    let mut mixed = seed.wrapping_add(word.wrapping_add(1).wrapping_mul(GOLDEN));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_what_stands_there_in_the_whole() {
        let payload = Payload::new(7, 1003);
        let whole = payload.bytes();
        assert_eq!(whole.len(), 1003);
        for (start, end) in [(0, 1), (3, 11), (8, 8), (995, 1003), (1000, 2000)] {
            let expected = &whole[start..end.min(1003)];
            assert_eq!(payload.slice(start as u64, end as u64), expected);
        }
        let pieces: Vec<u8> = payload.pieces(100).flatten().collect();
        assert_eq!(pieces, whole);
    }

    #[test]
    fn payloads_of_different_seeds_differ() {
        assert_ne!(Payload::new(1, 64).bytes(), Payload::new(2, 64).bytes());
    }
}
