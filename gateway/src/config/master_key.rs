//! The command line of `gateway admin master-key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::admin::LinkCommand;
use super::{MetadataUrl, parse_metadata};

/// Commands on the master key.
#[derive(Debug, Clone, Subcommand)]
pub enum MasterKeyCommand {
    /// Put a new master key first in the key file on this machine. The gateway encrypts with it from
    /// its next start on, and can still decrypt with the earlier ones
    Rotate(KeyDirectory),
    /// Re-encrypt all secrets and object keys with the running gateway's current master key. Requests
    /// go on meanwhile; it may be interrupted and started again
    Reseal(LinkCommand),
}

/// The directory that `master-key` is kept in.
#[derive(Debug, Clone, Args)]
pub struct KeyDirectory {
    /// Metadata of `gateway serve`: rocksdb:DIR
    #[arg(long, env = "SEXTANT_METADATA", value_name = "URL", value_parser = parse_metadata,
        required_unless_present = "data", conflicts_with = "data")]
    pub metadata: Option<MetadataUrl>,
    /// Data directory of `gateway standalone`
    #[arg(long, env = "SEXTANT_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl KeyDirectory {
    /// The directory.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match (&self.data, &self.metadata) {
            (Some(data), _) => data.clone(),
            (None, Some(MetadataUrl::RocksDb(dir))) => dir.clone(),
            (None, None) => PathBuf::from("."),
        }
    }
}
