//! `gateway standalone` on a data directory of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::endpoint::Endpoint;
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
        let dir = TempDir::new().expect("the temporary directory can be written");
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

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        data_in(self.dir.path())
    }
}

fn data_in(dir: &Path) -> PathBuf {
    dir.join("data")
}
