//! The servers under measurement: one that runs already, or one that is started on an empty scratch
//! directory and is gone afterwards.

use std::fs::File;
use std::path::{Path, PathBuf};

use compat_tests::{Endpoint, Standalone};

use crate::Failure;
use crate::garage::Garage;
use crate::processes::Usage;

/// What the kernel says of a filesystem that is memory.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// A server to measure.
#[derive(Debug)]
pub(crate) enum Target {
    /// Runs already.
    Running {
        /// Where it answers.
        endpoint: Endpoint,
        /// Its processes; none if they are not known.
        pids: Vec<u32>,
    },
    /// This project's, with further arguments.
    Standalone {
        /// The arguments.
        arguments: Vec<String>,
    },
    /// Garage.
    Garage {
        /// The program.
        program: PathBuf,
        /// Whether it syncs metadata and data; by default it does not.
        synced: bool,
    },
}

/// A server that answers.
pub(crate) struct Server {
    endpoint: Endpoint,
    pids: Vec<u32>,
    process: Process,
}

enum Process {
    NotOurs,
    Standalone(Box<Standalone>),
    Garage(Box<Garage>),
}

impl Target {
    /// For the table.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Running { endpoint, .. } => endpoint.url.clone(),
            Self::Standalone { arguments } if arguments.is_empty() => "standalone".into(),
            Self::Standalone { arguments } => format!("standalone {}", arguments.join(" ")),
            Self::Garage { synced: false, .. } => "garage".into(),
            Self::Garage { synced: true, .. } => "garage, fsync".into(),
        }
    }

    /// Starts it, if it is one to be started.
    ///
    /// # Errors
    /// A scratch directory in memory, and what keeps Garage from starting.
    ///
    /// # Panics
    /// When the gateway does not start; its log is shown.
    pub(crate) async fn start(&self) -> Result<Server, Failure> {
        match self {
            Self::Running { endpoint, pids } => Ok(Server {
                endpoint: endpoint.clone(),
                pids: pids.clone(),
                process: Process::NotOurs,
            }),
            Self::Standalone { arguments } => {
                refuse_memory(&std::env::temp_dir())?;
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                let mut standalone = Standalone::start_with(&arguments).await;
                Ok(Server {
                    endpoint: standalone.endpoint().clone(),
                    pids: vec![standalone.gateway().process().pid()],
                    process: Process::Standalone(Box::new(standalone)),
                })
            }
            Self::Garage { program, synced } => {
                refuse_memory(&std::env::temp_dir())?;
                let garage = Garage::start(program, *synced).await?;
                Ok(Server {
                    endpoint: garage.endpoint().clone(),
                    pids: vec![garage.pid()],
                    process: Process::Garage(Box::new(garage)),
                })
            }
        }
    }
}

impl Server {
    /// Where it answers.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What its processes have used; `None` if they are not known.
    ///
    /// # Errors
    /// A process that ended.
    pub(crate) fn usage(&self) -> Result<Option<Usage>, Failure> {
        if self.pids.is_empty() {
            return Ok(None);
        }
        Usage::of(&self.pids).map(Some)
    }

    /// Stops it and removes its data, if it was started here. Then waits until the disk has nothing
    /// more to do of that, which would slow down the next server.
    ///
    /// # Errors
    /// A server that does not stop.
    ///
    /// # Panics
    /// When the gateway does not stop cleanly.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        match self.process {
            Process::NotOurs => return Ok(()),
            Process::Standalone(mut standalone) => standalone.gateway().terminate().await,
            Process::Garage(garage) => garage.stop().await?,
        }
        Ok(rustix::fs::syncfs(File::open(std::env::temp_dir())?)?)
    }
}

/// In memory nothing is durable and nothing is slow: no place to measure a store.
fn refuse_memory(dir: &Path) -> Result<(), Failure> {
    let kind = rustix::fs::statfs(dir)?.f_type;
    if kind == TMPFS_MAGIC {
        let dir = dir.display();
        return Err(format!("{dir} is in memory; set TMPDIR to a directory on a disk").into());
    }
    Ok(())
}
