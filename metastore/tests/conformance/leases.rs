//! Leases: one holder at a time, tokens that only grow, and what the operator says of a job.

use chunkproto::{Fence, JobName};
use metastore::{JobControl, LeaseAnswer, LeaseRequest, MetaError, Timestamp};
use uuid::Uuid;

use crate::fixtures::{LATER, Store, rocks};

crate::on_every_store! {
    a_lease_has_one_holder_until_it_ends,
    every_grant_has_a_greater_token,
    a_token_is_not_before_its_moment,
    a_token_is_greater_than_what_nodes_have_seen,
    a_lease_that_is_renewed_does_not_end,
    who_was_overtaken_can_neither_renew_nor_release,
    a_released_lease_is_free_and_its_fence_is_dead,
    leases_of_different_jobs_are_strangers,
    the_newest_fences_are_listed,
    of_many_who_ask_at_once_one_gets_the_lease,
    a_job_is_told_what_the_operator_said,
}

const ALICE: Uuid = Uuid::from_u128(1);
const BOB: Uuid = Uuid::from_u128(2);

fn job(text: &str) -> JobName {
    text.parse().unwrap()
}

/// Asks for the lease of `gc` from `now` on, for ten moments.
async fn ask(store: &Store, holder: Uuid, now: u64) -> LeaseAnswer {
    let request = LeaseRequest {
        job: job("gc"),
        holder,
        now: Timestamp(now),
        until: Timestamp(now + 10),
        token_above: 0,
    };
    store.acquire_lease(request).await.unwrap()
}

async fn granted(store: &Store, holder: Uuid, now: u64) -> Fence {
    match ask(store, holder, now).await {
        LeaseAnswer::Granted(fence) => fence,
        held => panic!("{held:?}"),
    }
}

async fn a_lease_has_one_holder_until_it_ends(store: Store) {
    granted(&store, ALICE, 100).await;
    let held = LeaseAnswer::Held {
        by: ALICE,
        until: Timestamp(110),
    };
    assert_eq!(ask(&store, BOB, 109).await, held);
    granted(&store, BOB, 110).await;
}

async fn every_grant_has_a_greater_token(store: Store) {
    let first = granted(&store, ALICE, 100).await;
    let again = granted(&store, ALICE, 101).await;
    let other = granted(&store, BOB, 200).await;
    assert!(first.token < again.token && again.token < other.token);
    let stale = store.renew_lease(&first, LATER).await;
    assert!(matches!(stale, Err(MetaError::Fenced(fence)) if fence == first));
}

async fn a_token_is_not_before_its_moment(store: Store) {
    // A store that was rebuilt from nothing goes on behind the one that was lost.
    assert!(granted(&store, ALICE, 1000).await.token >= 1000);
}

async fn a_token_is_greater_than_what_nodes_have_seen(store: Store) {
    let grant = async |token_above| {
        let request = LeaseRequest {
            job: job("gc"),
            holder: ALICE,
            now: Timestamp(100),
            until: Timestamp(110),
            token_above,
        };
        match store.acquire_lease(request).await.unwrap() {
            LeaseAnswer::Granted(fence) => fence.token,
            held => panic!("{held:?}"),
        }
    };
    assert_eq!(grant(5000).await, 5001);
    // What no clock can have made uses no tokens up.
    assert!(grant(u64::MAX).await < u64::MAX / 2);
}

async fn a_lease_that_is_renewed_does_not_end(store: Store) {
    let fence = granted(&store, ALICE, 100).await;
    store.renew_lease(&fence, Timestamp(200)).await.unwrap();
    assert!(matches!(
        ask(&store, BOB, 199).await,
        LeaseAnswer::Held { .. }
    ));
    // It has ended, but nobody else wanted it.
    store.renew_lease(&fence, Timestamp(400)).await.unwrap();
    assert!(matches!(
        ask(&store, BOB, 399).await,
        LeaseAnswer::Held { .. }
    ));
}

async fn who_was_overtaken_can_neither_renew_nor_release(store: Store) {
    let stale = granted(&store, ALICE, 100).await;
    granted(&store, BOB, 110).await;
    assert!(store.renew_lease(&stale, LATER).await.is_err());
    store.release_lease(&stale).await.unwrap();
    assert!(matches!(
        ask(&store, ALICE, 111).await,
        LeaseAnswer::Held { .. }
    ));
}

async fn a_released_lease_is_free_and_its_fence_is_dead(store: Store) {
    let fence = granted(&store, ALICE, 100).await;
    store.release_lease(&fence).await.unwrap();
    assert!(store.renew_lease(&fence, LATER).await.is_err());
    let next = granted(&store, BOB, 101).await;
    assert!(next.token > fence.token);
}

async fn leases_of_different_jobs_are_strangers(store: Store) {
    granted(&store, ALICE, 100).await;
    let other = LeaseRequest {
        job: job("repair"),
        holder: BOB,
        now: Timestamp(100),
        until: Timestamp(110),
        token_above: 0,
    };
    let answer = store.acquire_lease(other).await.unwrap();
    assert!(matches!(answer, LeaseAnswer::Granted(_)));
}

async fn the_newest_fences_are_listed(store: Store) {
    assert_eq!(store.newest_fences().await.unwrap(), []);
    granted(&store, ALICE, 100).await;
    let newest = granted(&store, BOB, 200).await;
    store.release_lease(&newest).await.unwrap();
    assert_eq!(store.newest_fences().await.unwrap(), [newest]);
}

async fn of_many_who_ask_at_once_one_gets_the_lease(store: Store) {
    let asking: Vec<_> = (1..=16)
        .map(|holder| {
            let store = store.clone();
            tokio::spawn(async move { ask(&store, Uuid::from_u128(holder), 100).await })
        })
        .collect();
    let mut grants = 0;
    for answer in asking {
        grants += usize::from(matches!(answer.await.unwrap(), LeaseAnswer::Granted(_)));
    }
    assert_eq!(grants, 1);
}

async fn a_job_is_told_what_the_operator_said(store: Store) {
    let gc = job("gc");
    assert_eq!(store.job_control(&gc).await.unwrap(), JobControl::default());
    let control = JobControl {
        paused: true,
        rate_bytes_per_s: Some(1 << 20),
    };
    store.set_job_control(&gc, control).await.unwrap();
    assert_eq!(store.job_control(&gc).await.unwrap(), control);
    let other = store.job_control(&job("repair")).await.unwrap();
    assert_eq!(other, JobControl::default());
}

#[tokio::test]
async fn a_lease_in_an_embedded_store_ends_with_the_process_but_its_token_lives_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = rocks(directory.path());
    let before = granted(&store, ALICE, 100).await;
    drop(store);
    let store = rocks(directory.path());
    assert!(store.renew_lease(&before, LATER).await.is_err());
    let after = granted(&store, BOB, 101).await;
    assert!(after.token > before.token);
}
