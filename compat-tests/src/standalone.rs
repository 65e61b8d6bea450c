//! `gateway standalone` on a data directory of its own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::endpoint::Endpoint;
use crate::environment::server_program;
use crate::finished::{ADMIN_DEADLINE, Finished};
use crate::gateway_process::GatewayProcess;

/// A standalone server. Its processes and its data are gone with it.
#[derive(Debug)]
pub struct Standalone {
    gateway: GatewayProcess,
    // After the process, so that nothing writes into it while it is removed.
    dir: TempDir,
}

impl Standalone {
    /// Starts a server with default settings.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with further arguments.
    ///
    /// # Panics
    /// When it does not become ready in time.
    pub async fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(|_| {}, arguments).await
    }

    /// As [`start_with`](Self::start_with), with something done to its data directory before.
    ///
    /// # Panics
    /// As [`start_with`](Self::start_with).
    pub async fn start_in(prepare: impl FnOnce(&Path), arguments: &[&str]) -> Self {
        let dir = TempDir::new().expect("the temporary directory can be written");
        prepare(&data_in(dir.path()));
        let mut all: Vec<OsString> = vec!["standalone".into(), "--data".into()];
        all.push(data_in(dir.path()).into());
        all.extend(arguments.iter().map(OsString::from));
        let gateway = GatewayProcess::start(all, dir.path()).await;
        Self { gateway, dir }
    }

    /// Where it answers S3 requests.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.gateway.endpoint()
    }

    /// The gateway, to stop it and start it again.
    pub fn gateway(&mut self) -> &mut GatewayProcess {
        &mut self.gateway
    }

    /// Runs `gateway admin` with these words, on its data or against it as the words say.
    ///
    /// # Panics
    /// When it cannot be started, or does not end in time.
    pub async fn admin(&self, words: &[&str]) -> Finished {
        let secret = fs::read_to_string(self.data().join("cluster-secret")).unwrap_or_default();
        let mut program = Command::new(server_program("gateway"));
        program
            .env_clear()
            .env("SEXTANT_ADMIN_URL", self.gateway.admin())
            .env("SEXTANT_DATA", self.data());
        if !secret.is_empty() {
            program.env("SEXTANT_CLUSTER_SECRET", secret);
        }
        Finished::of(program.arg("admin").args(words), ADMIN_DEADLINE).await
    }

    /// All of its `/status`.
    ///
    /// # Panics
    /// When it does not answer as it should.
    pub async fn status(&self) -> Value {
        let shown = self.admin(&["status", "--json"]).await;
        let shown = shown.expect_success("gateway admin status");
        serde_json::from_str(&shown).expect("the status is JSON")
    }

    /// One of its metrics, summed over all labels.
    ///
    /// # Panics
    /// When it does not answer as it should.
    pub async fn metric(&self, name: &str) -> u64 {
        let url = format!("{}/metrics", self.gateway.admin());
        let answer = reqwest::get(url).await.expect("the gateway answers");
        let text = answer.text().await.expect("the metrics are text");
        let lines = text.lines().filter(|line| line.starts_with(name));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.gateway.process().log()
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        data_in(self.dir.path())
    }
}

fn data_in(dir: &Path) -> PathBuf {
    dir.join("data")
}
