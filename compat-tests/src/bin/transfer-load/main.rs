//! Moves many large objects to or from an S3 endpoint at a time, and compares every byte that comes
//! back. Holds one piece per transfer, so that it can load a server without memory of its own.

mod transfer;

use std::time::{Duration, Instant};

use bytesize::ByteSize;
use clap::{Parser, ValueEnum};
use compat_tests::Endpoint;
use futures::future::try_join_all;

use crate::transfer::{Failure, Load};

/// Loads an S3 endpoint with large transfers.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to do; several are done at the same time
    #[arg(required = true)]
    actions: Vec<Action>,
    /// Base URL of the endpoint
    #[arg(long)]
    endpoint: String,
    /// Bucket to work in
    #[arg(long, default_value = "transfer-load")]
    bucket: String,
    /// How many uploads and how many downloads, each on a connection of its own at the same time
    #[arg(long, default_value_t = 32)]
    count: u64,
    /// How many objects the downloads share; the rest of the disk is for the uploads
    #[arg(long, default_value_t = 8)]
    sources: u64,
    /// Size of each object
    #[arg(long, default_value = "1GiB")]
    size: ByteSize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Make the bucket
    CreateBucket,
    /// Upload the objects that are downloaded later
    UploadSources,
    /// Upload other objects
    Upload,
    /// Download the sources
    Download,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let load = Load {
        endpoint: Endpoint::with_test_keys(&arguments.endpoint),
        client: reqwest::Client::builder().no_proxy().build()?,
        bucket: arguments.bucket.clone(),
        size_bytes: arguments.size.as_u64(),
    };
    let began = Instant::now();
    let actions = arguments.actions.iter();
    let transfers = try_join_all(actions.map(|action| act(&load, *action, &arguments))).await?;
    let moved_bytes = transfers.iter().sum::<u64>() * load.size_bytes;
    if moved_bytes > 0 {
        report(&arguments.actions, moved_bytes, began.elapsed());
    }
    Ok(())
}

/// Returns how many objects it has moved.
async fn act(load: &Load, action: Action, arguments: &Arguments) -> Result<u64, Failure> {
    let (count, sources) = (arguments.count, arguments.sources);
    match action {
        Action::CreateBucket => {
            load.create_bucket().await?;
            Ok(0)
        }
        Action::UploadSources => {
            let uploads = (0..sources).map(|seed| load.upload(seed, format!("source/{seed}")));
            try_join_all(uploads).await?;
            Ok(sources)
        }
        Action::Upload => {
            let uploads = (0..count).map(|seed| load.upload(seed, format!("upload/{seed}")));
            try_join_all(uploads).await?;
            Ok(count)
        }
        Action::Download => {
            let seeds = (0..count).map(|number| number % sources);
            let downloads = seeds.map(|seed| load.download(seed, format!("source/{seed}")));
            try_join_all(downloads).await?;
            Ok(count)
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the outcome is for the person at the terminal"
)]
fn report(actions: &[Action], moved_bytes: u64, elapsed: Duration) {
    let moved = ByteSize(moved_bytes);
    println!("{actions:?}: {moved} in {:.1} s", elapsed.as_secs_f64());
}
