//! The head of a group: what one sync made durable. Pure; hostile bytes give None, never a panic.

use chunkproto::{ChunkId, Crc64, block_crc32c};

use super::super::bytes::{array_at, u32_at, u64_at};
use super::super::record::check_length;
use super::header::Nonce;

/// Most entries in one group: more would not make the sync cheaper, and the first would wait.
pub(crate) const GROUP_ENTRIES_MAX: usize = 512;

/// No store writes so many groups; whoever counts on from here is far from an overflow.
const SEQUENCE_MAX: u64 = 1 << 63;

const MAGIC: [u8; 8] = *b"SXTGROUP";
const ENTRIES_AT: usize = 48;
/// So many of the 24 bytes of magic and nonce tell a damaged head. Those of a record agree in 19.
const MARKS_MIN: usize = 20;
const ENTRY_BYTES: usize = 52;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// The head of one group, wherever its records lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Number of the group among all of the store; a group is written when the one before is durable.
    pub sequence: u64,
    /// Number of the group in its segment's life, from 0.
    pub ordinal: u32,
    /// Bytes from the head's first one to the end of the records that follow it.
    pub bytes: u32,
    /// What happened, in no particular order.
    pub entries: Vec<Entry>,
}

/// One change of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A record in this segment is a chunk.
    Put {
        /// The chunk.
        id: ChunkId,
        /// Offset of the record's head in the segment.
        offset: u32,
        /// Length of the record's head.
        head_bytes: u16,
        /// Bytes of data.
        length_bytes: u64,
        /// Checksum of the data.
        crc64: Crc64,
    },
    /// A chunk is gone.
    Delete {
        /// The chunk.
        id: ChunkId,
        /// The segment that held its record. Once that segment has begun another life, this entry
        /// is of no use any more.
        slot: u32,
        /// The life of that segment.
        generation: u32,
        /// The group in which the chunk was deleted: this one, or an earlier one whose segment was
        /// compacted. Records of later groups are not meant.
        sequence: u64,
    },
}

impl Group {
    /// Length of the head of a group with `entries` entries.
    pub fn head_bytes(entries: usize) -> usize {
        ENTRIES_AT + entries * ENTRY_BYTES + 4
    }

    /// Length of so many entries.
    pub fn entries_bytes(entries: usize) -> u64 {
        (entries * ENTRY_BYTES) as u64
    }

    /// The head's bytes.
    pub fn encode(&self, nonce: Nonce) -> Vec<u8> {
        let count = u32::try_from(self.entries.len()).expect("at most GROUP_ENTRIES_MAX");
        let mut bytes = Vec::with_capacity(Self::head_bytes(self.entries.len()));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&nonce.0);
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.ordinal.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&self.bytes.to_le_bytes());
        bytes.resize(ENTRIES_AT, 0);
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.encode());
        }
        let crc = block_crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// How long the head is that begins with these bytes; `None` if they begin none of this life.
    pub fn announced_bytes(bytes: &[u8], nonce: Nonce) -> Option<usize> {
        if bytes.len() < ENTRIES_AT || bytes[..8] != MAGIC || bytes[8..24] != nonce.0 {
            return None;
        }
        let count = usize::try_from(u32_at(bytes, 36)).ok()?;
        (count <= GROUP_ENTRIES_MAX).then(|| Self::head_bytes(count))
    }

    /// The sequence in what looks like a head of this life that is damaged; `None` if it looks like anything
    /// else. The sequence may be damaged too.
    pub fn traced_sequence(bytes: &[u8], nonce: Nonce) -> Option<u64> {
        if bytes.len() < ENTRIES_AT {
            return None;
        }
        let marks = MAGIC.iter().chain(&nonce.0);
        let agree = marks.zip(bytes).filter(|(mark, byte)| mark == byte).count();
        (agree >= MARKS_MIN).then(|| u64_at(bytes, 24))
    }

    /// Reads what [`encode`](Self::encode) wrote; more bytes may follow.
    pub fn decode(bytes: &[u8], nonce: Nonce) -> Option<Self> {
        let head_bytes = Self::announced_bytes(bytes, nonce)?;
        let head = bytes.get(..head_bytes)?;
        let (content, _) = head.split_at(head_bytes - 4);
        let group_bytes = u32_at(head, 40);
        if block_crc32c(content) != u32_at(head, head_bytes - 4)
            || usize::try_from(group_bytes).ok()? < head_bytes
        {
            return None;
        }
        let entries = content[ENTRIES_AT..].chunks_exact(ENTRY_BYTES);
        let group = Self {
            sequence: u64_at(head, 24),
            ordinal: u32_at(head, 32),
            bytes: group_bytes,
            entries: entries.map(Entry::decode).collect::<Option<_>>()?,
        };
        let told = |entry: &Entry| {
            entry
                .delete_sequence()
                .is_none_or(|told| told <= group.sequence)
        };
        let sound = group.sequence <= SEQUENCE_MAX && group.entries.iter().all(told);
        sound.then_some(group)
    }
}

impl Entry {
    /// The chunk that changed.
    pub fn id(&self) -> ChunkId {
        match self {
            Self::Put { id, .. } | Self::Delete { id, .. } => *id,
        }
    }

    /// Where the record is that a put names.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Put { offset, .. } => Some(u64::from(*offset)),
            Self::Delete { .. } => None,
        }
    }

    /// The group in which a delete happened.
    fn delete_sequence(&self) -> Option<u64> {
        match self {
            Self::Delete { sequence, .. } => Some(*sequence),
            Self::Put { .. } => None,
        }
    }

    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[8..24].copy_from_slice(self.id().as_bytes());
        match *self {
            Self::Put {
                offset,
                head_bytes,
                length_bytes,
                crc64,
                ..
            } => {
                bytes[0] = PUT;
                bytes[4..8].copy_from_slice(&offset.to_le_bytes());
                bytes[24..32].copy_from_slice(&length_bytes.to_le_bytes());
                bytes[32..40].copy_from_slice(&crc64.0.to_le_bytes());
                bytes[40..44].copy_from_slice(&u32::from(head_bytes).to_le_bytes());
            }
            Self::Delete {
                slot,
                generation,
                sequence,
                ..
            } => {
                bytes[0] = DELETE;
                bytes[24..32].copy_from_slice(&sequence.to_le_bytes());
                bytes[44..48].copy_from_slice(&slot.to_le_bytes());
                bytes[48..52].copy_from_slice(&generation.to_le_bytes());
            }
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let id = ChunkId::from_bytes(array_at(bytes, 8));
        match bytes[0] {
            PUT => {
                let length_bytes = u64_at(bytes, 24);
                // So that sums of offset, head and data stay far from an overflow.
                check_length(length_bytes).ok()?;
                Some(Self::Put {
                    id,
                    offset: u32_at(bytes, 4),
                    head_bytes: u16::try_from(u32_at(bytes, 40)).ok()?,
                    length_bytes,
                    crc64: Crc64(u64_at(bytes, 32)),
                })
            }
            DELETE => Some(Self::Delete {
                id,
                slot: u32_at(bytes, 44),
                generation: u32_at(bytes, 48),
                sequence: u64_at(bytes, 24),
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: Nonce = Nonce([7; 16]);

    fn put_of(length_bytes: u64) -> Entry {
        Entry::Put {
            id: ChunkId::from_bytes([1; 16]),
            offset: u32::MAX,
            head_bytes: u16::MAX,
            length_bytes,
            crc64: Crc64(3),
        }
    }

    fn group_of(entry: Entry) -> Group {
        Group {
            sequence: 5,
            ordinal: 6,
            bytes: 1 << 20,
            entries: vec![entry],
        }
    }

    #[test]
    fn lengths_that_no_chunk_has_are_refused_under_a_valid_checksum() {
        for length_bytes in [0, u64::MAX] {
            let head = group_of(put_of(length_bytes)).encode(NONCE);
            assert!(Group::decode(&head, NONCE).is_none(), "{length_bytes}");
        }
        assert!(Group::decode(&group_of(put_of(1)).encode(NONCE), NONCE).is_some());
    }

    #[test]
    fn a_group_tells_no_delete_of_a_later_one_and_has_a_number_that_can_be_reached() {
        let delete = |sequence| Entry::Delete {
            id: ChunkId::from_bytes([1; 16]),
            slot: 0,
            generation: 1,
            sequence,
        };
        let is_read = |group: Group| Group::decode(&group.encode(NONCE), NONCE).is_some();
        assert!(is_read(group_of(delete(5))));
        assert!(!is_read(group_of(delete(6))));
        let far = Group {
            sequence: u64::MAX,
            ..group_of(put_of(1))
        };
        assert!(!is_read(far));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..512),
            is_ours in any::<bool>(),
        ) {
            let mut bytes = bytes;
            if is_ours && bytes.len() >= 24 {
                bytes[..8].copy_from_slice(&MAGIC);
                bytes[8..24].copy_from_slice(&NONCE.0);
            }
            if let Some(group) = Group::decode(&bytes, NONCE) {
                prop_assert_eq!(&group.encode(NONCE)[..], &bytes[..Group::head_bytes(group.entries.len())]);
            }
        }
    }
}
