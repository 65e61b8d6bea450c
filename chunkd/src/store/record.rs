//! The bytes of a chunk's record, and nothing else: header, data, table of block checksums, footer.
//! Encoding and decoding are pure; hostile bytes give [`BadRecord`], never a panic.
//! `docs/chunk-format.md` lists every field.

use super::bytes::{array_at, u32_at, u64_at};
use chunkproto::{BLOCK_BYTES, BlockHasher, ChunkId, Crc64, Crc64Hasher, OwnerHint, block_crc32c};

/// Most bytes of data in one chunk: a sixth of the largest body, with room to spare.
pub const CHUNK_MAX_BYTES: u64 = 5 << 30;
/// Length of the header; the data follows at this offset, aligned to a page.
pub(crate) const HEADER_BYTES: usize = 4096;
/// Length of the footer at the record's very end.
pub(crate) const FOOTER_BYTES: usize = 32;

const HEADER_MAGIC: [u8; 8] = *b"SXTCHUNK";
const FOOTER_MAGIC: [u8; 8] = *b"SXTCHEND";
const FORMAT_VERSION: u16 = 1;
const OWNER_AT: usize = 64;
const HEADER_CRC_AT: usize = HEADER_BYTES - 4;
const FOOTER_CRC_AT: usize = FOOTER_BYTES - 4;

/// Why bytes are no record, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRecord(pub String);

/// What a record says of itself before its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The chunk.
    pub id: ChunkId,
    /// Bytes of data; 1 to [`CHUNK_MAX_BYTES`].
    pub length_bytes: u64,
    /// The owner hint as it was encoded; kept as bytes, so that data outlives a hint's format.
    owner: Vec<u8>,
}

impl Header {
    /// Most bytes of an encoded owner hint.
    pub const OWNER_MAX_BYTES: usize = HEADER_CRC_AT - OWNER_AT;

    /// The header of a new chunk.
    ///
    /// # Errors
    /// A length of 0 or over the maximum, or an owner hint that does not fit.
    pub fn new(id: ChunkId, length_bytes: u64, owner: &OwnerHint) -> Result<Self, BadRecord> {
        check_length(length_bytes)?;
        let owner = owner.encode();
        if owner.len() > Self::OWNER_MAX_BYTES {
            let length = owner.len();
            return Err(BadRecord(format!(
                "owner hint of {length} bytes, at most {}",
                Self::OWNER_MAX_BYTES
            )));
        }
        Ok(Self {
            id,
            length_bytes,
            owner,
        })
    }

    /// The owner hint as it was encoded.
    pub fn into_owner_bytes(self) -> Vec<u8> {
        self.owner
    }

    /// The record's first [`HEADER_BYTES`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let owner_length = u32::try_from(self.owner.len()).expect("checked by new and decode");
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&HEADER_MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&owner_length.to_le_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.length_bytes.to_le_bytes());
        bytes.resize(OWNER_AT, 0);
        bytes.extend_from_slice(&self.owner);
        bytes.resize(HEADER_CRC_AT, 0);
        let crc = block_crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        if bytes.len() != HEADER_BYTES {
            return Err(BadRecord(format!("header of {} bytes", bytes.len())));
        }
        if array_at::<8>(bytes, 0) != HEADER_MAGIC {
            return Err(BadRecord("no header magic".into()));
        }
        if block_crc32c(&bytes[..HEADER_CRC_AT]) != u32_at(bytes, HEADER_CRC_AT) {
            return Err(BadRecord("header checksum differs".into()));
        }
        let version = u16::from_le_bytes(array_at(bytes, 8));
        if version != FORMAT_VERSION {
            return Err(BadRecord(format!("unknown record version {version}")));
        }
        let length_bytes = u64_at(bytes, 32);
        check_length(length_bytes)?;
        let owner = usize::try_from(u32_at(bytes, 12))
            .ok()
            .filter(|&length| length <= Self::OWNER_MAX_BYTES)
            .map(|length| bytes[OWNER_AT..OWNER_AT + length].to_vec())
            .ok_or_else(|| BadRecord("owner hint passes the header's end".into()))?;
        Ok(Self {
            id: ChunkId::from_bytes(array_at(bytes, 16)),
            length_bytes,
            owner,
        })
    }
}

/// What a record says of its data after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    /// Bytes of data, as in the header.
    pub length_bytes: u64,
    /// Checksum of all data.
    pub crc64: Crc64,
    /// Checksum of the table of block checksums.
    pub table_crc32c: u32,
}

impl Footer {
    /// The record's last [`FOOTER_BYTES`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        bytes.extend_from_slice(&self.length_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.crc64.0.to_le_bytes());
        bytes.extend_from_slice(&self.table_crc32c.to_le_bytes());
        bytes.extend_from_slice(&FOOTER_MAGIC);
        let crc = block_crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        if bytes.len() != FOOTER_BYTES || array_at::<8>(bytes, 20) != FOOTER_MAGIC {
            return Err(BadRecord("no footer: the record was cut off".into()));
        }
        if block_crc32c(&bytes[..FOOTER_CRC_AT]) != u32_at(bytes, FOOTER_CRC_AT) {
            return Err(BadRecord("footer checksum differs".into()));
        }
        Ok(Self {
            length_bytes: u64_at(bytes, 0),
            crc64: Crc64(u64_at(bytes, 8)),
            table_crc32c: u32_at(bytes, 16),
        })
    }
}

/// Where the parts of a record lie in its file: data, table of block checksums, footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Offset of the data's first byte.
    pub data_at: u64,
    /// Bytes of data.
    pub length_bytes: u64,
}

impl Plan {
    /// The plan of a record in a file of its own.
    pub fn own_file(length_bytes: u64) -> Self {
        Self {
            data_at: HEADER_BYTES as u64,
            length_bytes,
        }
    }

    /// Offset of the table of block checksums.
    pub fn table_at(self) -> u64 {
        self.data_at + self.length_bytes
    }

    /// Length of the table.
    pub fn table_bytes(self) -> u64 {
        4 * self.length_bytes.div_ceil(BLOCK_BYTES as u64)
    }

    /// Offset of the footer.
    pub fn footer_at(self) -> u64 {
        self.table_at() + self.table_bytes()
    }

    /// Offset of the first byte behind the record.
    pub fn end(self) -> u64 {
        self.footer_at() + FOOTER_BYTES as u64
    }
}

/// The checksums of a record in the making, over data that arrives piece by piece.
pub(crate) struct Sums {
    table: Vec<u8>,
    block: BlockHasher,
    block_filled: usize,
    whole: Crc64Hasher,
    length_bytes: u64,
}

impl Sums {
    /// The checksums of no data yet.
    pub fn new() -> Self {
        Self {
            table: Vec::new(),
            block: BlockHasher::new(),
            block_filled: 0,
            whole: Crc64Hasher::new(),
            length_bytes: 0,
        }
    }

    /// Takes the next bytes of data in.
    pub fn update(&mut self, mut data: &[u8]) {
        self.whole.update(data);
        self.length_bytes += data.len() as u64;
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(BLOCK_BYTES - self.block_filled));
            self.block.update(now);
            self.block_filled += now.len();
            data = later;
            if self.block_filled == BLOCK_BYTES {
                self.end_block();
            }
        }
    }

    /// The bytes that follow the data in its record (table, then footer), and the footer.
    pub fn finish(mut self) -> (Vec<u8>, Footer) {
        if self.block_filled > 0 {
            self.end_block();
        }
        let footer = Footer {
            length_bytes: self.length_bytes,
            crc64: self.whole.finish(),
            table_crc32c: block_crc32c(&self.table),
        };
        self.table.extend_from_slice(&footer.encode());
        (self.table, footer)
    }

    /// Bytes taken in so far.
    pub fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    fn end_block(&mut self) {
        self.table
            .extend_from_slice(&self.block.finish().to_le_bytes());
        self.block = BlockHasher::new();
        self.block_filled = 0;
    }
}

/// Refuses lengths that no chunk has.
pub(crate) fn check_length(length_bytes: u64) -> Result<(), BadRecord> {
    match length_bytes {
        0 => Err(BadRecord("a chunk has at least one byte".into())),
        1..=CHUNK_MAX_BYTES => Ok(()),
        _ => Err(BadRecord(format!(
            "{length_bytes} bytes of data, at most {CHUNK_MAX_BYTES}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn owner(key: &str) -> OwnerHint {
        OwnerHint {
            bucket_id: Uuid::nil(),
            bucket: "bucket".into(),
            key: key.into(),
            sequence: Uuid::nil(),
            part: Some((Uuid::nil(), 7)),
            index: 1,
            offset_bytes: 2,
            body_bytes: None,
            details: Vec::new(),
        }
    }

    #[test]
    fn the_longest_key_fits_beside_the_data() {
        let header = Header::new(ChunkId::generate(), 1, &owner(&"k".repeat(1024))).unwrap();
        assert_eq!(header.encode().len(), HEADER_BYTES);
    }

    #[test]
    fn lengths_out_of_bounds_are_refused() {
        for length_bytes in [0, CHUNK_MAX_BYTES + 1, u64::MAX] {
            assert!(Header::new(ChunkId::generate(), length_bytes, &owner("k")).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_header_survives_encoding(key in ".{0,300}", length_bytes in 1..=CHUNK_MAX_BYTES) {
            let header = Header::new(ChunkId::generate(), length_bytes, &owner(&key)).unwrap();
            let decoded = Header::decode(&header.encode()).unwrap();
                        prop_assert_eq!(decoded, header);
        }

        #[test]
        fn a_flipped_bit_in_header_or_footer_is_noticed(bit in 0..HEADER_BYTES * 8) {
            let header = Header::new(ChunkId::generate(), 5, &owner("key")).unwrap();
            let mut bytes = header.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Header::decode(&bytes).is_err());

            let footer = Footer { length_bytes: 5, crc64: Crc64(6), table_crc32c: 7 };
            let mut bytes = footer.encode();
            prop_assert_eq!(Footer::decode(&bytes).unwrap(), footer);
            let bit = bit % (FOOTER_BYTES * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Footer::decode(&bytes).is_err());
        }

        #[test]
        fn foreign_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
            let _ = Header::decode(&bytes);
            let _ = Footer::decode(&bytes);
        }

        #[test]
        fn sums_do_not_depend_on_the_pieces(data in prop::collection::vec(any::<u8>(), 1..200_000), piece in 1usize..100_000) {
            let mut by_piece = Sums::new();
            data.chunks(piece).for_each(|piece| by_piece.update(piece));
            let (trailer, footer) = by_piece.finish();
            let table: Vec<u8> = data.chunks(BLOCK_BYTES).flat_map(|b| block_crc32c(b).to_le_bytes()).collect();
            prop_assert_eq!(&trailer[..trailer.len() - FOOTER_BYTES], &table[..]);
            prop_assert_eq!(footer.crc64, Crc64::of(&data));
            let plan = Plan::own_file(data.len() as u64);
            prop_assert_eq!(plan.end(), (HEADER_BYTES + data.len() + trailer.len()) as u64);
        }
    }
}
