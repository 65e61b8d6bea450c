//! A Garage node of its own: one process, one replica, LMDB, everything else as its makers set it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use compat_tests::{Endpoint, SignedRequest};
use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::Failure;

/// It may take so long to start and to stop.
const CHANGE_MAX: Duration = Duration::from_secs(30);
/// Between two looks whether it answers.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// A running node. Killed on drop, and its data removed.
pub(crate) struct Garage {
    child: Child,
    pid: u32,
    endpoint: Endpoint,
    // After the process, so that nothing writes into it while it is removed.
    dir: TempDir,
}

impl Garage {
    /// Starts `program` on an empty directory and waits until it takes the tests' keys.
    ///
    /// # Errors
    /// A program that cannot be started, ends, or does not answer in time.
    pub(crate) async fn start(program: &Path, synced: bool) -> Result<Self, Failure> {
        let dir = TempDir::new()?;
        let (s3, rpc) = (free_port()?, free_port()?);
        let settings = dir.path().join("garage.toml");
        fs::write(&settings, settings_of(dir.path(), s3, rpc, synced))?;
        let endpoint = Endpoint::with_test_keys(&format!("http://127.0.0.1:{s3}"));
        let log = File::create(dir.path().join("log"))?;
        let child = Command::new(program)
            .arg("-c")
            .arg(&settings)
            .args(["server", "--single-node", "--default-access-key"])
            .env("GARAGE_DEFAULT_ACCESS_KEY", &endpoint.access_key)
            .env("GARAGE_DEFAULT_SECRET_KEY", &endpoint.secret_key)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let mut garage = Self {
            pid: child.id().ok_or("garage ended at once")?,
            child,
            endpoint,
            dir,
        };
        garage.wait_until_ready().await?;
        Ok(garage)
    }

    /// Where it answers S3 requests.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it does not end in time.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        let pid = Pid::from_raw(i32::try_from(self.pid)?).ok_or("garage has no process")?;
        kill_process(pid, Signal::TERM)?;
        timeout(CHANGE_MAX, self.child.wait()).await??;
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let began = Instant::now();
        loop {
            let request = SignedRequest::new(&self.endpoint, Method::GET, "/").sign();
            let answer = client.execute(request.try_into()?).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || began.elapsed() > CHANGE_MAX {
                let log = fs::read_to_string(self.dir.path().join("log"))?;
                return Err(format!("garage did not start:\n{log}").into());
            }
            sleep(LOOK_PERIOD).await;
        }
    }
}

/// A port that nobody uses at this moment.
fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn settings_of(dir: &Path, s3: u16, rpc: u16, synced: bool) -> String {
    let dir = dir.display();
    let secret = "5e".repeat(32);
    let region = Endpoint::REGION;
    format!(
        r#"metadata_dir = "{dir}/meta"
data_dir = "{dir}/data"
db_engine = "lmdb"
metadata_fsync = {synced}
data_fsync = {synced}
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{secret}"

[s3_api]
api_bind_addr = "127.0.0.1:{s3}"
s3_region = "{region}"
root_domain = ".s3.localhost"
"#
    )
}
