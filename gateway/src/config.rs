//! Settings: flags, environment variables and a TOML file, in that order of precedence, as plain
//! validated data. The only place that reads the environment.

mod admin;
mod admin_bucket;
mod admin_user;
mod file;
mod jobs;
mod master_key;
mod recovery;
mod standalone;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use bytesize::ByteSize;
use chunkproto::{ClusterSecret, Durability};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::file::SettingsFile;
#[cfg(any(test, fuzzing))]
pub(crate) use self::file::with_settings;
use crate::keys::SecretBytes;

pub use admin::{
    AdminCommand, DrainCommand, GatewayLink, JobCommand, LinkCommand, NodeCommand, OneJob, OneNode,
    Rate, RateCommand, SaveMetadataCommand, StatusCommand,
};
pub use admin_bucket::{BucketCommand, MostOf, OneBucket, QuotaCommand};
pub use admin_user::{CreateUserCommand, OneUser, UserCommand};
pub use jobs::{JobConfig, rate_bytes_per_s};
pub use master_key::{KeyDirectory, MasterKeyCommand};
pub use recovery::{RebuildConfig, RecoveryConfig, RestoreConfig};
pub use standalone::StandaloneConfig;

/// The gateway's command line.
#[derive(Debug, Parser)]
#[command(
    name = "gateway",
    version,
    about = "Sextant's gateway: an S3 endpoint over chunk servers",
    long_about = "Sextant's gateway speaks S3, splits objects into chunks, stores the chunks on chunk \
        servers and keeps the metadata.\n\nEvery setting may be given as a flag, as an environment \
        variable or in a TOML file (--config), in this order of precedence. In the file, a setting \
        has the flag's name without the dashes, for example: listen = \"0.0.0.0:9000\"."
)]
pub struct Cli {
    /// What to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The gateway's commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in this process: gateway, metadata and chunk stores in one data directory
    Standalone(StandaloneConfig),
    /// Run a gateway over separate chunkd processes
    Serve(ServeConfig),
    /// Inspect and manage a running cluster: chunk servers, jobs, buckets, users
    #[command(subcommand)]
    Admin(AdminCommand),
}

/// Settings of `gateway serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeConfig {
    /// Metadata database: rocksdb:DIR (generated keys are kept in DIR too)
    #[arg(long, env = "SEXTANT_METADATA", value_name = "URL", value_parser = parse_metadata)]
    pub metadata: MetadataUrl,
    /// Replicas of each chunk, each on its own chunk server, 1 to 6
    #[arg(long, env = "SEXTANT_REPLICAS", value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u8).range(1..=6))]
    pub replicas: u8,
    /// Durable replicas before a write is acknowledged, 1 to the number of replicas [default: all
    /// while that many servers are up, else a majority]
    #[arg(long, env = "SEXTANT_WRITE_QUORUM", value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=6))]
    pub write_quorum: Option<u8>,
    /// Secret shared by all gateways and chunk servers, 16 characters or more [default: generated
    /// at first start and kept in DIR/cluster-secret]
    #[arg(long, env = "SEXTANT_CLUSTER_SECRET", value_name = "SECRET", hide_env_values = true,
        value_parser = ClusterSecret::parse)]
    pub cluster_secret: Option<ClusterSecret>,
    /// What both commands share.
    #[command(flatten)]
    pub gateway: GatewayConfig,
}

/// Settings that both commands share.
#[derive(Debug, Clone, Args)]
pub struct GatewayConfig {
    /// Address of the S3 listener
    #[arg(
        long,
        env = "SEXTANT_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:9000"
    )]
    pub listen: SocketAddr,
    /// Certificate chain of the S3 listener, a PEM file; with it, the listener speaks TLS only
    #[arg(long, env = "SEXTANT_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of that certificate, a PEM file
    #[arg(long, env = "SEXTANT_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Address of the admin listener: health, readiness, metrics, status, chunk server registration
    #[arg(
        long,
        env = "SEXTANT_ADMIN_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:9001"
    )]
    pub admin_listen: SocketAddr,
    /// Root user's access key [default: generated at first start]
    #[arg(long, env = "SEXTANT_ACCESS_KEY", value_name = "KEY",
        value_parser = parse_access_key)]
    pub access_key: Option<String>,
    /// Root user's secret key, 8 characters or more [default: generated at first start]
    #[arg(long, env = "SEXTANT_SECRET_KEY", value_name = "KEY",
        hide_env_values = true, value_parser = parse_secret_key)]
    pub secret_key: Option<String>,
    /// TOML file with users, written to the metadata at each start: a table `user` for each, with
    /// id, display_name, email, access_key, secret_key
    #[arg(long, env = "SEXTANT_USERS_FILE", value_name = "FILE")]
    pub users_file: Option<PathBuf>,
    /// Master key for data keys and users' secrets, 64 hexadecimal digits; after a rotation also the
    /// previous keys, comma-separated, current key first [default: generated at first start and kept
    /// in the file master-key]
    #[arg(long, env = "SEXTANT_MASTER_KEY", value_name = "HEX", hide_env_values = true,
        value_delimiter = ',', value_parser = SecretBytes::parse)]
    pub master_key: Vec<SecretBytes>,
    /// TOML file with the keys that clients may name for SSE-KMS: a table `key` for each, with id
    /// and secret (64 hexadecimal digits); readable by its owner only
    #[arg(long, env = "SEXTANT_KMS_KEYS_FILE", value_name = "FILE")]
    pub kms_keys_file: Option<PathBuf>,
    /// Key of that file for requests that ask for SSE-KMS and name no key [default: they are refused]
    #[arg(long, env = "SEXTANT_KMS_DEFAULT_KEY", value_name = "ID")]
    pub kms_default_key: Option<String>,
    /// Accept the keys of clients (SSE-C) over connections without TLS too; for gateways behind a
    /// proxy that ends TLS
    #[arg(long, env = "SEXTANT_SSE_C_OVER_HTTP", default_value_t = false)]
    pub sse_c_over_http: bool,
    /// Region that the gateway answers as
    #[arg(
        long,
        env = "SEXTANT_REGION",
        value_name = "NAME",
        default_value = "us-east-1"
    )]
    pub region: String,
    /// Domains under which a bucket's name may stand as subdomain (comma-separated); path style
    /// always works
    #[arg(
        long,
        env = "SEXTANT_DOMAIN",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "localhost"
    )]
    pub domain: Vec<String>,
    /// Longest body of one PUT, copy or part, in bytes or with a unit
    #[arg(
        long,
        env = "SEXTANT_MAX_OBJECT_SIZE",
        value_name = "SIZE",
        default_value = "10GiB"
    )]
    pub max_object_size: ByteSize,
    /// Longest object that is kept in the metadata instead of in chunks, in bytes or with a unit, at
    /// most 64KiB; 0 for none. Applies with --replicas 1 only: the metadata is one copy
    #[arg(
        long,
        env = "SEXTANT_INLINE_MAX_SIZE",
        value_name = "SIZE",
        default_value = "8KiB",
        value_parser = parse_inline_size
    )]
    pub inline_max_size: ByteSize,
    /// Memory for object bytes on their way in, in bytes or with a unit; requests wait for their
    /// share
    #[arg(
        long,
        env = "SEXTANT_WRITE_BUDGET",
        value_name = "SIZE",
        default_value = "128MiB"
    )]
    pub write_budget: ByteSize,
    /// Memory for object bytes on their way out, in bytes or with a unit; requests wait for their
    /// share
    #[arg(
        long,
        env = "SEXTANT_READ_BUDGET",
        value_name = "SIZE",
        default_value = "128MiB"
    )]
    pub read_budget: ByteSize,
    /// Accept Authorization headers of Signature Version 2 (old clients); presigned URLs of that
    /// version are always accepted
    #[arg(long, env = "SEXTANT_SIGV2_HEADERS", default_value_t = false)]
    pub sigv2_headers: bool,
    /// When a write is acknowledged: power-safe, when it is on the disk, or page-cache, when the
    /// kernel has it, for caches and tests. For separate chunk servers it is set at each of them too
    #[arg(long, env = "SEXTANT_DURABILITY", value_name = "WHEN", default_value_t = Durability::PowerSafe)]
    pub durability: Durability,
    /// Settings of the background jobs.
    #[command(flatten)]
    pub jobs: JobConfig,
    /// What to log, as a filter: error, warn, info, debug, or per module
    #[arg(
        long,
        env = "SEXTANT_LOG",
        value_name = "FILTER",
        default_value = "info,s3s=off"
    )]
    pub log: String,
    /// TOML file with settings
    #[arg(long, env = "SEXTANT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Where the metadata is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataUrl {
    /// A RocksDB database in this directory.
    RocksDb(PathBuf),
}

fn parse_metadata(text: &str) -> Result<MetadataUrl, String> {
    match text.split_once(':') {
        Some(("rocksdb", dir)) if !dir.is_empty() => Ok(MetadataUrl::RocksDb(PathBuf::from(dir))),
        Some(("postgres" | "postgresql", _)) => {
            Err("PostgreSQL is not built yet; use rocksdb:DIR".into())
        }
        _ => Err("expected rocksdb:DIR".into()),
    }
}

fn parse_inline_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    if size <= ByteSize::kib(64) {
        Ok(size)
    } else {
        Err("expected at most 64KiB".into())
    }
}

fn parse_access_key(text: &str) -> Result<String, String> {
    let fits = (3..=128).contains(&text.len());
    if fits
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    {
        Ok(text.to_owned())
    } else {
        Err("expected 3 to 128 letters, digits, '-', '_' or '.'".into())
    }
}

fn parse_secret_key(text: &str) -> Result<String, String> {
    if (8..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("expected 8 to 128 visible ASCII characters".into())
    }
}

/// Reads the settings of this process from flags, environment and file.
///
/// # Errors
/// Whatever does not fit, as clap shows it to the user; also `--help` and `--version`.
pub fn from_process() -> Result<Cli, clap::Error> {
    parse(std::env::args_os())
}

/// Reads the settings from these arguments, the environment and the file that they name.
///
/// # Errors
/// As [`from_process`].
pub fn parse<I>(arguments: I) -> Result<Cli, clap::Error>
where
    I: IntoIterator<Item = OsString>,
{
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = match SettingsFile::named_in(&arguments) {
        Some(file) => file.defaults_for(Cli::command())?,
        None => Cli::command(),
    };
    read(command, &arguments)
}

/// Reads the settings from these arguments and the environment, by the defaults of `command`.
pub(crate) fn read(mut command: clap::Command, arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command.clone().try_get_matches_from(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    cli.check()
        .map_err(|message| command.error(ErrorKind::ValueValidation, message))?;
    Ok(cli)
}

impl Cli {
    /// What the commands that run a gateway share.
    #[must_use]
    pub fn gateway(&self) -> Option<&GatewayConfig> {
        match &self.command {
            Command::Standalone(config) => Some(&config.gateway),
            Command::Serve(config) => Some(&config.gateway),
            Command::Admin(_) => None,
        }
    }

    /// What to log, as a filter.
    #[must_use]
    pub fn log(&self) -> &str {
        match &self.command {
            Command::Standalone(config) => &config.gateway.log,
            Command::Serve(config) => &config.gateway.log,
            Command::Admin(command) => command.log().unwrap_or("error"),
        }
    }

    fn check(&self) -> Result<(), String> {
        if let Some(gateway) = self.gateway() {
            gateway.check()?;
        }
        match &self.command {
            Command::Standalone(StandaloneConfig {
                replicas,
                nodes: Some(nodes),
                ..
            }) if replicas > nodes => Err(format!(
                "{replicas} replicas need as many stores; --nodes is {nodes}"
            )),
            Command::Serve(config) if config.write_quorum > Some(config.replicas) => Err(format!(
                "a write quorum of {} cannot be met with {} replicas",
                config.write_quorum.unwrap_or_default(),
                config.replicas
            )),
            _ => Ok(()),
        }
    }
}

impl GatewayConfig {
    /// Settings that are worth something together only. Checked here and not by clap, which takes what the
    /// file says for defaults and does not count it.
    fn check(&self) -> Result<(), String> {
        let pairs = [
            (
                ("tls-cert", self.tls_cert.is_some()),
                ("tls-key", self.tls_key.is_some()),
            ),
            (
                ("access-key", self.access_key.is_some()),
                ("secret-key", self.secret_key.is_some()),
            ),
        ];
        for ((one, is_one), (other, is_other)) in pairs {
            if is_one != is_other {
                return Err(format!("--{one} and --{other} must be given together"));
            }
        }
        if self.kms_default_key.is_some() && self.kms_keys_file.is_none() {
            return Err(
                "--kms-default-key names a key of --kms-keys-file, which is not given".into(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn parse_words(words: &[&str]) -> Result<Cli, clap::Error> {
        parse(words.iter().map(OsString::from))
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_flag_outweighs_the_file_and_the_file_outweighs_the_default() {
        let file = file("data = \"/from/file\"\nnodes = 3\nregion = \"eu-west-1\"\n");
        let path = file.path().to_str().unwrap();
        let cli =
            parse_words(&["gateway", "standalone", "--config", path, "--nodes", "4"]).unwrap();
        let Command::Standalone(config) = cli.command else {
            panic!("standalone was asked for")
        };
        assert_eq!(config.data, PathBuf::from("/from/file"));
        assert_eq!(config.nodes, Some(4));
        assert_eq!(config.gateway.region, "eu-west-1");
        assert_eq!(config.replicas, 1);
    }

    #[test]
    fn a_mistyped_setting_in_the_file_is_named() {
        let file = file("dataa = \"/x\"\n");
        let path = file.path().to_str().unwrap();
        let error = parse_words(&["gateway", "standalone", "--config", path]).unwrap_err();
        assert!(error.to_string().contains("dataa"));
    }

    #[test]
    fn half_of_a_pair_of_settings_is_refused_wherever_it_stands() {
        for (text, flags) in [
            ("tls-cert = \"c.pem\"\n", &[][..]),
            ("access-key = \"root\"\n", &[]),
            ("", &["--tls-key", "k.pem"]),
            ("kms-default-key = \"archive\"\n", &[]),
        ] {
            let file = file(text);
            let words = ["gateway", "standalone", "--data", "d", "--config"];
            let words = [&words[..], &[file.path().to_str().unwrap()], flags].concat();
            let said = parse_words(&words).unwrap_err().to_string();
            assert!(said.contains("given"), "{text}{flags:?}: {said}");
        }
    }

    #[test]
    fn a_pair_of_settings_may_come_from_flag_and_file() {
        let file = file("secret-key = \"long-enough\"\n");
        let path = file.path().to_str().unwrap();
        let words = ["gateway", "standalone", "--data", "d", "--config", path];
        let words = [&words[..], &["--access-key", "root"]].concat();
        assert!(parse_words(&words).is_ok());
    }

    #[test]
    fn the_file_takes_switches_and_is_for_the_command_that_runs() {
        let file = file("sigv2-headers = true\nmetadata = \"rocksdb:d\"\n");
        let path = file.path().to_str().unwrap();
        // The region is named like another command.
        let words = [
            "gateway",
            "serve",
            "--region",
            "standalone",
            "--config",
            path,
        ];
        let cli = parse_words(&words).unwrap();
        let gateway = cli.gateway().unwrap();
        assert!(gateway.sigv2_headers && !gateway.sse_c_over_http);
        assert!(matches!(cli.command, Command::Serve(_)));
    }

    #[test]
    fn impossible_numbers_are_refused() {
        let standalone = [
            "gateway",
            "standalone",
            "--data",
            "d",
            "--nodes",
            "2",
            "--replicas",
            "3",
        ];
        assert!(
            parse_words(&standalone)
                .unwrap_err()
                .to_string()
                .contains("3 replicas")
        );
        let serve = [
            "gateway",
            "serve",
            "--metadata",
            "rocksdb:d",
            "--write-quorum",
            "4",
        ];
        assert!(parse_words(&serve).is_err());
        assert!(parse_words(&["gateway", "serve", "--metadata", "mysql:x"]).is_err());
    }

    #[test]
    fn settings_of_jobs_that_would_endanger_data_are_refused_with_what_is_allowed() {
        let refused = [
            (["--gc-grace", "0"], "1.."),
            (["--node-down-after", "5"], "5 s is less than the 6 s"),
            (["--node-down-after", "604801"], "604800"),
            (["--rebalance-threshold", "51"], "0..=50"),
            (["--orphan-limit", "101"], "0..=100"),
        ];
        let parse_with = |words: &[&str]| {
            let serve = ["gateway", "serve", "--metadata", "rocksdb:d"];
            parse_words(&[&serve[..], words].concat())
        };
        for (words, allowed) in refused {
            let said = parse_with(&words).unwrap_err().to_string();
            assert!(said.contains(words[0]) && said.contains(allowed), "{said}");
        }
        for words in [["--gc-grace", "1"], ["--node-down-after", "6"]] {
            assert!(parse_with(&words).is_ok(), "{words:?}");
        }
    }

    #[test]
    fn sizes_take_units() {
        let cli = parse_words(&[
            "gateway",
            "standalone",
            "--data",
            "d",
            "--max-object-size",
            "5MiB",
        ]);
        assert_eq!(
            cli.unwrap().gateway().unwrap().max_object_size,
            ByteSize::mib(5)
        );
    }
}
