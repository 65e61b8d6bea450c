//! Settings of the background jobs.

use bytesize::ByteSize;
use clap::Args;

/// Settings of the background jobs.
#[derive(Debug, Clone, Args)]
pub struct JobConfig {
    /// Seconds that deleted and overwritten data is kept before it is collected
    #[arg(
        long,
        env = "SEXTANT_GC_GRACE",
        value_name = "SECONDS",
        default_value_t = 900
    )]
    pub gc_grace: u64,
    /// Seconds of silence after which a chunk server is taken for gone and its chunks are copied
    /// elsewhere
    #[arg(
        long,
        env = "SEXTANT_NODE_DOWN_AFTER",
        value_name = "SECONDS",
        default_value_t = 600,
        value_parser = clap::value_parser!(u64).range(1..=604_800)
    )]
    pub node_down_after: u64,
    /// Bytes per second that repair may copy, with or without a unit; 0 for no limit. `gateway admin
    /// job rate` changes it while repair runs
    #[arg(
        long,
        env = "SEXTANT_REPAIR_RATE",
        value_name = "SIZE",
        default_value = "128MiB"
    )]
    pub repair_rate: ByteSize,
}

/// A rate as it was set; none for no limit.
#[must_use]
pub fn rate_bytes_per_s(setting: ByteSize) -> Option<u64> {
    Some(setting.as_u64()).filter(|rate| *rate > 0)
}
