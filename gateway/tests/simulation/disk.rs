//! What is durable on a node, and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chunkproto::{
    ChunkError, ChunkId, ChunkInfo, ChunkPut, ChunkReceipt, ChunkResult, Crc64, Crc64Hasher,
    IdRange, InventoryDigest, OwnerHint,
};

/// A chunk as it is on the disk.
#[derive(Clone)]
pub struct Held {
    pub info: ChunkInfo,
    pub pieces: Vec<Bytes>,
    owner: OwnerHint,
    /// Its bytes have turned; that is found when they are read.
    rotten: bool,
}

#[derive(Default)]
pub struct Disk {
    chunks: BTreeMap<ChunkId, Held>,
    /// Every chunk that was ever durable here, with the checksum of its bytes.
    ever: BTreeSet<(ChunkId, u64)>,
    /// How often each chunk went from here by no order of anybody.
    losses: BTreeMap<ChunkId, u64>,
    /// Damaged chunks set aside.
    pub quarantined: u64,
}

impl Disk {
    /// Makes a chunk durable.
    pub fn keep(&mut self, put: ChunkPut, pieces: Vec<Bytes>) -> ChunkResult<ChunkReceipt> {
        let info = ChunkInfo {
            id: put.id,
            length_bytes: put.length_bytes,
            crc64: crc_of(&pieces),
        };
        if self
            .chunks
            .get(&put.id)
            .is_some_and(|held| held.info != info)
        {
            return Err(ChunkError::Conflict(put.id));
        }
        self.ever.insert((put.id, info.crc64.0));
        let held = Held {
            info,
            pieces,
            owner: put.owner,
            rotten: false,
        };
        self.chunks.entry(put.id).or_insert(held);
        Ok(ChunkReceipt {
            length_bytes: info.length_bytes,
            crc64: info.crc64,
        })
    }

    /// What the node says of a chunk; whether its bytes are as they should be is not looked at.
    pub fn head(&self, chunk: ChunkId) -> ChunkResult<ChunkInfo> {
        let held = self.chunks.get(&chunk).ok_or(ChunkError::NotFound(chunk))?;
        Ok(held.info)
    }

    pub fn owner(&self, chunk: ChunkId) -> ChunkResult<OwnerHint> {
        let held = self.chunks.get(&chunk).ok_or(ChunkError::NotFound(chunk))?;
        Ok(held.owner.clone())
    }

    /// Opens a chunk. A rotten one yields half of its pieces, and is set aside.
    pub fn open(
        &mut self,
        chunk: ChunkId,
        lies: bool,
    ) -> ChunkResult<(ChunkInfo, Vec<ChunkResult<Bytes>>)> {
        let held = self.chunks.get(&chunk).cloned();
        let held = held.ok_or(ChunkError::NotFound(chunk))?;
        let mut pieces = held.pieces;
        if lies {
            garble(&mut pieces);
        }
        let mut pieces: Vec<_> = pieces.into_iter().map(Ok).collect();
        if held.rotten {
            self.set_aside(chunk);
            pieces.truncate(pieces.len() / 2);
            let detail = "a block has another checksum".into();
            pieces.push(Err(ChunkError::Corrupt { chunk, detail }));
        }
        Ok((held.info, pieces))
    }

    pub fn remove(&mut self, chunk: ChunkId) {
        self.chunks.remove(&chunk);
    }

    pub fn digest(&self, range: IdRange) -> InventoryDigest {
        let inside = self.chunks.values().map(|held| &held.info);
        InventoryDigest::of(inside.filter(|info| range.contains(info.id)))
    }

    /// What it says that it holds, in order.
    pub fn inventory(&self) -> Vec<ChunkInfo> {
        self.chunks.values().map(|held| held.info).collect()
    }

    /// Whether the chunk is here with these very bytes.
    pub fn is_good(&self, chunk: ChunkId, crc64: Crc64) -> bool {
        let held = self.chunks.get(&chunk);
        held.is_some_and(|held| !held.rotten && held.info.crc64 == crc64)
    }

    /// Whether the chunk was ever durable here with these very bytes.
    pub fn had(&self, chunk: ChunkId, crc64: Crc64) -> bool {
        self.ever.contains(&(chunk, crc64.0))
    }

    /// Whether the node would say that it has the chunk with these very bytes.
    pub fn claims(&self, chunk: ChunkId, crc64: Crc64) -> bool {
        self.head(chunk).is_ok_and(|info| info.crc64 == crc64)
    }

    /// How often the chunk went from here by no order of anybody.
    pub fn losses(&self, chunk: ChunkId) -> u64 {
        self.losses.get(&chunk).copied().unwrap_or(0)
    }

    pub fn is_rotten(&self, chunk: ChunkId) -> bool {
        self.chunks.get(&chunk).is_some_and(|held| held.rotten)
    }

    /// Takes a chunk away, as a disk does.
    pub fn lose(&mut self, chunk: ChunkId) {
        if self.chunks.remove(&chunk).is_some() {
            *self.losses.entry(chunk).or_default() += 1;
        }
    }

    /// Turns some bytes of a chunk, as a disk does.
    pub fn rot(&mut self, chunk: ChunkId) {
        if let Some(held) = self.chunks.get_mut(&chunk) {
            held.rotten = true;
        }
    }

    /// Finds what is rotten, as a scrub does.
    pub fn scrub(&mut self) {
        let is_rotten = |(id, held): (&ChunkId, &Held)| held.rotten.then_some(*id);
        let rotten: Vec<_> = self.chunks.iter().filter_map(is_rotten).collect();
        rotten.into_iter().for_each(|chunk| self.set_aside(chunk));
    }

    fn set_aside(&mut self, chunk: ChunkId) {
        self.lose(chunk);
        self.quarantined += 1;
    }
}

fn crc_of(pieces: &[Bytes]) -> Crc64 {
    let mut crc64 = Crc64Hasher::new();
    pieces.iter().for_each(|piece| crc64.update(piece));
    crc64.finish()
}

/// Turns a bit.
pub fn garble(pieces: &mut [Bytes]) {
    if let Some(first) = pieces.first_mut() {
        let mut other = first.to_vec();
        other[0] ^= 1;
        *first = other.into();
    }
}
