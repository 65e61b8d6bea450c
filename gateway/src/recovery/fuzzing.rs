//! Fuzz targets for what recovery reads: names and manifests of backups, and what nodes say of the
//! chunks that they hold.

use chunkproto::{ChunkId, ChunkInfo, Crc64, NodeId, OwnerHint};
use uuid::Uuid;

use super::found::{FoundBodies, FoundChunk, add};
use super::latest_run::latest_run;
use super::rebuild::buckets_of;
use super::restore::runs;
use super::uploads::FoundUpload;
use crate::backup_format::{Manifest, Saved};
use crate::object_details::KnownDetails;

/// A manifest, a key, or an object's details.
pub fn backup(bytes: &[u8]) {
    if let Some(manifest) = Manifest::decode(bytes) {
        let _ = manifest.size_bytes();
        assert_eq!(Manifest::decode(&manifest.encode()), Some(manifest));
    }
    let _ = KnownDetails::decode(bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(saved) = Saved::parse(text)
    {
        assert_eq!(Saved::parse(&saved.to_string()), Some(saved));
    }
}

/// Bytes that describe one chunk.
const CHUNK_BYTES: usize = 34;

/// Chunks that say anything of themselves.
pub fn bodies(bytes: &[u8]) {
    let mut bodies = FoundBodies::new();
    let (chunks, details) = bytes.as_chunks::<CHUNK_BYTES>();
    for (number, chunk) in (0..).zip(chunks.iter().take(64)) {
        add(&mut bodies, found(number, chunk, details));
    }
    let _ = buckets_of(&bodies);
    let mut upload = FoundUpload::new(Uuid::nil());
    for (name, body) in &bodies {
        let _ = body.found_bytes();
        let layout = body.layout();
        if let Some(layout) = &layout {
            assert_eq!(Some(layout.size_bytes()), body.body_bytes);
            let _ = layout.crc64();
        }
        let number = name.part.map_or(1, |(_, number)| number);
        upload.add(number, name.sequence, body.clone(), layout);
    }
    let _ = (upload.is_gapless(), upload.torn(), upload.sequence());
    let runs = runs(bodies);
    let _ = latest_run(&runs);
    for run in runs.values() {
        let _ = (run.is_restorable(), run.until(), run.log_pieces());
    }
}

fn found(number: u128, chunk: &[u8; CHUNK_BYTES], details: &[u8]) -> FoundChunk {
    let u64_at = |at: usize| u64::from_le_bytes(chunk[at..at + 8].try_into().expect("8 bytes"));
    let keys = ["manifest", "file/CURRENT", "log/1-5", "log/6-9", "cat.jpg"];
    FoundChunk {
        info: ChunkInfo {
            id: ChunkId::from(Uuid::from_u128(number)),
            length_bytes: u64_at(0),
            crc64: Crc64(u64_at(8)),
        },
        hint: OwnerHint {
            bucket_id: Uuid::from_u128((chunk[16] % 2).into()),
            bucket: "b".into(),
            key: keys[usize::from(chunk[17]) % keys.len()].into(),
            sequence: Uuid::from_u128(u128::from(chunk[18] % 4) << 64),
            part: (chunk[19] > 127).then(|| (Uuid::nil(), chunk[19].into())),
            index: chunk[20],
            offset_bytes: u64_at(21) >> (chunk[33] % 64),
            body_bytes: (chunk[29] > 0).then(|| u64_at(25)),
            details: details.to_vec(),
        },
        nodes: vec![NodeId::from_bytes([1; 16])],
    }
}
