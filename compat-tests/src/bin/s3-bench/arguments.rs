//! The command line: what is measured, and how long.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Parser;
use compat_tests::Endpoint;

use crate::Failure;
use crate::measure::{Case, Extent};
use crate::requests::Operation;
use crate::targets::Target;

/// Measures S3 endpoints: operations per second, latencies, CPU time of the server per operation.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Endpoint of a running server, http only [default: start `gateway standalone`]
    #[arg(
        long,
        value_name = "URL",
        requires = "access_key",
        requires = "secret_key"
    )]
    endpoint: Option<String>,
    /// Access key for --endpoint
    #[arg(long, env = "AWS_ACCESS_KEY_ID", value_name = "KEY")]
    access_key: Option<String>,
    /// Secret key for --endpoint
    #[arg(
        long,
        env = "AWS_SECRET_ACCESS_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    secret_key: Option<String>,
    /// Region of --endpoint
    #[arg(long, value_name = "NAME", default_value = Endpoint::REGION)]
    region: String,
    /// Processes of the server at --endpoint, for CPU time and memory
    #[arg(long, value_name = "PID", value_delimiter = ',', requires = "endpoint")]
    pid: Vec<u32>,
    /// Start `gateway standalone` with these further arguments, such as "--nodes 1"; several are
    /// compared
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true)]
    standalone: Vec<String>,
    /// Compare with this Garage program, with its default settings and with both fsync settings on
    #[arg(long, value_name = "PROGRAM")]
    garage: Option<PathBuf>,
    /// Bucket to work in; made if it is missing
    #[arg(long, default_value = "s3-bench")]
    pub(crate) bucket: String,
    /// Operations
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "put,get,head,list,delete"
    )]
    ops: Vec<Operation>,
    /// Sizes of the objects; head, list and delete are measured with the first one only
    #[arg(
        long,
        value_name = "SIZE",
        value_delimiter = ',',
        default_value = "4KiB,64KiB,1MiB,8MiB"
    )]
    sizes: Vec<ByteSize>,
    /// Numbers of connections, each with one request under way
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "32")]
    connections: Vec<usize>,
    /// Different objects at most; large ones are fewer, 512 MiB in all. All URLs are signed before
    /// they are used, which takes a second for 10,000
    #[arg(long, value_name = "N", default_value_t = 20_000,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    objects: u64,
    /// Length of one measurement, after half a second that is not counted
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Measurements of each kind, taken in turns and added up; servers start anew for each
    #[arg(long, default_value_t = 1)]
    pub(crate) rounds: u32,
    /// Write the figures as JSON too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl Arguments {
    /// The servers, the one first that the others' ratios refer to.
    ///
    /// # Errors
    /// An endpoint that is not of plain HTTP.
    pub(crate) fn targets(&self) -> Result<Vec<Target>, Failure> {
        let mut targets = Vec::new();
        if let Some(url) = &self.endpoint {
            targets.push(self.running(url)?);
        }
        let standalone = |arguments: &String| Target::Standalone {
            arguments: arguments.split_whitespace().map(str::to_owned).collect(),
        };
        targets.extend(self.standalone.iter().map(standalone));
        if targets.is_empty() {
            targets.push(standalone(&String::new()));
        }
        if let Some(program) = &self.garage {
            targets.extend([false, true].map(|synced| Target::Garage {
                program: program.clone(),
                synced,
            }));
        }
        Ok(targets)
    }

    /// What is measured, in the order in which later cases find what earlier ones left.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for (number, size) in self.sizes.iter().enumerate() {
            for &operation in &self.ops {
                if number > 0 && !operation.depends_on_size() {
                    continue;
                }
                cases.extend(self.connections.iter().map(|&connections| Case {
                    operation,
                    size_bytes: size.as_u64(),
                    connections,
                }));
            }
        }
        cases
    }

    /// How much is measured for each.
    pub(crate) fn extent(&self) -> Extent {
        Extent {
            span: Duration::from_secs(self.seconds),
            objects_max: self.objects,
        }
    }

    fn running(&self, url: &str) -> Result<Target, Failure> {
        if !url.starts_with("http://") {
            return Err(format!("{url}: only http:// endpoints can be measured").into());
        }
        let key = |key: &Option<String>| key.clone().expect("clap requires it with --endpoint");
        Ok(Target::Running {
            endpoint: Endpoint {
                url: url.trim_end_matches('/').to_owned(),
                access_key: key(&self.access_key),
                secret_key: key(&self.secret_key),
                region: self.region.clone(),
            },
            pids: self.pid.clone(),
        })
    }
}
