//! A chunk's record in a segment: a head that names it, its data, then the same table of block
//! checksums and the same footer as in a file. Pure; hostile bytes give None, never a panic.

use bytes::Bytes;
use chunkproto::{ChunkId, ChunkInfo, block_crc32c};

use super::super::bytes::{array_at, u16_at, u32_at, u64_at};
use super::super::record::{Header, Plan, Sums, check_length};
use super::header::Nonce;

const MAGIC: [u8; 8] = *b"SXTRECRD";
const VERSION: u16 = 1;
const OWNER_AT: usize = 56;

/// What stands before a record's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordHead {
    /// The chunk.
    pub id: ChunkId,
    /// Bytes of data.
    pub length_bytes: u64,
    /// The owner hint as it was encoded.
    pub owner: Vec<u8>,
}

/// A whole record, but for the mark of the segment that it will stand in.
#[derive(Debug, Clone)]
pub(crate) struct SegmentRecord {
    /// What stands before the data.
    pub head: RecordHead,
    /// The data in pieces.
    pub data: Vec<Bytes>,
    /// Table and footer.
    pub trailer: Bytes,
    /// The chunk.
    pub info: ChunkInfo,
}

impl RecordHead {
    /// The head of the record that `header` describes.
    pub fn of(header: Header) -> Self {
        Self {
            id: header.id,
            length_bytes: header.length_bytes,
            owner: header.into_owner_bytes(),
        }
    }

    /// Length of the head.
    pub fn bytes(&self) -> u16 {
        u16::try_from(OWNER_AT + self.owner.len()).expect("an owner hint has at most 4028 bytes")
    }

    /// Where the parts of a record that begins at `offset` lie in the segment.
    pub fn plan_at(&self, offset: u32) -> Plan {
        Plan {
            data_at: u64::from(offset) + u64::from(self.bytes()),
            length_bytes: self.length_bytes,
        }
    }

    /// Length of the whole record.
    pub fn record_bytes(&self) -> u64 {
        self.plan_at(0).end()
    }

    /// The head's bytes in the life that `nonce` marks.
    pub fn encode(&self, nonce: Nonce) -> Vec<u8> {
        let owner_bytes = u16::try_from(self.owner.len()).expect("as for bytes");
        let mut bytes = Vec::with_capacity(usize::from(self.bytes()));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&nonce.0);
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.length_bytes.to_le_bytes());
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&owner_bytes.to_le_bytes());
        let crc = self.crc(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&self.owner);
        bytes
    }

    /// How long the head is that begins with these bytes; `None` if they begin none of this life.
    pub fn announced_bytes(bytes: &[u8], nonce: Nonce) -> Option<usize> {
        let ours = bytes.len() >= OWNER_AT && bytes[..8] == MAGIC && bytes[8..24] == nonce.0;
        (ours && u16_at(bytes, 48) == VERSION).then(|| OWNER_AT + usize::from(u16_at(bytes, 50)))
    }

    /// Reads what [`encode`](Self::encode) wrote; more bytes may follow.
    pub fn decode(bytes: &[u8], nonce: Nonce) -> Option<Self> {
        let head_bytes = Self::announced_bytes(bytes, nonce)?;
        let owner = bytes.get(OWNER_AT..head_bytes)?;
        let head = Self {
            id: ChunkId::from_bytes(array_at(bytes, 24)),
            length_bytes: u64_at(bytes, 40),
            owner: owner.to_vec(),
        };
        let sound = head.owner.len() <= Header::OWNER_MAX_BYTES
            && check_length(head.length_bytes).is_ok()
            && head.crc(&bytes[..52]) == u32_at(bytes, 52);
        sound.then_some(head)
    }

    /// The checksum of the head: of its fixed part and the owner hint.
    fn crc(&self, fixed: &[u8]) -> u32 {
        block_crc32c(&[fixed, self.owner.as_slice()].concat())
    }
}

impl SegmentRecord {
    /// The record of a chunk whose data are all here.
    pub fn new(head: RecordHead, data: Vec<Bytes>) -> Self {
        let mut sums = Sums::new();
        data.iter().for_each(|piece| sums.update(piece));
        assert_eq!(
            sums.length_bytes(),
            head.length_bytes,
            "as much as declared"
        );
        let (trailer, footer) = sums.finish();
        let info = ChunkInfo {
            id: head.id,
            length_bytes: head.length_bytes,
            crc64: footer.crc64,
        };
        Self {
            head,
            data,
            trailer: trailer.into(),
            info,
        }
    }

    /// The record's bytes in the life that `nonce` marks, in order.
    pub fn pieces(&self, nonce: Nonce) -> impl Iterator<Item = Bytes> {
        let head = Bytes::from(self.head.encode(nonce));
        [head]
            .into_iter()
            .chain(self.data.iter().cloned())
            .chain([self.trailer.clone()])
    }
}
