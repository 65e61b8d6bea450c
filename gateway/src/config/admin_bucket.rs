//! The command line of `gateway admin bucket`.

use bytesize::ByteSize;
use clap::{Args, Subcommand};

use super::admin::{GatewayLink, LinkCommand};

/// Commands on buckets.
#[derive(Debug, Clone, Subcommand)]
pub enum BucketCommand {
    /// Show all buckets: what they hold and what they may hold
    List(LinkCommand),
    /// Show one bucket; counts its objects if they have not been counted yet
    Show(OneBucket),
    /// Set or remove a bucket's limits; a limit that is not named stays as it is
    Quota(QuotaCommand),
}

/// A command about one bucket.
#[derive(Debug, Clone, Args)]
pub struct OneBucket {
    /// Its name
    #[arg(value_name = "BUCKET")]
    pub bucket: String,
    /// The gateway to ask.
    #[command(flatten)]
    pub link: GatewayLink,
}

/// Settings of `gateway admin bucket quota`.
#[derive(Debug, Clone, Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("limits").args(["bytes", "objects"]).required(true).multiple(true))]
pub struct QuotaCommand {
    /// The bucket.
    #[command(flatten)]
    pub one: OneBucket,
    /// Maximum bytes, with or without a unit, counted as clients see them: all versions, one copy of each; or `none`
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub bytes: Option<MostOf>,
    /// Maximum number of objects, all versions counted; or `none`
    #[arg(long, value_name = "COUNT", value_parser = parse_count)]
    pub objects: Option<MostOf>,
}

/// A limit as it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MostOf {
    /// There is to be none.
    Unlimited,
    /// So many.
    AtMost(u64),
}

fn parse_bytes(text: &str) -> Result<MostOf, String> {
    match text {
        "none" => Ok(MostOf::Unlimited),
        _ => Ok(MostOf::AtMost(text.parse::<ByteSize>()?.as_u64())),
    }
}

fn parse_count(text: &str) -> Result<MostOf, String> {
    match text {
        "none" => Ok(MostOf::Unlimited),
        _ => match text.parse() {
            Ok(most) => Ok(MostOf::AtMost(most)),
            Err(_) => Err("expected a number, or none".into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_with_units_or_none() {
        assert_eq!(parse_bytes("10GiB"), Ok(MostOf::AtMost(10 << 30)));
        assert_eq!(parse_bytes("0"), Ok(MostOf::AtMost(0)));
        assert_eq!(parse_bytes("none"), Ok(MostOf::Unlimited));
        assert_eq!(parse_count("1000"), Ok(MostOf::AtMost(1000)));
        assert_eq!(parse_count("none"), Ok(MostOf::Unlimited));
        for bad in ["", "-1", "ten", "1.5.2"] {
            assert!(
                parse_bytes(bad).is_err() && parse_count(bad).is_err(),
                "{bad}"
            );
        }
    }
}
