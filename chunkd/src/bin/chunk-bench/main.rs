//! How many chunks a second the store makes durable, and what one costs: puts, and with `--gets` hot
//! reads, for every size and number of clients, in a directory on the disk to be measured. Layouts
//! and numbers of stores take turns within each cell of the table, so that their ratio is of one run.

#![expect(clippy::print_stdout, reason = "the table is the output")]

mod cell;
mod load;
mod sample;
mod stores;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::cell::{Cell, Limits, Variant};
use crate::stores::Layout;

/// Why a measurement failed: its first error ends it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measures the chunk store: puts, then hot gets, with p50, p99 and CPU time.
#[derive(Debug, Parser)]
struct Arguments {
    /// Directory on the disk to be measured; what is written there is removed again
    dir: PathBuf,
    /// How chunks are laid out; both take turns, and the second's ratio to the first is printed
    #[arg(long, value_enum, default_value_t = LayoutChoice::Segments)]
    layout: LayoutChoice,
    /// How many stores share the directory, chunks spread over them in turn; several numbers are
    /// compared
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1",
        value_parser = clap::value_parser!(u8).range(1..=64))]
    stores: Vec<u8>,
    /// Sizes of the chunks
    #[arg(
        long,
        value_name = "KIB",
        value_delimiter = ',',
        default_value = "4,64,1024,4096"
    )]
    size_kib: Vec<u32>,
    /// Numbers of clients, each with one request under way
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "1,16,64"
    )]
    clients: Vec<usize>,
    /// Length of one measurement, after half a second that is not counted
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Measurements of each kind, taken in turns and added up
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Also read random chunks of those that were just written
    #[arg(long)]
    gets: bool,
    /// A measurement of puts ends early when it has written so much
    #[arg(long, value_name = "MIB", default_value_t = 8192)]
    written_max_mib: u64,
    /// Keep so much and delete the oldest chunk with each further put, as a store does that has been
    /// in use for long; three times as much is written before anything counts
    #[arg(long, value_name = "MIB")]
    turnover_mib: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LayoutChoice {
    /// One file per chunk
    Files,
    /// Append-only segments
    Segments,
    /// Files and segments, one after the other
    Both,
}

impl LayoutChoice {
    fn layouts(self) -> &'static [Layout] {
        match self {
            Self::Files => &[Layout::Files],
            Self::Segments => &[Layout::Segments],
            Self::Both => &[Layout::Files, Layout::Segments],
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    }
}

#[expect(clippy::print_stderr, reason = "the table is on the other stream")]
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("chunk-bench: {error}");
    ExitCode::FAILURE
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let limits = Limits {
        span: Duration::from_secs(arguments.seconds),
        rounds: arguments.rounds,
        written_max_bytes: arguments.written_max_mib << 20,
        turnover_bytes: arguments.turnover_mib.map(|mib| mib << 20),
        gets: arguments.gets,
    };
    let variants = arguments.variants();
    println!("{}", cell::HEADING);
    for &size_kib in &arguments.size_kib {
        for &clients in &arguments.clients {
            let cell = Cell {
                chunk_bytes: u64::from(size_kib) << 10,
                clients,
            };
            cell.measure(&arguments.dir, &variants, &limits, |line| {
                println!("{line}");
            })
            .await?;
        }
    }
    Ok(())
}

impl Arguments {
    /// Everything that is compared within a cell; the first is what the ratios refer to.
    fn variants(&self) -> Vec<Variant> {
        let layouts = self.layout.layouts().iter();
        layouts
            .flat_map(|&layout| {
                let of_layout = move |&stores| Variant { layout, stores };
                self.stores.iter().map(of_layout)
            })
            .collect()
    }
}
