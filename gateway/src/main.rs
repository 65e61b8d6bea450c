//! The `gateway` program: settings, log, run, report.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use gateway::config::{self, AdminCommand, Command};
use gateway::{admin::command, serve, standalone};
use tracing::error;
use tracing_subscriber::EnvFilter;

/// Requests allocate a few hundred times each; this costs half of what the system's allocator does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match config::from_process() {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let filter = EnvFilter::builder().parse_lossy(log_filter(cli.log()));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    std::panic::set_hook(Box::new(|panic| {
        // Half a request's state is no state to go on with.
        error!(%panic, "panic, a bug in Sextant: aborting");
        std::process::abort();
    }));
    let outcome = match cli.command {
        Command::Standalone(config) => standalone::run(config).await,
        Command::Serve(config) => serve::run(config).await,
        Command::Admin(command) => return admin(command).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The filter with s3s silent, unless it is named: it logs bodies, fields of forms and strings to sign.
fn log_filter(asked: &str) -> String {
    let names_s3s = asked.split(',').any(|one| one.trim().starts_with("s3s"));
    match names_s3s {
        true => asked.to_owned(),
        false => format!("{asked},s3s=off"),
    }
}

/// An admin command speaks to a person at a terminal, not to a log.
#[expect(
    clippy::print_stderr,
    reason = "the refusal is for the person at the terminal"
)]
async fn admin(command: AdminCommand) -> ExitCode {
    match command::run(command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3s_is_silent_unless_it_is_named() {
        assert_eq!(log_filter("info"), "info,s3s=off");
        assert_eq!(
            log_filter("debug,gateway::s3=trace"),
            "debug,gateway::s3=trace,s3s=off"
        );
        assert_eq!(log_filter("info, s3s=debug"), "info, s3s=debug");
    }
}
