//! The settings of `chunkd`: flags, environment, a TOML file, defaults, in this order. The one place
//! that reads the environment; what leaves it is plain, validated data.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chunkproto::{ClusterSecret, DiskId, InvalidSecret};
use clap::Parser;
use serde::{Deserialize, Deserializer};

use crate::node::NodeOptions;
use crate::scrub::ScrubSettings;
use crate::store::IndexCache;

const LISTEN_DEFAULT: &str = "127.0.0.1:9100";
const LOG_DEFAULT: &str = "info";

/// Sextant's chunk server: keeps chunks of objects on its disks and serves them to gateways.
///
/// Every setting may also be given in a TOML file, under its long name, such as cluster-secret-file. A
/// flag wins over the environment, the environment over the file, the file over the default.
#[derive(Debug, Parser)]
#[command(name = "chunkd", version)]
struct Flags {
    /// TOML file with settings [default: none]
    #[arg(long, env = "SEXTANT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// The settings as they stand in one source. Also the shape of the file.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Settings {
    /// Data directory, one for each disk; may be repeated, in the environment separated by commas. A
    /// new one is made if it is missing [required]
    #[arg(
        long,
        env = "SEXTANT_CHUNKD_DATA",
        value_name = "DIR",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "one_or_many")]
    data: Option<Vec<PathBuf>>,
    /// Id of a disk that is gone for good, as the log names it: an empty directory may take its
    /// place, and deletes no longer wait for it; may be repeated [default: none]
    #[arg(
        long = "forget-disk",
        env = "SEXTANT_CHUNKD_FORGET_DISK",
        value_name = "ID",
        value_delimiter = ','
    )]
    #[serde(alias = "forget_disk", deserialize_with = "one_or_many")]
    forget_disk: Option<Vec<DiskId>>,
    /// Address and port of the chunk API; port 0 takes a free one [default: 127.0.0.1:9100]
    #[arg(long, env = "SEXTANT_CHUNKD_LISTEN", value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Admin URL of a gateway to register with, such as http://10.0.0.1:9001; may be repeated, in
    /// the environment separated by commas [default: none]
    #[arg(
        long = "gateway",
        env = "SEXTANT_GATEWAYS",
        value_name = "URL",
        value_delimiter = ','
    )]
    #[serde(
        rename = "gateway",
        alias = "gateways",
        deserialize_with = "one_or_many"
    )]
    gateways: Option<Vec<String>>,
    /// URL at which gateways and other nodes reach this one; needed when listening on all addresses
    /// [default: http:// and the listen address]
    #[arg(long, env = "SEXTANT_CHUNKD_ADVERTISE", value_name = "URL")]
    advertise: Option<String>,
    /// Failure zone, such as a rack; replicas of a chunk go to distinct zones first [default: a zone
    /// of its own]
    #[arg(long, env = "SEXTANT_ZONE", value_name = "NAME")]
    zone: Option<String>,
    /// Secret shared by all gateways and chunk servers, 16 to 1024 visible ASCII characters; better
    /// given by the environment or a file, since other users see flags [required, or a file]
    #[arg(
        long,
        env = "SEXTANT_CLUSTER_SECRET",
        value_name = "TEXT",
        hide_env_values = true
    )]
    #[serde(alias = "cluster_secret")]
    cluster_secret: Option<String>,
    /// File with the cluster secret [default: none]
    #[arg(long, env = "SEXTANT_CLUSTER_SECRET_FILE", value_name = "FILE")]
    #[serde(alias = "cluster_secret_file")]
    cluster_secret_file: Option<PathBuf>,
    /// How full a disk may get before new chunks are refused, in percent, 1 to 100 [default: 95]
    #[arg(long, env = "SEXTANT_CHUNKD_FULL_PERCENT", value_name = "PERCENT")]
    #[serde(alias = "full_percent")]
    full_percent: Option<u8>,
    /// Memory for the cache of all disks' indexes, in MiB, 1 to 4096 [default: 16]
    #[arg(long, env = "SEXTANT_CHUNKD_INDEX_CACHE_MIB", value_name = "MIB")]
    #[serde(alias = "index_cache_mib")]
    index_cache_mib: Option<u16>,
    /// When a write is acknowledged: power-safe, when it is on the disk, or page-cache, when the
    /// kernel has it, for caches and tests [default: power-safe]
    #[arg(long, env = "SEXTANT_DURABILITY", value_name = "WHEN")]
    durability: Option<String>,
    /// Seconds in which every chunk is read from its disk and verified once, over and over; 0 for never
    /// [default: 1209600, two weeks]
    #[arg(long, env = "SEXTANT_CHUNKD_SCRUB_PERIOD", value_name = "SECONDS")]
    #[serde(alias = "scrub_period")]
    scrub_period: Option<u64>,
    /// Maximum MiB per second that scrubbing reads from a disk when it is behind, 1 to 65536 [default: 64]
    #[arg(long, env = "SEXTANT_CHUNKD_SCRUB_RATE_MIB", value_name = "MIB")]
    #[serde(alias = "scrub_rate_mib")]
    scrub_rate_mib: Option<u32>,
    /// What to log to standard error: error, warn, info, debug, trace, or per module, such as
    /// info,chunkd=debug [default: info]
    #[arg(long, env = "SEXTANT_LOG", value_name = "FILTER")]
    log: Option<String>,
}

/// The validated settings of one chunk server.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node and its disks.
    pub node: NodeOptions,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Base URLs of the gateways' admin listeners.
    pub gateways: Vec<String>,
    /// The cluster's secret.
    pub secret: ClusterSecret,
    /// How chunks are scrubbed; `None` if they are not.
    pub scrub: Option<ScrubSettings>,
    /// Failure zone; empty for a zone of its own.
    pub zone: String,
    /// Filter for the log.
    pub log: String,
    advertise: Option<String>,
}

/// Settings that make no sense, and what to do about them.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The flags or the environment; also carries the texts of --help and --version.
    #[error(transparent)]
    Flags(#[from] clap::Error),
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no TOML or has unknown settings.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A required setting is missing.
    #[error("{0}")]
    Missing(&'static str),
    /// A setting has no sensible value.
    #[error("{0}")]
    Invalid(String),
    /// The cluster secret is too short or has strange characters.
    #[error(transparent)]
    Secret(#[from] InvalidSecret),
}

impl Config {
    /// Reads flags, environment and file.
    ///
    /// # Errors
    /// What [`ConfigError`] lists; print it and stop.
    pub fn load() -> Result<Self, ConfigError> {
        Self::from_flags(Flags::try_parse()?)
    }

    /// The URL to announce, once the listener is bound to `bound`.
    #[must_use]
    pub fn advertised(&self, bound: SocketAddr) -> String {
        self.advertise
            .clone()
            .unwrap_or_else(|| format!("http://{bound}"))
    }

    fn from_flags(flags: Flags) -> Result<Self, ConfigError> {
        let file = flags
            .config
            .as_deref()
            .map(read_file)
            .transpose()?
            .unwrap_or_default();
        let given = flags.settings;
        // A secret given in one way overrides the file's, in whichever way that one is given.
        let secret = match read_secret(&given)? {
            Some(secret) => secret,
            None => read_secret(&file)?.ok_or(ConfigError::Missing(
                "no cluster secret: set SEXTANT_CLUSTER_SECRET or --cluster-secret-file to the one \
                 that the gateways have",
            ))?,
        };
        let data = given.data.or(file.data).ok_or(ConfigError::Missing(
            "no data directory: give --data DIR or set SEXTANT_CHUNKD_DATA",
        ))?;
        let mut node = NodeOptions::new(data);
        node.forget = given.forget_disk.or(file.forget_disk).unwrap_or_default();
        let store = &mut node.store;
        if let Some(percent) = given.full_percent.or(file.full_percent) {
            store.full_percent = in_range("full-percent", percent, 1, 100)?;
        }
        if let Some(mib) = given.index_cache_mib.or(file.index_cache_mib) {
            store.index_cache =
                IndexCache::new(usize::from(in_range("index-cache-mib", mib, 1, 4096)?) << 20);
        }
        if let Some(durability) = given.durability.or(file.durability) {
            let invalid = |error| ConfigError::Invalid(format!("--durability: {error}"));
            store.durability = durability.parse().map_err(invalid)?;
        }
        let scrub = scrub_settings(
            given.scrub_period.or(file.scrub_period),
            given.scrub_rate_mib.or(file.scrub_rate_mib),
        )?;
        let gateways = given.gateways.or(file.gateways).unwrap_or_default();
        let gateways = gateways
            .iter()
            .map(|url| base_url("gateway", url))
            .collect::<Result<_, _>>()?;
        let advertise = given.advertise.or(file.advertise);
        let advertise = advertise
            .map(|url| base_url("advertise", &url))
            .transpose()?;
        let default = || LISTEN_DEFAULT.parse().expect("the default is an address");
        let listen: SocketAddr = given.listen.or(file.listen).unwrap_or_else(default);
        if advertise.is_none() && listen.ip().is_unspecified() {
            return Err(ConfigError::Invalid(format!(
                "listening on {listen} says nothing about where this node is reached; add \
                 --advertise http://HOST:{}",
                listen.port()
            )));
        }
        Ok(Self {
            node,
            listen,
            gateways,
            scrub,
            secret,
            zone: given.zone.or(file.zone).unwrap_or_default(),
            log: given.log.or(file.log).unwrap_or_else(|| LOG_DEFAULT.into()),
            advertise,
        })
    }
}

/// How chunks are scrubbed; `None` if the period is zero.
fn scrub_settings(
    period_s: Option<u64>,
    rate_mib: Option<u32>,
) -> Result<Option<ScrubSettings>, ConfigError> {
    let mut scrub = ScrubSettings::default();
    if let Some(seconds) = period_s {
        scrub.period = Duration::from_secs(in_range("scrub-period", seconds, 0, 31_536_000)?);
    }
    if let Some(mib) = rate_mib {
        let mib = in_range("scrub-rate-mib", mib, 1, 65_536)?;
        scrub.rate_max_bytes_per_s = u64::from(mib) << 20;
    }
    Ok(Some(scrub).filter(|scrub| !scrub.period.is_zero()))
}

/// A setting that may be repeated: in the file one value, or a list of them.
fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    OneOrMany::deserialize(deserializer).map(|given| match given {
        OneOrMany::One(one) => Some(vec![one]),
        OneOrMany::Many(many) => Some(many),
    })
}

fn read_file(path: &Path) -> Result<Settings, ConfigError> {
    let text = read(path)?;
    toml::from_str(&text).map_err(|source| ConfigError::File {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn read_secret(settings: &Settings) -> Result<Option<ClusterSecret>, ConfigError> {
    match (&settings.cluster_secret, &settings.cluster_secret_file) {
        (Some(_), Some(_)) => Err(ConfigError::Invalid(
            "both a cluster secret and a file with one are given; give one of them".into(),
        )),
        (Some(text), None) => Ok(Some(ClusterSecret::parse(text)?)),
        (None, Some(path)) => Ok(Some(ClusterSecret::parse(&read(path)?)?)),
        (None, None) => Ok(None),
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

fn base_url(setting: &str, url: &str) -> Result<String, ConfigError> {
    let trimmed = url.trim().trim_end_matches('/');
    let parsed = reqwest::Url::parse(trimmed).ok();
    let is_base = |url: &reqwest::Url| {
        url.scheme() == "http" && url.has_host() && url.query().is_none() && url.path() == "/"
    };
    if parsed.as_ref().is_some_and(is_base) {
        return Ok(trimmed.to_owned());
    }
    Err(ConfigError::Invalid(format!(
        "{setting}: '{url}' is not of the form http://HOST:PORT"
    )))
}

fn in_range<T: PartialOrd + std::fmt::Display>(
    setting: &str,
    value: T,
    min: T,
    max: T,
) -> Result<T, ConfigError> {
    if value < min || value > max {
        let detail = format!("{setting}: {value} is not between {min} and {max}");
        return Err(ConfigError::Invalid(detail));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    const SECRET: &str = "0123456789abcdef";

    fn load(flags: &[&str]) -> Result<Config, ConfigError> {
        let program = ["chunkd"].iter();
        Config::from_flags(Flags::try_parse_from(program.chain(flags))?)
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "data = '/file'\nzone = 'rack1'\nlisten = '127.0.0.1:1'\n\
                    gateway = ['http://a:1/', 'http://b:2']\ncluster-secret = '0123456789abcdef'\n";
        fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap();
        let config = load(&["--config", path, "--data", "/flag"]).unwrap();
        assert_eq!(config.node.dirs, [Path::new("/flag")]);
        assert_eq!((config.zone.as_str(), config.listen.port()), ("rack1", 1));
        assert_eq!(config.gateways, ["http://a:1", "http://b:2"]);
        assert_eq!(config.node.store.full_percent, StoreOptions::FULL_PERCENT);
        assert_eq!(config.advertised(config.listen), "http://127.0.0.1:1");
    }

    #[test]
    fn the_file_has_the_names_of_the_flags_and_those_with_underscores_are_taken_too() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        for text in [
            "gateway = 'http://a:1'\ncluster-secret = '0123456789abcdef'\nfull-percent = 80",
            "gateways = ['http://a:1']\ncluster_secret = '0123456789abcdef'\nfull_percent = 80",
        ] {
            fs::write(file.path(), format!("data = '/a'\n{text}\n")).unwrap();
            let config = load(&["--config", path]).unwrap();
            assert_eq!(config.gateways, ["http://a:1"]);
            assert_eq!(config.node.store.full_percent, 80);
        }
    }

    #[test]
    fn several_data_directories_are_a_repeated_flag_a_list_or_separated_by_commas() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let in_file = |text: &str| {
            fs::write(file.path(), text).unwrap();
            load(&["--config", path, "--cluster-secret", SECRET])
                .unwrap()
                .node
        };
        let flags = |given: &[&str]| {
            let secret = ["--cluster-secret", SECRET];
            load(&[&secret[..], given].concat()).map(|config| config.node)
        };
        let both = [Path::new("/a"), Path::new("/b")];
        assert_eq!(flags(&["--data", "/a", "--data", "/b"]).unwrap().dirs, both);
        assert_eq!(flags(&["--data", "/a,/b"]).unwrap().dirs, both);
        assert_eq!(in_file("data = ['/a', '/b']").dirs, both);
        assert_eq!(in_file("data = '/a,b'").dirs, [Path::new("/a,b")]);

        let disk = "5e2f0f4e-2c3c-4b52-9c2e-0a4c9d1b7a11";
        let forget = [disk.parse().unwrap()];
        let given = flags(&["--data", "/a", "--forget-disk", disk]).unwrap();
        assert_eq!(given.forget, forget);
        let listed = in_file(&format!("data = '/a'\nforget_disk = ['{disk}']"));
        assert_eq!(listed.forget, forget);
        assert!(flags(&["--data", "/a", "--forget-disk", "/a"]).is_err());
    }

    #[test]
    fn listening_everywhere_needs_an_address_to_advertise() {
        let flags = [
            "--data",
            "d",
            "--cluster-secret",
            SECRET,
            "--listen",
            "0.0.0.0:9100",
        ];
        let error = load(&flags).unwrap_err().to_string();
        assert!(error.contains("--advertise http://HOST:9100"), "{error}");
        let config = load(&[&flags[..], &["--advertise", "http://node1:9100/"]].concat()).unwrap();
        assert_eq!(config.advertised(config.listen), "http://node1:9100");
    }

    #[test]
    fn a_flag_s_secret_wins_over_the_file_s_and_two_of_a_kind_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "cluster_secret_file = '/nowhere'\n").unwrap();
        let path = file.path().to_str().unwrap();
        let config = load(&["--config", path, "--data", "d", "--cluster-secret", SECRET]).unwrap();
        assert_eq!(config.secret.expose(), SECRET);
        assert!(
            load(&[
                "--data",
                "d",
                "--cluster-secret",
                SECRET,
                "--cluster-secret-file",
                "f"
            ])
            .is_err()
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let good = ["--data", "d", "--cluster-secret", SECRET];
        assert!(load(&good).is_ok());
        assert!(load(&["--data", "d"]).is_err());
        assert!(load(&["--cluster-secret", SECRET]).is_err());
        assert!(load(&["--data", "d", "--cluster-secret", "short"]).is_err());
        for bad in [
            ["--full-percent", "0"],
            ["--full-percent", "101"],
            ["--index-cache-mib", "0"],
            ["--gateway", "10.0.0.1:9001"],
            ["--gateway", "http://a:1/path"],
            ["--listen", "nowhere"],
        ] {
            assert!(load(&[&good[..], &bad].concat()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_setting_in_the_file_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "dtaa = '/x'\n").unwrap();
        let error = load(&["--config", file.path().to_str().unwrap()]).unwrap_err();
        assert!(error.to_string().contains("dtaa"), "{error}");
    }
}
