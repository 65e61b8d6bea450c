//! A gateway process, in either of its two commands.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cluster::CLUSTER_SECRET;
use crate::endpoint::Endpoint;
use crate::server_process::ServerProcess;
use crate::shifted_clock::ShiftedClock;

/// A gateway that can be stopped and started again on the same ports and data.
#[derive(Debug)]
pub struct GatewayProcess {
    process: Option<ServerProcess>,
    arguments: Vec<OsString>,
    log_dir: PathBuf,
    endpoint: Endpoint,
    admin: String,
    /// Set before a start: the clock that it goes by, if not the machine's.
    pub clock: Option<ShiftedClock>,
}

impl GatewayProcess {
    /// Starts a gateway with these arguments on ports that the system chooses.
    pub(crate) async fn start(arguments: Vec<OsString>, log_dir: &Path) -> Self {
        let mut gateway = Self {
            process: None,
            arguments,
            log_dir: log_dir.to_owned(),
            endpoint: Endpoint::with_test_keys("http://127.0.0.1:0"),
            admin: "http://127.0.0.1:0".to_owned(),
            clock: None,
        };
        gateway.start_again().await;
        gateway
    }

    /// Starts the stopped gateway again, on the ports it had.
    ///
    /// # Panics
    /// When it does not become ready in time.
    pub async fn start_again(&mut self) {
        let mut process = self.start_process();
        let line = process.ready_line("Sextant is ready at ").await;
        let (url, rest) = line
            .split_once(" (admin: ")
            .expect("the line names both URLs");
        let (admin, _) = rest
            .split_once(')')
            .expect("the admin URL is in parentheses");
        self.endpoint.url = url.to_owned();
        self.admin = admin.to_owned();
        self.process = Some(process);
    }

    /// Starts the stopped gateway again, which must refuse; returns its log.
    ///
    /// # Panics
    /// When it becomes ready.
    pub async fn refused_start(&mut self) -> String {
        self.start_process().refusal().await
    }

    fn start_process(&mut self) -> ServerProcess {
        self.process = None;
        let mut arguments = self.arguments.clone();
        let addresses = [
            ("--listen", self.endpoint.authority()),
            ("--admin-listen", authority(&self.admin)),
        ];
        for (flag, address) in addresses {
            arguments.extend([flag.into(), address.into()]);
        }
        let mut settings = vec![
            ("SEXTANT_ACCESS_KEY", self.endpoint.access_key.as_str()),
            ("SEXTANT_SECRET_KEY", self.endpoint.secret_key.as_str()),
            ("SEXTANT_CLUSTER_SECRET", CLUSTER_SECRET),
        ];
        settings.extend(self.clock.iter().flat_map(ShiftedClock::settings));
        ServerProcess::start("gateway", "gateway", &self.log_dir, &arguments, &settings)
    }

    /// Where it answers S3 requests.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Base URL of its admin listener.
    #[must_use]
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// The running process.
    ///
    /// # Panics
    /// When it is stopped.
    #[must_use]
    pub fn process(&self) -> &ServerProcess {
        self.process.as_ref().expect("the gateway runs")
    }

    /// Whether it was started and not stopped since.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Stops it with SIGTERM; it must end cleanly.
    pub async fn terminate(&mut self) {
        if let Some(process) = self.process.take() {
            process.terminate().await;
        }
    }

    /// Stops it with SIGKILL.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }
}

fn authority(url: &str) -> &str {
    url.trim_start_matches("http://")
}
