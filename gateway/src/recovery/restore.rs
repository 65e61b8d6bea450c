//! A database from the backups that the chunk servers hold: the newest checkpoint that can be read
//! whole, and the log behind it as far as it goes without a gap.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use chunkproto::Crc64;
use metastore::{ChunkLayout, RestoredFiles, RestoredStore, Timestamp};
use tracing::{info, warn};
use uuid::Uuid;

use super::error::RecoveryError;
use super::found::{FoundBodies, born_at};
use super::read_back::{read_body, read_chunk};
use crate::backup_format::{Manifest, Saved, SavedFile};
use crate::chunks::ChunkTransport;

/// What one run of a gateway left in the cluster.
#[derive(Default)]
pub struct FoundRun {
    /// Of which database; earlier versions did not say.
    database: Option<Uuid>,
    /// The manifests and files of its checkpoints, by checkpoint; what is not whole is left out.
    checkpoints: BTreeMap<Uuid, FoundCheckpoint>,
    /// Pieces of log by the numbers of their first and last writes.
    log: BTreeMap<(u64, u64), (Uuid, ChunkLayout)>,
}

#[derive(Default)]
struct FoundCheckpoint {
    manifest: Option<ChunkLayout>,
    files: BTreeMap<String, ChunkLayout>,
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    pub checkpoint: Uuid,
    pub made_at: Timestamp,
    pub files: usize,
    pub size_bytes: u64,
    pub log_pieces: usize,
    pub log_bytes: u64,
    /// When the last piece of log was shipped, or the checkpoint was made.
    pub until: Timestamp,
    /// Pieces of log that could not be used because one before them is missing.
    pub unused_pieces: usize,
}

/// The backups among `bodies`, by run.
pub fn runs(bodies: FoundBodies) -> BTreeMap<Uuid, FoundRun> {
    let mut runs: BTreeMap<Uuid, FoundRun> = BTreeMap::new();
    for (name, body) in bodies {
        let (Some(saved), Some(layout)) = (Saved::parse(&name.key), body.layout()) else {
            warn!(key = name.key, run = %name.bucket_id, "a part of a backup is not whole");
            continue;
        };
        let run = runs.entry(name.bucket_id).or_default();
        run.database = name.part.map(|(database, _)| database).or(run.database);
        match saved {
            Saved::Manifest => {
                run.checkpoints.entry(name.sequence).or_default().manifest = Some(layout);
            }
            Saved::File(file) => {
                let checkpoint = run.checkpoints.entry(name.sequence).or_default();
                checkpoint.files.insert(file, layout);
            }
            Saved::Log { first, last } => {
                run.log.insert((first, last), (name.sequence, layout));
            }
        }
    }
    runs
}

impl FoundRun {
    /// Whether it has a checkpoint whose manifest was found.
    pub fn is_restorable(&self) -> bool {
        let mut checkpoints = self.checkpoints.values();
        checkpoints.any(|checkpoint| checkpoint.manifest.is_some())
    }

    /// Pieces of log.
    pub fn log_pieces(&self) -> usize {
        self.log.len()
    }

    /// Which database it backed up, if that is known.
    pub fn database(&self) -> Option<Uuid> {
        self.database
    }

    /// The greatest number of a write in its log. In one database later writes have greater numbers.
    pub fn last_write(&self) -> Option<u64> {
        self.log.keys().map(|(_, last)| *last).max()
    }

    /// The moment of the last thing that was shipped.
    pub fn until(&self) -> Timestamp {
        let log = self.log.values().map(|(sequence, _)| *sequence);
        let all = log.chain(self.checkpoints.keys().copied());
        all.max().map_or(Timestamp(0), born_at)
    }

    /// Restores the newest checkpoint that can be read, with the log behind it, into the directory
    /// that `begin` makes anew for each try.
    pub async fn restore(
        &self,
        transport: &Arc<dyn ChunkTransport>,
        begin: impl Fn() -> Result<RestoredFiles, RecoveryError>,
    ) -> Result<Restored, RecoveryError> {
        for (id, checkpoint) in self.checkpoints.iter().rev() {
            let Some(manifest) = checkpoint.manifest(transport).await else {
                warn!(checkpoint = %id, "a checkpoint has no manifest that can be read");
                continue;
            };
            let files = begin()?;
            if !checkpoint.fetch(transport, &manifest, &files).await? {
                warn!(checkpoint = %id, "a checkpoint cannot be read whole; an older one is tried");
                continue;
            }
            let mut restored = Restored {
                checkpoint: *id,
                made_at: manifest.made_at,
                files: manifest.files.len(),
                size_bytes: manifest.size_bytes(),
                log_pieces: 0,
                log_bytes: 0,
                until: manifest.made_at,
                unused_pieces: 0,
            };
            let mut store = files.open()?;
            self.replay(transport, &mut store, &mut restored).await?;
            store.finish()?;
            return Ok(restored);
        }
        Err(RecoveryError::Nothing(
            "no checkpoint of this run can be read whole; try another run, start chunk servers that are missing, \
             or use rebuild-metadata"
                .into(),
        ))
    }

    async fn replay(
        &self,
        transport: &Arc<dyn ChunkTransport>,
        store: &mut RestoredStore,
        restored: &mut Restored,
    ) -> Result<(), RecoveryError> {
        let mut ended = false;
        for ((first, last), (sequence, layout)) in &self.log {
            if *last <= store.newest() {
                continue;
            }
            if ended {
                restored.unused_pieces += 1;
                continue;
            }
            let whole = match read_body(transport, layout, Vec::new()).await {
                Ok(bytes) if store.apply(&bytes)? => Some(bytes.len() as u64),
                Ok(_) => None,
                Err(error) => {
                    warn!(first, last, %error, "a piece of the log cannot be read");
                    None
                }
            };
            let Some(length_bytes) = whole else {
                (ended, restored.unused_pieces) = (true, restored.unused_pieces + 1);
                continue;
            };
            restored.log_pieces += 1;
            restored.log_bytes += length_bytes;
            restored.until = restored.until.max(born_at(*sequence));
        }
        Ok(())
    }
}

impl FoundCheckpoint {
    async fn manifest(&self, transport: &Arc<dyn ChunkTransport>) -> Option<Manifest> {
        let layout = self.manifest.as_ref()?;
        let bytes = read_body(transport, layout, Vec::new()).await.ok()?;
        Manifest::decode(&bytes)
    }

    /// Writes the files; false, if one cannot be read.
    async fn fetch(
        &self,
        transport: &Arc<dyn ChunkTransport>,
        manifest: &Manifest,
        files: &RestoredFiles,
    ) -> Result<bool, RecoveryError> {
        for file in &manifest.files {
            let Some(path) = files.path_of(&file.name) else {
                warn!(file = file.name, "a checkpoint names a file that cannot be");
                return Ok(false);
            };
            if !self.fetch_file(transport, file, &path).await? {
                return Ok(false);
            }
            info!(file = file.name, size_bytes = file.size_bytes, "restored");
        }
        Ok(true)
    }

    async fn fetch_file(
        &self,
        transport: &Arc<dyn ChunkTransport>,
        file: &SavedFile,
        path: &Path,
    ) -> Result<bool, RecoveryError> {
        let io_error = |source| RecoveryError::Io {
            path: path.to_owned(),
            source,
        };
        let mut written = File::create(path).map_err(io_error)?;
        if file.size_bytes == 0 {
            return Ok(file.crc64 == Crc64::of(b""));
        }
        let Some(layout) = self.files.get(&file.name) else {
            warn!(file = file.name, "a file of a checkpoint was not found");
            return Ok(false);
        };
        if layout.crc64() != file.crc64 {
            warn!(
                file = file.name,
                "a checkpoint file has a different checksum"
            );
            return Ok(false);
        }
        for chunk in &layout.chunks {
            match read_chunk(transport, chunk, &Vec::new()).await {
                Ok(bytes) => written.write_all(&bytes).map_err(io_error)?,
                Err(error) => {
                    warn!(file = file.name, %error, "a file of a checkpoint cannot be read");
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chunkproto::{ChunkId, ClusterSecret, Heartbeat, NodeId, Registration};
    use metastore::{ChunkRef, RocksMetastore, Scheme};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;
    use crate::chunks::HttpTransport;
    use crate::cluster::{Membership, NodeTimeouts};

    /// A piece of log on a node.
    fn piece_on(node: NodeId) -> (Uuid, ChunkLayout) {
        let chunk = ChunkRef {
            id: ChunkId::generate(),
            length_bytes: 1,
            crc64: Crc64(0),
            replicas: vec![node],
        };
        let layout = ChunkLayout {
            scheme: Scheme::Replicated,
            chunks: vec![chunk],
        };
        (Uuid::now_v7(), layout)
    }

    fn registration(node_id: NodeId, address: String) -> Registration {
        let incarnation = Uuid::now_v7();
        Registration {
            node_id,
            incarnation,
            address,
            zone: String::new(),
            state: Heartbeat {
                incarnation,
                capacity_bytes: 0,
                used_bytes: 0,
                free_bytes: 0,
                chunk_count: 0,
                in_flight: 0,
                disk_errors: 0,
                quarantined: 0,
                writable: true,
                fenced_disks: Vec::new(),
                scrub: None,
            },
        }
    }

    /// A store as a checkpoint of an empty database makes it.
    async fn restored_store(dir: &Path) -> RestoredStore {
        let database = RocksMetastore::open(&dir.join("database")).unwrap();
        let checkpoint = database.backup().checkpoint().await.unwrap();
        let files = RestoredFiles::begin(&dir.join("restored")).unwrap();
        for file in &checkpoint.files {
            let (from, to) = (
                checkpoint.dir.join(&file.name),
                files.path_of(&file.name).unwrap(),
            );
            std::fs::copy(from, to).unwrap();
        }
        files.open().unwrap()
    }

    #[tokio::test]
    async fn no_piece_of_log_is_asked_for_behind_one_that_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = restored_store(dir.path()).await;
        // It takes connections, and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", silent.local_addr().unwrap());
        let (gone, node) = (NodeId::generate(), NodeId::generate());
        let membership = Arc::new(Membership::new(NodeTimeouts::default()));
        membership.remember(registration(node, address)).unwrap();
        let secret = ClusterSecret::parse("0123456789abcdef").unwrap();
        let transport = HttpTransport::new(membership, &secret).unwrap();
        let transport: Arc<dyn ChunkTransport> = Arc::new(transport);

        let next = store.newest() + 1;
        let log = [(next, gone), (next + 1, node), (next + 2, node)];
        let log = log.map(|(number, node)| ((number, number), piece_on(node)));
        let run = FoundRun {
            database: None,
            checkpoints: BTreeMap::new(),
            log: BTreeMap::from(log),
        };
        let mut restored = Restored {
            checkpoint: Uuid::nil(),
            made_at: Timestamp(0),
            files: 0,
            size_bytes: 0,
            log_pieces: 0,
            log_bytes: 0,
            until: Timestamp(0),
            unused_pieces: 0,
        };
        let replay = run.replay(&transport, &mut store, &mut restored);
        let replayed = timeout(Duration::from_secs(30), replay).await;
        replayed.expect("nobody was waited for").unwrap();
        assert_eq!((restored.log_pieces, restored.unused_pieces), (0, 3));
    }
}
