//! Settings of rebuild-metadata and restore-metadata.

use std::net::SocketAddr;
use std::path::PathBuf;

use chunkproto::ClusterSecret;
use clap::Args;
use uuid::Uuid;

use super::{MetadataUrl, parse_metadata};

/// Settings of `gateway admin rebuild-metadata`.
#[derive(Debug, Clone, Args)]
pub struct RebuildConfig {
    /// Where from and where to.
    #[command(flatten)]
    pub recovery: RecoveryConfig,
    /// Replicas that each chunk should have, 1 to 6, as the gateway's --replicas; repair makes up for
    /// missing ones [default: 3, and 1 with --data]
    #[arg(long, env = "SEXTANT_REPLICAS", value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=6))]
    pub replicas: Option<u8>,
    /// Owner (canonical id) of objects whose chunks record no owner [default: the root user]
    #[arg(long, value_name = "ID", default_value = crate::s3::ROOT_CANONICAL_ID)]
    pub owner: String,
    /// Leave all multipart uploads incomplete; without this, those that can be put together become objects
    #[arg(long)]
    pub leave_uploads: bool,
}

impl RebuildConfig {
    /// Replicas that each chunk should have.
    #[must_use]
    pub fn replicas(&self) -> u8 {
        let by_default = if self.recovery.data.is_some() { 1 } else { 3 };
        self.replicas.unwrap_or(by_default)
    }
}

/// Settings of `gateway admin restore-metadata`.
#[derive(Debug, Clone, Args)]
pub struct RestoreConfig {
    /// Where from and where to.
    #[command(flatten)]
    pub recovery: RecoveryConfig,
    /// Only list the backups
    #[arg(long)]
    pub list: bool,
    /// Restore the backup of this run of a gateway, as --list names it [default: the latest run]
    #[arg(long, value_name = "ID")]
    pub run: Option<Uuid>,
}

/// Where recovery reads from and writes to.
#[derive(Debug, Clone, Args)]
pub struct RecoveryConfig {
    /// Metadata of `gateway serve`: rocksdb:DIR, without a database in it
    #[arg(long, env = "SEXTANT_METADATA", value_name = "URL", value_parser = parse_metadata,
        required_unless_present = "data", conflicts_with = "data", requires = "cluster_secret")]
    pub metadata: Option<MetadataUrl>,
    /// Data directory of `gateway standalone`, without a database in it
    #[arg(long, env = "SEXTANT_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address at which the chunk servers register: the admin address of the gateway whose metadata
    /// is lost
    #[arg(
        long,
        env = "SEXTANT_ADMIN_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:9001"
    )]
    pub admin_listen: SocketAddr,
    /// Secret shared by all gateways and chunk servers
    #[arg(long, env = "SEXTANT_CLUSTER_SECRET", value_name = "SECRET", hide_env_values = true,
        value_parser = ClusterSecret::parse)]
    pub cluster_secret: Option<ClusterSecret>,
    /// How many chunk servers there are; all of them must register
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        required_unless_present = "data"
    )]
    pub nodes: usize,
    /// Seconds to wait for them
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
    /// What to log, as a filter: error, warn, info, debug, or per module
    #[arg(
        long,
        env = "SEXTANT_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,
}
