//! The programs that people use S3 with, run in a home directory of their own with nothing of the
//! caller's environment but the search path.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::endpoint::Endpoint;
use crate::environment::{python_program, search_path};
use crate::finished::Finished;

/// The longest command moves 100 MiB, on a machine that builds at the same time.
const COMMAND_DEADLINE: Duration = Duration::from_secs(600);

/// A home directory with clients set up for one endpoint. Gone on drop.
#[derive(Debug)]
pub struct ClientHome {
    home: TempDir,
    endpoint: Endpoint,
    variables: Vec<(&'static str, String)>,
}

impl ClientHome {
    /// Clients for `endpoint`.
    ///
    /// # Panics
    /// When the temporary directory cannot be written.
    #[must_use]
    pub fn new(endpoint: &Endpoint) -> Self {
        let home = TempDir::new().expect("the temporary directory can be written");
        fs::write(home.path().join(".s3cfg"), s3cmd_settings(endpoint))
            .expect("the home directory can be written");
        Self {
            home,
            endpoint: endpoint.clone(),
            variables: Vec::new(),
        }
    }

    /// The same with one more variable in the environment of its programs.
    #[must_use]
    pub fn with_variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// A path below the home directory.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.home.path().join(relative)
    }

    /// Writes a file below the home directory, with the directories on the way.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, relative: &str, content: &[u8]) -> PathBuf {
        let path = self.path(relative);
        let parent = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).expect("the home directory can be written");
        fs::write(&path, content).expect("the home directory can be written");
        path
    }

    /// Runs the aws cli, which must succeed; returns what it prints.
    pub async fn aws<A: AsRef<OsStr>>(&self, arguments: &[A]) -> String {
        self.try_aws(arguments).await.expect_success("aws")
    }

    /// Runs the aws cli, whatever comes of it.
    pub async fn try_aws<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Finished {
        self.finish(self.command(&python_program("aws")).args(arguments))
            .await
    }

    /// Runs rclone, which must succeed; the endpoint is the remote `sx:`.
    pub async fn rclone<A: AsRef<OsStr>>(&self, arguments: &[A]) -> String {
        let mut command = self.rclone_command();
        self.finish(command.args(arguments))
            .await
            .expect_success("rclone")
    }

    /// Starts rclone and leaves it running; killed when the child is dropped.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_rclone<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Child {
        let mut command = self.rclone_command();
        command.args(arguments);
        command.spawn().expect("rclone can be started")
    }

    /// Runs s3cmd, which must succeed; returns what it prints.
    pub async fn s3cmd<A: AsRef<OsStr>>(&self, arguments: &[A]) -> String {
        let mut command = self.command(Path::new("s3cmd"));
        self.finish(command.args(arguments))
            .await
            .expect_success("s3cmd")
    }

    /// Runs a Python script with boto3 at hand, which must succeed; returns what it prints.
    pub async fn python<A: AsRef<OsStr>>(&self, arguments: &[A]) -> String {
        let mut command = self.command(&python_program("python"));
        self.finish(command.args(arguments))
            .await
            .expect_success("python")
    }

    /// Runs lines as a person would paste them into a shell that has the aws cli; each must succeed.
    /// Returns what they print.
    pub async fn shell(&self, lines: &str) -> String {
        let mut command = self.command(Path::new("bash"));
        let programs = python_program("aws");
        let mut path = programs
            .parent()
            .unwrap_or(Path::new("/"))
            .as_os_str()
            .to_owned();
        path.push(":");
        path.push(search_path());
        command.env("PATH", path);
        self.finish(command.args(["-e", "-o", "pipefail", "-c", lines]))
            .await
            .expect_success("bash")
    }

    /// Runs any other program, which must succeed; returns what it prints.
    pub async fn run<A: AsRef<OsStr>>(&self, program: &str, arguments: &[A]) -> String {
        let mut command = self.command(Path::new(program));
        self.finish(command.args(arguments))
            .await
            .expect_success(program)
    }

    fn rclone_command(&self) -> Command {
        let mut command = self.command(Path::new("rclone"));
        let settings = [
            ("RCLONE_CONFIG", "/dev/null"),
            ("RCLONE_CONFIG_SX_TYPE", "s3"),
            ("RCLONE_CONFIG_SX_PROVIDER", "Other"),
            ("RCLONE_CONFIG_SX_ENV_AUTH", "true"),
            ("RCLONE_CONFIG_SX_ENDPOINT", &self.endpoint.url),
            ("RCLONE_CONFIG_SX_REGION", Endpoint::REGION),
            // A failure is a finding, not something to try again until it passes.
            ("RCLONE_RETRIES", "1"),
            ("RCLONE_LOW_LEVEL_RETRIES", "1"),
        ];
        command.envs(settings);
        command
    }

    /// A command with a clean environment in the home directory.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", self.home.path())
            .env("LANG", "C.UTF-8")
            .env("AWS_ACCESS_KEY_ID", &self.endpoint.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.endpoint.secret_key)
            .env("AWS_DEFAULT_REGION", Endpoint::REGION)
            .env("AWS_ENDPOINT_URL", &self.endpoint.url)
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn finish(&self, command: &mut Command) -> Finished {
        Finished::of(command, COMMAND_DEADLINE).await
    }
}

fn s3cmd_settings(endpoint: &Endpoint) -> String {
    let Endpoint {
        access_key,
        secret_key,
        ..
    } = endpoint;
    let host = endpoint.authority();
    format!(
        "[default]\naccess_key = {access_key}\nsecret_key = {secret_key}\nhost_base = {host}\n\
         host_bucket = {host}\nuse_https = False\nbucket_location = {}\nmax_retries = 1\n",
        Endpoint::REGION
    )
}
