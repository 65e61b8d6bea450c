//! The database for elsewhere: a checkpoint of its files, and the log of what was written since, in
//! RocksDB's own numbering of writes. Where both are kept is up to the caller; `restore` puts them
//! together again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::ErrorKind;
use rocksdb::checkpoint::Checkpoint as RocksCheckpoint;
use uuid::Uuid;

use super::log_piece::LogPiece;
use super::metastore::RocksMetastore;
use super::open::{self, OpenError};
use super::read::Store;
use crate::{MetaError, MetaResult};

/// Directory of a checkpoint inside the store's, while it is read.
const CHECKPOINT_DIR: &str = "checkpoint";

/// Reads an open store for a backup. Cheap to clone; the database stays open while one lives.
#[derive(Clone)]
pub struct RocksBackup {
    store: Arc<Store>,
    dir: PathBuf,
}

/// A consistent set of files that together are the database at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where they are.
    pub dir: PathBuf,
    /// The files.
    pub files: Vec<CheckpointFile>,
    /// Every write up to this number is in them, and perhaps later ones.
    pub covers: u64,
}

/// A file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFile {
    /// Its name.
    pub name: String,
    /// Its length.
    pub size_bytes: u64,
}

/// What the log has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogRead {
    /// Nothing was written since.
    Nothing,
    /// The next writes.
    Piece(LogPiece),
    /// The log is no longer kept so far back; a new checkpoint is needed.
    Lost,
}

impl RocksMetastore {
    /// The way to back this store up.
    #[must_use]
    pub fn backup(&self) -> RocksBackup {
        RocksBackup {
            store: self.engine.store(),
            dir: self.dir.join(CHECKPOINT_DIR),
        }
    }
}

impl RocksBackup {
    /// Makes a checkpoint, which costs links and no copies, in place of the last one. Its files stay
    /// as they are until [`remove_checkpoint`](Self::remove_checkpoint).
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn checkpoint(&self) -> MetaResult<Checkpoint> {
        self.blocking(|backup| {
            backup.remove().map_err(unavailable)?;
            // IMPORTANT: before the checkpoint, which may hold later writes and never fewer.
            let covers = backup.store.db.latest_sequence_number();
            RocksCheckpoint::new(&backup.store.db)
                .and_then(|checkpoint| checkpoint.create_checkpoint(&backup.dir))
                .map_err(|error| MetaError::Unavailable(error.into_string()))?;
            let files = backup.files().map_err(unavailable)?;
            let dir = backup.dir.clone();
            Ok(Checkpoint { dir, files, covers })
        })
        .await
    }

    /// Makes a checkpoint that is a store of its own in the directory `to`, durable and without a tie to
    /// this one beyond shared files; returns its length in bytes. There must be no store in `to` yet,
    /// and there is none until it is whole. On another filesystem it costs a copy, else links.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn save(&self, to: PathBuf) -> Result<u64, OpenError> {
        let store = Arc::clone(&self.store);
        let saved = tokio::task::spawn_blocking(move || save(&store, &to)).await;
        match saved.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(outcome) => outcome,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_)) => Err(OpenError::Io {
                path: self.dir.clone(),
                source: io::Error::other("the runtime is shutting down"),
            }),
        }
    }

    /// Removes the checkpoint, if there is one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn remove_checkpoint(&self) -> MetaResult<()> {
        self.blocking(|backup| backup.remove().map_err(unavailable))
            .await
    }

    /// Which store it is: another directory's is another one, a restored one too.
    #[must_use]
    pub fn identity(&self) -> Uuid {
        self.store.identity
    }

    /// Number of the latest write.
    #[must_use]
    pub fn latest(&self) -> u64 {
        self.store.db.latest_sequence_number()
    }

    /// The writes behind number `after`, in order, until they fill `most_bytes`.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn log_after(&self, after: u64, most_bytes: usize) -> MetaResult<LogRead> {
        self.blocking(move |backup| backup.read_log(after, most_bytes))
            .await
    }

    fn read_log(&self, after: u64, most_bytes: usize) -> MetaResult<LogRead> {
        let db = &self.store.db;
        if db.latest_sequence_number() <= after {
            return Ok(LogRead::Nothing);
        }
        let Ok(mut writes) = db.get_updates_since(after) else {
            return Ok(LogRead::Lost);
        };
        let mut piece = LogPiece::behind(after);
        for write in &mut writes {
            let (first, batch) =
                write.map_err(|error| MetaError::Unavailable(error.into_string()))?;
            if batch.is_empty() {
                continue;
            }
            if !piece.push(first, batch.len() as u64, batch.data()) {
                return Ok(LogRead::Lost);
            }
            if piece.bytes().len() >= most_bytes {
                break;
            }
        }
        match writes.status() {
            _ if !piece.is_empty() => Ok(LogRead::Piece(piece)),
            // The log file was changed for the next one in between; the next look sees it.
            Err(error) if error.kind() == ErrorKind::TryAgain => Ok(LogRead::Nothing),
            _ => Ok(LogRead::Lost),
        }
    }

    fn files(&self) -> io::Result<Vec<CheckpointFile>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|name| {
                io::Error::other(format!("{} is no name of RocksDB's", name.display()))
            })?;
            let size_bytes = entry.metadata()?.len();
            files.push(CheckpointFile { name, size_bytes });
        }
        Ok(files)
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> MetaResult<T> + Send + 'static,
    ) -> MetaResult<T> {
        let backup = self.clone();
        match tokio::task::spawn_blocking(move || work(&backup)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(MetaError::Unavailable(
                    "the runtime is shutting down".into(),
                )),
            },
        }
    }
}

fn save(store: &Store, to: &Path) -> Result<u64, OpenError> {
    let io_error = |source| OpenError::Io {
        path: to.into(),
        source,
    };
    let _lock = open::begin_restored(to)?;
    let database = open::database_in(to);
    // RocksDB wants to make the directory itself.
    fs::remove_dir(&database).map_err(io_error)?;
    RocksCheckpoint::new(&store.db)
        .and_then(|checkpoint| checkpoint.create_checkpoint(&database))
        .map_err(|source| open::database_error(to, source))?;
    let length_bytes = open::sync_all_in(&database).map_err(io_error)?;
    open::finish_restored(to)?;
    Ok(length_bytes)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands where errors are mapped"
)]
fn unavailable(error: io::Error) -> MetaError {
    MetaError::Unavailable(format!("a checkpoint's files: {error}"))
}
