//! A cluster under a seeded storm of faults: nothing that was acknowledged is lost, nobody sees what
//! cannot be, and when the storm is over the cluster becomes whole by itself.
//!
//! `make soak` runs it for long; here it is one short round. SEXTANT_SOAK_SEED repeats the plan of
//! faults and the clients' operations, though not the moments at which they meet.
//!
//! `plan` says which faults come when, `faults` carries them out on the `ring`; `clients` work on
//! `objects` by `calls`, and the `history` of what they saw is checked by `register`; `verdict` is what
//! must hold at the end; `round` puts it all together.

#![expect(
    clippy::print_stdout,
    reason = "whoever waits for a soak wants to see how it goes"
)]

mod calls;
mod clients;
mod faults;
mod history;
mod objects;
mod plan;
mod register;
mod ring;
mod round;
mod verdict;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use compat_tests::{SoakOrder, sdk, soak_order};

use crate::objects::{BUCKET, KEYS};
use crate::ring::Ring;
use crate::round::Round;

/// The seed of the short run, unless another one is asked for.
const SHORT_SEED: u64 = 2026;
/// How long faults come in the short run, and in each round of a long one.
const SHORT_STORM: Duration = Duration::from_secs(24);
const STORM: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_faults_loses_nothing_and_leaves_a_whole_cluster() {
    let SoakOrder { seed, minutes } = soak_order();
    let seed = seed.unwrap_or_else(|| match minutes {
        None => SHORT_SEED,
        Some(_) => seed_of_the_moment(),
    });
    println!("SEXTANT_SOAK_SEED={seed}");
    let storm = minutes.map_or(SHORT_STORM, |_| STORM);
    let length = Duration::from_secs(60 * minutes.unwrap_or(0));

    let began = Instant::now();
    let mut ring = Ring::start().await;
    let skipped: String = ring
        .skipped
        .iter()
        .map(|what| format!("SKIPPED: {what}\n"))
        .collect();
    print!("{skipped}");
    let client = sdk(ring.cluster.endpoint());
    let created = client.create_bucket().bucket(BUCKET).send().await;
    created.expect("a bucket can be made");
    let mut held = vec![None; KEYS];
    for number in 0.. {
        // The first round has the seed itself, so that any round can be repeated alone.
        let seed = seed.wrapping_add(number);
        let minutes = began.elapsed().as_secs_f64() / 60.0;
        println!("round {number} of seed {seed}, after {minutes:.1} min");
        match (Round { seed, storm }).run(&mut ring, held).await {
            Ok(left) => held = left,
            Err(report) => {
                panic!("SEXTANT_SOAK_SEED={seed} failed in round {number}\n{skipped}{report}")
            }
        }
        if began.elapsed() >= length {
            // Again, where it is read: what did not come proves nothing.
            print!("{} rounds went well\n{skipped}", number + 1);
            return;
        }
    }
}

/// A seed for whoever wants any.
fn seed_of_the_moment() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
