//! Measures an S3 endpoint over presigned URLs: rate, latencies, CPU time of the server's processes
//! per operation. Without `--endpoint` it starts `gateway standalone` on a scratch directory of its
//! own. Several servers take turns, each alone, so that their ratios are of one run.

#![expect(clippy::print_stdout, reason = "the table is the output")]
#![expect(clippy::print_stderr, reason = "progress and failures")]

mod arguments;
mod connection;
mod figures;
mod garage;
mod load;
mod measure;
mod processes;
mod report;
mod requests;
mod targets;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::Arguments;
use crate::measure::{Case, Measured};
use crate::report::Report;
use crate::targets::Target;

/// Why there is no measurement. Failures of single requests are counted instead.
type Failure = Box<dyn std::error::Error + Send + Sync>;

// One thread, so that the clients leave the other cores to the server.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("s3-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures everything and reports it. Returns whether every request succeeded.
async fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let targets = arguments.targets()?;
    let cases = arguments.cases();
    let mut report = Report::new(&targets, &cases);
    for round in 1..=arguments.rounds {
        for (number, target) in targets.iter().enumerate() {
            let mut keep = |case: usize, measured: Measured| {
                let (name, rate) = (target.name(), measured.rate_per_s());
                eprintln!("round {round}: {name}: {}: {rate:.0}/s", cases[case]);
                report.add(number, case, measured);
            };
            one_round(arguments, target, &cases, &mut keep).await?;
        }
    }
    println!("{}", report.table());
    if let Some(path) = &arguments.json {
        write(path, &report.json())?;
    }
    Ok(!report.has_failures())
}

/// Starts a server, measures every case, and stops it.
async fn one_round(
    arguments: &Arguments,
    target: &Target,
    cases: &[Case],
    keep: &mut impl FnMut(usize, Measured),
) -> Result<(), Failure> {
    let server = target.start().await?;
    connection::make_bucket(server.endpoint(), &arguments.bucket).await?;
    for (number, case) in cases.iter().enumerate() {
        let measured =
            measure::measure(case, &server, &arguments.bucket, arguments.extent()).await?;
        keep(number, measured);
    }
    server.stop().await
}

fn write(path: &Path, json: &str) -> Result<(), Failure> {
    fs::write(path, json).map_err(|error| format!("{}: {error}", path.display()).into())
}
