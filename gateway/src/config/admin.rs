//! The command line of `gateway admin`: what an operator asks of a running gateway.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use chunkproto::{ClusterSecret, JobName};
use clap::{Args, Subcommand};

use super::admin_bucket::BucketCommand;
use super::admin_user::UserCommand;
use super::master_key::MasterKeyCommand;
use super::recovery::{RebuildConfig, RestoreConfig};

/// What `gateway admin` is to do.
#[derive(Debug, Clone, Subcommand)]
pub enum AdminCommand {
    /// Show whether the data is safe, what needs attention, and the state of chunk servers and jobs
    Status(StatusCommand),
    /// Show chunk servers, drain and remove them
    #[command(subcommand)]
    Node(NodeCommand),
    /// Show background jobs, pause them, change their rates
    #[command(subcommand)]
    Job(JobCommand),
    /// Show what buckets hold, and limit what they may hold
    #[command(subcommand)]
    Bucket(BucketCommand),
    /// Create, show, disable and delete the users who sign S3 requests
    #[command(subcommand)]
    User(UserCommand),
    /// Change the master key, under which secrets and the keys of encrypted objects are kept
    #[command(subcommand)]
    MasterKey(MasterKeyCommand),
    /// Copy the running gateway's metadata into a directory on the gateway's machine. Keys are not
    /// included: keep copies of root-keys.toml, master-key and cluster-secret too
    SaveMetadata(SaveMetadataCommand),
    /// Restore lost metadata from the backups on the chunk servers. Runs in place of the gateway
    RestoreMetadata(RestoreConfig),
    /// Rebuild lost metadata from the owner hints of all chunks, if there is no backup. Runs in place
    /// of the gateway. What cannot come back this way is listed in docs/operations.md
    RebuildMetadata(RebuildConfig),
}

impl AdminCommand {
    /// What to log; nothing for commands that only ask.
    #[must_use]
    pub fn log(&self) -> Option<&str> {
        match self {
            Self::RestoreMetadata(config) => Some(&config.recovery.log),
            Self::RebuildMetadata(config) => Some(&config.recovery.log),
            Self::Status(_)
            | Self::Node(_)
            | Self::Job(_)
            | Self::Bucket(_)
            | Self::User(_)
            | Self::MasterKey(_)
            | Self::SaveMetadata(_) => None,
        }
    }
}

/// The gateway to ask.
#[derive(Debug, Clone, Args)]
pub struct GatewayLink {
    /// Base URL of the gateway's admin listener
    #[arg(
        long,
        env = "SEXTANT_ADMIN_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9001"
    )]
    pub gateway: String,
    /// The cluster's secret
    #[arg(long, env = "SEXTANT_CLUSTER_SECRET", value_name = "SECRET", hide_env_values = true,
        value_parser = ClusterSecret::parse)]
    pub cluster_secret: Option<ClusterSecret>,
    /// File with the cluster's secret; a gateway keeps one in its metadata directory
    #[arg(
        long,
        env = "SEXTANT_CLUSTER_SECRET_FILE",
        value_name = "FILE",
        conflicts_with = "cluster_secret"
    )]
    pub cluster_secret_file: Option<PathBuf>,
}

/// Settings of `gateway admin status`.
#[derive(Debug, Clone, Args)]
pub struct StatusCommand {
    /// Show it as JSON
    #[arg(long)]
    pub json: bool,
    /// The gateway to ask.
    #[command(flatten)]
    pub link: GatewayLink,
}

/// Settings of `gateway admin save-metadata`.
#[derive(Debug, Clone, Args)]
pub struct SaveMetadataCommand {
    /// Directory for the copy: new or empty, and on another disk
    #[arg(value_name = "DIR")]
    pub to: PathBuf,
    /// The gateway to ask.
    #[command(flatten)]
    pub link: GatewayLink,
}

/// Commands on chunk servers.
#[derive(Debug, Clone, Subcommand)]
pub enum NodeCommand {
    /// Show all chunk servers
    List(LinkCommand),
    /// Move everything off a chunk server, and put nothing new on it
    Drain(DrainCommand),
    /// Cancel a drain: the chunk server takes new chunks again
    Undrain(OneNode),
    /// Remove a drained chunk server for good; it cannot register again
    Remove(OneNode),
    /// Accept all unreferenced chunks of one chunk server as garbage, however many: for one that came back
    /// with older data directories. They are quarantined first
    AcceptOrphans(OneNode),
}

/// A command that needs nothing but the gateway.
#[derive(Debug, Clone, Args)]
pub struct LinkCommand {
    /// The gateway to ask.
    #[command(flatten)]
    pub link: GatewayLink,
}

/// A command about one chunk server.
#[derive(Debug, Clone, Args)]
pub struct OneNode {
    /// Its id, the beginning of its id, or its address
    #[arg(value_name = "NODE")]
    pub node: String,
    /// The gateway to ask.
    #[command(flatten)]
    pub link: GatewayLink,
}

/// Settings of `gateway admin node drain`.
#[derive(Debug, Clone, Args)]
pub struct DrainCommand {
    /// The one it is about.
    #[command(flatten)]
    pub node: OneNode,
    /// Wait until it is empty and may be removed, showing progress
    #[arg(long)]
    pub wait: bool,
    /// Seconds between two progress lines
    #[arg(long, value_name = "SECONDS", default_value_t = 2, hide = true,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub look_every: u64,
}

impl DrainCommand {
    /// Time between two looks.
    #[must_use]
    pub fn look_period(&self) -> Duration {
        Duration::from_secs(self.look_every)
    }
}

/// Commands on background jobs.
#[derive(Debug, Clone, Subcommand)]
pub enum JobCommand {
    /// Show all jobs
    List(LinkCommand),
    /// Pause a job until it is resumed
    Pause(OneJob),
    /// Resume a paused job, or one that distrusts the clock
    Resume(OneJob),
    /// Set how many bytes per second a job may move; takes effect at once and outlives restarts
    Rate(RateCommand),
}

/// A command about one job.
#[derive(Debug, Clone, Args)]
pub struct OneJob {
    /// Its name
    #[arg(value_name = "JOB")]
    pub job: JobName,
    /// The gateway to ask.
    #[command(flatten)]
    pub link: GatewayLink,
}

/// Settings of `gateway admin job rate`.
#[derive(Debug, Clone, Args)]
pub struct RateCommand {
    /// The one it is about.
    #[command(flatten)]
    pub job: OneJob,
    /// Bytes per second, with or without a unit; `unlimited`; or `default` for the gateway's setting
    #[arg(value_name = "RATE", value_parser = parse_rate)]
    pub rate: Rate,
}

/// How fast a job may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// As the gateway's settings say.
    Default,
    /// Without limit.
    Unlimited,
    /// So many bytes per second.
    BytesPerS(u64),
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    match text {
        "default" => Ok(Rate::Default),
        "unlimited" => Ok(Rate::Unlimited),
        _ => match text.parse::<ByteSize>()?.as_u64() {
            0 => Err("0 would never move anything; use `gateway admin job pause`".into()),
            rate => Ok(Rate::BytesPerS(rate)),
        },
    }
}
