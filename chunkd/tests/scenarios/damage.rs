//! Bit rot and torn files of large chunks: no wrong byte is ever handed out, and the damaged chunk
//! is set aside.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use chunkd::ChunkStore;
use chunkproto::{BLOCK_BYTES, ByteRange, ChunkError, ChunkId};
use futures::StreamExt as _;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::kit::{
    KIB, MIB, data, fresh_with_files, get, info_of, names_in, open, put, receipt_of, record_path,
};

/// Length of a record's header, as `docs/chunk-format.md` has it.
const HEADER_BYTES: u64 = 4096;

fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[tokio::test]
async fn a_rotten_block_is_never_sent_and_its_chunk_is_set_aside() {
    let (dir, store) = fresh_with_files();
    let (id, data) = (ChunkId::generate(), data(2 * MIB, 1));
    put(&store, id, &data).await.unwrap();
    let rotten = 17 * BLOCK_BYTES as u64 + 5;
    flip(&record_path(dir.path(), id), HEADER_BYTES + rotten);

    let good = ByteRange {
        start: 0,
        end: 17 * BLOCK_BYTES as u64,
    };
    assert!(get(&store, id, Some(good)).await.unwrap() == data[..good.end as usize]);

    let mut stream = store.get(id, None).await.unwrap().stream;
    let mut received = Vec::new();
    let error = loop {
        match stream.next().await.expect("the stream ends in an error") {
            Ok(piece) => received.extend_from_slice(&piece),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, ChunkError::Corrupt { chunk, .. } if chunk == id),
        "{error}"
    );
    assert!(data.starts_with(&received) && received.len() as u64 <= rotten);
    assert!(stream.next().await.is_none());

    assert!(matches!(store.head(id).await, Err(ChunkError::NotFound(_))));
    assert!(store.list(None, 10).await.unwrap().is_empty());
    let state = store.state();
    assert_eq!(
        (state.quarantined, state.chunk_count, state.used_bytes),
        (1, 0, 0)
    );
    let kept = names_in(&dir.path().join("quarantine"));
    assert!(
        kept.len() == 1 && kept[0].starts_with(&id.to_string()),
        "{kept:?}"
    );

    // Repair writes it again.
    put(&store, id, &data).await.unwrap();
    assert!(get(&store, id, None).await.unwrap() == data);
}

#[tokio::test]
async fn an_old_reader_of_a_rotten_file_does_not_set_the_repaired_one_aside() {
    let (dir, store) = fresh_with_files();
    let (id, data) = (ChunkId::generate(), data(2 * MIB, 1));
    put(&store, id, &data).await.unwrap();
    flip(
        &record_path(dir.path(), id),
        HEADER_BYTES + 2 * MIB as u64 - 1,
    );
    let old_reader = store.get(id, None).await.unwrap();
    assert!(get(&store, id, None).await.is_err());
    put(&store, id, &data).await.unwrap();

    let pieces: Vec<_> = old_reader.stream.collect().await;
    assert!(matches!(
        pieces.last(),
        Some(Err(ChunkError::Corrupt { .. }))
    ));
    assert!(get(&store, id, None).await.unwrap() == data);
}

#[tokio::test]
async fn a_repeated_put_replaces_a_damaged_chunk() {
    let (dir, store) = fresh_with_files();
    let (id, data) = (ChunkId::generate(), data(100 * KIB, 1));
    put(&store, id, &data).await.unwrap();
    flip(&record_path(dir.path(), id), HEADER_BYTES + 99);
    assert_eq!(put(&store, id, &data).await.unwrap(), receipt_of(&data));
    assert!(get(&store, id, None).await.unwrap() == data);
    assert_eq!(
        (store.state().quarantined, store.state().chunk_count),
        (1, 1)
    );
}

#[tokio::test]
async fn records_under_a_wrong_name_are_not_handed_out() {
    let (dir, store) = fresh_with_files();
    let (mine, other) = (ChunkId::generate(), ChunkId::generate());
    put(&store, mine, b"mine").await.unwrap();
    fs::copy(
        record_path(dir.path(), mine),
        record_path(dir.path(), other),
    )
    .unwrap();
    let error = get(&store, other, None).await.unwrap_err();
    assert!(matches!(error, ChunkError::Corrupt { .. }), "{error}");
    assert_eq!(get(&store, mine, None).await.unwrap(), b"mine");
}

#[tokio::test]
async fn a_rebuild_sets_damaged_records_aside_and_ignores_strange_files() {
    let (dir, store) = fresh_with_files();
    let (good, torn) = (ChunkId::generate(), ChunkId::generate());
    put(&store, good, b"good").await.unwrap();
    put(&store, torn, b"torn").await.unwrap();
    drop(store);
    File::options()
        .write(true)
        .open(record_path(dir.path(), torn))
        .unwrap()
        .set_len(50)
        .unwrap();
    fs::write(dir.path().join("chunks/00/README"), "strange").unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();

    let store = open(dir.path());
    assert_eq!(
        store.list(None, 10).await.unwrap(),
        [info_of(good, b"good")]
    );
    assert_eq!(names_in(&dir.path().join("quarantine")).len(), 1);
}

/// What is done to a record's bytes.
#[derive(Debug, Clone)]
enum Wound {
    Truncate(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Zero(prop::sample::Index, usize),
    Append(Vec<u8>),
    Swap(prop::sample::Index, prop::sample::Index),
}

fn any_wound() -> impl Strategy<Value = Wound> {
    use prop::sample::Index;
    prop_oneof![
        any::<Index>().prop_map(Wound::Truncate),
        (any::<Index>(), 1..=255_u8).prop_map(|(at, mask)| Wound::Flip(at, mask)),
        (any::<Index>(), 1..8192_usize).prop_map(|(at, length)| Wound::Zero(at, length)),
        prop::collection::vec(any::<u8>(), 1..100).prop_map(Wound::Append),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Wound::Swap(a, b)),
    ]
}

fn inflict(wound: &Wound, bytes: &mut Vec<u8>) {
    match wound {
        Wound::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        Wound::Flip(at, mask) => {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        Wound::Zero(at, length) => {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + length);
            bytes[at..end].fill(0);
        }
        Wound::Append(more) => bytes.extend_from_slice(more),
        Wound::Swap(a, b) => {
            let (a, b) = (a.index(bytes.len()), b.index(bytes.len()));
            bytes.swap(a, b);
        }
    }
}

#[test]
fn no_wound_ever_yields_wrong_bytes() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (dir, store) = fresh_with_files();
    let ends = any::<(prop::sample::Index, prop::sample::Index)>();
    let cases = (1..200_000_usize, any_wound(), ends);
    let case =
        |(length, wound, ends): (usize, Wound, (prop::sample::Index, prop::sample::Index))| {
            let (a, b) = (ends.0.index(length), ends.1.index(length));
            let range = ByteRange {
                start: a.min(b) as u64,
                end: a.max(b) as u64 + 1,
            };
            runtime.block_on(wound_and_read(&store, dir.path(), length, &wound, range));
            Ok(())
        };
    let config = ProptestConfig::with_cases(256);
    TestRunner::new(config).run(&cases, case).unwrap();
}

/// Inflicts `wound` on a fresh chunk, then reads the range and the whole.
async fn wound_and_read(
    store: &ChunkStore,
    dir: &Path,
    length: usize,
    wound: &Wound,
    range: ByteRange,
) {
    let (id, data) = (ChunkId::generate(), data(length, 3));
    put(store, id, &data).await.unwrap();
    let path = record_path(dir, id);
    let mut bytes = fs::read(&path).unwrap();
    inflict(wound, &mut bytes);
    fs::write(&path, &bytes).unwrap();
    for asked in [Some(range), None] {
        match get(store, id, asked).await {
            Ok(got) if asked.is_some() => {
                assert!(got == data[range.start as usize..range.end as usize]);
            }
            Ok(got) => assert!(got == data),
            Err(ChunkError::Corrupt { .. } | ChunkError::NotFound(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
