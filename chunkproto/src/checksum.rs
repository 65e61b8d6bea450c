//! The two checksums that guard stored bytes: CRC32C for each block, CRC64-NVME for a whole chunk.
//! The home of `crc-fast` for stored data.

use std::fmt;
use std::str::FromStr;

use crc_fast::{CrcAlgorithm, Digest};
use serde::{Deserialize, Serialize};

/// Text that is no checksum.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a CRC64: expected 16 hexadecimal digits")]
pub struct ParseChecksumError(String);

/// Bytes of data under one block checksum. The last block of a chunk may be shorter.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// The CRC32C (Castagnoli) of one block.
#[must_use]
pub fn block_crc32c(block: &[u8]) -> u32 {
    let crc = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, block);
    u32::try_from(crc).expect("a 32-bit CRC fits in 32 bits")
}

/// A block's CRC32C in the making, over bytes that arrive piece by piece.
pub struct BlockHasher(Digest);

impl BlockHasher {
    /// The checksum of no bytes yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The checksum of the bytes so far, as [`block_crc32c`] computes it over all of them at once.
    #[must_use]
    pub fn finish(&self) -> u32 {
        u32::try_from(self.0.finalize()).expect("a 32-bit CRC fits in 32 bits")
    }
}

impl Default for BlockHasher {
    fn default() -> Self {
        Self::new()
    }
}

/// The CRC64-NVME of a whole chunk. As text: 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Crc64(pub u64);

impl Crc64 {
    /// The checksum of `data`.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        Self(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, data))
    }

    /// The checksum of the bytes under `self` followed by `next_len_bytes` bytes under `next`.
    #[must_use]
    pub fn then(self, next: Self, next_len_bytes: u64) -> Self {
        // What `self` adds is linear in it, so zero (also the checksum of no bytes) adds nothing. To
        // find that out by combining costs as much as hashing a MiB.
        if self.0 == 0 {
            return next;
        }
        Self(crc_fast::checksum_combine(
            CrcAlgorithm::Crc64Nvme,
            self.0,
            next.0,
            next_len_bytes,
        ))
    }
}

impl fmt::Display for Crc64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Crc64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Crc64 {
    type Err = ParseChecksumError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let well_formed = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match u64::from_str_radix(text, 16) {
            Ok(crc) if well_formed => Ok(Self(crc)),
            _ => Err(ParseChecksumError(text.chars().take(64).collect())),
        }
    }
}

/// A CRC64-NVME in the making, over bytes that arrive piece by piece.
#[derive(Clone)]
pub struct Crc64Hasher(Digest);

impl Crc64Hasher {
    /// The checksum of no bytes yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64Nvme))
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The checksum of the bytes so far.
    #[must_use]
    pub fn finish(&self) -> Crc64 {
        Crc64(self.0.finalize())
    }
}

impl Default for Crc64Hasher {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_published_check_values_hold() {
        // The "check" inputs of the CRC catalogue: https://reveng.sourceforge.io/crc-catalogue/
        assert_eq!(block_crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(Crc64::of(b"123456789"), Crc64(0xae8b_1486_0a79_9888));
    }

    #[test]
    fn text_that_is_no_checksum_is_refused() {
        for text in [
            "",
            "12",
            "+123456789abcdef",
            "zzzzzzzzzzzzzzzz",
            "0123456789abcdef0",
        ] {
            assert!(text.parse::<Crc64>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn pieces_hash_like_the_whole(data in prop::collection::vec(any::<u8>(), 0..4096), cut in 0usize..4096) {
            let (head, tail) = data.split_at(cut.min(data.len()));
            let mut hasher = Crc64Hasher::new();
            hasher.update(head);
            hasher.update(tail);
            prop_assert_eq!(hasher.finish(), Crc64::of(&data));
            let mut block = BlockHasher::new();
            block.update(head);
            block.update(tail);
            prop_assert_eq!(block.finish(), block_crc32c(&data));
            prop_assert_eq!(Crc64::of(head).then(Crc64::of(tail), tail.len() as u64), Crc64::of(&data));
            prop_assert_eq!(Crc64::of(&data).to_string().parse::<Crc64>().unwrap(), Crc64::of(&data));
        }
    }
}
