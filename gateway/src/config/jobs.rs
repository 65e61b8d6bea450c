//! Settings of the background jobs.

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

use crate::cluster::NodeTimeouts;

/// A node may be silent for so long before it is down.
const DOWN_AFTER_MAX_S: u64 = 604_800;

/// Settings of the background jobs.
#[derive(Debug, Clone, Args)]
pub struct JobConfig {
    /// Seconds that deleted and overwritten data is kept before it is collected, 1 to 31536000; reads
    /// that have just looked up an object still need its chunks
    #[arg(
        long,
        env = "SEXTANT_GC_GRACE",
        value_name = "SECONDS",
        default_value_t = 900,
        value_parser = clap::value_parser!(u64).range(1..=31_536_000)
    )]
    pub gc_grace: u64,
    /// Seconds without contact after which a chunk server counts as down and its chunks are copied
    /// elsewhere, 6 to 604800
    #[arg(
        long,
        env = "SEXTANT_NODE_DOWN_AFTER",
        value_name = "SECONDS",
        default_value_t = 600,
        value_parser = parse_down_after
    )]
    pub node_down_after: u64,
    /// Bytes per second that repair may copy, with or without a unit; 0 for no limit. Change it at run
    /// time with `gateway admin job rate`
    #[arg(
        long,
        env = "SEXTANT_REPAIR_RATE",
        value_name = "SIZE",
        default_value = "128MiB"
    )]
    pub repair_rate: ByteSize,
    /// Bytes per second that draining and rebalancing may each copy, with or without a unit; 0 for no
    /// limit
    #[arg(
        long,
        env = "SEXTANT_MOVE_RATE",
        value_name = "SIZE",
        default_value = "64MiB"
    )]
    pub move_rate: ByteSize,
    /// Difference in disk use, in percent, above which chunks move to emptier chunk servers, 0 to 50;
    /// a difference of less than two chunks never counts
    #[arg(
        long,
        env = "SEXTANT_REBALANCE_THRESHOLD",
        value_name = "PERCENT",
        default_value_t = 5,
        value_parser = clap::value_parser!(u8).range(0..=50)
    )]
    pub rebalance_threshold: u8,
    /// Days after its start, or after its last part, that an incomplete multipart upload is aborted;
    /// also a time with a unit (s, min, h, d); 0 for never
    #[arg(
        long,
        env = "SEXTANT_MULTIPART_EXPIRY",
        value_name = "DAYS",
        default_value = "7",
        value_parser = parse_days
    )]
    pub multipart_expiry: Duration,
    /// Length of a day in lifecycle rules, in seconds, 1 to 86400; short days let you watch rules work
    #[arg(
        long,
        env = "SEXTANT_LIFECYCLE_DAY_SECONDS",
        value_name = "SECONDS",
        default_value_t = 86_400,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    pub lifecycle_day_seconds: u64,
    /// Seconds between two comparisons of a chunk server with the metadata; it is also compared after
    /// each of its starts and each failed disk
    #[arg(
        long,
        env = "SEXTANT_RECONCILE_EVERY",
        value_name = "SECONDS",
        default_value_t = 86_400,
        value_parser = clap::value_parser!(u64).range(1..=31_536_000)
    )]
    pub reconcile_every: u64,
    /// Seconds that a chunk may stay unreferenced before it is quarantined; no write may take longer
    /// than half of this
    #[arg(
        long,
        env = "SEXTANT_ORPHAN_AGE",
        value_name = "SECONDS",
        default_value_t = 86_400,
        value_parser = clap::value_parser!(u64).range(2..=31_536_000)
    )]
    pub orphan_age: u64,
    /// Seconds that an unreferenced chunk stays in quarantine before it is deleted
    #[arg(
        long,
        env = "SEXTANT_ORPHAN_QUARANTINE",
        value_name = "SECONDS",
        default_value_t = 604_800
    )]
    pub orphan_quarantine: u64,
    /// Seconds between two shipments of the metadata's log to the chunk servers, and so how much a
    /// restored database may lack; 0 for no backup. With `gateway standalone` it works only if all
    /// chunk stores are on other disks than the metadata
    #[arg(
        long,
        env = "SEXTANT_METADATA_BACKUP_EVERY",
        value_name = "SECONDS",
        default_value_t = 2,
        value_parser = clap::value_parser!(u64).range(0..=3600)
    )]
    pub metadata_backup_every: u64,
    /// Ship a new checkpoint of the metadata once the log since the last one is longer than this and
    /// than that checkpoint
    #[arg(
        long,
        env = "SEXTANT_METADATA_LOG_SIZE",
        value_name = "SIZE",
        default_value = "64MiB"
    )]
    pub metadata_log_size: ByteSize,
    /// Percent of a chunk server's chunks, 0 to 100, above which unreferenced chunks are left alone and
    /// an alarm is raised, because wrong metadata is the likelier cause; up to 100 chunks never count
    #[arg(
        long,
        env = "SEXTANT_ORPHAN_LIMIT",
        value_name = "PERCENT",
        default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(0..=100)
    )]
    pub orphan_limit: u8,
}

impl JobConfig {
    /// How long a write may take. Its first chunks must not look orphaned before its end.
    #[must_use]
    pub fn write_time_max(&self) -> Duration {
        Duration::from_secs(self.orphan_age) / 2
    }
}

/// A rate as it was set; `None` for no limit.
#[must_use]
pub fn rate_bytes_per_s(setting: ByteSize) -> Option<u64> {
    Some(setting.as_u64()).filter(|rate| *rate > 0)
}

/// Seconds after which a silent node is down: not before it is suspect.
fn parse_down_after(text: &str) -> Result<u64, String> {
    let seconds: u64 = text.parse().map_err(|_| "expected a number of seconds")?;
    let least = NodeTimeouts::default().suspect_after.as_secs();
    if seconds < least {
        return Err(format!(
            "{seconds} s is less than the {least} s of silence after which a chunk server is suspected"
        ));
    }
    match seconds <= DOWN_AFTER_MAX_S {
        true => Ok(seconds),
        false => Err(format!("it is more than a week ({DOWN_AFTER_MAX_S} s)")),
    }
}

/// A time in days, or with a unit.
fn parse_days(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let (digits, unit) = text.split_at(digits.len());
    let unit_s = match unit.trim() {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        "" | "d" => 86_400,
        _ => return Err("the unit must be s, min, h or d".into()),
    };
    let number: u32 = digits
        .trim()
        .parse()
        .map_err(|_| "expected a number of days")?;
    Ok(Duration::from_secs(u64::from(number) * unit_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_unless_they_have_a_unit() {
        let seconds = |text| parse_days(text).map(|time| time.as_secs());
        assert_eq!(seconds("7"), Ok(7 * 86_400));
        assert_eq!(seconds("90 min"), Ok(5400));
        assert_eq!(seconds("0"), Ok(0));
        assert!(seconds("a week").is_err() && seconds("3 m").is_err());
    }
}
