//! The keys that the clients share, and the bodies that they put there: each follows from the seed,
//! the key, the client and the number of its operation, so that every byte that comes back is checked.

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use compat_tests::Payload;
use fastrand::Rng;
use md5::{Digest as _, Md5};

use crate::history::Written;

/// The bucket of all objects.
pub(crate) const BUCKET: &str = "soak";
/// Keys that all clients use for everything.
const COMMON_KEYS: usize = 36;
/// Keys that they create and delete all the time.
const CONTENDED_KEYS: usize = 4;
/// All of them.
pub(crate) const KEYS: usize = COMMON_KEYS + CONTENDED_KEYS;
/// Every part of an upload but the last is so long.
pub(crate) const PART_BYTES: u64 = 5 << 20;

/// The name of a key.
pub(crate) fn key_name(key: usize) -> String {
    match key {
        0..COMMON_KEYS => format!("common/{key:02} ü+b//c"),
        _ => format!("contended/{key:02}"),
    }
}

/// The number of the key with this name.
pub(crate) fn key_number(name: &str) -> Option<usize> {
    let (_, number) = name.split_once('/')?;
    let key = number.get(..2)?.parse().ok()?;
    (key < KEYS && key_name(key) == name).then_some(key)
}

/// Any key.
pub(crate) fn any_key(rng: &mut Rng) -> usize {
    match rng.u8(..4) {
        0 => contended_key(rng),
        _ => rng.usize(..COMMON_KEYS),
    }
}

/// One that others use at this moment.
pub(crate) fn contended_key(rng: &mut Rng) -> usize {
    COMMON_KEYS + rng.usize(..CONTENDED_KEYS)
}

/// A body's length: mostly what shares a segment, seldom what gets files of its own, which is what
/// is over 48 MiB and so is split into chunks over 8 MiB.
pub(crate) fn any_length_bytes(rng: &mut Rng) -> u64 {
    match rng.u32(..1000) {
        0..600 => rng.u64(1..8 << 10),
        600..870 => rng.u64(8 << 10..1 << 20),
        870..980 => rng.u64(1 << 20..5 << 20),
        980..996 => rng.u64(5 << 20..12 << 20),
        _ => rng.u64((48 << 20) + 1..52 << 20),
    }
}

/// What identifies a value: which client wrote it, and by which of its operations.
pub(crate) fn value_of(client: usize, operation: usize) -> u64 {
    ((client as u64) << 32) | operation as u64
}

/// The body of a value of a key, sent whole.
pub(crate) fn body(seed: u64, key: usize, value: u64, length_bytes: u64) -> (Written, Bytes) {
    let payload = payload(seed, key, value, length_bytes);
    let bytes = payload.bytes();
    let etag = hex::encode(Md5::digest(&bytes));
    let written = Written {
        value,
        payload,
        etag,
    };
    (written, bytes)
}

/// The body of a value of a key, sent in parts.
pub(crate) fn parts(
    seed: u64,
    key: usize,
    value: u64,
    length_bytes: u64,
) -> (Written, Vec<ByteStream>) {
    let payload = payload(seed, key, value, length_bytes);
    let pieces: Vec<Bytes> = payload.pieces(PART_BYTES).collect();
    let mut all = Md5::new();
    for piece in &pieces {
        all.update(Md5::digest(piece));
    }
    let written = Written {
        value,
        payload,
        etag: format!("{}-{}", hex::encode(all.finalize()), pieces.len()),
    };
    (written, pieces.into_iter().map(ByteStream::from).collect())
}

fn payload(seed: u64, key: usize, value: u64, length_bytes: u64) -> Payload {
    let mut mixed = Rng::with_seed(seed);
    for part in [key as u64, value] {
        mixed = Rng::with_seed(mixed.u64(..) ^ part);
    }
    Payload::new(mixed.u64(..), length_bytes)
}
