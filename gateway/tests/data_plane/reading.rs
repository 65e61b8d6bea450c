//! The read protocol: ranges, failover in mid-stream, and never a short or wrong body.

use bytes::Bytes;
use chunkproto::ByteRange;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use gateway::chunks::{ReadError, slices_of};
use metastore::ChunkLayout;

use crate::nodes::{Fault, Nodes, body_of, owner, payload};

const MIB: usize = 1 << 20;

async fn stored(nodes: &Nodes, replicas: u8, bytes: &Bytes) -> ChunkLayout {
    let length = bytes.len() as u64;
    let writer = nodes.writer(replicas);
    let written = writer.write(owner(), length, body_of(bytes)).await;
    written.unwrap().layout
}

async fn read(
    nodes: &Nodes,
    layout: &ChunkLayout,
    start: usize,
    end: usize,
) -> Result<Vec<u8>, ReadError> {
    let range = ByteRange {
        start: start as u64,
        end: end as u64,
    };
    let slices = stream::iter(slices_of(layout, range).into_iter().map(Ok)).boxed();
    let body = nodes.reader().open(slices, range.length_bytes()).await?;
    let pieces: Vec<Bytes> = body.try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn any_range_comes_back_as_it_was_written() {
    let nodes = Nodes::new(6);
    let bytes = payload(7 * MIB + 13);
    let layout = stored(&nodes, 1, &bytes).await;
    let last = bytes.len();
    for (start, end) in [
        (0, last),
        (0, 1),
        (last - 1, last),
        (MIB - 5, MIB + 5),
        (123, 5 * MIB + 77),
        (5, 5),
    ] {
        assert_eq!(
            read(&nodes, &layout, start, end).await.unwrap(),
            bytes[start..end]
        );
    }
}

#[tokio::test]
async fn another_replica_takes_over_in_mid_stream() {
    for fault in [
        Fault::Gone,
        Fault::RotsAfter(0),
        Fault::RotsAfter(MIB as u64 / 2),
    ] {
        let nodes = Nodes::new(6);
        let bytes = payload(3 * MIB);
        let layout = stored(&nodes, 2, &bytes).await;
        for chunk in &layout.chunks {
            nodes.set_fault(chunk.replicas[0], fault);
        }
        // A node may hold replicas of two chunks: leave one good replica of each.
        for chunk in &layout.chunks {
            nodes.set_fault(chunk.replicas[1], Fault::None);
        }
        let end = bytes.len();
        assert_eq!(
            read(&nodes, &layout, 0, end).await.unwrap(),
            bytes,
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn when_no_replica_is_good_the_body_ends_in_an_error() {
    let nodes = Nodes::new(6);
    let bytes = payload(3 * MIB);
    let layout = stored(&nodes, 2, &bytes).await;
    let lost = &layout.chunks[2];
    for node in &lost.replicas {
        nodes.set_fault(*node, Fault::RotsAfter(50_000));
    }
    let failed = read(&nodes, &layout, 0, bytes.len()).await;
    assert!(matches!(failed, Err(ReadError::NoReplica { .. })));
}

#[tokio::test]
async fn wrong_bytes_never_make_a_whole_body() {
    let nodes = Nodes::new(6);
    let bytes = payload(1000);
    let layout = stored(&nodes, 1, &bytes).await;
    nodes.fault_everywhere(Fault::SendsGarbage);
    let failed = read(&nodes, &layout, 0, bytes.len()).await;
    assert!(matches!(failed, Err(ReadError::NoReplica { .. })));
}

#[tokio::test]
async fn a_node_that_is_gone_is_asked_once_and_then_avoided() {
    let nodes = Nodes::new(2);
    let bytes = payload(1000);
    let layout = stored(&nodes, 2, &bytes).await;
    let gone = nodes.all()[0];
    nodes.set_fault(gone, Fault::Gone);
    for _ in 0..4 {
        read(&nodes, &layout, 0, bytes.len()).await.unwrap();
    }
    nodes.set_fault(gone, Fault::None);
    read(&nodes, &layout, 0, bytes.len()).await.unwrap();
    assert_eq!(nodes.reads_on(gone), 0);
}

#[tokio::test]
async fn a_replica_with_other_bytes_than_the_row_says_is_passed_over_for_a_good_one() {
    let nodes = Nodes::new(2);
    let bytes = payload(25_000);
    let layout = stored(&nodes, 2, &bytes).await;
    let chunk = &layout.chunks[0];
    let others = payload(25_001).slice(1..);
    nodes.replace(chunk.replicas[0], chunk.id, others);
    for (start, end) in [(0, 25_000), (100, 200)] {
        let read = read(&nodes, &layout, start, end).await.unwrap();
        assert_eq!(read, bytes[start..end]);
        assert!(nodes.reads_on(chunk.replicas[0]) > 0, "it was asked");
    }
}

#[tokio::test]
async fn wrong_bytes_of_one_replica_are_found_before_the_first_of_them_is_sent() {
    let nodes = Nodes::new(2);
    let bytes = payload(1000);
    let layout = stored(&nodes, 2, &bytes).await;
    let bad = layout.chunks[0].replicas[0];
    nodes.set_fault(bad, Fault::SendsGarbage);
    assert_eq!(read(&nodes, &layout, 0, 1000).await.unwrap(), bytes);
    assert!(nodes.reads_on(bad) > 0, "it was asked");
}
