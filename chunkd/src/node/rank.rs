//! In which order the disks are asked for a chunk: rendezvous hashing weighted by size. The first
//! disk that can takes a new chunk, so a reader mostly finds it at the first one it asks; adding or
//! losing a disk changes the order only where that disk comes first.
//!
//! The weights and scores are those of Schindelhauer and Schomaker, "Weighted Distributed Hash
//! Tables" (SPAA 2005): score = weight / -ln(hash), with the hash in (0, 1).

use chunkproto::{ChunkId, DiskId};

/// A disk and its share of the chunks.
pub(crate) struct Candidate {
    /// The disk.
    pub id: DiskId,
    /// Its size.
    pub weight_bytes: u64,
}

/// The numbers of the `disks`, the one where `chunk` belongs first.
pub(crate) fn order(chunk: ChunkId, disks: impl IntoIterator<Item = Candidate>) -> Vec<usize> {
    let mut scored: Vec<_> = disks
        .into_iter()
        .map(|disk| score(chunk, &disk))
        .enumerate()
        .collect();
    scored.sort_unstable_by(|(_, one), (_, other)| other.total_cmp(one));
    scored.into_iter().map(|(number, _)| number).collect()
}

fn score(chunk: ChunkId, disk: &Candidate) -> f64 {
    let [mut hash, chunk_low] = halves(*chunk.as_bytes());
    for word in [chunk_low].into_iter().chain(halves(*disk.id.as_bytes())) {
        hash = mixed(hash ^ word);
    }
    // 53 bits, so that the fraction is exact and neither 0 nor 1.
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits fit exactly; a weight may lose its last bits"
    )]
    let (fraction, weight) = (
        ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64,
        disk.weight_bytes.max(1) as f64,
    );
    weight / -fraction.ln()
}

fn halves(bytes: [u8; 16]) -> [u64; 2] {
    let whole = u128::from_be_bytes(bytes);
    let low = u64::try_from(whole & u128::from(u64::MAX)).expect("64 bits were kept");
    let high = u64::try_from(whole >> 64).expect("64 bits are left");
    [high, low]
}

/// Spreads every bit over all others: the finalizer of SplitMix64, after Stafford's variant 13.
fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disks(sizes: &[u64]) -> Vec<Candidate> {
        let mut number = 0_u8;
        sizes
            .iter()
            .map(|&weight_bytes| {
                number += 1;
                Candidate {
                    id: DiskId::from(uuid::Uuid::from_bytes([number; 16])),
                    weight_bytes,
                }
            })
            .collect()
    }

    /// How many of `chunks` come first at each disk.
    fn shares(sizes: &[u64], chunks: &[ChunkId]) -> Vec<usize> {
        let mut shares = vec![0; sizes.len()];
        for &chunk in chunks {
            shares[order(chunk, disks(sizes))[0]] += 1;
        }
        shares
    }

    fn chunks() -> Vec<ChunkId> {
        // Born in one burst: only their low bits differ.
        (0..20_000).map(|_| ChunkId::generate()).collect()
    }

    #[test]
    fn chunks_spread_by_size() {
        let shares = shares(&[1 << 40, 2 << 40, 1 << 40], &chunks());
        for (share, expected) in shares.iter().zip([5_000_usize, 10_000, 5_000]) {
            assert!(share.abs_diff(expected) < 500, "{shares:?}");
        }
    }

    #[test]
    fn a_disk_more_takes_chunks_from_all_and_moves_none_between_the_others() {
        let (few, many) = (disks(&[100, 100, 100]), disks(&[100, 100, 100, 100]));
        let (mut moved, chunks) = (0_usize, chunks());
        for &chunk in &chunks {
            let candidates = |disks: &[Candidate]| {
                disks
                    .iter()
                    .map(|disk| Candidate { ..*disk })
                    .collect::<Vec<_>>()
            };
            let before = order(chunk, candidates(&few))[0];
            let after = order(chunk, candidates(&many))[0];
            assert!(after == before || after == 3);
            moved += usize::from(after == 3);
        }
        assert!(moved.abs_diff(chunks.len() / 4) < 500, "{moved}");
    }

    #[test]
    fn the_order_names_each_disk_once() {
        let mut order = order(ChunkId::generate(), disks(&[0, 5, u64::MAX, 5]));
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3]);
    }
}
