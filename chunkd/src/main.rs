//! The chunk server's process: config, open, bind, announce, serve until a signal, drain.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use chunkd::config::{Config, ConfigError};
use chunkd::registration::{Announcement, Pace, announce};
use chunkd::{ChunkNode, Fences, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

/// Requests allocate a few hundred times each; this costs half of what the system's allocator does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::load() {
        Ok(config) => config,
        Err(ConfigError::Flags(help_or_error)) => help_or_error.exit(),
        Err(error) => return fail(&error),
    };
    abort_on_panic();
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    }
}

async fn run(config: Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.log).map_err(|error| format!("--log: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    if let Some(warning) = config.node.store.durability.warning() {
        tracing::warn!("{warning}");
    }
    let options = config.node.clone();
    let node = tokio::task::spawn_blocking(move || ChunkNode::open(options)).await??;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    let address = config.advertised(listener.local_addr()?);
    let state = node.state();
    tracing::info!(
        listen = %listener.local_addr()?, advertised = address, node = %node.node_id(),
        disks = state.disks.len(), fenced = state.fenced_disks().len(),
        chunks = state.total.chunk_count, "chunkd serves"
    );
    welcome(&format!("http://{}", listener.local_addr()?));
    let me = Announcement {
        incarnation: Uuid::now_v7(),
        address,
        zone: config.zone,
    };
    // With nobody to learn from, the first token of each job counts as the newest.
    let fences = match config.gateways.as_slice() {
        [] => Fences::fresh(),
        _ => Fences::unlearnt(),
    };
    let links = announce(
        &config.gateways,
        &me,
        &node,
        &fences,
        &config.secret,
        Pace::default(),
    );

    let scrubbed = node.clone();
    let scrubbing = tokio::spawn(async move {
        if let Some(settings) = config.scrub {
            scrubbed.scrub(settings).await;
        }
    });
    serve(listener, node, config.secret, fences, async move {
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("interrupted; draining"),
            _ = terminate.recv() => tracing::info!("terminated; draining"),
        }
        drop(links); // gateways hear no more from this node and choose others
    })
    .await;
    scrubbing.abort();
    tracing::info!("stopped");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the line that scripts wait for")]
fn welcome(endpoint: &str) {
    println!("chunkd is ready at {endpoint}");
}

/// A panic is a bug that leaves the process in an unknown state; the disk is always in a good one.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

#[expect(clippy::print_stderr, reason = "the log may not be set up yet")]
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("chunkd: {error}");
    ExitCode::FAILURE
}
