//! Fuzz targets for sealed bytes: what was changed never opens.

use bytes::Bytes;
use chunkproto::ByteRange;
use futures::executor::block_on;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use metastore::AccessKey;

use crate::sealing::{
    DataKey, KeyRing, OpenRun, OpenRuns, SealedPart, WrappingKey, open, plain_bytes, seal,
    sealed_bytes,
};
use crate::users::Secrets;

/// Longest plaintext that is sealed for an input: three blocks and some.
const BODY_MAX_BYTES: u64 = 200_000;

/// A body's length, a range, where bytes of the sealed body are changed, and to what. The frame's
/// arithmetic holds for lengths of any size.
pub(super) fn body(bytes: &[u8]) {
    let Some((numbers, change)) = bytes.split_first_chunk::<32>() else {
        return;
    };
    let (numbers, _) = numbers.as_chunks::<8>();
    let [length, start, end, place] = [0, 1, 2, 3].map(|n| u64::from_le_bytes(numbers[n]));
    let _ = plain_bytes(length);
    let range = ByteRange { start, end };
    // A body has at most 5 TiB; a row that says more was not written here.
    let part = SealedPart::covering(range, length >> 16);
    assert!(part.sealed.start <= part.sealed.end);

    let length = length % BODY_MAX_BYTES + 1;
    let start = start % length;
    let end = start + 1 + end % (length - start);
    let plain: Vec<u8> = (0..251).cycle().take(index(length)).collect();
    let key = DataKey::generate();
    let source = stream::iter([Ok(Bytes::from(plain.clone()))]);
    let (sealing, _) = seal(source, key.of_body(), length);
    let sealed: Vec<Bytes> = block_on(sealing.try_collect()).expect("it was read");
    let mut sealed = sealed.concat();
    assert_eq!(sealed.len() as u64, sealed_bytes(length));
    let changed = index(place % sealed.len() as u64);
    for (byte, change) in sealed[changed..].iter_mut().zip(change) {
        *byte ^= change;
    }
    let part = SealedPart::covering(ByteRange { start, end }, length);
    let cut = sealed[index(part.sealed.start)..index(part.sealed.end)].to_vec();
    let runs = OpenRuns::default();
    runs.push(OpenRun {
        key: key.of_body(),
        part,
    });
    let opened = open(stream::iter([Ok::<_, ()>(Bytes::from(cut))]), runs);
    let mut expected = &plain[index(start)..index(end)];
    let mut opened = std::pin::pin!(opened);
    while let Some(piece) = block_on(opened.next()) {
        let Ok(piece) = piece else {
            assert!(change.iter().any(|change| *change != 0));
            return;
        };
        expected = expected.strip_prefix(&piece[..]).expect("what was sealed");
    }
    assert!(expected.is_empty());
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("of a short body")
}

/// A wrapped key, a sealed secret, a row's text of one.
pub(super) fn key(bytes: &[u8]) {
    let ring = KeyRing::new([7; 32], [("k".to_owned(), [8; 32])].into());
    for with in [WrappingKey::Store, WrappingKey::Named("k")] {
        assert!(ring.unwrap(bytes, with, b"purpose").is_err());
    }
    assert!(ring.open_secret(bytes, b"purpose").is_err());
    if let Ok(text) = std::str::from_utf8(bytes) {
        let key = AccessKey {
            access_key: "AK".into(),
            secret_key: text.into(),
        };
        let opened = Secrets::new(ring.into()).open(&key);
        let looks_sealed = text.starts_with("sealed-1:") || text.starts_with("disabled-1:");
        assert_eq!(opened.is_ok(), !looks_sealed);
    }
}
