//! The protocol in simulated time: gateways with all their jobs, chunk servers, clients and faults in
//! one thread, on one clock that stands still until nothing is left to do at its moment. Latencies,
//! timeouts, hedges, heartbeats, graces and leases take the time that they take, and no real time.
//!
//! A seed gives the same history again, to the last message. A thousand seeds by default;
//! `SEXTANT_SIMULATIONS` says how many, `SEXTANT_SIMULATION_SEED` which one, or the first of many.
//! One alone tells its story.
//!
//! `world` puts everything together, `clients` and `faults` act, `witness` and `order` judge.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "who repeats a seed reads its story")]

mod clients;
mod cluster;
mod dice;
mod disk;
mod faults;
mod gateway;
mod history;
mod network;
mod node;
mod objects;
mod order;
#[path = "../../../compat-tests/tests/soak/register.rs"]
mod register;
mod requests;
mod settings;
mod shown;
mod upload_requests;
mod watch;
mod wire;
mod witness;
mod world;

use std::env;
use std::ops::Range;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use world::Told;

/// How many seeds are tried unless somebody says otherwise.
const SEEDS: u64 = 1000;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how the test is asked for a seed"
)]
fn what_was_acknowledged_stands_whatever_happens_and_all_is_in_order_afterwards() {
    let number = |name| env::var(name).ok().map(|text| text.parse().unwrap());
    let first: Option<u64> = number("SEXTANT_SIMULATION_SEED");
    let count: u64 = number("SEXTANT_SIMULATIONS").unwrap_or(first.map_or(SEEDS, |_| 1));
    let (first, is_alone) = (first.unwrap_or(0), count == 1);
    let told = run_all(first..first + count, is_alone);
    println!("{told:#?}");
    assert!(
        told.acknowledged * 2 > told.tried,
        "things fail, but most writes are acknowledged: {told:?}"
    );
    if count >= SEEDS {
        told.assert_everything_happened();
    }
}

#[test]
fn a_seed_gives_the_same_history_again() {
    for seed in [1, 2, 3] {
        let (once, again) = (story_of(seed), story_of(seed));
        assert!(once.len() > 100, "there is something to compare");
        for (number, (one, other)) in once.iter().zip(&again).enumerate() {
            assert_eq!(one, other, "seed {seed}, line {number}");
        }
        assert_eq!(once.len(), again.len(), "seed {seed}");
        assert_ne!(once, story_of(seed + 1000));
    }
}

fn story_of(seed: u64) -> Vec<String> {
    world::simulate(seed, false).story
}

/// Runs seeds on all cores.
fn run_all(seeds: Range<u64>, is_loud: bool) -> Told {
    let next = AtomicU64::new(seeds.start);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut told = Told::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return told;
            }
            match catch_unwind(|| world::simulate(seed, is_loud)) {
                Ok(more) => told.add(&more),
                Err(_) => {
                    next.store(seeds.end, Ordering::Relaxed);
                    panic!("seed {seed} failed; SEXTANT_SIMULATION_SEED={seed} repeats it");
                }
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut all = Told::default();
        for worker in workers {
            all.add(&worker.join().expect("a seed failed; see above"));
        }
        all
    })
}
