//! A piece of the log as bytes: for each write its number and length, least significant byte first,
//! then what was written, as RocksDB encodes it. Whoever keeps the bytes guards them by a checksum.

/// Consecutive writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPiece {
    after: u64,
    last: u64,
    bytes: Vec<u8>,
}

/// One write of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoggedWrite<'p> {
    /// Its number.
    pub(super) first: u64,
    /// What was written.
    pub(super) batch: &'p [u8],
}

const HEAD_BYTES: usize = 12;
/// What RocksDB begins each write with: its number, and how many rows it has.
const BATCH_HEAD_BYTES: usize = 12;

impl LogPiece {
    /// No writes yet, and the next one is behind `after`.
    pub(super) fn behind(after: u64) -> Self {
        Self {
            after,
            last: after,
            bytes: Vec::new(),
        }
    }

    /// Adds a write of `rows` rows whose first has the number `first`; false, if writes between are
    /// missing.
    pub(super) fn push(&mut self, first: u64, rows: u64, batch: &[u8]) -> bool {
        let (true, Ok(length)) = (first == self.last + 1, u32::try_from(batch.len())) else {
            return false;
        };
        self.bytes.extend_from_slice(&first.to_le_bytes());
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(batch);
        self.last += rows;
        true
    }

    /// Number of its first write.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.after + 1
    }

    /// Number of its last row.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Whether it has no writes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes to keep.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes to keep.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The writes in the bytes of a piece, in order; `None` for bytes that are no piece.
pub(super) fn writes(mut bytes: &[u8]) -> Option<Vec<LoggedWrite<'_>>> {
    let mut writes = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let first = u64::from_le_bytes(head[..8].try_into().ok()?);
        let length = u32::from_le_bytes(head[8..].try_into().ok()?);
        let (batch, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        // RocksDB would read the head all the same.
        if batch.len() < BATCH_HEAD_BYTES {
            return None;
        }
        writes.push(LoggedWrite { first, batch });
        bytes = rest;
    }
    Some(writes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_must_follow_each_other() {
        let mut piece = LogPiece::behind(6);
        assert!(!piece.push(8, 1, b"later"));
        assert!(piece.push(7, 3, b"a write of three rows"));
        assert!(!piece.push(8, 1, b"inside"));
        assert!(piece.push(10, 1, b"a write of one"));
        assert_eq!((piece.first(), piece.last()), (7, 10));
        let found: Vec<_> = writes(piece.bytes()).unwrap();
        assert_eq!(
            found[0],
            LoggedWrite {
                first: 7,
                batch: b"a write of three rows"
            }
        );
        assert_eq!(
            found[1],
            LoggedWrite {
                first: 10,
                batch: b"a write of one"
            }
        );
    }

    #[test]
    fn a_write_without_the_head_of_one_is_refused() {
        let mut piece = LogPiece::behind(0);
        piece.push(1, 1, b"eleven long");
        assert!(writes(piece.bytes()).is_none());
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_piece_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = writes(&bytes);
        }

        #[test]
        fn a_torn_piece_is_refused(cut in 1usize..26) {
            let mut piece = LogPiece::behind(0);
            piece.push(1, 1, b"a write of one");
            prop_assert!(writes(&piece.bytes()[..cut]).is_none());
        }
    }
}
