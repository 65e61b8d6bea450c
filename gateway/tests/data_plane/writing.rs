//! Steps 2 to 4 of the write protocol, with a node failing at every moment.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunkproto::Crc64;
use futures::future::{join_all, try_join_all};
use futures::{StreamExt as _, stream};
use gateway::chunks::{BodyWriter, ByteBudget, WriteError, WriterSettings, WrittenBody};
use tokio::sync::Barrier;
use tokio::time::{Instant, timeout};

use crate::nodes::{Fault, Nodes, body_of, owner, payload};

const MIB: usize = 1 << 20;
/// A node that says nothing for so long has failed.
const ACK_MIN: Duration = Duration::from_secs(10);

async fn write(nodes: &Nodes, replicas: u8, bytes: &Bytes) -> Result<WrittenBody, WriteError> {
    let length = bytes.len() as u64;
    nodes
        .writer(replicas)
        .write(owner(), length, body_of(bytes))
        .await
}

fn assert_durable(nodes: &Nodes, written: &WrittenBody, replicas: usize) {
    for chunk in &written.layout.chunks {
        let distinct: HashSet<_> = chunk.replicas.iter().collect();
        assert_eq!(distinct.len(), replicas, "{chunk:?}");
        assert!(chunk.replicas.iter().all(|node| nodes.chunks_on(*node) > 0));
    }
}

#[tokio::test]
async fn three_mebibytes_become_three_chunks_on_three_nodes() {
    let nodes = Nodes::new(6);
    let bytes = payload(3 * MIB);
    let written = write(&nodes, 1, &bytes).await.unwrap();
    let used: HashSet<_> = written
        .layout
        .chunks
        .iter()
        .map(|chunk| chunk.replicas[0])
        .collect();
    assert_eq!((written.layout.chunks.len(), used.len()), (3, 3));
    assert_eq!(written.crc64, Crc64::of(&bytes));
}

#[tokio::test]
async fn an_empty_body_needs_no_node() {
    let nodes = Nodes::new(0);
    let written = write(&nodes, 3, &Bytes::new()).await.unwrap();
    assert!(written.layout.chunks.is_empty());
}

#[tokio::test]
async fn a_node_that_fails_at_any_moment_is_replaced() {
    let faults = [
        Fault::Gone,
        Fault::DiesAfter(1),
        Fault::DiesAfter(999),
        Fault::DiesAtSync,
        Fault::StoresGarbage,
        Fault::Full,
    ];
    // One chunk that is retained, six, and six that are too long to be.
    for length in [1000, 3 * MIB, 13 * MIB] {
        for fault in faults {
            let nodes = Nodes::new(6);
            let failing = nodes.all()[0];
            nodes.set_fault(failing, fault);
            let written = write(&nodes, 2, &payload(length)).await.unwrap();
            assert_durable(&nodes, &written, 2);
            let named: Vec<_> = written
                .layout
                .chunks
                .iter()
                .flat_map(|c| &c.replicas)
                .collect();
            assert!(!named.contains(&&failing), "{fault:?} at {length}");
        }
    }
}

#[tokio::test]
async fn a_source_that_other_nodes_cannot_reach_does_not_count_against_those() {
    let nodes = Nodes::new(4);
    let all = nodes.all();
    nodes.set_fault(all[0], Fault::DiesAtSync);
    nodes.set_fault(all[1], Fault::CutOffFromNodes);
    // Until those two are among the first three, in the worse order.
    for _ in 0..20 {
        nodes.register(all[0]);
        let written = write(&nodes, 3, &payload(7 * MIB)).await.unwrap();
        assert_durable(&nodes, &written, 3);
    }
    nodes.register(all[0]);
    assert!(all[1..].iter().all(|node| nodes.membership.is_live(*node)));
}

#[tokio::test]
async fn a_single_replica_moves_while_its_pieces_are_retained() {
    let nodes = Nodes::new(2);
    let failing = nodes.all()[0];
    nodes.set_fault(failing, Fault::DiesAfter(200_000));
    for _ in 0..4 {
        let written = write(&nodes, 1, &payload(MIB)).await.unwrap();
        assert_durable(&nodes, &written, 1);
    }
}

#[tokio::test]
async fn without_a_replacement_a_majority_decides_once_nodes_are_down() {
    let nodes = Nodes::new(3);
    nodes.set_fault(nodes.all()[0], Fault::Gone);
    let written = write(&nodes, 3, &payload(1000)).await.unwrap();
    assert_durable(&nodes, &written, 2);

    nodes.set_fault(nodes.all()[1], Fault::Gone);
    let refused = write(&nodes, 3, &payload(1000)).await;
    assert!(matches!(
        refused,
        Err(WriteError::NoQuorum { .. } | WriteError::NoNodes { .. })
    ));
}

#[tokio::test]
async fn when_every_node_fails_the_write_fails() {
    let nodes = Nodes::new(6);
    nodes.fault_everywhere(Fault::DiesAfter(1));
    let refused = write(&nodes, 2, &payload(3 * MIB)).await;
    assert!(matches!(
        refused,
        Err(WriteError::NoQuorum { .. } | WriteError::NoNodes { .. })
    ));
}

#[tokio::test]
async fn a_body_of_another_length_is_refused() {
    let nodes = Nodes::new(6);
    let bytes = payload(2 * MIB);
    for declared in [bytes.len() as u64 - 1, bytes.len() as u64 + 1] {
        let written = nodes
            .writer(1)
            .write(owner(), declared, body_of(&bytes))
            .await;
        assert!(
            matches!(written, Err(WriteError::Length { .. })),
            "{declared}"
        );
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_ends_the_write() {
    let nodes = Nodes::new(6);
    let pieces = [Ok(payload(1000)), Err("the connection broke".into())];
    let body = stream::iter(pieces).boxed();
    let written = nodes.writer(2).write(owner(), 5000, body).await;
    assert!(matches!(written, Err(WriteError::Body(_))));
    assert!(nodes.all().iter().all(|node| nodes.chunks_on(*node) == 0));
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "its waits take no real time")]
async fn a_node_that_never_says_that_a_chunk_is_durable_is_raced_by_another_one() {
    // Retained, and too long for that.
    for length in [1000, 13 * MIB] {
        let nodes = Nodes::new(4);
        let silent = nodes.all()[0];
        nodes.set_fault(silent, Fault::NeverAcks);
        let began = Instant::now();
        let written = write(&nodes, 3, &payload(length)).await.unwrap();
        // By the clock that stands still: the silent node was not waited for until it counts as failed.
        assert!(began.elapsed() < ACK_MIN, "{:?}", began.elapsed());
        assert_durable(&nodes, &written, 3);
        let chunks = &written.layout.chunks;
        assert!(chunks.iter().all(|chunk| !chunk.replicas.contains(&silent)));
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "its waits take no real time")]
async fn a_write_ends_though_nodes_that_never_answer_are_tried_in_place_of_each_other() {
    let cases = [
        (1000, Fault::NeverAcks),
        (13 * MIB, Fault::NeverAcks),
        (1000, Fault::Gone),
        (1000, Fault::DiesAtSync),
        (13 * MIB, Fault::DiesAtSync),
    ];
    let writes = cases.map(async |(length, failing)| {
        let nodes = Nodes::new(4);
        let [a, b, ..] = nodes.all()[..] else {
            panic!("four nodes")
        };
        nodes.set_fault(a, Fault::NeverAcks);
        nodes.set_fault(b, failing);
        let bytes = payload(length);
        let written = timeout(Duration::from_secs(90), write(&nodes, 3, &bytes)).await;
        assert_durable(&nodes, &written.expect("the write ends").unwrap(), 2);
    });
    join_all(writes).await;
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "its waits take no real time")]
async fn a_node_that_takes_pieces_much_later_than_all_others_is_replaced() {
    let nodes = Nodes::new(4);
    let slow = nodes.all()[0];
    nodes.set_fault(slow, Fault::Trickles(Duration::from_secs(1)));
    // 35 pieces to each chunk.
    let bytes = payload(13 * MIB);
    let written = timeout(Duration::from_secs(25), write(&nodes, 3, &bytes));
    let written = written.await.expect("nobody waits for it").unwrap();
    assert_durable(&nodes, &written, 3);
    let named = written.layout.chunks.iter().flat_map(|c| &c.replicas);
    assert!(named.into_iter().all(|node| *node != slow));
}

#[tokio::test]
async fn a_full_node_without_a_replacement_counts_as_down() {
    let nodes = Nodes::new(3);
    nodes.set_fault(nodes.all()[0], Fault::Full);
    for length in [1000, 13 * MIB] {
        let written = write(&nodes, 3, &payload(length)).await.unwrap();
        assert_durable(&nodes, &written, 2);
    }
    nodes.set_fault(nodes.all()[1], Fault::Full);
    let refused = write(&nodes, 3, &payload(1000)).await;
    assert!(
        matches!(
            refused,
            Err(WriteError::NoQuorum {
                durable: 1,
                quorum: 2
            })
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn two_nodes_that_fail_at_once_are_not_tried_in_place_of_each_other() {
    for _ in 0..20 {
        let nodes = Nodes::new(4);
        let failing = &nodes.all()[..2];
        for node in failing {
            nodes.set_fault(*node, Fault::DiesAfter(1));
        }
        let written = write(&nodes, 3, &payload(MIB)).await.unwrap();
        assert_durable(&nodes, &written, 2);
        for node in failing {
            assert!(nodes.puts_on(*node) <= 1, "{} puts", nodes.puts_on(*node));
        }
    }
}

#[tokio::test]
async fn as_many_writes_as_memory_is_there_to_begin_with_all_come_to_their_end() {
    const WRITES: usize = 32;
    const FIRST_BYTES: u64 = 64 << 10;
    let nodes = Nodes::new(3);
    let settings = WriterSettings {
        replicas: 1,
        write_quorum: None,
        finish_within: Duration::from_secs(60),
    };
    let budget = ByteBudget::new(WRITES as u64 * FIRST_BYTES, Duration::from_secs(3));
    let membership = Arc::clone(&nodes.membership);
    let writer = BodyWriter::new(Arc::new(nodes.clone()), membership, budget, settings);
    let bytes = payload(MIB);
    // Beginnings hold half of the memory at most.
    let all_began = Arc::new(Barrier::new(WRITES / 2));
    let writes = (0..WRITES).map(async |_| {
        // Its client sends nothing until as many have begun as can.
        let all_began = Arc::clone(&all_began);
        let body = stream::once(async move { all_began.wait().await })
            .flat_map(|_| stream::empty())
            .chain(body_of(&bytes))
            .boxed();
        writer.write(owner(), MIB as u64, body).await
    });
    try_join_all(writes).await.unwrap();
}
