//! Settings of `gateway standalone`.

use std::path::PathBuf;

use clap::Args;

use super::GatewayConfig;

/// Settings of `gateway standalone`.
#[derive(Debug, Clone, Args)]
pub struct StandaloneConfig {
    /// Data directory: metadata, chunks and generated keys
    #[arg(long, env = "SEXTANT_DATA", value_name = "DIR")]
    pub data: PathBuf,
    /// Number of embedded chunk stores, 1 to 64; may grow, never shrink [default: as many as exist,
    /// and in a new directory as many as replicas]
    #[arg(long, env = "SEXTANT_NODES", value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=64))]
    pub nodes: Option<u8>,
    /// Replicas of each chunk, each in its own store, 1 to 6. The stores share one disk unless others
    /// are mounted below DIR/nodes
    #[arg(long, env = "SEXTANT_REPLICAS", value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=6))]
    pub replicas: u8,
    /// Seconds in which every chunk is read from its disk and verified once, over and over; 0 for never
    #[arg(long, env = "SEXTANT_SCRUB_PERIOD", value_name = "SECONDS", default_value_t = 1_209_600,
        value_parser = clap::value_parser!(u64).range(0..=31_536_000))]
    pub scrub_period: u64,
    /// Maximum MiB per second that scrubbing reads from a disk when it is behind, 1 to 65536; shared by
    /// the stores on one disk
    #[arg(long, env = "SEXTANT_SCRUB_RATE_MIB", value_name = "MIB", default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub scrub_rate_mib: u32,
    /// What both commands share.
    #[command(flatten)]
    pub gateway: GatewayConfig,
}
