//! How much a rebalance slows requests down: the same steady load with the job at rest and with the
//! job at work, in turns on one cluster, and the ratios of the latencies.

#![expect(clippy::print_stdout, reason = "the table is the output")]

mod load;
mod steps;

use std::time::Duration;

use clap::Parser;
use compat_tests::{Cluster, eventually};

use crate::load::{Load, Took};

/// Measures requests beside a rebalance.
#[derive(Debug, Parser)]
struct Arguments {
    /// MiB of objects that are there before the new chunk server joins
    #[arg(long, default_value_t = 2560)]
    fill_mib: u64,
    /// Turns: one is a span without and a span with the job
    #[arg(long, default_value_t = 3)]
    turns: u32,
    /// Seconds of a span
    #[arg(long, default_value_t = 8)]
    span: u64,
    /// Length of the objects, in KiB
    #[arg(long, default_value_t = 256)]
    size_kib: u64,
    /// GETs per second
    #[arg(long, default_value_t = 90)]
    gets: u32,
    /// PUTs per second
    #[arg(long, default_value_t = 30)]
    puts: u32,
    /// What the job may move in a second, as --move-rate of the gateway
    #[arg(long, default_value = "64MiB")]
    move_rate: String,
}

/// Chunk servers before another one joins; three replicas.
const NODES: usize = 5;
/// The job looks every ten seconds.
const BEGINS_WITHIN: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::parse();
    let settings = [
        ("--rebalance-threshold", "0"),
        ("--gc-grace", "5"),
        ("--move-rate", &arguments.move_rate),
    ];
    let mut cluster = Cluster::start_with(NODES, 3, &settings).await;
    cluster.pause_job("rebalance").await;
    let load = Load::prepare(
        cluster.endpoint(),
        arguments.size_kib << 10,
        arguments.fill_mib,
    )
    .await;
    cluster.add_node().await;
    cluster.wait_for_live(NODES + 1).await;

    let (gets, puts) = (arguments.gets, arguments.puts);
    let span = Duration::from_secs(arguments.span);
    let (mut without, mut with, mut moved_bytes) = (Took::default(), Took::default(), 0);
    // The first requests open connections and fill caches.
    load.run(span / 4, gets, puts).await;
    for _ in 0..arguments.turns {
        without.add(load.run(span, gets, puts).await);
        let resumed = cluster.admin(&["job", "resume", "rebalance"]).await;
        resumed.expect("a job can be resumed");
        let before = steps::moved_bytes(&cluster).await;
        eventually("moving chunks", BEGINS_WITHIN, async || {
            (steps::moved_bytes(&cluster).await > before).then_some(())
        })
        .await;
        let before = steps::moved_bytes(&cluster).await;
        with.add(load.run(span, gets, puts).await);
        moved_bytes += steps::moved_bytes(&cluster).await - before;
        steps::assert_running(&cluster).await;
        cluster.pause_job("rebalance").await;
    }
    let seconds = span.as_secs_f64() * f64::from(arguments.turns);
    println!(
        "moved {:.0} MiB/s",
        moved_bytes as f64 / 1_048_576.0 / seconds
    );
    println!("{}", without.table(&with));
}
