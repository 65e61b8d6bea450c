//! The layout of a data directory: where everything lies, who it belongs to, and making a new one.
//! `docs/chunk-format.md` describes it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use chunkproto::{ChunkId, Durability, NodeId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::durable;
use super::fault::Fault;

/// Version of the layout and of everything in it; a program refuses a later one.
pub(crate) const LAYOUT_VERSION: u32 = 2;
/// The layout before there were segments. Still read, and raised at the first start.
const BEFORE_SEGMENTS: u32 = 1;

/// What may lie in a directory that a first start left behind half-made, or that a new filesystem
/// brings along.
const HALF_MADE: [&str; 8] = [
    "LOCK",
    "chunks",
    "index",
    "lost+found",
    "node.json.new",
    "quarantine",
    "segments",
    "tmp",
];

/// The paths of one data directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// The content of `node.json`: whose directory this is.
#[derive(Debug, Serialize, Deserialize)]
struct NodeIdentity {
    format: u32,
    node_id: NodeId,
}

/// What a directory turned out to be.
pub(crate) enum DirectoryState {
    /// Nothing, or a first start that did not end: to be initialised.
    Empty,
    /// A data directory of ours.
    Node(NodeId),
    /// A data directory of ours, of an earlier version: to be raised.
    Older(NodeId),
    /// A data directory of a later version.
    Newer(u32),
    /// A data directory with something essential missing or unreadable.
    Damaged(String),
    /// Something else altogether; the name of a thing that does not belong.
    Foreign(String),
}

impl Layout {
    /// The layout below `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The data directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The record of chunk `id`: a function of the id alone. The id's last byte is random and
    /// spreads the records; its first bytes are a clock.
    pub fn record(&self, id: ChunkId) -> PathBuf {
        self.fan_out(id.as_bytes()[15]).join(id.to_string())
    }

    /// The directory of the records whose ids end in `last_byte`.
    pub fn fan_out(&self, last_byte: u8) -> PathBuf {
        self.chunks().join(format!("{last_byte:02x}"))
    }

    /// A fresh name for a record of chunk `id` in the making.
    pub fn temp(&self, id: ChunkId) -> PathBuf {
        self.temp_dir()
            .join(format!("{id}.{}", Uuid::new_v4().simple()))
    }

    /// A fresh name for a damaged record of chunk `id`; its ending tells when.
    pub fn quarantined(&self, id: ChunkId) -> PathBuf {
        self.root
            .join("quarantine")
            .join(format!("{id}.{}", Uuid::now_v7().simple()))
    }

    /// The segments.
    pub fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    /// The index.
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// An index that is being removed.
    pub fn old_index(&self) -> PathBuf {
        self.root.join("index.old")
    }

    /// The file whose lock keeps other processes out.
    pub fn lock(&self) -> PathBuf {
        self.root.join("LOCK")
    }

    /// Looks at the directory without touching it.
    pub fn inspect(&self) -> Result<DirectoryState, Fault> {
        match fs::read(self.identity()) {
            Ok(bytes) => self.inspect_node(&bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => self.inspect_unnamed(),
            Err(error) => Err(Fault::io("read", &self.identity())(error)),
        }
    }

    /// Makes the directory a data directory of node `node_id`. The identity comes last, so a crash in
    /// the middle leaves what the next start takes for empty.
    pub fn initialise(&self, node_id: NodeId) -> Result<(), Fault> {
        for dir in [
            self.chunks(),
            self.temp_dir(),
            self.segments(),
            self.root.join("quarantine"),
        ] {
            make_dir(&dir)?;
        }
        for last_byte in 0..=u8::MAX {
            make_dir(&self.fan_out(last_byte))?;
        }
        durable::sync_parent(&self.fan_out(0))?;
        durable::sync_parent(&self.chunks())?;
        durable::sync_parent(&self.root)?;
        self.write_identity(node_id)
    }

    /// Raises a directory of an earlier version. What it holds stays as it is.
    pub fn raise(&self, node_id: NodeId) -> Result<(), Fault> {
        make_dir(&self.segments())?;
        durable::sync_parent(&self.segments())?;
        self.write_identity(node_id)
    }

    /// Removes what writes that never ended left behind.
    pub fn clear_temp(&self) -> Result<(), Fault> {
        let dir = self.temp_dir();
        let mut removed = 0_u64;
        for entry in fs::read_dir(&dir).map_err(Fault::io("list", &dir))? {
            let path = entry.map_err(Fault::io("list", &dir))?.path();
            fs::remove_file(&path).map_err(Fault::io("remove", &path))?;
            removed += 1;
        }
        if removed > 0 {
            tracing::info!(dir = %dir.display(), removed, "removed what unfinished writes left");
        }
        Ok(())
    }

    fn write_identity(&self, node_id: NodeId) -> Result<(), Fault> {
        let identity = NodeIdentity {
            format: LAYOUT_VERSION,
            node_id,
        };
        let bytes = serde_json::to_vec_pretty(&identity).expect("two numbers have a JSON form");
        let temp = self.root.join("node.json.new");
        let write = || {
            let mut file = File::create(&temp)?;
            file.write_all(&bytes)?;
            Ok(file)
        };
        let file = write().map_err(Fault::io("write", &temp))?;
        durable::publish(&file, &temp, &self.identity(), Durability::PowerSafe)
    }

    fn inspect_node(&self, identity: &[u8]) -> Result<DirectoryState, Fault> {
        let format = |value: &serde_json::Value| value.get("format")?.as_u64();
        let identity = match serde_json::from_slice::<serde_json::Value>(identity) {
            Ok(value) if format(&value) > Some(LAYOUT_VERSION.into()) => {
                let found = format(&value).and_then(|found| u32::try_from(found).ok());
                return Ok(DirectoryState::Newer(found.unwrap_or(u32::MAX)));
            }
            Ok(value) => serde_json::from_value::<NodeIdentity>(value),
            Err(error) => Err(error),
        };
        let identity = match identity {
            Ok(identity) if [BEFORE_SEGMENTS, LAYOUT_VERSION].contains(&identity.format) => {
                identity
            }
            Ok(identity) => {
                return Ok(DirectoryState::Damaged(format!(
                    "node.json has format {}",
                    identity.format
                )));
            }
            Err(error) => {
                return Ok(DirectoryState::Damaged(format!(
                    "node.json is unreadable: {error}"
                )));
            }
        };
        let essential = (0..=u8::MAX)
            .map(|last_byte| self.fan_out(last_byte))
            .chain([self.temp_dir(), self.root.join("quarantine")])
            .chain((identity.format > BEFORE_SEGMENTS).then(|| self.segments()));
        for dir in essential {
            if !dir.is_dir() {
                return Ok(DirectoryState::Damaged(format!(
                    "the directory {} is missing",
                    dir.display()
                )));
            }
        }
        Ok(match identity.format {
            BEFORE_SEGMENTS => DirectoryState::Older(identity.node_id),
            _ => DirectoryState::Node(identity.node_id),
        })
    }

    fn inspect_unnamed(&self) -> Result<DirectoryState, Fault> {
        for name in names_in(&self.root)? {
            if !HALF_MADE.contains(&name.as_str()) {
                return Ok(DirectoryState::Foreign(name));
            }
        }
        let fan_out = (0..=u8::MAX).map(|last_byte| self.fan_out(last_byte));
        for dir in fan_out.chain([self.segments()]) {
            if let Some(name) = names_in(&dir)?.first() {
                return Ok(DirectoryState::Damaged(format!(
                    "there are chunks ({name}) but no node.json"
                )));
            }
        }
        Ok(DirectoryState::Empty)
    }

    fn identity(&self) -> PathBuf {
        self.root.join("node.json")
    }

    fn chunks(&self) -> PathBuf {
        self.root.join("chunks")
    }

    fn temp_dir(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

/// The names in a directory; none if it does not exist.
fn names_in(dir: &Path) -> Result<Vec<String>, Fault> {
    let names = |entries: fs::ReadDir| {
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()
    };
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.and_then(names).map_err(Fault::io("list", dir)),
    }
}

fn make_dir(dir: &Path) -> Result<(), Fault> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Fault::io("create", dir)(error))
        }
        _ => Ok(()),
    }
}
