//! The frame of a sealed body: blocks of 64 KiB of plaintext, each sealed by itself and 16 bytes
//! longer for it, so that a range costs the blocks that it touches. What binds a block to its place
//! is its nonce, the block's number, and what is authenticated with it: the length of the body and
//! the block's number. Blocks that are swapped, left out or put in do not open.

use chunkproto::ByteRange;

use super::cipher::TAG_BYTES;

/// Plaintext in one block; the last one of a body is shorter.
pub const BLOCK_BYTES: u64 = 64 * 1024;
const SEALED_BLOCK_BYTES: u64 = BLOCK_BYTES + TAG_BYTES as u64;

/// Length of a sealed body whose plaintext has `body_bytes`.
#[must_use]
pub fn sealed_bytes(body_bytes: u64) -> u64 {
    body_bytes + body_bytes.div_ceil(BLOCK_BYTES) * TAG_BYTES as u64
}

/// Length of the plaintext of a sealed body of `sealed_bytes`; 0 for fewer than a tag has.
#[must_use]
pub fn plain_bytes(sealed_bytes: u64) -> u64 {
    sealed_bytes.saturating_sub(sealed_bytes.div_ceil(SEALED_BLOCK_BYTES) * TAG_BYTES as u64)
}

/// What is authenticated with block `number`.
pub fn bound_to(body_bytes: u64, number: u64) -> [u8; 16] {
    let mut bound = [0; 16];
    bound[..8].copy_from_slice(&body_bytes.to_be_bytes());
    bound[8..].copy_from_slice(&number.to_be_bytes());
    bound
}

/// The whole blocks of a sealed body that hold a range of its plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedPart {
    /// Length of the body's plaintext.
    pub body_bytes: u64,
    /// The first of the blocks.
    pub first_block: u64,
    /// How many blocks.
    pub blocks: u64,
    /// Where the blocks stand in the sealed body.
    pub sealed: ByteRange,
    /// Plaintext before the range in the first block.
    pub skipped_bytes: u64,
    /// Length of the range.
    pub wanted_bytes: u64,
}

impl SealedPart {
    /// The blocks that hold `range` of a body of `body_bytes`.
    #[must_use]
    pub fn covering(range: ByteRange, body_bytes: u64) -> Self {
        let end = range.end.min(body_bytes);
        let start = range.start.min(end);
        let first_block = start / BLOCK_BYTES;
        let past_last = match start < end {
            true => end.div_ceil(BLOCK_BYTES),
            false => first_block,
        };
        Self {
            body_bytes,
            first_block,
            blocks: past_last - first_block,
            sealed: ByteRange {
                start: (first_block * SEALED_BLOCK_BYTES).min(sealed_bytes(body_bytes)),
                end: (past_last * SEALED_BLOCK_BYTES).min(sealed_bytes(body_bytes)),
            },
            skipped_bytes: start - first_block * BLOCK_BYTES,
            wanted_bytes: end - start,
        }
    }
}

/// Plaintext in block `number` of a body.
pub fn block_bytes(body_bytes: u64, number: u64) -> u64 {
    body_bytes
        .saturating_sub(number * BLOCK_BYTES)
        .min(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_blocks_of_a_range_hold_it_and_are_not_more_than_they_must_be(
            body_bytes in 1u64..1_000_000,
            start in 0u64..1_000_000,
            length in 1u64..300_000,
        ) {
            let start = start % body_bytes;
            let end = (start + length).min(body_bytes);
            let part = SealedPart::covering(ByteRange { start, end }, body_bytes);
            prop_assert_eq!(plain_bytes(sealed_bytes(body_bytes)), body_bytes);
            let plain: u64 = (part.first_block..part.first_block + part.blocks)
                .map(|number| block_bytes(body_bytes, number))
                .sum();
            prop_assert_eq!(part.wanted_bytes, end - start);
            prop_assert!(part.skipped_bytes < BLOCK_BYTES);
            prop_assert!(part.skipped_bytes + part.wanted_bytes <= plain);
            prop_assert!(plain < part.skipped_bytes + part.wanted_bytes + BLOCK_BYTES);
            prop_assert_eq!(part.sealed.length_bytes(), plain + part.blocks * 16);
            prop_assert!(part.sealed.end <= sealed_bytes(body_bytes));
        }
    }

    #[test]
    fn an_empty_range_has_no_blocks() {
        let part = SealedPart::covering(ByteRange { start: 0, end: 0 }, 0);
        assert_eq!((part.blocks, part.sealed.length_bytes()), (0, 0));
        assert_eq!((sealed_bytes(0), plain_bytes(0)), (0, 0));
    }

    #[test]
    fn what_is_too_short_for_a_sealed_body_holds_nothing() {
        assert_eq!(plain_bytes(TAG_BYTES as u64 - 1), 0);
    }
}
