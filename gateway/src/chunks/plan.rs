//! How a body is split: into at most six chunks of equal length, the last one shorter.

/// Most chunks of one body (a PUT or a part).
pub const CHUNKS_MAX: u64 = 6;
/// Shortest chunk length, in bytes: a body of up to this size is one chunk.
pub const MIN_CHUNK_BYTES: u64 = 1024 * 1024;

/// The split of a body whose length is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitPlan {
    body_bytes: u64,
    chunk_bytes: u64,
}

/// One chunk of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedChunk {
    /// Its place among the body's chunks, from 0.
    pub index: u8,
    /// Where it begins in the body.
    pub offset_bytes: u64,
    /// Its length, more than 0.
    pub length_bytes: u64,
}

impl SplitPlan {
    /// The plan for a body of `body_bytes`. An empty body has no chunks.
    #[must_use]
    pub fn for_body(body_bytes: u64) -> Self {
        Self {
            body_bytes,
            chunk_bytes: body_bytes.div_ceil(CHUNKS_MAX).max(MIN_CHUNK_BYTES),
        }
    }

    /// The chunks in order; their lengths add up to the body's.
    pub fn chunks(self) -> impl Iterator<Item = PlannedChunk> {
        (0u8..).map_while(move |index| {
            let offset_bytes = u64::from(index) * self.chunk_bytes;
            let length_bytes = self
                .body_bytes
                .saturating_sub(offset_bytes)
                .min(self.chunk_bytes);
            (length_bytes > 0).then_some(PlannedChunk {
                index,
                offset_bytes,
                length_bytes,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn lengths(body_bytes: u64) -> Vec<u64> {
        SplitPlan::for_body(body_bytes)
            .chunks()
            .map(|chunk| chunk.length_bytes)
            .collect()
    }

    #[test]
    fn the_design_s_examples_hold() {
        assert_eq!(lengths(0), Vec::<u64>::new());
        assert_eq!(lengths(1), [1]);
        assert_eq!(lengths(MIB), [MIB]);
        assert_eq!(lengths(MIB + 1), [MIB, 1]);
        assert_eq!(lengths(3 * MIB), [MIB, MIB, MIB]);
        assert_eq!(lengths(10 * 1024 * MIB).len(), 6);
    }

    proptest! {
        #[test]
        fn chunks_cover_the_body_without_gap(body_bytes in 0u64..u64::MAX / 2) {
            let mut next = 0;
            for (index, chunk) in SplitPlan::for_body(body_bytes).chunks().enumerate() {
                prop_assert_eq!(usize::from(chunk.index), index);
                prop_assert_eq!(chunk.offset_bytes, next);
                prop_assert!(chunk.length_bytes > 0);
                prop_assert!(index < 6);
                next += chunk.length_bytes;
            }
            prop_assert_eq!(next, body_bytes);
        }
    }
}
