//! A command that is run to its end, and what it left.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Command;

/// A command of `gateway admin` has so long; the longest bring back metadata, or wait for a drain.
pub(crate) const ADMIN_DEADLINE: Duration = Duration::from_secs(300);

/// What a command left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// Runs a command to its end; it is killed after `deadline`.
    ///
    /// # Panics
    /// When it cannot be run, or does not end in time.
    pub(crate) async fn of(command: &mut Command, deadline: Duration) -> Self {
        let words = command.as_std();
        let arguments: Vec<_> = words.get_args().collect();
        let what = format!("{:?} {arguments:?}", words.get_program());
        let output = command.kill_on_drop(true).output();
        let output = tokio::time::timeout(deadline, output).await;
        let output = output.unwrap_or_else(|_| panic!("{what} took over {deadline:?}"));
        let output = output.unwrap_or_else(|error| panic!("{what} cannot be run: {error}"));
        Self {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What it printed, or what it said before it failed.
    ///
    /// # Errors
    /// Its standard error, if it did not end well.
    pub fn outcome(self) -> Result<String, String> {
        match self.status.success() {
            true => Ok(self.stdout),
            false => Err(self.stderr),
        }
    }

    /// Standard output of a command that must have ended well.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn expect_success(self, program: &str) -> String {
        assert!(
            self.status.success(),
            "{program} failed ({}):\n{}\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self.stdout
    }

    /// Standard error of a command that must have failed.
    ///
    /// # Panics
    /// When it did not fail.
    #[must_use]
    pub fn expect_failure(self) -> String {
        assert!(
            !self.status.success(),
            "success was not expected:\n{}",
            self.stdout
        );
        self.stderr
    }
}
